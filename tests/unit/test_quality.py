"""How likely a vote elects the right answer: against every vote counted by the electorate that serves requests."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.quality import MOST, elected_right, panel_quality
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


def test_experts_below_chance_are_no_panel() -> None:
    """However many of them: no better than the best; beside a good one they count as nothing."""
    assert quality([0.2, 0.1, 0.2], 2) == pytest.approx(0.2)
    assert quality([0.6, 0.1, 0.2], 2) == pytest.approx(0.6)


def test_a_large_panel_is_judged_by_its_weightiest() -> None:
    """The weakest of many add little; a lower bound, as they do no harm."""
    rates = np.array([0.4, 0.7, 0.45, 0.5, 0.6, 0.65, 0.42])
    assert panel_quality(rates, 2) == pytest.approx(quality([0.7, 0.65, 0.6, 0.5, 0.45], 2))


def test_certainty_and_impossibility_are_no_errors() -> None:
    """P(right) of 0 and 1 are allowed, as a mean of few answers may be."""
    assert quality([1.0, 0.0, 0.5], 2) == pytest.approx(1.0)
    assert quality([0.0, 0.0], 2) == 0.0


def test_many_panels_at_once_are_each_judged_alone() -> None:
    """Also beyond what is computed in one piece."""
    p = np.random.default_rng(1).uniform(0.2, 0.9, (600, 3))
    assert elected_right(p, 2.0)[577] == pytest.approx(quality(p[577].tolist(), 2))
    assert elected_right(p[:0], 2.0).shape == (0,)
