"""Learning P(right): what there is to find is found on questions not fitted on, and noise is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.correctness import LEAST, MOST, VIEWS, Correctness, Reading
from router.learn_correctness import LearnedBlend, Lesson, learn_correctness
from router.surface import FEATURES

EXPERTS = ("ada", "bob", "cy")
DIMENSIONS, STRENGTH = 6, 10.0
FORM = FEATURES.index("digits")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As `learn` does: threads that wait for each other make so small a problem ten times slower."""
    with threadpool_limits(1):
        yield


def reading(vectors: NDArray[np.float32], surfaces: NDArray[np.float64], labels: NDArray[np.float64]) -> Reading:
    """Questions of which the surfaces are known, and not the texts that they would be made of."""
    found = Reading([""] * len(vectors), vectors, labels, labels)
    vars(found)["surfaces"] = surfaces
    return found


def lesson(p: NDArray[np.float64], vectors: NDArray[np.float32], surfaces: NDArray[np.float64], seed: int) -> Lesson:
    """Questions of one category and one skill in four folds, answered rightly with the given probabilities [N, E]."""
    right = np.random.default_rng(seed).random(p.shape) < p
    one = np.ones((len(p), 1))
    return Lesson(
        EXPERTS,
        ("all",),
        ("any",),
        reading(vectors, surfaces, one),
        one,
        one,
        right.astype(np.float64),
        np.arange(len(p)) % 4,
    )


def read(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Embeddings of length 1 in all directions, and surfaces in all forms."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), rng.normal(size=(count, len(FEATURES)))


def specialists(count: int = 800, seed: int = 0, *, by_form: bool = False) -> Lesson:
    """ada knows what points one way (or has many digits), bob what points the other; cy knows a bit of everything."""
    vectors, surfaces = read(count, seed)
    ours = (surfaces[:, FORM] if by_form else vectors[:, 0]) > 0
    p = np.stack([np.where(ours, 0.9, 0.3), np.where(ours, 0.3, 0.9), np.full(count, 0.5)], axis=1)
    return lesson(p, vectors, surfaces, seed + 1)


def noise(count: int = 800, seed: int = 0) -> Lesson:
    """Who is right has nothing to do with what is asked: ada is best at everything."""
    return lesson(np.tile([0.75, 0.55, 0.5], (count, 1)), *read(count, seed), seed + 1)


def chosen(given: Lesson, p: NDArray[np.float64]) -> float:
    """Share of right answers when the expert with the highest P(right) is asked."""
    return float(given.right[np.arange(len(p)), p.argmax(axis=1)].mean())


def served(found: LearnedBlend, given: Lesson, asked: Lesson) -> NDArray[np.float64]:
    """P(right) of other questions, as it is predicted when they are asked."""
    rates = given.rates(np.arange(len(given.right)), STRENGTH)
    return Correctness(rates, found.blend).predict(asked.reading).p


def test_a_specialist_is_found_by_what_a_question_means() -> None:
    """Out of fold the right one of two specialists is asked nearly always; also of questions that are new."""
    given, fresh = specialists(), specialists(seed=5)
    found = learn_correctness(given, STRENGTH)
    best = given.right.mean(axis=0).max()
    assert chosen(given, found.out_of_fold) > best + 0.15
    assert chosen(fresh, served(found, given, fresh)) > best + 0.15
    assert found.blend.relative[VIEWS.index("meaning")] > 0.5


def test_a_specialist_is_found_by_the_form_of_a_question() -> None:
    """Where meanings say nothing."""
    given = specialists(by_form=True)
    found = learn_correctness(given, STRENGTH)
    assert chosen(given, found.out_of_fold) > given.right.mean(axis=0).max() + 0.1
    assert found.blend.relative[VIEWS.index("form")] > 0.5


def test_the_unit_of_a_feature_does_not_matter() -> None:
    """A share of characters is as good a feature as a count of lines: both are standardised before they are weighed."""
    given = specialists(by_form=True)
    vectors, surfaces = given.reading.vectors, given.reading.surfaces * 1000 + 7
    units = replace(given, reading=reading(vectors, surfaces, given.categories))
    one, other = learn_correctness(given, STRENGTH), learn_correctness(units, STRENGTH)
    np.testing.assert_allclose(one.out_of_fold, other.out_of_fold, atol=1e-6)


def test_how_hard_a_question_is_for_everybody_is_learned_apart() -> None:
    """Where all are better on one half of the questions, the pool's mean moves; nobody is preferred for it."""
    vectors, surfaces = read(800, 0)
    easy = vectors[:, 0] > 0
    given = lesson(np.where(easy[:, None], 0.9, 0.3) * np.ones(3), vectors, surfaces, 1)
    found = learn_correctness(given, STRENGTH)
    assert found.out_of_fold[easy].mean() - found.out_of_fold[~easy].mean() > 0.3
    assert found.blend.difficulty[VIEWS.index("meaning")] > 0.5
    spread = found.out_of_fold.max(axis=1) - found.out_of_fold.min(axis=1)
    assert spread.mean() < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_of_noise_nothing_is_learned(seed: int) -> None:
    """The best expert is chosen for (nearly) every question, seen or new: routing does no harm."""
    given, fresh = noise(seed=seed), noise(seed=seed + 50)
    found = learn_correctness(given, STRENGTH)
    assert (found.out_of_fold.argmax(axis=1) == 0).mean() > 0.99
    assert (served(found, given, fresh).argmax(axis=1) == 0).mean() > 0.99


@pytest.mark.parametrize("given", [specialists(200), noise(200)], ids=["specialists", "noise"])
def test_predictions_are_no_worse_than_base_rates(given: Lesson) -> None:
    """Squared errors out of fold; shares of zero would give the base rates, and squares are what they are chosen by."""
    found = learn_correctness(given, STRENGTH)
    assert (found.blend.difficulty >= 0).all()
    assert (found.blend.relative >= 0).all()
    assert np.square(found.out_of_fold - given.right).mean() <= np.square(found.blend.base - given.right).mean() + 1e-9
    assert ((found.out_of_fold >= LEAST) & (found.out_of_fold <= MOST)).all()


def test_of_its_own_fold_no_outcome_says_anything() -> None:
    """Outcomes of a fold are seen by its own predictions through base rates and shares only, which are the pool's.

    Two outcomes of one expert trade places within fold 0: base rates are the same, shares and penalties are held. Not
    a bit of that fold's predictions changes, while those of the other folds, which were fitted on it, do.
    """
    given = specialists(120)
    ours = np.flatnonzero(given.folds == 0)
    one, other = (next(row for row in ours if given.right[row, 0] == value) for value in (0.0, 1.0))
    traded = given.right.copy()
    traded[[one, other], 0] = traded[[other, one], 0]
    held = np.full(len(VIEWS), 0.3)
    with (
        patch("router.learn_correctness._shares", return_value=(held, held)),
        patch("router.learn_correctness.MEANING_PENALTIES", (30.0,)),
        patch("router.learn_correctness.FORM_PENALTIES", (100.0,)),
    ):
        before = learn_correctness(given, STRENGTH).out_of_fold
        after = learn_correctness(replace(given, right=traded), STRENGTH).out_of_fold
    np.testing.assert_array_equal(before[ours], after[ours])
    assert (before[given.folds != 0] != after[given.folds != 0]).any(axis=1).all()


def test_profiles_of_some_questions_by_hand() -> None:
    """Counts of what was right and asked overall, by category and by skill, of the given rows alone."""
    right = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0]], dtype=np.float64)
    labels = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float64)
    vectors, surfaces = read(3, 0)
    asked = reading(vectors, surfaces, labels)
    given = Lesson(EXPERTS, ("a", "b"), ("s", "t"), asked, labels, labels[:, ::-1], right, np.arange(3))
    found = given.rates(np.array([0, 2]), STRENGTH)
    np.testing.assert_array_equal(found.overall, [[1, 0, 1], [2, 2, 2]])
    np.testing.assert_array_equal(found.by_category[0], [[1, 0], [0, 0], [1, 0]])
    np.testing.assert_array_equal(found.by_category[1], np.ones((3, 2)))
    np.testing.assert_array_equal(found.by_skill[0], [[0, 1], [0, 0], [0, 1]])


def test_what_is_served_is_what_was_learned() -> None:
    """The blend's own regressions, fitted on everything, predict what a regression on these very questions would."""
    given = specialists(200)
    found = learn_correctness(given, STRENGTH)
    p = served(found, given, given)
    assert np.abs(p - found.out_of_fold).mean() < 0.1
    assert np.square(p - given.right).mean() < np.square(found.out_of_fold - given.right).mean()
