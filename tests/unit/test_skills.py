"""Stage 2a: which skills a question calls for, and none when it resembles none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.records import SkillScores
from router.skills import Vocabulary, infer


def at_cosines(**cosines: float) -> Vocabulary:
    """Skills whose centroids have these cosines with QUESTION."""
    rows = [[c, math.sqrt(1 - c * c)] for c in cosines.values()]
    centroids = np.array(rows, dtype=np.float32)
    return Vocabulary(tuple(cosines), centroids, name_vectors=centroids)


def inferred(vocabulary: Vocabulary, floor: float, max_skills: int) -> SkillScores:
    """The skills of QUESTION."""
    return infer(vocabulary, vocabulary.cosines(QUESTION), floor, max_skills)


QUESTION = np.array([1, 0], dtype=np.float32)


def test_skills_are_weighted_by_the_softmax_of_their_cosines() -> None:
    """Cosines 0.05 apart weigh e : 1."""
    scores = inferred(at_cosines(near=0.90, far=0.85), floor=0.5, max_skills=3)
    assert scores.weights == pytest.approx({"near": math.e / (math.e + 1), "far": 1 / (math.e + 1)}, abs=1e-5)


def test_skills_below_the_floor_do_not_count() -> None:
    """Only cosines at or above the floor get a weight."""
    scores = inferred(at_cosines(below=0.25, at=0.5, above=0.75), floor=0.5, max_skills=3)
    assert list(scores.weights) == ["above", "at"]


def test_an_unknown_skill_is_shown_as_unknown() -> None:
    """Nothing reaches the floor: no weights, and what came closest is told."""
    scores = inferred(at_cosines(a=0.25, b=0.125), floor=0.5, max_skills=3)
    assert scores.weights == {}
    assert scores.nearest is not None
    assert scores.nearest[0] == "a"
    assert scores.nearest[1] == pytest.approx(0.25)


def test_at_most_max_skills_are_kept_best_first() -> None:
    """Of more skills than asked for, the nearest stay; equal ones in the vocabulary's order."""
    scores = inferred(at_cosines(c=0.5, a=0.75, b=0.75), floor=0.0, max_skills=2)
    assert list(scores.weights) == ["a", "b"]
    assert scores.weights["a"] == scores.weights["b"] == pytest.approx(0.5)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8), st.floats(-1, 1, width=32), st.integers(1, 5))
def test_weights_sum_to_one_and_fall(cosines: list[float], floor: float, max_skills: int) -> None:
    """Whatever the cosines, the weights sum to 1 (or there are none) and never rise."""
    vocabulary = at_cosines(**{f"s{i}": c for i, c in enumerate(cosines)})
    weights = list(inferred(vocabulary, floor, max_skills).weights.values())
    assert len(weights) == min(max_skills, sum(c >= floor for c in cosines))
    assert not weights or sum(weights) == pytest.approx(1)
    assert weights == sorted(weights, reverse=True)


def test_cosines_are_of_one_question_or_of_many() -> None:
    """[D] gives [S], [N, D] gives [N, S], the same numbers; the largest is how familiar a question is."""
    vocabulary = at_cosines(near=0.75, far=-1.0)
    one, many = vocabulary.cosines(QUESTION), vocabulary.cosines(np.stack([QUESTION, -QUESTION]))
    np.testing.assert_allclose(one, [0.75, -1.0], atol=1e-6)
    np.testing.assert_allclose(many, [one, -one], atol=1e-6)


def test_a_keyword_finds_a_skill_by_its_name_in_words() -> None:
    """However the vocabulary writes it: underscores, blanks, capitals."""
    known = Vocabulary(("next_letter", "Sums  of_two"), np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32))
    assert known.by_words == {"next letter": "next_letter", "sums of two": "Sums  of_two"}
