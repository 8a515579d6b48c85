"""How likely a panel's vote is to be right, as far as P(right) and P(in time) of its members say. Pure.

Votes are weighed by a model (`router/vote.py`): experts are right independently of each other, and one that is wrong
names any of K wrong answers. What a panel says is a partition of its members into camps of one answer. A partition into
b camps can be named in (K)_{b-1} = K (K - 1) … (K - b + 2) ways with one given camp right, so

    P(the elected camp is right) = prod_i (1 - p_i) / K  *  sum over partitions of (K)_{b-1}  prod_{i elected} r_i

with r = p K / (1 - p). Weighed votes elect the camp with the largest product of r: the most probable answer, so that

    1. another member never makes a panel worse, nor does one with a larger P(right) in place of one with a smaller:
       who knows more can do whatever who knows less does (the weaker vote is the stronger one with noise added);
    2. members with r = 1, no better than chance among K + 1 answers, add nothing. Below that they count as chance,
       but no panel of them only is better than its best member.

Of equal votes the largest camp is elected, and ties are taken to be broken by chance. Then 2. does not hold, and of 1.
only that a larger P(right) is no worse: whoever is right more often can be right whenever the other is, and a vote that
moves to the right answer never unseats it.

Experts err together, though: of what independent votes would add to a panel's best member, GAIN is there (measured on
recorded outcomes: docs/budgets.md). Who is not in time is not heard: it counts as if it had voted by chance, which is
never better than to know that it did not vote; nobody's being there is no answer. All of that leaves 1. as it is, and a
larger P(in time) is never worse. Must not know who is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import perm
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST = 5  # members that are reckoned with, the weightiest: more add little, and partitions grow with Bell's numbers
GAIN = 0.5
SURE = 1 - 1e-9  # odds stay finite
AT_ONCE = 256  # panels: what is made of them stays in the cache


def elected_right(p: Floats, alternatives: float, *, equal: bool = False) -> Floats:
    """P(a vote elects the right answer), [N].

    Args:
        p: [N, members] of P(right), at most MOST members.
        alternatives: K; whole wrong answers are counted, so it is rounded.
        equal: all votes weigh the same.
    """
    k = max(round(alternatives), 1)
    pieces = [_elected_right(p[start : start + AT_ONCE], k, equal) for start in range(0, len(p), AT_ONCE)]
    return pieces[0] if len(pieces) == 1 else np.concatenate([*pieces, np.empty(0)])


def _elected_right(p: Floats, k: int, equal: bool) -> Floats:
    chance = 1 / (1 + k)
    best = p.max(axis=1)
    bounded = np.clip(p, 0.0 if equal else chance, SURE).T
    odds = bounded * k / (1 - bounded)
    camps = np.ones((1 << len(odds), p.shape[0]))
    for place, row in enumerate(odds):
        camps[1 << place : 2 << place] = camps[: 1 << place] * row
    scale = ((1 - bounded) / k).prod(axis=0)
    if equal:
        return np.asarray(scale * (_equal_shares(len(odds), k) @ camps))
    blocks, ways = _partitions(len(odds), k)
    elected = camps[blocks[0]]
    for block in blocks[1:]:
        np.maximum(elected, camps[block], out=elected)
    return np.where(best < chance, best, scale * (ways @ elected))


def heard(trust: Floats, in_time: Floats, alternatives: float) -> Floats:
    """P(right) that votes count by, of members who may be late."""
    chance = 1 / (1 + max(round(alternatives), 1))
    return np.asarray(in_time * np.maximum(trust, chance) + (1 - in_time) * chance)


def expected_right(trust: Floats, in_time: Floats, alternatives: float, *, equal: bool = False) -> Floats:
    """P(a panel's answer is there, and right), [N].

    Args:
        trust: [N, members] of P(right); in_time: of P(in time). Of more than MOST members those that are worth most
            count, which is less than there is.
    """
    chance = 1 / (1 + max(round(alternatives), 1))
    nobody = (1 - in_time).prod(axis=1) * chance
    counted = heard(trust, in_time, alternatives)
    best = counted.max(axis=1)
    if counted.shape[1] > MOST:
        counted = np.sort(counted, axis=1)[:, -MOST:]
    votes = elected_right(counted, alternatives, equal=equal)
    found = np.minimum(votes, best + GAIN * (votes - best)) - nobody
    return np.where(trust.max(axis=1) < chance, (trust * in_time).max(axis=1), found)


@lru_cache(maxsize=256)
def _partitions(size: int, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Camps as bit masks, [at most, partitions]; 0, the empty one, where there are fewer. And in how many ways each
    can be named with one given camp right."""
    found = [blocks for blocks in _partitioned(size) if len(blocks) <= k + 1]
    most = max(map(len, found))
    masks = np.array([[*blocks, *(0,) * (most - len(blocks))] for blocks in found])
    return masks.T.copy(), np.array([float(perm(k, len(blocks) - 1)) for blocks in found])


@lru_cache(maxsize=256)
def _equal_shares(size: int, k: int) -> Floats:
    """[masks]: in how many ways each camp is elected, a tie counted by its share."""
    shares = np.zeros(1 << size)
    for blocks in _partitioned(size):
        most = max(block.bit_count() for block in blocks)
        largest = [block for block in blocks if block.bit_count() == most]
        shares[largest] += perm(k, len(blocks) - 1) / len(largest)
    return shares


def _partitioned(size: int) -> Iterator[tuple[int, ...]]:
    """Every partition of so many members into camps."""
    if size == 0:
        yield ()
        return
    last = 1 << (size - 1)
    for blocks in _partitioned(size - 1):
        yield (*blocks, last)
        for place in range(len(blocks)):
            yield (*blocks[:place], blocks[place] | last, *blocks[place + 1 :])
