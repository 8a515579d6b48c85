"""The ways that `loadtest.newcomers` compares, by hand on tiny arrays."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.newcomers_ways import (
    DRAWN,
    MOST,
    Labels,
    Pool,
    Tally,
    best_trio,
    by_category,
    card,
    centroid_scores,
    chosen,
    far_apart,
    likeness,
    paired,
    panel,
    resembling,
    voted,
)


def numbers(*values: float) -> NDArray[np.float64]:
    """An array of what is written out."""
    return np.array(values, dtype=np.float64)


POOL = Pool(np.array([[0.8, 0.4], [0.5, 0.5]]), numbers(0.6, 0.4))  # one expert is usually better by 0.2


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_tally_is_a_mean_of_each_question() -> None:
    """Of as many replays as judged it; NaN where none did."""
    tally = Tally(3)
    tally.add(("a",), np.array([2, 0]), numbers(1, 0))
    tally.add(("a",), np.array([2]), numbers(0))
    np.testing.assert_array_equal(tally.means()[("a",)], [0, np.nan, 0.5])


def test_whoever_has_the_best_score_is_chosen() -> None:
    """A column without a score is chosen by nobody."""
    right = np.array([[0, 1, 1], [1, 0, 1]], dtype=np.float64)
    np.testing.assert_array_equal(chosen(np.array([[0.2, 0.3], [0.2, 0.3]]), right), [1, 0])


def test_apart_is_what_is_not_usual() -> None:
    """0.8 and 0.4 are 0.2 above and below their mean, and 0.1 of that is usual."""
    np.testing.assert_allclose(POOL.common, [0.6, 0.5])
    np.testing.assert_allclose(POOL.apart, [[0.1, -0.1], [-0.1, 0.1]])


def test_a_lead_is_taken_on_the_same_questions() -> None:
    """Right on two of two that half of the others had right: 1/2 + 1/2, over two and three more; else it is none."""
    labels = Labels(numbers(1, 1), np.array([[1, 0], [0, 1]], dtype=np.float64))
    assert labels.lead(3.0) == pytest.approx(0.2)
    np.testing.assert_allclose(paired(labels, POOL, 3.0), [0.8, 0.7])
    everybody = Labels(numbers(1, 1), np.ones((2, 2)))
    np.testing.assert_allclose(paired(everybody, POOL, 3.0), POOL.common)


def test_no_newcomer_is_certain() -> None:
    """Whatever its lead."""
    labels = Labels(np.ones(50), np.zeros((50, 2)))
    assert paired(labels, POOL, 1.0).max() == MOST


def test_a_newcomer_is_good_where_those_are_whom_it_resembles() -> None:
    """It is right exactly where the first is and the second is not: it follows the first one's predictions.

    With a great penalty it resembles nobody, and only its lead is left.
    """
    others = np.array([[1, 0], [0, 1]] * 20, dtype=np.float64)
    labels = Labels(others[:, 0], others)
    seen = Pool(others, numbers(0.5, 0.5)).apart
    pool = Pool(POOL.p, numbers(0.5, 0.5))
    like = resembling(labels, pool, 1.0, seen, 1e-6)
    np.testing.assert_allclose(like, [0.8, 0.5], atol=1e-6)
    np.testing.assert_allclose(resembling(labels, pool, 1.0, seen, 1e9), paired(labels, pool, 1.0), atol=1e-6)


@pytest.mark.parametrize("name", DRAWN)
def test_no_question_is_drawn_twice(name: str) -> None:
    """And no more than there are, even where all are the same."""
    vectors = np.tile(np.array([[1, 0]], dtype=np.float32), (6, 1))
    for count, wanted in ((4, 4), (9, 6)):
        rows = DRAWN[name](vectors, ["a", "b"] * 3, count, rng()).tolist()
        assert len(rows) == len(set(rows)) == wanted


def test_each_category_has_its_turn() -> None:
    """Of a rare category a question is taken as soon as of a frequent one; when it has no more, others go on."""
    categories = ["many"] * 50 + ["some"] * 2 + ["rare"]
    drawn = [categories[row] for row in by_category(np.zeros((53, 1), dtype=np.float32), categories, 7, rng())]
    assert sorted(drawn[:3]) == ["many", "rare", "some"]
    assert sorted(drawn[3:5]) == ["many", "some"]
    assert drawn[5:] == ["many", "many"]


def test_the_next_question_is_the_one_least_like_all_before() -> None:
    """Of three directions each is taken before any direction comes again."""
    vectors = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    rows = far_apart(vectors, [], 3, rng())
    assert sorted((rows // 4).tolist()) == [0, 1, 2]


def test_a_panel_without_a_weight_is_the_best() -> None:
    """By score, for each question on its own."""
    scores = np.array([[0.1, 0.5, 0.3, 0.4], [0.4, 0.1, 0.2, 0.3]])
    np.testing.assert_array_equal(panel(scores, np.eye(4), 3, 0.0), [[1, 3, 2], [0, 3, 2]])


def test_who_errs_with_those_taken_is_worth_less() -> None:
    """By hand: beside 0.6, one of 0.5 that errs with it is worth 0.5 - 0.5 · 0.9; another of 0.4 its whole 0.4."""
    together = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
    scores = np.array([[0.6, 0.5, 0.4]])
    np.testing.assert_array_equal(panel(scores, together, 2, 0.5), [[0, 2]])
    np.testing.assert_array_equal(panel(scores, together, 2, 0.1), [[0, 1]])


def test_the_third_is_measured_by_both_before() -> None:
    """Its mean correlation counts: 0.5 - (0.8 + 0) / 2 against 0.3 - 0, at weight 1 the other way round than at 0.4."""
    together = np.array([[1, 0, 0.8, 0], [0, 1, 0, 0], [0.8, 0, 1, 0], [0, 0, 0, 1]])
    scores = np.array([[0.9, 0.8, 0.5, 0.3]])
    assert panel(scores, together, 3, 1.0).tolist() == [[0, 1, 3]]
    assert panel(scores, together, 3, 0.4).tolist() == [[0, 1, 2]]


def test_votes_by_hand() -> None:
    """Two beat one; a heavy one beats two; of equals the first wins; who says nothing has no vote."""
    said = np.array([["a", "b", "b"], ["a", "b", "b"], ["a", "b", "c"], ["", "", "c"], ["", "", ""]])
    weights = np.ones((5, 3))
    weights[1, 0] = 2.5
    np.testing.assert_array_equal(voted(said, weights), [1, 0, 0, 2, 0])


def test_the_best_trio_is_found_by_its_votes() -> None:
    """By hand: the first two err together, so that with one of them and the last, who is seldom right, all is right."""
    right = np.array([[1, 1, 1, 0], [1, 1, 0, 1], [1, 1, 1, 0], [0, 0, 1, 1]], dtype=np.float64)
    said = np.where(right == 1, "gold", "wrong")
    assert best_trio(said, right) == [0, 2, 3]
    assert best_trio(said[:, :3], right[:, :3]) == [0, 1, 2]


def test_centroids_are_of_one_s_own_questions() -> None:
    """By hand: the first has a centroid on each axis, the second on the second axis only, the third none at all."""
    known = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    mine = np.array([[True, False, False], [True, True, False], [False, True, False]])
    nearest, average = centroid_scores(known, mine, ["x", "y", "y"], np.array([[1, 0]], dtype=np.float32))
    np.testing.assert_allclose(nearest, [[1, 0, -1]])
    np.testing.assert_allclose(average, [[0.5, 0, -1]])


def test_a_card_names_what_one_leads_in() -> None:
    """The greatest leads first, in words."""
    assert card({"law": -0.1, "high_school_physics": 0.2, "math": 0.3}, 2) == "math, high school physics"


def test_likeness_goes_to_the_likest_name() -> None:
    """By hand: cosines 1 and 0 at temperature 1 have weights e to 1; a low one leaves nothing to the second."""
    question, names = np.array([[1, 0]], dtype=np.float32), np.eye(2, dtype=np.float32)
    np.testing.assert_allclose(likeness(question, names, 1.0), [[np.e / (np.e + 1), 1 / (np.e + 1)]])
    np.testing.assert_allclose(likeness(question, names, 0.01), [[1, 0]], atol=1e-9)
