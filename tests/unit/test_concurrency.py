"""How many calls may be under way: what a window of delays does to the limit, and what it must not do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.concurrency import (
    CALM_CALLS,
    DOUBTED_WINDOWS,
    LEAST_CALLS,
    PROBE_ROUNDS,
    Call,
    Limit,
    after,
    begun,
    few,
    probing,
)
from router.config import Concurrency

SETTINGS = Concurrency(least=2, first=16, most=64, tolerance=2.0)
USUAL_S = 0.1
KNOWN = Limit(16.0, undisturbed_s=USUAL_S)


def heard(limit: Limit, *calls: Call, now: float = 10.0, settings: Concurrency = SETTINGS) -> Limit:
    for call in calls:
        limit = after(limit, call, now, settings)
    return limit


def window(first_token_s: float, load: int = 16, duration_s: float | None = 1.0, sent_at: float = 9.0) -> list[Call]:
    """As many calls as a window of `KNOWN` holds."""
    return [Call(sent_at, load, first_token_s, duration_s)] * LEAST_CALLS


def test_it_begins_where_the_configuration_says() -> None:
    """Nothing is known, and nothing is probed before somebody presses."""
    assert begun(SETTINGS) == Limit(16.0)
    assert not probing(begun(SETTINGS), SETTINGS)


def test_it_grows_by_a_part_of_its_root_while_nothing_waits() -> None:
    """A delay within what is tolerated says that more may be well."""
    grown = heard(KNOWN, *window(1.9 * USUAL_S))
    assert grown.calls == pytest.approx(16 + 0.2 * 4)
    assert grown.changed_at == 10.0


def test_what_waits_inside_the_expert_is_taken_back_at_once() -> None:
    """By Little's law: of calls that take two seconds, with half a second too much delay, a quarter waits."""
    shrunk = heard(KNOWN, *window(2 * USUAL_S + 0.5, duration_s=2.0))
    assert shrunk.calls == pytest.approx(16 * 0.75)


def test_less_than_one_call_that_waits_is_no_overload() -> None:
    """The delay of answers that take long may double and more by chance."""
    assert heard(KNOWN, *window(4 * USUAL_S, duration_s=10.0)).calls > 16.0


def test_it_grows_faster_with_each_window_in_a_row() -> None:
    """A limit that is far too low is found out soon; by its root at most."""
    limit, grown = KNOWN, list[float]()
    for now in range(10, 17):
        before = limit.calls
        while limit.changed_at < now:
            limit = heard(limit, Call(now, 64, USUAL_S, 1.0), now=now)
        grown.append((limit.calls - before) / before**0.5)
    assert grown == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])


def test_without_a_known_duration_it_is_the_delays_gradient() -> None:
    """tolerance x undisturbed / recent."""
    assert heard(KNOWN, *window(0.3, duration_s=None)).calls == pytest.approx(16 * 2 * USUAL_S / 0.3)


def test_a_window_halves_it_at_most() -> None:
    """One bad moment is not the end."""
    assert heard(KNOWN, *window(60.0)).calls == 8.0


@pytest.mark.parametrize("delay_s", [math.inf, 60.0])
def test_it_stays_within_its_bounds(delay_s: float) -> None:
    """`least` and `most`, whatever is heard; other settings hold at once."""
    low, high = KNOWN, KNOWN
    for now in range(10, 200):
        low = heard(low, *window(delay_s, load=99, sent_at=now) * 4, now=now)
        high = heard(high, *window(USUAL_S, load=99, sent_at=now) * 4, now=now)
    assert (low.calls, high.calls) == (2.0, 64.0)
    assert high.within(Concurrency(least=1, first=1, most=8)).calls == 8.0


def test_it_does_not_grow_while_it_is_not_used() -> None:
    """That ten calls do well says nothing of sixteen."""
    assert heard(KNOWN, *window(USUAL_S, load=10)).calls == 16.0
    assert heard(KNOWN, *window(5.0, load=10)).calls < 16.0


def test_calls_from_before_the_last_change_count_no_more() -> None:
    """What they met was another limit's doing."""
    changed = heard(KNOWN, *window(60.0))
    assert heard(changed, *window(60.0, sent_at=9.9) * 9, now=11.0) == changed
    assert heard(changed, *window(60.0, sent_at=10.5), now=11.0).calls < changed.calls


def test_failures_count_by_their_share() -> None:
    """Half of the calls failing takes a quarter of the limit, however fast the others are."""
    half = [*window(USUAL_S)[: LEAST_CALLS // 2], *window(math.inf)[: LEAST_CALLS // 2]]
    assert heard(KNOWN, *half).calls == pytest.approx(16 * 0.75)
    assert heard(KNOWN, *window(math.inf)).calls == pytest.approx(16 * 0.5 * 0.5)


def test_a_busy_process_is_no_overload() -> None:
    """Some milliseconds more, of an expert that answers in one, are our own."""
    quick = Limit(16.0, undisturbed_s=0.001)
    assert heard(quick, *window(0.008, duration_s=0.01)).calls > 16.0


def test_undisturbed_is_what_calls_take_when_few_are_under_way() -> None:
    """Midway from median to mean at first, as half of them may have waited; then their mean, with some weight."""
    calm = few(KNOWN, SETTINGS)
    assert calm == 4
    first = heard(Limit(16.0), *[Call(9.0, calm, s / 10) for s in range(1, CALM_CALLS + 1)])
    assert first.undisturbed_s == pytest.approx((0.4 + 0.45) / 2)
    assert heard(KNOWN, *[Call(9.0, calm, 0.5)] * CALM_CALLS).undisturbed_s == pytest.approx(0.1 + 0.25 * 0.4)
    assert heard(KNOWN, *[Call(9.0, calm, math.inf)] * CALM_CALLS).undisturbed_s == USUAL_S


def test_it_probes_before_it_judges() -> None:
    """Where no calm call was seen, few are sent; what they took ends the probe, and with it what was sent before."""
    pressed = heard(Limit(16.0), *window(0.4))
    assert probing(pressed, SETTINGS)
    assert pressed.calls == 16.0
    seen = heard(pressed, *[Call(9.0, 4, 0.4)] * CALM_CALLS)
    assert not probing(seen, SETTINGS)
    assert (seen.undisturbed_s, seen.changed_at) == (0.4, 10.0)


def test_it_probes_where_less_does_not_help() -> None:
    """The delay may have become another one for good: longer prompts, a slower engine."""
    limit, now = KNOWN, 10.0
    while not probing(limit, SETTINGS):
        limit, now = heard(limit, *window(0.5, sent_at=now), now=now), now + 1
        assert now < 10 + 3 * DOUBTED_WINDOWS
    assert limit.calls < 8
    calm = [Call(now, few(limit, SETTINGS), 0.5)] * CALM_CALLS
    assert not probing(heard(limit, *calm, now=now), SETTINGS)


def test_it_probes_after_long() -> None:
    """So that a delay that was learned wrongly does not stay."""
    long = Limit(16.0, undisturbed_s=USUAL_S, unprobed=PROBE_ROUNDS * 17)
    assert probing(heard(long, *window(USUAL_S)), SETTINGS)


def test_a_fixed_limit_is_fixed() -> None:
    """least = most: whatever comes, and never a probe."""
    fixed = Concurrency(least=16, first=16, most=16)
    limit = begun(fixed)
    for delay_s in (0.1, 9.0, math.inf):
        for now in range(20):
            limit = heard(limit, *window(delay_s, sent_at=now), now=now, settings=fixed)
            assert limit.calls == 16.0
            assert not probing(limit, fixed)


CALLS = st.builds(
    Call,
    sent_at=st.floats(0, 100),
    load=st.integers(1, 80),
    first_token_s=st.floats(0, 1000) | st.just(math.inf),
    duration_s=st.none() | st.floats(0, 1000),
)


@given(st.lists(CALLS, max_size=200))
def test_nothing_that_is_heard_breaks_it(calls: list[Call]) -> None:
    """It stays a number within its bounds, and its windows stay short."""
    limit = begun(SETTINGS)
    for call in calls:
        limit = after(limit, call, call.sent_at + 1, SETTINGS)
        assert 2 <= limit.calls <= 64
        assert len(limit.calm) < CALM_CALLS
        assert len(limit.pressed) <= 32
