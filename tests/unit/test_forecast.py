"""What is expected of experts: quantiles that hold for whole answers, by load and category, also of cut calls."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.forecast import LAST_CALLS, MIN_CALLS, P95_OF_MEAN, Forecast, quantiles, survival
from router.outlook import EARLY, LATE, USUAL, Outlook, Pace

Draw = Callable[[random.Random], tuple[float, float]]
EXPERT, CATEGORY = "ada", "math"
FULL = LAST_CALLS + 1


def one_factor(rng: random.Random) -> tuple[float, float]:
    """A call that is slow is slow throughout, as on a busy engine."""
    factor = rng.lognormvariate(0, 1)
    return 0.2 * factor, 0.02 * factor


def each_by_itself(rng: random.Random) -> tuple[float, float]:
    return 0.2 * rng.lognormvariate(0, 1), 0.02 * rng.lognormvariate(0, 1)


def heavy(rng: random.Random) -> tuple[float, float]:
    """Pareto of infinite variance: now and then a first token takes a hundred times as long."""
    return 0.2 * rng.paretovariate(1.3), 0.02 * rng.lognormvariate(0, 0.1)


def length(rng: random.Random) -> int:
    return max(1, round(60 * rng.lognormvariate(0, 1)))


def outlook(forecast: Forecast, *, load: int = 1, category: str = CATEGORY, **more: float) -> Outlook:
    return forecast.outlook(
        EXPERT,
        category,
        prompt_nanos=7,
        token_nanos=2.0,
        room=1000,
        wait_s=0.5,
        load=load,
        mean_tokens_prior=100.0,
        **more,
    )


def answered(
    forecast: Forecast, calls: int, load: int = 1, *, first_s: float = 0.1, each_s: float = 0.01, tokens: int = 11
) -> None:
    for _ in range(calls):
        seconds = first_s + each_s * (tokens - 1)
        forecast.ended(EXPERT, load, first_s, seconds, tokens, CATEGORY, "answered")


@pytest.mark.parametrize("draw", [one_factor, each_by_itself, heavy])
def test_quantiles_hold_for_first_tokens_and_for_whole_answers(draw: Draw) -> None:
    """Of answers of any length a share q is there by the quantile q, heavy tails or not: forecast, then compared."""
    rng, forecast = random.Random(3), Forecast()
    whole, first, asked = [0, 0, 0], [0, 0, 0], 0
    for call in range(4000):
        (first_s, each_s), tokens = draw(rng), length(rng)
        seconds = first_s + each_s * (tokens - 1)
        paces = forecast.paces(EXPERT, 1)
        if call >= FULL and paces is not None:
            asked += 1
            for k, pace in enumerate(paces):
                whole[k] += seconds <= pace.seconds(tokens)
                first[k] += first_s <= pace.ttft_s
        forecast.ended(EXPERT, 1, first_s, seconds, tokens, CATEGORY, "answered")
    assert [hits / asked for hits in whole] == pytest.approx([EARLY, USUAL, LATE], abs=0.02)
    assert [hits / asked for hits in first] == pytest.approx([EARLY, USUAL, LATE], abs=0.02)


def test_calls_that_a_deadline_has_cut_count_as_at_least_so_long() -> None:
    """Were they left out, only the fast ones would be known, and the late quantile would sink."""
    rng, cut, blind = random.Random(5), Forecast(), Forecast()
    within, within_blind, limit_s = 0, 0, 4.0
    for call in range(4000):
        (first_s, each_s), tokens = one_factor(rng), length(rng)
        seconds = first_s + each_s * (tokens - 1)
        if call >= FULL:
            within += seconds <= outlook(cut).late.seconds(tokens)
            within_blind += seconds <= outlook(blind).late.seconds(tokens)
        if seconds <= limit_s:
            for forecast in (cut, blind):
                forecast.ended(EXPERT, 1, first_s, seconds, tokens, CATEGORY, "answered")
        elif first_s <= limit_s:
            so_far = 1 + int((limit_s - first_s) / each_s)
            cut.ended(EXPERT, 1, first_s, limit_s, so_far, CATEGORY, "stopped")
        else:
            cut.ended(EXPERT, 1, None, limit_s, None, CATEGORY, "deadline")
    asked = 4000 - FULL
    assert within / asked == pytest.approx(LATE, abs=0.02)
    assert within_blind / asked < LATE - 0.03


def test_nothing_is_known_of_an_expert_that_has_hardly_answered() -> None:
    """Its paces are zero, and said to be unknown; lengths are the profile's."""
    forecast = Forecast()
    assert outlook(forecast) == Outlook(EXPERT, 0, 7, 2.0, round(100 * P95_OF_MEAN), 100.0, 1000, 0.5)
    answered(forecast, MIN_CALLS - 1)
    assert not outlook(forecast).known
    answered(forecast, 1)
    found = outlook(forecast)
    assert found.known
    assert (found.usual.ttft_s, found.usual.tpot_s) == pytest.approx((0.1, 0.01))


def test_paces_are_of_the_load_that_there_is() -> None:
    """By levels of load; never quicker under more of it, and where a level is not known, as its neighbours."""
    forecast = Forecast()
    for load, first_s in ((1, 0.1), (6, 0.3), (20, 0.9)):
        answered(forecast, 100, load, first_s=first_s)
    found = [outlook(forecast, load=load).late.ttft_s for load in (1, 2, 5, 16, 31, 400)]
    assert found == pytest.approx([0.1, 0.3, 0.3, 0.9, 0.9, 0.9])


def test_what_was_slow_by_chance_under_little_load_is_spread() -> None:
    """Levels that contradict each other count together, by their calls: more load is not quicker."""
    forecast = Forecast()
    answered(forecast, 100, 1, first_s=0.4)
    answered(forecast, 300, 8, first_s=0.2)
    assert [outlook(forecast, load=load).usual.ttft_s for load in (1, 8)] == pytest.approx([0.25] * 2, abs=0.01)


def test_the_oldest_calls_make_room() -> None:
    """An expert that has become faster is known as such once the last calls say so."""
    forecast = Forecast()
    answered(forecast, LAST_CALLS, first_s=2.0)
    answered(forecast, LAST_CALLS, first_s=0.1)
    assert outlook(forecast).late.ttft_s == pytest.approx(0.1)


def test_failures_and_whole_answers_say_nothing_of_the_pace() -> None:
    """How soon somebody failed is no pace; an answer that came at once has no first token."""
    forecast = Forecast()
    for outcome in ("refused", "broken", "unreachable", "busy", "unfunded"):
        for _ in range(MIN_CALLS):
            forecast.ended(EXPERT, 1, 0.1, 0.2, 5, CATEGORY, outcome)
    for _ in range(MIN_CALLS):
        forecast.ended(EXPERT, 1, None, 9.0, 5, CATEGORY, "answered")
    found = outlook(forecast)
    assert not found.known
    assert found.mean_tokens < 100  # but it has a length


def test_lengths_are_learned_by_category() -> None:
    """The profile's mean counts as MIN_CALLS answers; the late quantile is measured as soon as there are so many."""
    forecast = Forecast()
    answered(forecast, 3 * MIN_CALLS, tokens=20)
    found, other = outlook(forecast), outlook(forecast, category="law")
    assert found.mean_tokens == pytest.approx((100 + 3 * 20) / 4)
    assert found.tokens == 20
    assert (other.mean_tokens, other.tokens) == (100.0, 300)
    assert forecast.tokens(EXPERT, "", 100.0) == (found.mean_tokens, 20)


def test_answers_that_had_to_end_might_have_been_longer() -> None:
    """Those that reached max_tokens, and those that were cut: a bound on answers does not become their length."""
    forecast = Forecast()
    for number in range(200):
        tokens = 10 * (number % 20 + 1)  # 10 … 200, even
        bounded = min(tokens, 100) if number % 2 else tokens
        forecast.ended(EXPERT, 1, 0.1, 1.0, bounded, CATEGORY, "answered", max_tokens=100 if number % 2 else None)
    found = outlook(forecast)
    assert found.tokens >= 180
    assert found.mean_tokens == pytest.approx(105, rel=0.07)


def test_a_sleeping_expert_is_waited_for_as_long_as_it_takes_to_wake() -> None:
    """Or for its queue, where that is longer."""
    assert [outlook(Forecast(), wake_s=wake_s).wait_s for wake_s in (0.0, 0.2, 3.0)] == [0.5, 0.5, 3.0]


def test_what_has_to_be_left_is_what_half_of_the_answers_take() -> None:
    """Of the usual length, or as long as they may be; nothing where nobody knows."""
    forecast = Forecast()
    assert forecast.needs_s(EXPERT, 1, 100.0, None) == 0.0
    answered(forecast, 200)
    usual = 0.1 + 0.01 * (round((100 + 110) / 11) - 1)
    assert forecast.needs_s(EXPERT, 1, 100.0, None) == pytest.approx(usual, rel=0.2)
    assert forecast.needs_s(EXPERT, 1, 100.0, 1) == pytest.approx(0.1)


def test_kaplan_and_meier() -> None:
    """Against an estimate by hand: of 1, 2+, 3, 3+, 5 a share of 0.8, 0.8, 0.5333, 0.5333, 0 is longer."""
    values, seen = np.array([3.0, 5.0, 2.0, 1.0, 3.0]), np.array([True, True, False, True, False])
    steps, alive = survival(values, seen)
    assert steps.tolist() == [1, 2, 3, 3, 5]
    assert alive.tolist() == pytest.approx([0.8, 0.8, 0.8 * 2 / 3, 0.8 * 2 / 3, 0])
    assert quantiles(values, seen, (0.1, 0.2, 0.4, 0.95)) == [1, 1, 3, 5]
    assert quantiles(np.array([1.0, 2.0]), np.array([True, False]), (0.9,)) == [2.0]
    assert quantiles(np.arange(1, 101).astype(np.float64), np.ones(100, dtype=bool), (0.1, 0.5, 0.95)) == [10, 50, 95]


CALLS = st.lists(
    st.tuples(
        st.integers(1, 600),
        st.none() | st.floats(0, 100),
        st.floats(0, 100),
        st.none() | st.integers(0, 500),
        st.sampled_from(("answered", "cut", "cancelled", "timeout", "deadline", "stopped", "broken")),
        st.none() | st.integers(1, 500),
    ),
    min_size=MIN_CALLS,
    max_size=90,
)


@given(CALLS)
def test_whatever_was_seen_quantiles_and_loads_are_in_order(
    calls: list[tuple[int, float | None, float, int | None, str, int | None]],
) -> None:
    """Early <= usual <= late, and no load is quicker than a lower one; nothing is negative."""
    forecast = Forecast()
    for load, first_s, more_s, tokens, outcome, most in calls:
        forecast.ended(EXPERT, load, first_s, (first_s or 0.0) + more_s, tokens, CATEGORY, outcome, most)
    found = [outlook(forecast, load=2**level) for level in range(12)]
    for one in found:
        for quicker, slower in pairwise((Pace(), one.early, one.usual, one.late)):
            assert quicker.ttft_s <= slower.ttft_s
            assert quicker.tpot_s <= slower.tpot_s
    for lower, higher in pairwise(found):
        for name in ("early", "usual", "late"):
            assert getattr(lower, name).ttft_s <= getattr(higher, name).ttft_s + 1e-9
            assert getattr(lower, name).tpot_s <= getattr(higher, name).tpot_s + 1e-9
    assert found[0].tokens >= 1
