"""Learning what votes are worth: the likelihood's gradient, experts that err together, and probabilities that hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad
from threadpoolctl import threadpool_limits

from router.jury import NOBODY_FEATURES, Jury
from router.learn_jury import NONE, Votes, _Likelihood, learn_jury, votes
from router.vote import Electorate
from tests.unit.make import reply

EXPERTS = ("ada", "bob", "cy")
WRONG = 3  # answers that the wrong ones scatter over


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As `learn` does: threads that wait for each other make so small a problem ten times slower."""
    with threadpool_limits(1):
        yield


def answered(count: int, seed: int) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
    """Answers, who is right and P(right). ada and bob say the same, word for word; cy thinks for itself."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.35, 0.95, (count, 2))
    codes = np.where(rng.random(p.shape) < p, 0, rng.integers(1, WRONG + 1, p.shape))[:, [0, 0, 1]]
    shaken = p[:, [0, 0, 1]] + rng.uniform(-0.01, 0.01, codes.shape)  # either of the copies may be asked first
    return codes.astype(np.str_), (codes == 0).astype(np.float64), shaken


@cache
def jury(count: int = 2000) -> Jury:
    """Learned from such answers."""
    said, right, p = answered(count, 0)
    return learn_jury(EXPERTS, votes(said, right), p)


def electorate(learned: Jury | None, p: Sequence[float]) -> Electorate:
    """Of the three, by the learned weights or by naive Bayes."""
    return Electorate(dict(zip(EXPERTS, p, strict=True)), float(WRONG), jury=learned)


def claimed_and_true(learned: Jury | None, heard: int = 3) -> tuple[float, float]:
    """On fresh questions, of so many, the best first: the winners' mean posterior, and how many of them are right."""
    claimed, true = [], []
    said, _, trust = answered(700, 99)
    for row, p in zip(said.tolist(), trust.tolist(), strict=True):
        voting = electorate(learned, p)
        first = sorted(range(3), key=lambda e: -p[e])[:heard]
        camps = voting.camps([reply(EXPERTS[e], row[e]) for e in first])
        claimed.append(voting.posterior(camps))
        true.append(camps[0].answer == "0")
    return float(np.mean(claimed)), float(np.mean(true))


def test_answers_become_codes() -> None:
    """Equal texts of a question have one number; an empty one has none, even where it is graded right."""
    answers = np.array([["x", "y", "x"], ["", "z", ""], ["", "", ""], ["a", "b", "c"]])
    right = np.array([[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0.25, 0.75]], dtype=np.float64)
    found = votes(answers, right)
    np.testing.assert_array_equal(found.codes, [[0, 1, 0], [NONE, 0, NONE], [NONE] * 3, [0, 1, 2]])
    np.testing.assert_array_equal(found.right, [1, NONE, NONE, 2])


def test_the_right_answer_is_right_as_long_as_it_is_heard() -> None:
    """Of those heard: where nobody of them named it, nobody is right."""
    given = Votes(np.array([[0, 1, 1], [0, 1, 1]]), np.array([1, 0]))
    found = given.heard(np.array([[True, False, True], [False, True, False]]))
    np.testing.assert_array_equal(found.codes, [[0, NONE, 1], [NONE, 1, NONE]])
    np.testing.assert_array_equal(found.right, [1, NONE])
    np.testing.assert_array_equal(given.only(np.array([1])).codes, [[0, 1, 1]])


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_likelihood(seed: int) -> None:
    """Finite differences say the same, with answers missing and questions that nobody was right on."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(NONE, 4, (40, 5))
    right = np.where(rng.random(40) < 0.8, codes[np.arange(40), rng.integers(0, 5, 40)], NONE)
    problem = _Likelihood(Votes(codes, right), rng.normal(size=(40, 5)), 0.4)
    at = rng.normal(size=2 * 5 + 2 + NOBODY_FEATURES)
    error = check_grad(lambda x: problem(x)[0], lambda x: problem(x)[1], at)
    assert error < 1e-4 * float(np.linalg.norm(problem(at)[1]))


def test_the_likelihood_by_hand() -> None:
    """One question, one vote of weight 1, nothing for nobody: -log(e / (e + 1)); one penalty, of the common slope."""
    problem = _Likelihood(Votes(np.array([[0]]), np.array([0])), np.array([[2.0]]), 1.0)
    at = np.array([0, 0, 0.5, 0, 0, 0, 0, 0], dtype=np.float64)
    assert problem(at)[0] == pytest.approx(math.log(1 + math.exp(-1)) + 0.1 * 0.25)


def test_learning_is_reproducible() -> None:
    """The same answers and seed give the same jury, to the last bit."""
    one, other = (learn_jury(EXPERTS, votes(said, right), p, 7) for said, right, p in [answered(100, 0)] * 2)
    for part in ("bias", "slope", "nobody"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    assert one.shared == other.shared


@pytest.mark.parametrize("p", [0.6, 0.75, 0.9])
def test_experts_that_err_together_weigh_less_together(p: float) -> None:
    """Naive Bayes counts a copy as a witness. Learned, the pair weighs less beside the one that is independent."""
    naive, learned = electorate(None, [p] * 3), electorate(jury(), [p] * 3)
    pair = learned.weight("ada") + learned.weight("bob")
    assert pair < 0.75 * (naive.weight("ada") + naive.weight("bob"))
    assert pair < 1.4 * learned.weight("cy")


@pytest.mark.parametrize("heard", [1, 2, 3])
def test_the_posterior_is_what_it_says(heard: int) -> None:
    """On fresh questions its mean is how often the winner is right, however many were heard."""
    claimed, true = claimed_and_true(jury(), heard)
    assert claimed == pytest.approx(true, abs=0.03)


def test_naive_bayes_is_too_sure_of_copies() -> None:
    """What is learned against: the agreement of two that always agree."""
    claimed, true = claimed_and_true(None)
    assert claimed > true + 0.05


def test_more_trust_weighs_more_where_it_was_deserved() -> None:
    """Experts that are right as often as predicted: the slope of the log-odds is positive for all."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.3, 0.95, (1500, 3))
    codes = np.where(rng.random(p.shape) < p, 0, rng.integers(1, WRONG + 1, p.shape))
    learned = learn_jury(EXPERTS, votes(codes.astype(np.str_), (codes == 0).astype(float)), p)
    assert (learned.slope + learned.shared / 3 > 0.5).all()
    weights = learned.weights({"ada": 0.9, "bob": 0.5, "cy": 0.7})
    assert weights["ada"] > weights["cy"] > weights["bob"]


def test_nobody_answering_teaches_nothing() -> None:
    """Questions without any answer are no error, and no weight comes from them."""
    given = Votes(np.full((5, 3), NONE), np.full(5, NONE))
    learned = learn_jury(EXPERTS, given, np.full((5, 3), 0.7))
    assert np.isfinite([*learned.bias, *learned.slope]).all()
    np.testing.assert_allclose(learned.slope, 0, atol=1e-3)
