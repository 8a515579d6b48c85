"""How likely a vote elects the right answer: against every vote counted by the electorate that serves requests."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.quality import GAIN, MOST, elected_right, expected_right
from router.vote import Electorate
from tests.unit.make import reply

RATES = st.floats(0.34, 0.97)
PANELS = st.lists(RATES, min_size=1, max_size=MOST)


def counted(rates: list[float], k: int) -> float:
    """P(the electorate elects answer 0), the right one, over all that experts may say."""
    names = [f"e{place}" for place in range(len(rates))]
    electorate = Electorate(dict(zip(names, rates, strict=True)), float(k))
    right = 0.0
    for said in itertools.product(range(k + 1), repeat=len(rates)):
        p = math.prod(rate if answer == 0 else (1 - rate) / k for answer, rate in zip(said, rates, strict=True))
        camps = electorate.camps([reply(name, str(answer)) for name, answer in zip(names, said, strict=True)])
        right += p * (camps[0].answer == "0")
    return right


def quality(rates: list[float], k: float, *, equal: bool = False) -> float:
    return float(elected_right(np.array([rates]), k, equal=equal)[0])


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("rates", [[0.5], [0.7, 0.6], [0.7, 0.45, 0.5], [0.9, 0.6, 0.55, 0.5], [0.6, 0.58, 0.5, 0.4]])
def test_it_is_what_the_electorate_elects(rates: list[float], k: int) -> None:
    """All that experts may say, each weighed by its probability and counted by the vote of the product."""
    assert quality(rates, k) == pytest.approx(counted(rates, k), abs=1e-9)


def test_five_votes_of_two_answers() -> None:
    """With one wrong answer and equal experts it is Condorcet's binomial sum."""
    p = 0.7
    expected = sum(math.comb(5, right) * p**right * (1 - p) ** (5 - right) for right in (3, 4, 5))
    assert quality([p] * 5, 1) == pytest.approx(expected)
    assert quality([p] * 5, 1, equal=True) == pytest.approx(expected)


def test_a_pair_is_as_good_as_the_better_one() -> None:
    """The heavier vote decides alone; of equal votes a tie goes either way."""
    assert quality([0.8, 0.6], 2) == pytest.approx(0.8)
    assert quality([0.8, 0.6], 2, equal=True) == pytest.approx(0.7)


@given(PANELS, RATES, st.integers(1, 6))
def test_another_member_never_makes_a_panel_worse(rates: list[float], more: float, k: int) -> None:
    """Whoever knows more can do what who knows less does."""
    assert quality([*rates, more][:MOST], k) >= quality(rates[: MOST - 1], k) - 1e-9


@given(PANELS, st.floats(0.01, 0.97), st.floats(0.01, 0.97), st.integers(1, 6), st.booleans())
def test_a_better_member_is_never_worse(rates: list[float], one: float, other: float, k: int, equal: bool) -> None:
    """What dominance between experts stands on, for weighed votes and equal ones."""
    worse, better = sorted((one, other))
    rest = rates[: MOST - 1]
    assert quality([*rest, better], k, equal=equal) >= quality([*rest, worse], k, equal=equal) - 1e-9


def expected(rates: list[float], chances: list[float] | None = None, k: float = 2, *, equal: bool = False) -> float:
    """Of a panel; everybody is in time unless it says otherwise."""
    there = [1.0] * len(rates) if chances is None else chances
    return float(expected_right(np.array([rates]), np.array([there]), k, equal=equal)[0])


def test_half_of_what_independent_votes_would_add_is_there() -> None:
    """Experts err together: beyond the best member a panel is as good as recorded ones were."""
    rates = [0.7, 0.65, 0.6]
    assert expected(rates) == pytest.approx(0.7 + GAIN * (quality(rates, 2) - 0.7))
    assert expected([0.9, 0.4, 0.4], equal=True) == pytest.approx(quality([0.9, 0.4, 0.4], 2, equal=True))


def test_experts_below_chance_are_no_panel() -> None:
    """However many of them: no better than the best; beside a good one they count as nothing."""
    assert expected([0.2, 0.1, 0.2]) == pytest.approx(0.2)
    assert expected([0.6, 0.1, 0.2]) == pytest.approx(0.6)
    assert expected([0.2, 0.1], [0.5, 1.0]) == pytest.approx(0.1)


def test_a_large_panel_is_judged_by_its_weightiest() -> None:
    """The weakest of many add little; a lower bound, as they do no harm."""
    rates = [0.4, 0.7, 0.45, 0.5, 0.6, 0.65, 0.42]
    assert expected(rates) == pytest.approx(expected([0.7, 0.65, 0.6, 0.5, 0.45]))


def by_arrivals(rates: list[float], chances: list[float]) -> float:
    """P(the vote of those who are there is right), over everybody's being there or not."""
    found = 0.0
    for there in itertools.product([True, False], repeat=len(rates)):
        p = math.prod(chance if here else 1 - chance for here, chance in zip(there, chances, strict=True))
        found += p * expected([rate for rate, here in zip(rates, there, strict=True) if here]) if any(there) else 0.0
    return found


CHANCES = st.lists(st.floats(0, 1), min_size=MOST, max_size=MOST)


@given(PANELS, CHANCES)
def test_who_may_be_late_is_never_overrated(rates: list[float], chances: list[float]) -> None:
    """No better than the vote of those who are there; of one expert exactly P(right) P(in time)."""
    there = chances[: len(rates)]
    assert expected(rates, there) <= by_arrivals(rates, there) + 1e-9
    assert expected(rates[:1], there[:1]) == pytest.approx(rates[0] * there[0])


@given(PANELS, RATES, CHANCES, st.floats(0, 1), st.booleans())
def test_more_time_is_never_worse(
    rates: list[float], more: float, chances: list[float], sooner: float, equal: bool
) -> None:
    """Of any member; and another member, however slow, makes no weighed vote worse."""
    rest, there = rates[: MOST - 1], chances[: len(rates[: MOST - 1])]
    slow, quick = sorted((sooner, chances[-1]))
    worth = [expected([*rest, more], [*there, chance], equal=equal) for chance in (slow, quick)]
    assert worth[0] <= worth[1] + 1e-9
    if not equal:
        assert expected(rest, there) <= worth[0] + 1e-9


@given(PANELS, st.floats(0.01, 0.97), st.floats(0.01, 0.97), CHANCES, st.booleans())
def test_a_better_member_is_never_worse_though_late(
    rates: list[float], one: float, other: float, chances: list[float], equal: bool
) -> None:
    """As above, with time: below chance, above it and across."""
    worse, better = sorted((one, other))
    rest, there = rates[: MOST - 1], chances[: len(rates[: MOST - 1]) + 1]
    assert expected([*rest, better], there, equal=equal) >= expected([*rest, worse], there, equal=equal) - 1e-9


def test_certainty_and_impossibility_are_no_errors() -> None:
    """P(right) of 0 and 1 are allowed, as a mean of few answers may be."""
    assert quality([1.0, 0.0, 0.5], 2) == pytest.approx(1.0)
    assert quality([0.0, 0.0], 2) == 0.0


def test_many_panels_at_once_are_each_judged_alone() -> None:
    """Also beyond what is computed in one piece."""
    p = np.random.default_rng(1).uniform(0.2, 0.9, (600, 3))
    assert elected_right(p, 2.0)[577] == pytest.approx(quality(p[577].tolist(), 2))
    assert elected_right(p[:0], 2.0).shape == (0,)
