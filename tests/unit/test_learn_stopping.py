"""Learning when to stop: gains on votes made for it, and the served loop that ends where the learned course does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.aggregate import Vote, aggregation
from router.correctness import VIEWS, Blend, Linear
from router.jury import LEAST_WEIGHT, Jury, log_odds
from router.learn_jury import NONE, Votes, learn_jury, votes
from router.learn_stopping import PRICES, Course, course, learn_stopping
from router.learned import Learned
from router.records import Needs, Plan
from router.replay import replay
from router.stopping import FEATURES, Outlook, Stopping
from router.surface import FEATURES as SURFACE_FEATURES
from tests.unit.make import reply

NAMES = ("ada", "bob", "cy", "dan")
PRICE = 0.01
PLAIN = Jury(("ada", "bob"), np.zeros(2), np.ones(2), 0.0, np.zeros(4))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As `learn` does: threads that wait for each other make so small a problem ten times slower."""
    with threadpool_limits(1):
        yield


def asked(count: int, seed: int) -> tuple[NDArray[np.str_], Votes, NDArray[np.float64]]:
    """Answers of four experts, right as often as predicted; some say nothing, and some questions are hard for all."""
    rng = np.random.default_rng(seed)
    p = np.clip(rng.uniform(0.2, 0.9, (count, 1)) + rng.normal(0, 0.12, (count, 4)), 0.02, 0.98)
    said = np.where(rng.random(p.shape) < p, 0, rng.integers(1, 5, p.shape))
    answers = np.where(rng.random(p.shape) < 0.05, "", said.astype(np.str_))
    return answers, votes(answers, (said == 0).astype(float)), p


def learned(given: Votes, p: NDArray[np.float64]) -> tuple[Jury, Stopping]:
    """Both parts, from these votes in four folds."""
    return learn_jury(NAMES, given, p), learn_stopping(NAMES, given, p, np.arange(len(p)) % 4)


def file_of(jury: Jury, stopping: Stopping) -> Learned:
    """A learned file whose other parts do not matter to votes."""
    line = Linear(np.zeros(1), np.zeros((1, 4)), np.zeros(4))
    forms, shares = np.ones(len(SURFACE_FEATURES)), np.zeros(len(VIEWS))
    blend = Blend(NAMES, line, line, forms, forms, np.zeros(4), shares, shares)
    return Learned(embedder="none", versions={}, blend=blend, jury=jury, stopping=stopping, report={})


def outlook_at(seen: Course, turn: int) -> Outlook:
    """What was known behind so many answers, from 0 for one."""
    return Outlook(*(part[:, turn] for part in seen.outlook))


def two(second: NDArray[np.int64]) -> tuple[Votes, NDArray[np.float64]]:
    """ada is asked first and is right (0) on every other question, wrong (1) on the rest; bob says this."""
    first = np.arange(len(second)) % 2
    codes = np.stack([first, second], axis=1)
    right = np.where((codes == 0).any(axis=1), 0, NONE)
    return Votes(codes, right), np.tile([0.7, 0.6], (len(second), 1))


def stops(course_of: Course, stopping: Stopping, price: float) -> NDArray[np.int64]:
    """After how many answers each of N votes ends: [N], from 1."""
    horizon = course_of.right.shape[1]
    ended = np.full(len(course_of.right), horizon)
    for turn in range(horizon - 2, -1, -1):
        gain = stopping.gain(turn + 1, Outlook(*(part[:, turn] for part in course_of.outlook)), price)
        ended = np.where(gain <= 0, turn + 1, ended)
    return ended


def gain(second: NDArray[np.int64], price: float) -> NDArray[np.float64]:
    """What hearing bob was found to add."""
    given, p = two(second)
    found = learn_stopping(("ada", "bob"), given, p, np.arange(len(p)) // 2 % 4)
    jury = learn_jury(("ada", "bob"), given, p)
    return found.gain(1, outlook_at(course(jury, given, p, 2), 0), price)


def test_an_expert_that_never_helps_is_not_worth_a_price() -> None:
    """bob repeats what ada said: the gain of hearing him is what it costs, with the sign turned."""
    second = np.arange(80) % 2
    np.testing.assert_allclose(gain(second, PRICE), -PRICE, atol=1e-9)
    np.testing.assert_allclose(gain(second, 0.0), 0.0, atol=1e-9)


def test_an_expert_that_corrects_the_first_is() -> None:
    """bob is always right and outvotes ada, who is right on one half: hearing him gains a half, less the price.

    He is asked second, for what was predicted of him, and his vote weighs more, by what was learned.
    """
    given, p = two(np.zeros(80, dtype=np.int64))
    jury = Jury(("ada", "bob"), np.array([1.0, 2.0]), np.zeros(2), 0.0, np.zeros(4))
    seen = course(jury, given, p, 2)
    np.testing.assert_array_equal(seen.right, np.stack([np.arange(80) % 2 == 0, np.full(80, True)], axis=1))
    np.testing.assert_allclose(gain(np.zeros(80, dtype=np.int64), PRICE), 0.5 - PRICE, atol=1e-6)


def test_a_vote_as_it_goes_by_hand() -> None:
    """ada, then bob, who contradicts her: odds of 7 : 3 and 6 : 4 against nobody, at weights that are log-odds."""
    seen = course(PLAIN, Votes(np.array([[0, 1]]), np.array([1])), np.array([[0.7, 0.6]]), 2)
    np.testing.assert_array_equal(seen.right, [[False, False]])
    one, other, total = 7 / 3, 6 / 4, 1 + 7 / 3 + 6 / 4
    np.testing.assert_allclose(seen.outlook.first, [[0.7, one / total]])
    np.testing.assert_allclose(seen.outlook.second, [[0, other / total]])
    np.testing.assert_allclose(seen.outlook.nobody, [[0.3, 1 / total]])
    np.testing.assert_allclose(seen.outlook.lead, [[np.log(one), np.log(one / other)]])
    np.testing.assert_allclose(seen.outlook.following, [[0.6, 0]])
    np.testing.assert_allclose(seen.outlook.left, [[0.6, 0]])


def test_the_most_promising_is_asked_first() -> None:
    """Whatever its column is; an expert that says nothing leaves the vote where it was."""
    seen = course(PLAIN, Votes(np.array([[0, 1], [0, NONE]]), np.array([1, 0])), np.array([[0.6, 0.7]] * 2), 2)
    np.testing.assert_array_equal(seen.right, [[True, True], [False, True]])
    np.testing.assert_allclose(seen.outlook.nobody[1], [1, 0.4])


def test_nobody_is_right_where_nobody_named_the_right_answer() -> None:
    """Not even one that named none."""
    given = Votes(np.array([[NONE, NONE], [0, 0]]), np.array([NONE, NONE]))
    assert not course(PLAIN, given, np.full((2, 2), 0.6), 2).right.any()


def test_a_higher_price_ends_votes_earlier() -> None:
    """On average, of those prices that something was learned for; at the highest nearly all end at once."""
    _, given, p = asked(600, 0)
    jury, stopping = learned(given, p)
    seen = course(jury, given, p, 4)
    calls = [float(stops(seen, stopping, price).mean()) for price in PRICES]
    assert calls == sorted(calls, reverse=True)
    assert calls[0] > calls[-1] + 0.5


def test_what_was_learned_pays() -> None:
    """On fresh votes: right answers less the price of calls are no fewer than with any fixed number of calls."""
    _, given, p = asked(800, 0)
    jury, stopping = learned(given, p)
    _, fresh, fresh_p = asked(800, 7)
    seen, price = course(jury, fresh, fresh_p, 4), 0.02
    ended = stops(seen, stopping, price)
    found = seen.right[np.arange(len(ended)), ended - 1].mean() - price * ended.mean()
    fixed = [seen.right[:, turn].mean() - price * (turn + 1) for turn in range(4)]
    assert found >= max(fixed) - 0.002


def test_a_pool_of_one_has_nothing_to_stop() -> None:
    """Its file has a row all the same."""
    given = Votes(np.zeros((8, 1), dtype=np.int64), np.zeros(8, dtype=np.int64))
    found = learn_stopping(("ada",), given, np.full((8, 1), 0.5), np.arange(8) % 4)
    assert found.weights.shape == (len(PRICES), 1, FEATURES)
    np.testing.assert_array_equal(stops(course(PLAIN, given, np.full((8, 1), 0.5), 1), found, 0.0), 1)


def settled_after(jury: Jury, seen: Course, p: NDArray[np.float64]) -> NDArray[np.int64]:
    """[N], after how many answers nobody left can overturn the first one."""
    x = log_odds(p)
    weights = np.maximum(jury.bias + jury.slope * x + jury.shared * x.mean(axis=1, keepdims=True), LEAST_WEIGHT)
    in_turn = np.take_along_axis(weights, np.argsort(-p, axis=1, kind="stable"), axis=1)
    left = in_turn.sum(axis=1, keepdims=True) - np.cumsum(in_turn, axis=1)
    left[:, -1] = -1.0  # the last answer ends every vote
    return np.asarray((seen.outlook.lead > left + 1e-9).argmax(axis=1) + 1)


@pytest.mark.parametrize("price", [0.0, 0.01, 0.05])
def test_votes_that_are_served_end_where_they_were_learned_to(price: float) -> None:
    """One expert after the other, the most promising first: the served loop asks as many as the learned course does.

    It also stops where nobody left could overturn the answer, which changes calls but no answer.
    """
    said, given, p = asked(200, 3)
    jury, stopping = learned(given, p)
    known, seen = file_of(jury, stopping), course(jury, given, p, 4)
    wanted, settled = stops(seen, stopping, price), settled_after(jury, seen, p)
    for row, trust in enumerate(p.tolist()):
        order = sorted(range(4), key=lambda e: -trust[e])
        plan = Plan(
            waves=tuple((NAMES[e],) for e in order),
            aggregator="vote",
            spares=(),
            reason="convened",
            decided_at=1.0,
            p_correct=dict(zip(NAMES, trust, strict=True)),
            prices=dict.fromkeys(NAMES, price),
        )
        how = aggregation(plan, Needs(), 3.0, known)
        assert isinstance(how, Vote)
        replies = {name: reply(name, text) for name, text in zip(NAMES, said[row].tolist(), strict=True)}
        found = replay(plan, how, replies)
        assert len(found.asked) == min(wanted[row], settled[row])
        assert found.asked == plan.experts[: len(found.asked)]
        right = (said[row, NAMES.index(found.expert)] == "0", bool(seen.right[row, wanted[row] - 1]))
        assert right[0] == right[1]
    earlier = Counter((wanted < settled).tolist())
    assert earlier[True] > 10
    assert earlier[False] > 10
