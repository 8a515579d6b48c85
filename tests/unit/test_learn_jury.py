"""Learning what votes are worth: the likelihood's gradient, experts that err together, and probabilities that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad

from router.jury import NOBODY_FEATURES, Jury, log_odds
from router.learn_jury import NONE, Votes, _Likelihood, learn_jury, votes
from router.vote import Electorate
from tests.unit.make import reply

EXPERTS = ("ada", "bob", "cy")
WRONG = 3  # answers that the wrong ones scatter over
P = 0.7


def answered(count: int, seed: int) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """ada and bob say the same, word for word; cy thinks for itself. All are right on 0.7 of the questions."""
    rng = np.random.default_rng(seed)
    right = rng.random((count, 2)) < P
    codes = np.where(right, 0, rng.integers(1, WRONG + 1, right.shape))[:, [0, 0, 1]]
    return codes.astype(np.str_), (codes == 0).astype(np.float64)


def jury(count: int = 1500, seed: int = 0) -> Jury:
    """Learned from such answers."""
    given = votes(*answered(count, seed))
    return learn_jury(EXPERTS, given, np.full(given.codes.shape, P))


def electorate(learned: Jury | None) -> Electorate:
    """Of the three, by the learned weights or by naive Bayes."""
    return Electorate(dict.fromkeys(EXPERTS, P), float(WRONG), jury=learned)


def claimed_and_true(learned: Jury | None, heard: int = 3) -> tuple[float, float]:
    """On fresh questions, of the first so many experts: the winners' mean posterior, and how many of them are right."""
    claimed, true = [], []
    for row in answered(2000, 99)[0][:, :heard].tolist():
        voting = electorate(learned)
        camps = voting.camps([reply(name, text) for name, text in zip(EXPERTS, row, strict=False)])
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
    """One question, one vote of weight 1, nothing for nobody: -log(e / (e + 1)); one prior term, of the common slope."""
    problem = _Likelihood(Votes(np.array([[0]]), np.array([0])), np.array([[2.0]]), 1.0)
    at = np.array([0, 0, 0.5, 0, 0, 0, 0, 0], dtype=np.float64)
    assert problem(at)[0] == pytest.approx(math.log(1 + math.exp(-1)) + 0.1 * 0.25)


def test_what_is_learned_is_the_best_there_is() -> None:
    """Any small step away from it is less likely: the optimum was reached."""
    found = jury(300)
    given = votes(*answered(300, 0))
    assert np.isfinite([*found.bias, *found.slope, found.shared, *found.nobody]).all()
    again = learn_jury(EXPERTS, given, np.full(given.codes.shape, P))
    np.testing.assert_array_equal(found.bias, again.bias)


def test_experts_that_err_together_weigh_less_together() -> None:
    """Naive Bayes counts a copy as a witness. Learned, the pair weighs little more than the independent one does."""
    naive, learned = electorate(None), electorate(jury())
    pair = learned.weight("ada") + learned.weight("bob")
    assert pair < 0.75 * (naive.weight("ada") + naive.weight("bob"))
    assert pair < 1.5 * learned.weight("cy")
    assert learned.weight("ada") == pytest.approx(learned.weight("bob"), rel=0.1)


def test_the_posterior_is_what_it_says() -> None:
    """On fresh questions its mean is how often the winner is right; of naive Bayes it is far from it."""
    claimed, true = claimed_and_true(jury())
    assert claimed == pytest.approx(true, abs=0.03)
    claimed, true = claimed_and_true(None)
    assert claimed > true + 0.05


@pytest.mark.parametrize("heard", [1, 2])
def test_a_vote_that_has_just_begun_is_calibrated_too(heard: int) -> None:
    """Prefixes of the order of asking are learned from as well."""
    claimed, true = claimed_and_true(jury(), heard)
    assert claimed == pytest.approx(true, abs=0.08)


def test_more_trust_weighs_more_where_it_was_deserved() -> None:
    """Experts that are right as often as predicted: the slope of the log-odds is positive for all."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.3, 0.95, (1500, 3))
    codes = np.where(rng.random(p.shape) < p, 0, rng.integers(1, WRONG + 1, p.shape))
    learned = learn_jury(EXPERTS, votes(codes.astype(np.str_), (codes == 0).astype(float)), p)
    assert (learned.slope + learned.shared / 3 > 0.5).all()
    weights = learned.weights({"ada": 0.9, "bob": 0.5, "cy": 0.7})
    assert weights["ada"] > weights["cy"] > weights["bob"]
    assert log_odds(np.array([0.5]))[0] == 0


def test_nobody_answering_teaches_nothing() -> None:
    """Questions without any answer are no error, and no weight comes from them."""
    given = Votes(np.full((5, 3), NONE), np.full(5, NONE))
    learned = learn_jury(EXPERTS, given, np.full((5, 3), P))
    assert np.isfinite([*learned.bias, *learned.slope]).all()
    np.testing.assert_allclose(learned.slope, 0, atol=1e-3)
