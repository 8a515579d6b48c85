"""When another answer is not worth its price: features and gains by hand, and the vote that ends by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from router.aggregate import Vote
from router.jury import Jury
from router.records import Standing
from router.stopping import FEATURES, INPUTS, Outlook, Stopping, features
from router.vote import Electorate
from tests.unit.make import reply

OUTLOOK = Outlook(*(np.array([value]) for value in (0.5, 0.25, 0.125, 2.0, 0.75, 0.5)))
UNIT = st.floats(0, 1)
NAMES = ("ada", "bob", "cy", "dan")


def constant(*gains: float) -> NDArray[np.float64]:
    """Weights [1, H, FEATURES] that expect these gains behind the first, the second … answer, whatever is known."""
    weights = np.zeros((1, len(gains), FEATURES))
    weights[0, :, 0] = gains
    return weights


def vote(stopping: Stopping | None, decided_at: float | None = 1.0) -> Vote:
    """Of four, whose votes weigh the log-odds of 0.6; hearing bob must bring 0.1, the others nothing."""
    learned = Jury(NAMES, np.zeros(4), np.ones(4), 0.0, np.zeros(4))
    electorate = Electorate(dict.fromkeys(NAMES, 0.6), 2.0, jury=learned)
    return Vote(electorate, decided_at, None, stopping=stopping, prices={"bob": 0.1})


def standing(*said: str) -> Standing:
    """So many have answered, in the order of their names; the others are still to be asked."""
    replies = tuple(reply(name, text) for name, text in zip(NAMES, said, strict=False))
    return Standing(replies, (), tuple((name,) for name in NAMES[len(said) :]))


def test_features_by_hand() -> None:
    """One, the inputs with the lead squashed, and each product of two of them, squares among them."""
    found = features(OUTLOOK)
    inputs = [0.5, 0.25, 0.125, np.tanh(1.0), 0.75, 0.5]
    products = [inputs[i] * inputs[j] for i in range(INPUTS) for j in range(i, INPUTS)]
    assert found.shape == (1, FEATURES)
    np.testing.assert_allclose(found[0], [1, *inputs, *products])


@given(st.lists(st.tuples(UNIT, UNIT, UNIT, st.floats(0, 1e6), UNIT, UNIT), max_size=4))
def test_features_are_bounded(seen: list[tuple[float, ...]]) -> None:
    """Between 0 and 1 for any vote, however large its lead is; as many rows as votes."""
    found = features(Outlook(*np.array(seen, dtype=np.float64).reshape(-1, INPUTS).T))
    assert found.shape == (len(seen), FEATURES)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_nearest_price_speaks() -> None:
    """Of those that gains were learned for; beyond the last one, the last one and what is dearer than it."""
    weights = np.concatenate([constant(0.25), constant(0.125), constant(-0.5)])
    known = Stopping(np.array([0.0, 0.01, 0.1]), weights)
    gains = {price: known.gain(1, OUTLOOK, price)[0] for price in (0.0, 0.004, 0.006, 0.05, 0.06, 3.0)}
    assert list(gains.values()) == pytest.approx([0.25, 0.25, 0.125, 0.125, -0.5, -3.4])


def test_each_number_of_answers_has_its_own_weights() -> None:
    """Row 0 speaks behind one answer; a vote longer than those learned from goes by the last row."""
    known = Stopping(np.zeros(1), constant(0.5, -0.25))
    assert [known.gain(heard, OUTLOOK, 0.0)[0] for heard in (1, 2, 3, 9)] == [0.5, -0.25, -0.25, -0.25]


def test_no_gain_is_larger_than_certainty() -> None:
    """P(right) has a range of 1: where features were never seen together, a regression may say more."""
    assert Stopping(np.zeros(1), constant(7.0)).gain(1, OUTLOOK, 0.0) == 1.0
    assert Stopping(np.zeros(1), constant(-7.0)).gain(1, OUTLOOK, 0.0) == -1.0


def test_a_vote_ends_where_nothing_is_to_be_gained() -> None:
    """Behind the second answer here: the first move asks on, the second one stops."""
    how = vote(Stopping(np.zeros(1), constant(0.5, 0.0)))
    assert how.move(standing("1")) == "ask"
    assert how.move(standing("1", "2")) == "stop"


def test_the_price_is_that_of_the_next_expert() -> None:
    """bob is next behind ada's answer, and dear; behind his own it is cy, who is not."""
    known = Stopping(np.array([0.0, 0.1]), np.concatenate([constant(0.5, 0.5), constant(-0.5, -0.5)]))
    assert vote(known).move(standing("1")) == "stop"
    assert vote(known).move(standing("1", "2")) == "ask"


def test_gains_end_no_vote_that_is_to_hear_everybody() -> None:
    """decided_at None; nor one that nothing was learned for, nor a majority, nor one that has not begun."""
    hopeless = Stopping(np.zeros(1), constant(-1.0))
    assert vote(hopeless).move(standing("1")) == "stop"
    assert vote(hopeless, None).move(standing("1")) == "ask"
    assert vote(None).move(standing("1")) == "ask"
    majority = vote(hopeless)
    majority = replace(majority, electorate=replace(majority.electorate, equal=True))
    assert majority.move(standing("1")) == "ask"
    assert vote(hopeless).move(standing()) == "ask"


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (("1",), (0.6, 0.0, 0.4, np.log(1.5), 0.6, 0.6)),
        (("1", "2"), (3 / 8, 3 / 8, 2 / 8, 0.0, 0.6, 0.6)),
        (("1", "1"), (9 / 13, 0.0, 4 / 13, 2 * np.log(1.5), 0.6, 0.6)),
        (("",), (0.0, 0.0, 1.0, 0.0, 0.6, 0.6)),
    ],
    ids=["one", "one each", "together", "no answer"],
)
def test_what_is_known_of_a_vote_by_hand(said: tuple[str, ...], seen: tuple[float, ...]) -> None:
    """Each vote has odds of 3 : 2 against nobody. A gain of 1 for one input alone says what that input is."""
    for place, value in enumerate(seen):
        for known, move in ((value - 1e-6, "ask"), (value + 1e-6, "stop")):
            weights = np.zeros((1, 1, FEATURES))
            weights[0, 0, 0] = -(np.tanh(known / 2) if place == 3 else known)
            weights[0, 0, 1 + place] = 1.0
            assert vote(Stopping(np.full(1, 0.1), weights)).move(standing(*said)) == move
