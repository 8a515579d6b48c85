"""What a query's budget leaves to its calls, and what each expert's call comes to under it. Pure.

Whether an answer is in time is known by three quantiles of what it takes: at LATE it counts as in time, below EARLY as
hopeless, between them P(in time) is interpolated. The early and the usual answer are of usual length, the late one is
as long as 95 of 100. Experts of whom nothing is known are in time. Must not know who is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from router.budget import Budget
from router.outlook import EARLY, LATE, USUAL, Outlook
from router.records import Query

Quantiles = tuple[float, float, float]  # at EARLY, USUAL and LATE


@dataclass(frozen=True, slots=True)
class Limits:
    """What is left at dispatch; None: not bounded.

    `nanos`, `tokens` and `experts`: of all calls together. `left_s`: to the end of the answer. `first_s` and
    `per_token_s`: of an answer that is streamed. `longest`: output tokens that the client asks for at most. `samples`:
    that each expert is asked for.
    """

    nanos: int | None
    tokens: int | None
    experts: int | None
    left_s: float | None
    first_s: float | None
    per_token_s: float | None
    longest: int | None
    samples: int

    @classmethod
    def of(cls, budget: Budget, query: Query, elapsed_s: float) -> Limits:
        first_s = budget.ttft_s if query.stream else None
        return cls(
            nanos=budget.nanos,
            tokens=budget.tokens,
            experts=budget.experts,
            left_s=None if (ends_at := budget.ends_at(0.0)) is None else ends_at - elapsed_s,
            first_s=None if first_s is None else first_s - elapsed_s,
            per_token_s=budget.tpot_s if query.stream else None,
            longest=query.max_tokens,
            samples=query.needs.samples,
        )

    @property
    def together_s(self) -> float | None:
        """When several experts' answers have to be one: a stream of it begins only then."""
        bounds = [bound for bound in (self.left_s, self.first_s) if bound is not None]
        return min(bounds, default=None)

    def pays(self, nanos: int, tokens: int) -> bool:
        """`tokens`: of one sample."""
        within = self.nanos is None or nanos <= self.nanos
        return within and (self.tokens is None or tokens * self.samples <= self.tokens)

    def length(self, outlook: Outlook) -> int:
        """Output tokens of one sample that its answer needs: more than 95 of 100 have."""
        return max(1, min(outlook.tokens, self.ceiling(outlook)))

    def ceiling(self, outlook: Outlook) -> int:
        """Output tokens of one sample that it can have."""
        return outlook.room if self.longest is None else min(self.longest, outlook.room)


class Prospect(NamedTuple):
    """One expert's call. `p`: P(right); `trust`: what its vote counts by. `length`: output tokens that its answer
    needs, `nanos`: what they cost; `mean_nanos`: the expected cost. `alone` and `together`: P(in time) of its own
    answer, and of one among several. `wished`: whether it is convened without a budget, too.
    """

    outlook: Outlook
    p: float
    trust: float
    length: int
    nanos: int
    mean_nanos: int
    alone: float
    together: float
    wished: bool

    @property
    def late_s(self) -> float:
        """In how long its answer is there in 95 of 100 cases; 0 where nothing is known."""
        return self.outlook.late_s(self.length) if self.outlook.known else 0.0


def prospect(outlook: Outlook, p: float, trust: float, limits: Limits, *, wished: bool) -> Prospect:
    length = limits.length(outlook)
    together = in_time(outlook, length, limits.together_s)
    streamed = limits.first_s is not None or limits.per_token_s is not None
    return Prospect(
        outlook=outlook,
        p=p,
        trust=trust,
        length=length,
        nanos=outlook.nanos(length),
        mean_nanos=outlook.nanos(min(outlook.mean_tokens, length)),
        alone=alone_in_time(outlook, length, limits) if streamed else together,
        together=together,
        wished=wished,
    )


def begins_within_s(writer: Prospect, limits: Limits) -> float | None:
    """By when an aggregator must have the replies, seconds from dispatch, to be in time; None: there is no hurry."""
    first_s = writer.outlook.late_s(1) if writer.outlook.known else 0.0
    bounds = (limits.left_s, writer.late_s), (limits.first_s, first_s)
    return min((bound - takes for bound, takes in bounds if bound is not None), default=None)


def in_time(outlook: Outlook, length: int, left_s: float | None) -> float:
    """P(an answer of at most so many tokens is there within `left_s`)."""
    usual = min(length, round(outlook.mean_tokens))
    return _chance(outlook, (outlook.early_s(usual), outlook.usual_s(usual), outlook.late_s(length)), left_s)


def alone_in_time(outlook: Outlook, length: int, limits: Limits) -> float:
    """P(it is in time as the only one): its words may be streamed as they come."""
    paces = outlook.early, outlook.usual, outlook.late
    early, usual, late = (outlook.wait_s + pace.ttft_s for pace in paces)
    return min(
        in_time(outlook, length, limits.left_s),
        _chance(outlook, (early, usual, late), limits.first_s),
        _chance(outlook, (paces[0].tpot_s, paces[1].tpot_s, paces[2].tpot_s), limits.per_token_s),
    )


def _chance(outlook: Outlook, takes: Quantiles, left: float | None) -> float:
    if left is None:
        return 1.0
    if not outlook.known:
        return float(left > 0)
    early, usual, late = takes[0], max(takes[:2]), max(takes)
    if left < early:
        return 0.0
    if left >= late:
        return 1.0
    if left < usual:
        return EARLY + (USUAL - EARLY) * (left - early) / (usual - early)
    return USUAL + (LATE - USUAL) * (left - usual) / (late - usual)


def waves_s(waves: Sequence[Sequence[str]], prospects: Mapping[str, Prospect]) -> float:
    """In how long all waves, one after the other, are through in 95 of 100 cases."""
    return math.fsum(max(prospects[name].late_s for name in wave) for wave in waves)
