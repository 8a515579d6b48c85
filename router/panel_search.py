"""The panel whose vote is expected to be worth most, of those that limits allow. Pure.

What a panel is worth is P(its answer is there in time, and right), `cap` at most (`router/quality.py`). All panels of a
small pool are looked at, after two steps that lose nothing:

    1. Whoever cannot be paid for together with the cheapest other one is in no panel; nor is, by rule, who is more
       likely late than not.
    2. An expert that k others dominate is in no panel of up to k that is needed: with it, the others of the panel are
       at most k - 1, so one of its dominators is not among them, and in its place costs no more and makes the panel
       worth no less (`router/quality.py`, 1.). A dominator is as good in everything that a panel is chosen by: what
       its vote counts by, P(in time), all costs that are bounded or compared, and whether it was wished for; of
       experts that are alike the first dominates.

Of a larger pool those who give most for their price are looked at, and the best panel is changed, one member at a
time, as long as that helps. How far that may be from the best is bounded by a panel that is better than any: its i-th
member is the best of whom i as good ones, with the cheapest others, can be paid for (`ceiling`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.outlook import USUAL
from router.quality import MOST, expected_right, heard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]
    Sets = NDArray[np.intp]  # [panels, members]

LOOKED_AT = 800  # panels, at most, before they are changed one member at a time
ROUNDS = 8  # of changes
PLACES = 12  # decimals by which worths are told apart
FAR = 1 << 58  # a bound that five of anything stay below


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Experts that may be convened, [E] each, in the order that they are asked in.

    `trust`: what a vote counts by. `in_time`: P(in time). `costs`: [bounds, E], what counts towards each bound, whole
    and at most FAR; `bounds`: [bounds]. `usd_nanos`: expected costs, which are compared. `wished`: convened without a
    budget, too.
    """

    trust: Floats
    in_time: Floats
    costs: Whole
    bounds: Whole
    usd_nanos: Whole
    wished: NDArray[np.bool_]

    def only(self, experts: Sets) -> Pool:
        return Pool(
            self.trust[experts],
            self.in_time[experts],
            self.costs[:, experts],
            self.bounds,
            self.usd_nanos[experts],
            self.wished[experts],
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """`most`: members. `cap`: no panel counts as better than this. `enough`: what is worth as much is chosen by its
    price; None: nothing is enough.
    """

    most: int
    cap: float
    alternatives: float
    equal: bool = False
    enough: float | None = None


class Panel(NamedTuple):
    """`worth` as above; `outsiders`: whether it has members that were not wished for."""

    members: tuple[int, ...]
    worth: float
    usd_nanos: int
    outsiders: bool


Order = tuple[float, ...]


def order(worth: float, rung: int, usd_nanos: int, enough: float | None) -> Order:
    """Larger is better: what is worth enough by its price, all else by its worth; then the earlier rung, the price."""
    if enough is not None and worth >= enough:
        return 1.0, -usd_nanos, worth, -rung
    return 0.0, worth, -rung, -usd_nanos


def best_panel(pool: Pool, terms: Terms) -> tuple[Panel | None, float]:
    """The best panel of at least two; and what no panel is worth more than: its own worth, where all were looked at."""
    most = min(terms.most, MOST)
    able = _able(pool)
    if most < 2 or len(able) < 2:
        return None, 0.0
    able = able[undominated(pool.only(able), most, by_price=terms.enough is not None)]
    near = _promising(pool, able, most)
    found = _best(pool, terms, (near[sets] for sets in _sets(len(near), most)), None)
    if len(near) == len(able):
        return found, found.worth if found else 0.0
    for _ in range(ROUNDS):
        better = _best(pool, terms, _changed(found, able, most), found)
        if better == found:
            break
        found = better
    return found, ceiling(pool.only(able), terms)


def _able(pool: Pool) -> Sets:
    """Who could be in a panel of two."""
    kept = np.flatnonzero(pool.in_time >= USUAL)
    if len(kept) < 2:
        return kept
    costs = pool.costs[:, kept]
    cheapest = np.sort(costs, axis=1)[:, :2]
    other = np.where(costs > cheapest[:, :1], cheapest[:, :1], cheapest[:, 1:])  # beside the cheapest the second
    return np.asarray(kept[(costs + other <= pool.bounds[:, None]).all(axis=0)])


def undominated(pool: Pool, k: int, *, by_price: bool) -> Sets:
    """Who is dominated by fewer than k others."""
    good = [pool.trust, pool.in_time, pool.wished.astype(float), *(-pool.costs)]
    rows = np.stack([*good, -pool.usd_nanos] if by_price else good)
    as_good = (rows[:, :, None] >= rows[:, None, :]).all(axis=0)  # [a, b]: a in b's place
    first = np.triu(np.ones_like(as_good), 1)
    dominates = as_good & (~as_good.T | first)
    return np.flatnonzero(dominates.sum(axis=0) < k)


def _promising(pool: Pool, able: Sets, most: int) -> Sets:
    """As many experts as LOOKED_AT allows, in order: in turn the best, and those who give most for their price."""
    size = len(able)
    while size > 2 and sum(comb(size, members) for members in range(2, most + 1)) > LOOKED_AT:
        size -= 1
    if size == len(able):
        return able
    some = pool.only(able)
    share = (some.costs / np.maximum(some.bounds, 1)[:, None]).max(axis=0, initial=0.0)
    best = np.argsort(-some.trust * some.in_time, kind="stable")
    worth = np.argsort(-some.trust * some.in_time / (1 / (2 * most) + share), kind="stable")
    turns = np.stack([worth, best], axis=1).ravel().tolist()
    return able[sorted(list(dict.fromkeys(turns))[:size])]


@lru_cache(maxsize=256)
def _sets(size: int, most: int) -> tuple[Sets, ...]:
    """All panels of 2 … `most` of so many experts, by their number of members."""
    return tuple(
        np.array(list(combinations(range(size), members)), dtype=np.intp).reshape(-1, members)
        for members in range(2, min(most, size) + 1)
    )


def _changed(panel: Panel | None, able: Sets, most: int) -> Iterator[Sets]:
    """All panels that this one becomes by losing, exchanging or gaining one member."""
    if panel is None:
        return
    members = np.array(panel.members)
    others = able[~np.isin(able, members)]
    without = np.tile(members, (len(members), 1))[~np.eye(len(members), dtype=bool)].reshape(len(members), -1)
    if len(members) > 2:
        yield without
    yield _with(without, others)
    if len(members) < most:
        yield _with(members[None, :], others)


def _with(panels: Sets, others: Sets) -> Sets:
    """Each panel with each of the others."""
    every = np.repeat(panels, len(others), axis=0)
    return np.sort(np.column_stack([every, np.tile(others, len(panels))]), axis=1)


def _best(pool: Pool, terms: Terms, groups: Iterator[Sets], known: Panel | None) -> Panel | None:
    """Of all these panels that can be paid for, and the one that is known."""
    found = known
    for sets in groups:
        fits = (pool.costs[:, sets].sum(axis=2) <= pool.bounds[:, None]).all(axis=0)
        if not fits.any():
            continue
        panel = _first(pool, terms, sets[fits])
        if found is None or _order(panel, terms) > _order(found, terms):
            found = panel
    return found


def _first(pool: Pool, terms: Terms, sets: Sets) -> Panel:
    """The best of panels of one size."""
    right = expected_right(pool.trust[sets], pool.in_time[sets], terms.alternatives, equal=terms.equal)
    worth = np.round(np.minimum(right, terms.cap), PLACES)
    usd, outsiders = pool.usd_nanos[sets].sum(axis=1), np.asarray(~pool.wished[sets].all(axis=1))
    rows = np.flatnonzero(worth >= (2.0 if terms.enough is None else terms.enough))
    if len(rows):
        row = rows[np.lexsort((outsiders[rows], -worth[rows], usd[rows]))[0]]
    else:
        rows = np.flatnonzero(worth == worth.max())
        row = rows[np.lexsort((usd[rows], outsiders[rows]))[0]]
    return Panel(tuple(sets[row].tolist()), float(worth[row]), int(usd[row]), bool(outsiders[row]))


def _order(panel: Panel, terms: Terms) -> Order:
    return order(panel.worth, panel.outsiders, panel.usd_nanos, terms.enough)


def ceiling(pool: Pool, terms: Terms) -> float:
    """What no panel of the pool is worth more than; at least two experts.

    In the order of what their votes count by, the i-th member of a panel is no better than the first expert v of which
    i of 0 … v can be paid for together with as many of all as the panel has besides.
    """
    votes = heard(pool.trust, pool.in_time, terms.alternatives)
    by_vote = np.argsort(-votes, kind="stable")
    votes, most = votes[by_vote], min(terms.most, MOST, len(votes))
    sizes, ranks = np.array([(size, rank) for size in range(2, most + 1) for rank in range(1, size + 1)]).T
    costs = np.concatenate([pool.costs[:, by_vote], np.zeros((1, len(votes)), dtype=np.int64)])  # at least one bound
    bounds = np.append(pool.bounds, 0)
    upto = np.where(np.tri(len(votes), dtype=bool), costs[:, None, :], FAR + 1)  # [bounds, last expert, experts]
    lowest = np.cumsum(np.sort(upto, axis=2)[..., :most], axis=2)
    ascending = np.sort(costs, axis=1)[:, :most]
    besides = np.cumsum(ascending, axis=1) - ascending  # of the 0, 1, … cheapest
    fits = (lowest[..., ranks - 1] + besides[:, None, sizes - ranks] <= bounds[:, None, None]).all(axis=0)
    upper = np.where(fits.any(axis=0), votes[fits.argmax(axis=0)], 0.0)
    best = 0.0
    for size in range(2, most + 1):
        members = upper[None, sizes == size]
        if members.all():
            sure = np.ones_like(members)
            best = max(best, float(expected_right(members, sure, terms.alternatives, equal=terms.equal)[0]))
    return round(min(best, terms.cap), PLACES)
