"""Times to first token: their quantiles, and that nothing is guessed."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.latency import LAST_CALLS, MIN_CALLS, FirstTokens


def times(*seconds: float) -> FirstTokens:
    """What is known after these times of `ada`, in this order."""
    known = FirstTokens()
    for s in seconds:
        known.add("ada", s)
    return known


def test_too_few_calls_say_nothing() -> None:
    """An expert that was not measured, or hardly, has no quantile: None is not a guess."""
    assert FirstTokens().quantile("ada", 0.5) is None
    assert times(*[1.0] * (MIN_CALLS - 1)).quantile("ada", 0.5) is None
    assert times(*[1.0] * MIN_CALLS).quantile("ada", 0.5) == 1.0


@pytest.mark.parametrize(("q", "seconds"), [(0.001, 1.0), (0.5, 50.0), (0.95, 95.0), (0.951, 96.0), (0.999, 100.0)])
def test_a_quantile_is_a_time_that_was_seen(q: float, seconds: float) -> None:
    """Of 1 to 100 s, in any order, a share q of the calls took no longer."""
    shuffled = Random(7).sample(range(1, 101), 100)
    assert times(*map(float, shuffled)).quantile("ada", q) == seconds


def test_experts_are_measured_apart() -> None:
    """What one took says nothing of another."""
    known = times(*[1.0] * MIN_CALLS)
    assert known.quantile("bob", 0.5) is None
    for _ in range(MIN_CALLS):
        known.add("bob", 2.0)
    assert (known.quantile("ada", 0.5), known.quantile("bob", 0.5)) == (1.0, 2.0)


@given(
    st.lists(st.floats(0, 100), min_size=MIN_CALLS, max_size=3 * LAST_CALLS) | st.lists(st.sampled_from((1.0, 2.0))),
    st.floats(0.01, 0.99),
)
def test_the_last_calls_count_and_no_others(seconds: list[float], q: float) -> None:
    """The quantile is that of the last LAST_CALLS times: as many are at most it as q says, and one fewer are not."""
    found = times(*seconds).quantile("ada", q)
    last = seconds[-LAST_CALLS:]
    if len(last) < MIN_CALLS:
        assert found is None
        return
    assert found in last
    assert sum(s <= found for s in last) >= q * len(last)
    assert sum(s < found for s in last) < q * len(last)


def test_old_calls_are_forgotten() -> None:
    """An expert that became fast is fast once the last LAST_CALLS calls were."""
    assert times(*[9.0] * 1000, *[1.0] * LAST_CALLS).quantile("ada", 0.99) == 1.0
    assert times(*[9.0] * 1000, *[1.0] * (LAST_CALLS - 3)).quantile("ada", 0.99) == 9.0
