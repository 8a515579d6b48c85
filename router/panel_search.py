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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations
from math import comb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.outlook import USUAL
from router.quality import MOST, expected_right, heard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]
    Sets = NDArray[np.intp]  # [panels, most members], in the order of the pool, nobody where there are fewer

LOOKED_AT = 640  # panels, at most (all of ten experts), before they are changed one member at a time
ROUNDS = 8  # of changes
NOBODY = -1  # the last of a pool that it was added to: costs nothing, never answers
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

    def only(self, experts: NDArray[np.intp]) -> Pool:
        return Pool(
            self.trust[experts],
            self.in_time[experts],
            self.costs[:, experts],
            self.bounds,
            self.usd_nanos[experts],
            self.wished[experts],
        )

    def and_nobody(self) -> Pool:
        return Pool(
            np.append(self.trust, 0.0),
            np.append(self.in_time, 0.0),
            np.column_stack([self.costs, np.zeros(len(self.bounds), dtype=np.int64)]),
            self.bounds,
            np.append(self.usd_nanos, 0),
            np.append(self.wished, True),
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


def order(worth: float, rung: int, members: int, usd_nanos: int, enough: float | None) -> Order:
    """Larger is better: what is worth enough by its price; all else by its worth, the earlier rung, and as the policy
    wants many, by its members, then the price.
    """
    if enough is not None and worth >= enough:
        return 1.0, -usd_nanos, worth, -rung
    return 0.0, worth, -rung, members, -usd_nanos


def best_panel(pool: Pool, terms: Terms) -> tuple[Panel | None, float]:
    """The best panel of at least two; and what no panel is worth more than: its own worth, where all were looked at."""
    most = min(terms.most, MOST)
    able = _able(pool)
    if most < 2 or len(able) < 2:
        return None, 0.0
    able = able[undominated(pool.only(able), most, by_price=terms.enough is not None)]
    near = _promising(pool.only(able), most)
    every = pool.and_nobody().only(np.append(able, NOBODY))
    found = _best(every, terms, np.append(near, len(able))[_sets(len(near), most)], None)
    for _ in range(ROUNDS if len(near) < len(able) else 0):
        better = found and _best(every, terms, _changed(found.members, len(able), most), found)
        if better == found:
            break
        found = better
    if found is None:
        return None, 0.0
    worth = found.worth if len(near) == len(able) else ceiling(pool.only(able), terms)
    return found._replace(members=tuple(able[list(found.members)].tolist())), worth


def _able(pool: Pool) -> NDArray[np.intp]:
    """Who could be in a panel of two."""
    kept = np.flatnonzero(pool.in_time >= USUAL)
    if len(kept) < 2:
        return kept
    costs = pool.costs[:, kept]
    cheapest = np.sort(costs, axis=1)[:, :2]
    other = np.where(costs > cheapest[:, :1], cheapest[:, :1], cheapest[:, 1:])  # beside the cheapest the second
    return np.asarray(kept[(costs + other <= pool.bounds[:, None]).all(axis=0)])


def undominated(pool: Pool, k: int, *, by_price: bool) -> NDArray[np.intp]:
    """Who is dominated by fewer than k others."""
    good = [pool.trust, pool.in_time, pool.wished.astype(float), *(-pool.costs)]
    rows = np.stack([*good, -pool.usd_nanos] if by_price else good)
    as_good = (rows[:, :, None] >= rows[:, None, :]).all(axis=0)  # [a, b]: a in b's place
    first = np.triu(np.ones_like(as_good), 1)
    dominates = as_good & (~as_good.T | first)
    return np.flatnonzero(dominates.sum(axis=0) < k)


def _promising(pool: Pool, most: int) -> NDArray[np.intp]:
    """As many experts as LOOKED_AT allows: the cheapest pair; in turn who gives most for its price, and the best."""
    size = len(pool.trust)
    while size > 2 and sum(comb(size, members) for members in range(2, most + 1)) > LOOKED_AT:
        size -= 1
    share = (pool.costs / np.maximum(pool.bounds, 1)[:, None]).max(axis=0, initial=0.0)
    value = pool.trust * pool.in_time
    turns = np.stack([np.argsort(-value / (1 / (2 * most) + share), kind="stable"), np.argsort(-value, kind="stable")])
    first = [*np.argsort(share, kind="stable")[:2].tolist(), *turns.T.ravel().tolist()]
    return np.array(sorted(list(dict.fromkeys(first))[:size]), dtype=np.intp)


@lru_cache(maxsize=256)
def _sets(size: int, most: int) -> Sets:
    """All panels of 2 … `most` of so many experts."""
    every = chain.from_iterable(combinations(range(size), members) for members in range(2, most + 1))
    return np.array([(*members, *(NOBODY,) * (most - len(members))) for members in every], dtype=np.intp)


def _changed(members: Sequence[int], size: int, most: int) -> Sets:
    """All panels that this one becomes by losing, exchanging or gaining one member, of so many experts."""
    others = [expert for expert in range(size) if expert not in members]
    fewer = [[*members[:place], *members[place + 1 :]] for place in range(len(members))]
    panels = [*(fewer if len(members) > 2 else ()), *([*kept, other] for kept in fewer for other in others)]
    if len(members) < most:
        panels += [[*members, other] for other in others]
    return np.array([[*sorted(panel), *[size] * (most - len(panel))] for panel in panels], dtype=np.intp)


def _best(pool: Pool, terms: Terms, sets: Sets, known: Panel | None) -> Panel | None:
    """Of all these panels that can be paid for, and the one that is known."""
    fits = (pool.costs[:, sets].sum(axis=2) <= pool.bounds[:, None]).all(axis=0)
    if not fits.any():
        return known
    found = _first(pool, terms, sets[fits])
    return found if known is None or _order(found, terms) > _order(known, terms) else known


def _first(pool: Pool, terms: Terms, sets: Sets) -> Panel:
    """The best of these panels."""
    sizes = (sets < len(pool.trust) - 1).sum(axis=1)
    right = _right(pool.trust[sets], pool.in_time[sets], sizes, terms)
    worth = np.round(np.minimum(right, terms.cap), PLACES)
    usd, outsiders = pool.usd_nanos[sets].sum(axis=1), np.asarray(~pool.wished[sets].all(axis=1))
    rows = np.flatnonzero(worth >= (2.0 if terms.enough is None else terms.enough))
    if len(rows):
        row = rows[np.lexsort((outsiders[rows], -worth[rows], usd[rows]))[0]]
    else:
        rows = np.flatnonzero(worth == worth.max())
        row = rows[np.lexsort((usd[rows], -sizes[rows], outsiders[rows]))[0]]
    members = tuple(expert for expert in sets[row].tolist() if expert != len(pool.trust) - 1)
    return Panel(members, float(worth[row]), int(usd[row]), bool(outsiders[row]))


def _right(trust: Floats, in_time: Floats, sizes: NDArray[np.intp], terms: Terms) -> Floats:
    """Of panels with so many members, and nobody after them: which makes no difference to weighed votes."""
    if not terms.equal:
        return expected_right(trust, in_time, terms.alternatives)
    found = np.empty(len(sizes))
    for size in set(sizes.tolist()):
        rows = sizes == size
        found[rows] = expected_right(trust[rows, :size], in_time[rows, :size], terms.alternatives, equal=True)
    return found


def _order(panel: Panel, terms: Terms) -> Order:
    return order(panel.worth, panel.outsiders, len(panel.members), panel.usd_nanos, terms.enough)


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
    upper = np.zeros((most - 1, most))
    upper[sizes - 2, ranks - 1] = np.where(fits.any(axis=0), votes[fits.argmax(axis=0)], 0.0)
    there = np.arange(most) < np.arange(2, most + 1)[:, None]
    some = (upper > 0).sum(axis=1) == there.sum(axis=1)  # sizes that can be paid for
    if not some.any():
        return 0.0
    right = _right(upper[some], there[some].astype(float), there[some].sum(axis=1), terms)
    return round(min(float(right.max()), terms.cap), PLACES)
