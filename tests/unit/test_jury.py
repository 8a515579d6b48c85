"""What a learned vote weighs: by hand, and as an electorate counts it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.jury import LEAST_WEIGHT, NOBODY_FEATURES, SURE, Jury, log_odds, nobody_features
from router.vote import Electorate, elected
from tests.unit.make import reply

NAMES = ("ada", "bob", "cy")
PARTS = st.floats(-3, 3)
UNIT = st.floats(0, 1)
VOTES = st.lists(st.sampled_from(["1", "2", "3", "x", ""]), min_size=1, max_size=4)


def jury(
    bias: Sequence[float] = (0, 0, 0),
    slope: Sequence[float] = (1, 1, 1),
    shared: float = 0.0,
    nobody: Sequence[float] = (0, 0, 0, 0),
) -> Jury:
    """Of ada, bob and cy; by default everybody weighs its log-odds."""
    return Jury(NAMES, np.array(bias, float), np.array(slope, float), shared, np.array(nobody, float))


JURIES = st.builds(
    jury,
    *[st.lists(PARTS, min_size=3, max_size=3)] * 2,
    PARTS,
    st.lists(PARTS, min_size=NOBODY_FEATURES, max_size=NOBODY_FEATURES),
)


def odds(p: float) -> float:
    """Their logarithm."""
    return math.log(p / (1 - p))


def voting(learned: Jury, p: Mapping[str, float], alternatives: float = 2.0) -> Electorate:
    """An electorate with a jury."""
    return Electorate(p, alternatives, jury=learned)


def test_log_odds_are_bounded() -> None:
    """Nobody is surer of itself than the surest, nor less sure than that one's counterpart."""
    found = log_odds(np.array([0.0, 0.25, 0.5, 1.0]))
    np.testing.assert_allclose(found, [-odds(SURE), -math.log(3), 0.0, odds(SURE)])


def test_what_speaks_for_nobody_by_hand() -> None:
    """One, the answers named, the experts heard, and the logarithm of one more than those."""
    found = nobody_features(np.array([0.0, 2.0]), np.array([0.0, 3.0]))
    np.testing.assert_allclose(found, np.array([[1, 0, 0, 0], [1, 2, 3, math.log(4)]]))
    assert jury(nobody=(0.5, 1, -2, 3)).log_odds_nobody(2, 3) == pytest.approx(0.5 + 2 - 6 + 3 * math.log(4))


def test_weights_by_hand() -> None:
    """bias + slope * log-odds + shared * their mean over the pool, which are those of log 3 and log 1 here."""
    found = jury((0.5, -0.25, 9), (2, 1, 9), 4.0).weights({"bob": 0.5, "ada": 0.75})
    mean = math.log(3) / 2
    assert found == pytest.approx({"ada": 0.5 + 2 * math.log(3) + 4 * mean, "bob": -0.25 + 4 * mean})


def test_strangers_are_none_of_the_jury_s() -> None:
    """It says nothing of whom it was not learned for, and they do not count for the pool's mean; of nobody, nothing."""
    known = jury(shared=2.0)
    assert known.weights({"ada": 0.75, "new": 0.01}) == known.weights({"ada": 0.75})
    assert known.weights({"new": 0.5}) == {}
    assert known.weights({}) == {}


@given(JURIES, st.lists(UNIT, min_size=3, max_size=3), st.permutations(NAMES))
def test_the_order_of_the_pool_does_not_matter(learned: Jury, p: list[float], order: list[str]) -> None:
    """Weights go by name."""
    trust = dict(zip(NAMES, p, strict=True))
    assert learned.weights({name: trust[name] for name in order}) == pytest.approx(learned.weights(trust))


@given(JURIES, st.lists(UNIT, min_size=3, max_size=3))
def test_no_vote_speaks_against_its_answer(learned: Jury, p: list[float]) -> None:
    """An electorate takes the learned weight where it is at least the least."""
    trust = dict(zip(NAMES, p, strict=True))
    electorate, said = voting(learned, trust), learned.weights(trust)
    for name in NAMES:
        assert electorate.weight(name) == max(said[name], LEAST_WEIGHT)
        assert electorate.weight(name) >= LEAST_WEIGHT


def test_whom_the_jury_does_not_know_votes_by_naive_bayes() -> None:
    """p K / (1 - p), as everybody does without a jury."""
    electorate = voting(jury((5, 5, 5)), {"ada": 0.75, "new": 0.75})
    assert electorate.weight("new") == pytest.approx(math.log(6))
    assert electorate.weight("ada") == pytest.approx(5 + math.log(3))


def test_equal_votes_know_no_jury() -> None:
    """A majority is one, whatever was learned: weights and posterior are those without a jury."""
    trust = dict.fromkeys(NAMES, 0.7)
    replies = [reply("ada", "1"), reply("bob", "2"), reply("cy", "2")]
    with_jury = Electorate(trust, 2.0, equal=True, jury=jury((9, 0, 0), nobody=(9, 0, 0, 0)))
    without = Electorate(trust, 2.0, equal=True)
    assert elected(with_jury, replies) == elected(without, replies)
    assert elected(with_jury, replies).choices == replies[1].choices


def test_the_posterior_by_hand() -> None:
    """A softmax over what was named and nobody: ada's answer weighs log 3 + log 3, cy's log 2, nobody 0."""
    electorate = voting(jury(), {"ada": 0.75, "bob": 0.75, "cy": 2 / 3})
    camps = electorate.camps([reply("ada", "1"), reply("bob", "1"), reply("cy", "2")])
    named, nobody = electorate.posteriors(camps)
    assert named == pytest.approx((9 / 12, 2 / 12))
    assert nobody == pytest.approx(1 / 12)


def test_an_answer_that_is_none_is_not_heard() -> None:
    """It counts neither among the answers nor among the experts heard."""
    electorate = voting(jury(nobody=(0, 1, 1, 1)), dict.fromkeys(NAMES, 0.6))
    one = electorate.posteriors(electorate.camps([reply("ada", "1")]))
    two = electorate.posteriors(electorate.camps([reply("ada", "1"), reply("bob", "")]))
    assert one == two
    assert electorate.posteriors(electorate.camps([reply("ada", "")])) == ((), 1.0)


@given(JURIES, VOTES, st.lists(UNIT, min_size=4, max_size=4), st.randoms(use_true_random=False))
def test_posteriors_share_what_is_certain(learned: Jury, said: list[str], p: list[float], random: Random) -> None:
    """They sum to 1, the winner's is the largest of those named, and the order of replies changes not a digit."""
    names = (*NAMES, "new")
    electorate = voting(learned, dict(zip(names, p, strict=True)))
    replies = [reply(name, text) for name, text in zip(names, said, strict=False)]
    named, nobody = electorate.posteriors(electorate.camps(replies))
    assert math.fsum((*named, nobody)) == pytest.approx(1)
    assert all(0 <= value <= 1 for value in (*named, nobody))
    assert max(named, default=0.0) == pytest.approx(named[0] if named else 0.0)
    shuffled = list(replies)
    random.shuffle(shuffled)
    again = voting(learned, dict(zip(names, p, strict=True)))
    assert again.posteriors(again.camps(shuffled)) == (named, nobody)
    assert elected(again, shuffled) == elected(electorate, replies)
