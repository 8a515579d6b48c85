"""The baselines, by hand: worlds of a few questions in which each choice can be told by counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from router.baselines import (
    NEIGHBOURS,
    at_random,
    by_neighbours,
    by_overall,
    by_regressions,
    by_true_category,
    majority,
)
from router.evaluation import Trial
from router.outcomes import Outcomes, profiles_of
from router.rates import Predicted, Rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXPERTS = ("ada", "bob", "cat")
STRENGTH = 20.0


def some(right: Any, categories: str, answers: Any = None) -> Outcomes:
    """Questions whose categories are single letters."""
    matrix, names = np.array(right, dtype=np.float64), tuple(map(str, range(len(categories))))
    return Outcomes(
        ids=names,
        texts=names,
        categories=tuple(categories),
        groups=names,
        experts=EXPERTS,
        right=matrix,
        answers=None if answers is None else np.array(answers),
        tokens=None,
        usd=np.ones_like(matrix),
        usd_from="calls",
    )


def trial(known: Outcomes, asked: Outcomes, vectors: Any = None, seed: int = 0) -> Trial:
    """What the baselines look at; nothing was learned beside the profiles."""
    profiles = profiles_of(known)
    nothing = np.zeros(asked.right.shape)
    none = nothing.astype(np.int64)
    return Trial(
        known=known,
        asked=asked,
        vectors=vectors or (np.zeros((len(known), 2), np.float32), np.zeros((len(asked), 2), np.float32)),
        profiles=profiles,
        rates=Rates.of(profiles.experts, STRENGTH),
        learned=cast(Any, None),
        categories=(),
        skills=(),
        predicted=Predicted(nothing, nothing, none, none),
        seed=seed,
    )


KNOWN = some([[1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 1, 0]], "mmll")


def asked(answers: Sequence[Sequence[str]]) -> Trial:
    """One test question for each row of answers."""
    return trial(KNOWN, some(np.zeros((len(answers), 3)), "m" * len(answers), answers))


def scores(*values: float) -> NDArray[np.float64]:
    return np.array([values])


def test_the_overall_rates_are_those_of_training_for_every_question() -> None:
    """Test outcomes have no part in them."""
    made = trial(KNOWN, some([[0, 0, 1], [0, 0, 1]], "lm"))
    assert by_overall(made).tolist() == [[0.75, 0.5, 0.25]] * 2


def test_the_true_category_has_shrunken_rates() -> None:
    """By hand: (right + 20 · overall) / (asked + 20), overall likewise by the pool; overall where it is unknown."""
    found = by_true_category(trial(KNOWN, some(np.zeros((3, 3)), "mlx")))
    pool = (6 + 1) / (12 + 2)
    overall = (np.array([3, 2, 1]) + STRENGTH * pool) / (4 + STRENGTH)
    assert found[0] == pytest.approx((np.array([2, 0, 1]) + STRENGTH * overall) / (2 + STRENGTH))
    assert found[1] == pytest.approx((np.array([1, 2, 0]) + STRENGTH * overall) / (2 + STRENGTH))
    assert found[2] == pytest.approx(overall), "of no such category was anything learned"


def test_a_true_category_that_was_too_rare_is_what_it_was_learned_as() -> None:
    """`general`, where the rarest were put together."""
    known = replace(KNOWN, categories=("general", "general", "l", "l"))
    found = by_true_category(trial(known, some(np.zeros((2, 3)), "xl")))
    assert found[0].tolist() == [trial(known, known).rates.rate(name, "general") for name in EXPERTS]
    assert found[0].tolist() != found[1].tolist()


def test_neighbours_are_the_questions_that_mean_nearly_the_same() -> None:
    """Two crowds of 50: each test question is answered by what its own crowd says, leaning on the means."""
    right = [[1, 0, 1]] * NEIGHBOURS + [[0, 1, 1]] * NEIGHBOURS
    known = some(right, "m" * (2 * NEIGHBOURS))
    near = np.concatenate([np.tile([1.0, 0.0], (NEIGHBOURS, 1)), np.tile([0.0, 1.0], (NEIGHBOURS, 1))])
    vectors = near.astype(np.float32), np.array([[0, 1], [1, 0]], np.float32)
    found = by_neighbours(trial(known, some(np.zeros((2, 3)), "mm"), vectors))
    yes, no = (NEIGHBOURS + STRENGTH / 2) / (NEIGHBOURS + STRENGTH), STRENGTH / 2 / (NEIGHBOURS + STRENGTH)
    assert found == pytest.approx(np.array([[no, yes, 1], [yes, no, 1]]))


def test_fewer_questions_than_neighbours_are_all_of_them() -> None:
    """Then everybody's score is the overall rate, wherever the question lies."""
    made = trial(KNOWN, some(np.zeros((1, 3)), "m"), (np.eye(4, 2, dtype=np.float32), np.ones((1, 2), np.float32)))
    assert by_neighbours(made) == pytest.approx(by_overall(made))


def test_regressions_learn_each_expert_by_itself() -> None:
    """Who is right on one side of the room is chosen there; always or never right needs no regression."""
    side = np.repeat([[1.0, 0.0], [0.0, 1.0]], 20, axis=0).astype(np.float32)
    known = some([[1, 1, 0]] * 20 + [[0, 1, 0]] * 20, "m" * 40)
    found = by_regressions(trial(known, some(np.zeros((2, 3)), "mm"), (side, np.eye(2, dtype=np.float32))))
    assert found[0, 0] > 0.8
    assert found[1, 0] < 0.2
    assert found[:, 1:].tolist() == [[1, 0], [1, 0]]


def test_chance_has_a_seed() -> None:
    """The same one draws the same, another one something else; scores are between 0 and 1."""
    right = some(np.zeros((50, 3)), "m" * 50)
    first, again, other = (at_random(trial(KNOWN, right, seed=seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert first.shape == (50, 3)
    assert ((first >= 0) & (first < 1)).all()
    assert set(first.argmax(axis=1)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("answers", "count", "expected"),
    [
        (("A", "B", "B"), 3, "bob"),  # two against the best one; of them the better one speaks
        (("A", "B", "B"), 2, "ada"),  # a tie of those asked
        (("A", "B", "C"), 3, "ada"),  # all differ
        (("", "B", "C"), 3, "bob"),  # nothing is no vote, and no tie with one
        (("", "", "C"), 3, "cat"),
        (("", "", "C"), 2, "ada"),  # nobody who was asked said anything
        (("", "", ""), 3, "ada"),
        (("A", "", ""), 3, "ada"),  # two say nothing, and do not win
        (("A", "B", "B"), 1, "ada"),
    ],
)
def test_a_plain_vote(answers: tuple[str, ...], count: int, expected: str) -> None:
    """Most votes win, ties go to the better score; who says nothing has none."""
    assert EXPERTS[majority(asked([answers]), scores(0.9, 0.6, 0.3), count).chosen[0]] == expected


def test_ties_go_to_the_score_and_not_to_the_place() -> None:
    """The same answers, other scores; equal scores go by place."""
    tied = asked([("A", "B", "")])
    assert majority(tied, scores(0.1, 0.2, 0.9), 3).chosen.tolist() == [1]
    assert majority(tied, scores(0.2, 0.1, 0.9), 3).chosen.tolist() == [0]
    assert majority(tied, scores(0.5, 0.5, 0.5), 3).chosen.tolist() == [0]
    pairs = asked([("A", "B", "B")])
    assert majority(pairs, scores(0.9, 0.3, 0.6), 3).chosen.tolist() == [2], "the better of the two who win"


def test_a_vote_says_who_was_asked() -> None:
    """The best first, and no more than there are."""
    pairs = asked([("A", "B", "B"), ("A", "B", "B")])
    found = majority(pairs, np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]]), 2)
    assert found.asked.tolist() == [[1, 2], [0, 1]]
    assert found.chosen.tolist() == [1, 0]
    assert majority(pairs, scores(0.9, 0.6, 0.3).repeat(2, axis=0), 9).asked.shape == (2, 3)


def test_each_question_has_its_own_vote() -> None:
    """Rows do not mix."""
    made = asked([("A", "B", "B"), ("A", "A", "B"), ("", "", "")])
    many = np.array([[0.9, 0.6, 0.3], [0.1, 0.2, 0.3], [0.1, 0.3, 0.2]])
    assert majority(made, many, 3).chosen.tolist() == [1, 1, 1]
