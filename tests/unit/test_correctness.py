"""P(right) of a question: how views are read, blended and bounded; by hand on tiny arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from router.correctness import (
    FORM_BOUND,
    LEAST,
    MOST,
    VIEWS,
    Blend,
    Correctness,
    Linear,
    Reading,
    blended,
    bounded,
    standardised,
)
from router.rates import Counts, Rates
from router.records import SkillScores
from router.surface import FEATURES, surface
from tests.unit.make import categories

NO_SHARE = np.zeros(len(VIEWS))
NO_FORM = Linear(np.zeros(len(FEATURES)), np.zeros((len(FEATURES), 2)), np.zeros(2))
UNIT = st.floats(0, 1)


def column(*numbers: float) -> NDArray[np.float64]:
    """An array of what is written out."""
    return np.array(numbers, dtype=np.float64)


def blend(experts: tuple[str, ...] = ("ada", "bob"), **fields: NDArray[np.float64]) -> Blend:
    """Of two experts, ada right on 0.6 and bob on 0.4: bob is better where the second number of a vector is large.

    At (0, 1) the view of the meaning says 0.6 - 0.3 = 0.3 of ada and 0.4 + 0.3 = 0.7 of bob.
    """
    shares = {"difficulty": NO_SHARE, "relative": column(0, 1, 0)} | fields
    meaning = Linear(column(0, 0), np.array([[0, 0], [-0.3, 0.3]], dtype=np.float64), column(0.6, 0.4))
    return Blend(experts, meaning, NO_FORM, np.zeros(len(FEATURES)), np.ones(len(FEATURES)), column(0.6, 0.4), **shares)


def reading(*vectors: tuple[float, float]) -> Reading:
    """Questions of no known category or skill, and of no words."""
    nothing = np.zeros((len(vectors), 0))
    return Reading([""] * len(vectors), np.array(vectors, dtype=np.float32), nothing, nothing)


def rates(*experts: str) -> Rates:
    """Of experts that were right on three of four questions each; prior of four more: (3 + 4 mean) / 8."""
    none = np.zeros((len(experts), 0))
    overall = Counts(np.full(len(experts), 3.0), np.full(len(experts), 4.0))
    return Rates(experts, (), (), overall, Counts(none, none), Counts(none, none), 4.0)


def test_questions_are_read_in_the_order_of_the_names() -> None:
    """Probabilities and weights in their columns; what is not named is left out, what has no weight is 0."""
    found = Reading.of(
        ["one, two", "three"],
        np.eye(2, dtype=np.float32),
        [categories({"math": 0.75, "text": 0.25}), categories({"law": 1.0})],
        [SkillScores({}), SkillScores({"words": 0.5, "sums": 0.25})],
        ("law", "math"),
        ("sums", "words"),
    )
    np.testing.assert_array_equal(found.categories, [[0, 0.75], [1, 0]])
    np.testing.assert_array_equal(found.skills, [[0, 0], [0.25, 0.5]])
    np.testing.assert_array_equal(found.surfaces, surface(["one, two", "three"]))


def test_a_line_by_hand() -> None:
    """(x - mean) @ weights + bias: (3 - 1) * 2 + 0.5 and (3 - 1) * -1 - 0.5."""
    line = Linear(column(1.0), np.array([[2.0, -1.0]]), column(0.5, -0.5))
    np.testing.assert_array_equal(line(np.array([[3.0], [1.0]])), [[4.5, -2.5], [0.5, -0.5]])


def test_no_form_is_extrapolated() -> None:
    """Within three standard deviations a surface counts as what it is; beyond, like one at three of them."""
    found = standardised(column(2.0, 4.0, 400.0, -400.0), column(2.0), column(2.0))
    np.testing.assert_array_equal(found, [0.0, 1.0, FORM_BOUND, -FORM_BOUND])


def test_difficulty_and_lead_are_blended_apart() -> None:
    """By hand: one view says 0.9 and 0.3 where 0.6 and 0.4 are usual, so +0.3 and -0.1: +0.1 for both, 0.2 apart.

    Half of the common move and a quarter of the distance: 0.6 + 0.05 + 0.05 and 0.4 + 0.05 - 0.05.
    """
    views = np.array([[[0.9, 0.3]]])
    np.testing.assert_allclose(blended(views, column(0.6, 0.4), column(0.5), column(0.25)), [[0.7, 0.4]])


def test_views_that_never_helped_move_nobody() -> None:
    """With no shares the base rates are left, whatever the views say."""
    views = np.array([[[0.9, 0.1]], [[0.2, 0.8]], [[5.0, -5.0]]])
    np.testing.assert_allclose(blended(views, column(0.6, 0.4), NO_SHARE, NO_SHARE), [[0.6, 0.4]])


def test_a_view_that_is_believed_entirely_is_what_is_predicted() -> None:
    """With both of its shares 1 and those of the others 0."""
    views = np.array([[[0.9, 0.1]], [[0.2, 0.8]], [[0.5, 0.4]]])
    np.testing.assert_allclose(blended(views, column(0.6, 0.4), column(0, 1, 0), column(0, 1, 0)), [[0.2, 0.8]])


@given(arrays(np.float64, (3, 2, 4), elements=st.floats(-9, 9)), arrays(np.float64, 4, elements=UNIT), st.data())
def test_no_prediction_is_certain(views: NDArray[np.float64], base: NDArray[np.float64], data: st.DataObject) -> None:
    """Whatever the views say and however far they are believed."""
    difficulty, relative = (data.draw(arrays(np.float64, 3, elements=st.floats(0, 3))) for _ in range(2))
    found = blended(views, base, difficulty, relative)
    assert found.shape == (2, 4)
    assert (found >= LEAST).all()
    assert (found <= MOST).all()


def test_beyond_the_edge_everybody_keeps_its_rank() -> None:
    """A question that is easy for all goes to the best, not to the first by name: 1.05, 1.1 and 1.2 differ still."""
    found = bounded(column(-0.2, -0.1, 0.01, 0.5, 0.99, 1.05, 1.1, 1.2))
    assert (np.diff(found) > 1e-4).all()
    np.testing.assert_array_equal(found[2:5], [0.01, 0.5, 0.99])


@given(arrays(np.float64, (3, 1, 4), elements=UNIT), st.permutations(range(4)))
def test_no_expert_is_favoured_by_its_place(views: NDArray[np.float64], order: list[int]) -> None:
    """Experts in another order get their own predictions."""
    base, shares = column(0.2, 0.4, 0.6, 0.8), column(0.2, 0.5, 0.1)
    straight = blended(views, base, shares, shares)
    np.testing.assert_allclose(blended(views[:, :, order], base[order], shares, shares), straight[:, order])


def test_the_meaning_of_a_question_tells_experts_apart() -> None:
    """At (0, 1) bob is better by as much as ada is where nothing speaks for him: the mean stays 0.5."""
    p = blend().predict(np.full((2, 2), 0.5), reading((0, 0), (0, 1)))
    np.testing.assert_allclose(p, [[0.6, 0.4], [0.3, 0.7]], atol=1e-6)


def test_the_form_of_a_question_is_a_view() -> None:
    """Its regression sees the bounded surface: ten standard deviations more commas move ada by three times 0.1."""
    form = Linear(np.zeros(len(FEATURES)), np.zeros((len(FEATURES), 2)), column(0.6, 0.4))
    form.weights[FEATURES.index("commas")] = 0.1, -0.1
    seen = reading((0, 0))
    mean, scale = seen.surfaces[0].copy(), np.full(len(FEATURES), 0.01)
    seen.surfaces[0] = np.where(np.array(FEATURES) == "commas", mean + 0.1, mean)
    seer = Blend(("ada", "bob"), blend().meaning, form, mean, scale, column(0.6, 0.4), NO_SHARE, column(0, 0, 1))
    np.testing.assert_allclose(seer.predict(np.full((1, 2), 0.5), seen), [[0.9, 0.1]])


def test_without_a_blend_profiles_speak_alone() -> None:
    """Rates, observations and levels as they are measured."""
    known, asked = rates("ada", "bob"), reading((0, 1))
    found, plain = Correctness(known).predict(asked), known.predict(asked.categories, asked.skills)
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_blend_s_columns_go_to_its_experts_by_name() -> None:
    """Wherever they stand among the rates; counts and levels do not change by it."""
    known, asked = rates("bob", "new", "ada"), reading((0, 1), (0, 0))
    found = Correctness(known, blend()).predict(asked)
    np.testing.assert_allclose(found.p[:, [0, 2]], [[0.7, 0.3], [0.4, 0.6]], atol=1e-6)
    plain = known.predict(asked.categories, asked.skills)
    np.testing.assert_array_equal(found.rate, plain.rate)
    np.testing.assert_array_equal(found.observations, plain.observations)
    np.testing.assert_array_equal(found.level, plain.level)


def test_what_is_hard_for_all_is_hard_for_a_newcomer() -> None:
    """Known is its rate, (3 + 4 * 10 / 14) / 8, alone: at (1, 0) both others are 0.2 worse than usual, and so is it."""
    meaning = Linear(column(0, 0), np.array([[-0.2, -0.2], [0, 0]]), column(0.6, 0.4))
    hard = replace(blend(difficulty=column(0, 1, 0)), meaning=meaning)
    found = Correctness(rates("bob", "new", "ada"), hard).predict(reading((0, 0), (1, 0)))
    newcomer = (3 + 4 * 10 / 14) / 8
    np.testing.assert_allclose(found.p, [[0.4, newcomer, 0.6], [0.2, newcomer - 0.2, 0.4]], atol=1e-6)


def profiled(new: tuple[float, float], asked: float) -> Rates:
    """ada and bob, right on 800 of 1000 easy and 200 of 1000 hard questions; new with `asked` of each, at these shares.

    One observation of prior: their rates are 0.8, 0.2 and 0.5 within a thousandth.
    """
    right = np.array([[800, 200], [800, 200], [new[0] * asked, new[1] * asked]], dtype=np.float64)
    all_asked = np.array([[1000, 1000], [1000, 1000], [asked, asked]], dtype=np.float64)
    nothing = np.zeros((3, 0))
    overall = Counts(right.sum(axis=1), all_asked.sum(axis=1))
    names = ("ada", "bob", "new")
    return Rates(names, ("easy", "hard"), (), overall, Counts(right, all_asked), Counts(nothing, nothing), strength=1.0)


def of_both(experts: Rates) -> NDArray[np.float64]:
    """P(right) [easy and hard, experts] where the profiles are believed entirely."""
    first, half = column(1, 0, 0), column(0.5, 0.5)
    seen = Reading(["", ""], np.zeros((2, 2), dtype=np.float32), np.eye(2), np.zeros((2, 0)))
    return Correctness(experts, replace(blend(difficulty=first, relative=first), base=half)).predict(seen).p


def test_a_newcomer_s_own_categories_count() -> None:
    """Measured on a thousand of each, the newcomer that is good at what is hard for others is predicted to be."""
    np.testing.assert_allclose(of_both(profiled((0.2, 0.9), 1000)), [[0.8, 0.8, 0.2], [0.2, 0.2, 0.9]], atol=3e-3)


def test_views_that_say_the_same_are_not_believed_less() -> None:
    """A newcomer's profile speaks for the view that is believed most: 0.5 + 0.75 * 0.2, and not 0.25 * 0.2."""
    halves = replace(blend(relative=column(0.25, 0.75, 0)), base=column(0.5, 0.5))
    found = halves.newcomers(np.full((1, 2), 0.5), column(0.5), np.array([[0.2]]))
    np.testing.assert_allclose(found, [[0.65]])


def test_what_a_newcomer_shares_with_all_counts_once() -> None:
    """Its profile and the others both show that hard questions are hard: it is predicted what was measured."""
    np.testing.assert_allclose(of_both(profiled((0.8, 0.2), 1000))[:, 2], [0.8, 0.2], atol=3e-3)


def test_a_thin_profile_is_not_held_against_a_newcomer() -> None:
    """Of which hardly anything was measured in any category: it is moved as the others are."""
    np.testing.assert_allclose(of_both(profiled((0.5, 0.5), 2e-3))[:, 2], [0.8, 0.2], atol=3e-3)


@given(arrays(np.float64, (2, 3), elements=UNIT), arrays(np.float64, 1, elements=st.floats(-9, 9)))
def test_no_newcomer_is_certain(p: NDArray[np.float64], apart: NDArray[np.float64]) -> None:
    """However good the others are and whatever its profile says."""
    seer = replace(blend(relative=column(1, 0, 0)), base=column(0.5, 0.5, 0.5))
    found = seer.newcomers(p, column(0.9), np.tile(apart, (2, 1)))
    assert found.shape == (2, 1)
    assert (found >= LEAST).all()
    assert (found <= MOST).all()


def test_profiles_are_the_first_view() -> None:
    """Believed entirely, what was measured is what is predicted."""
    known = rates("ada", "bob")
    first = column(1, 0, 0)
    found = Correctness(known, blend(difficulty=first, relative=first)).predict(reading((0, 1)))
    assert found.p == pytest.approx(known.predict(np.zeros((1, 0)), np.zeros((1, 0))).p)
