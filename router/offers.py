"""What may be chosen from where a query's budget does not allow the policy's plan: every kind of plan, with its worth.

Pure. Must not know how the chosen one is carried out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import numpy as np

from router.budget import Budget, Rung
from router.outlook import USUAL, Outlook, Pace
from router.panel_search import FAR, PLACES, Pool, Terms, best_panel, order
from router.prospects import Limits, Prospect, alone_in_time, begins_within_s, in_time, prospect
from router.quality import MOST, expected_right
from router.records import Aggregator, Candidate, Plan, Query

LEAST_TOKENS = 16  # fewer are no answer
UNKNOWN = 1e-6  # P(right) of an expert that the request names: enough to compare ways to ask it
RUNGS: tuple[Rung, ...] = get_args(Rung)


@dataclass(frozen=True, slots=True)
class Offer:
    """One plan that fits. `gap`: how much more another one may be worth. `writer`: the call of who writes one answer of
    all; `writers`: who can, that one first. `cap`: output tokens of an answer that is cut short.
    """

    experts: tuple[str, ...]
    aggregator: Aggregator
    rung: Rung
    worth: float
    usd_nanos: int
    gap: float = 0.0
    writer: Prospect | None = None
    writers: tuple[str, ...] = ()
    cap: int | None = None

    def order(self, enough: float | None) -> tuple[float, ...]:
        return order(self.worth, RUNGS.index(self.rung), len(self.experts), self.usd_nanos, enough)


@dataclass(frozen=True)
class Menu:
    """`wish`: the policy's plan. `outlooks`: of the candidates; `writers`: of who may write one answer of several."""

    wish: Plan
    candidates: Sequence[Candidate]
    outlooks: Mapping[str, Outlook]
    writers: Mapping[str, Outlook]
    limits: Limits
    budget: Budget
    query: Query
    alternatives: float

    @cached_property
    def prospects(self) -> Mapping[str, Prospect]:
        """Of everybody who may be asked, in the order of the plan."""
        able = {c.expert: c.p_correct for c in self.candidates if c.excluded is None}
        wished, bounded, found = set(self.wish.experts), self.budget.bounded, {}
        for name in dict.fromkeys((*self.wish.experts, *self.wish.spares, *able)):
            outlook = self.outlooks.get(name, None if bounded else Outlook(name))
            if outlook is not None:
                p = able.get(name, 0.0)
                trust = self.wish.p_correct.get(name, p)
                found[name] = prospect(outlook, p, trust, self.limits, wished=name in wished)
        return found

    @cached_property
    def quality(self) -> float:
        """P(right) of the policy's plan: no other counts as better."""
        known = [self.prospects[name] for name in self.wish.experts if name in self.prospects]
        if len(known) > 1:
            return self._right(known, [1.0] * len(known))
        return round(known[0].p, PLACES) if known else 0.0

    def _right(self, legs: Sequence[Prospect], in_time: Sequence[float]) -> float:
        trust = np.array([[leg.trust for leg in legs]])
        right = expected_right(trust, np.array([in_time]), self.alternatives, equal=self.wish.equal)
        return round(float(right[0]), PLACES)

    def best(self) -> Offer | None:
        """Of all plans with whole answers."""
        own, enough = self._own(), self.budget.min_confidence
        if own is not None and own.worth == self.quality and (enough is None or own.worth < enough):
            return own
        panel, ceiling = self._panel()
        every = own, self._voted(), panel, self.single(self.prospects)
        offers = [offer for offer in every if offer is not None]
        if not offers:
            return None
        found = max(offers, key=lambda offer: offer.order(enough))
        most = ceiling if enough is None else min(ceiling, enough)
        return replace(found, gap=max(0.0, most - found.worth))

    def shortened(self) -> Offer | None:
        """One answer that is cut short: the likeliest to be there, then the one that loses least."""
        if not self.may_be_cut:
            return None
        found = max(self._cuts(), default=None)
        if found is None:
            return None
        *_, cap, name = found
        one = self.prospects[name]
        mean = one.outlook.nanos(min(cap, one.outlook.mean_tokens))
        return Offer((name,), "single", "shorter_answer", 0.0, mean, cap=cap)

    @property
    def may_be_cut(self) -> bool:
        """Half a JSON object, or half a call, is none."""
        needs = self.query.needs
        return not (needs.json_schema or needs.tools or self.query.answer_format is not None)

    def _own(self) -> Offer | None:
        """The policy's plan."""
        experts = self.wish.experts
        if len(experts) == 1:
            return self.single(experts)
        if self.wish.aggregator != "synthesize":
            return self._convened(experts, self.wish.aggregator, "none")
        written = [(name, self._written(name)) for name in self.wish.synthesizers]
        able = {name: offer for name, offer in written if offer is not None}
        if not able:
            return None
        first = max(able, key=lambda name: able[name].worth)
        return replace(able[first], writers=(first, *(name for name in able if name != first)))

    def _written(self, writer: str) -> Offer | None:
        """One answer of the policy's experts, written by this one."""
        outlook = self.writers.get(writer) or self.outlooks.get(
            writer, None if self.budget.bounded else Outlook(writer)
        )
        if outlook is None:
            return None
        reads = prospect(outlook, 0.0, 0.0, self.limits, wished=True)
        return self._convened(self.wish.experts, "synthesize", "none", reads)

    def _voted(self) -> Offer | None:
        """The policy's experts, without an aggregator."""
        return self._convened(self.wish.experts, "vote", "vote") if self.wish.aggregator == "synthesize" else None

    def _convened(
        self, experts: tuple[str, ...], aggregator: Aggregator, rung: Rung, writer: Prospect | None = None
    ) -> Offer | None:
        """Where it fits."""
        convened = [self.prospects[name] for name in experts if name in self.prospects]
        most = self.limits.experts
        if len(convened) < len(experts) or (most is not None and len(experts) > most):
            return None
        legs = convened if writer is None else [*convened, writer]
        if not self.limits.pays(sum(leg.nanos for leg in legs), sum(leg.length for leg in legs)):
            return None
        left_s = self.limits.together_s if writer is None else begins_within_s(writer, self.limits)
        chances = [in_time(one.outlook, one.length, left_s) for one in convened]
        if min(chances) < USUAL:
            return None
        worth = self.quality if min(chances) == 1 else min(self._right(convened, chances), self.quality)
        return Offer(experts, aggregator, rung, worth, sum(leg.mean_nanos for leg in legs), writer=writer)

    def single(self, names: Iterable[str]) -> Offer | None:
        """The best of these experts alone."""
        panel, best = len(self.wish.experts) > 1, None
        for name in names:
            if (one := self.prospects.get(name)) and one.alone and self.limits.pays(one.nanos, one.length):
                rung: Rung = "cheaper_expert" if not one.wished else "one_expert" if panel else "none"
                worth = round(min(one.p, self.quality) * one.alone, PLACES)
                key = order(worth, RUNGS.index(rung), 1, one.mean_nanos, self.budget.min_confidence)
                if best is None or key > best[0]:
                    best = key, Offer((name,), "single", rung, worth, one.mean_nanos)
        return None if best is None else best[1]

    def _panel(self) -> tuple[Offer | None, float]:
        """The best panel, and what no panel is worth more than."""
        size, limits, names = len(self.wish.experts), self.limits, list(self.prospects)
        most = size if limits.experts is None else min(size, limits.experts)
        if most < 2:
            return None, 0.0
        wanted = self.budget.min_confidence
        terms = Terms(most, self.quality, self.alternatives, self.wish.equal, wanted)
        found, ceiling = best_panel(self.pool, terms)
        if found is None:
            return None, ceiling
        experts = tuple(names[place] for place in found.members)
        if len(experts) == MOST < most and not found.outsiders and (wanted is None or found.worth < wanted):
            experts = self._filled(experts, most)
        rung: Rung = "cheaper_expert" if found.outsiders else "fewer_experts"
        aggregator: Aggregator = "consensus" if self.wish.aggregator == "consensus" else "vote"
        usd_nanos = sum(self.prospects[name].mean_nanos for name in experts)
        return Offer(experts, aggregator, rung, found.worth, usd_nanos), ceiling

    def _filled(self, experts: tuple[str, ...], most: int) -> tuple[str, ...]:
        """With as many others of the policy's plan as fit: they do no harm."""
        found = {name: self.prospects[name] for name in experts}
        for name, one in self.prospects.items():
            if len(found) == most or name in found or not one.wished or one.together < 1:
                continue
            legs = [*found.values(), one]
            if self.limits.pays(sum(leg.nanos for leg in legs), sum(leg.length for leg in legs)):
                found[name] = one
        return tuple(name for name in self.prospects if name in found)

    @property
    def pool(self) -> Pool:
        """Everybody, as panels are searched."""
        ones, limits = list(self.prospects.values()), self.limits
        costs, bounds = [], []
        if limits.nanos is not None:
            costs.append([one.nanos for one in ones])
            bounds.append(limits.nanos)
        if limits.tokens is not None:
            costs.append([one.length * limits.samples for one in ones])
            bounds.append(limits.tokens)
        within = [[min(cost, FAR + 1) for cost in row] for row in costs]  # beyond FAR nothing is paid for
        return Pool(
            trust=np.array([one.trust for one in ones]),
            in_time=np.array([one.together for one in ones]),
            costs=np.array(within, dtype=np.int64).reshape(len(bounds), len(ones)),
            bounds=np.array([min(bound, FAR) for bound in bounds], dtype=np.int64),
            usd_nanos=np.array([min(one.mean_nanos, FAR) for one in ones], dtype=np.int64),
            wished=np.array([one.wished for one in ones]),
        )

    def _cuts(self) -> Iterator[tuple[float, float, int, str]]:
        """P(in time) of answers that are cut, how good they may be, their output tokens, and whose they are."""
        for name, one in self.prospects.items():
            for pace in (one.outlook.late, one.outlook.usual, one.outlook.early):
                cap = min((one.length, *self._bounds(one, pace)))
                if cap < min(LEAST_TOKENS, one.length):
                    continue
                if chance := alone_in_time(one.outlook, cap, self.limits):
                    yield chance, max(one.p, UNKNOWN) * cap / one.length, cap, name

    def _bounds(self, one: Prospect, pace: Pace) -> Iterator[int]:
        """Output tokens of one sample that money, tokens and, at this pace, time leave it."""
        outlook, limits = one.outlook, self.limits
        if limits.nanos is not None and one.nanos > limits.nanos:
            cap = math.floor((limits.nanos - outlook.prompt_nanos) / outlook.token_nanos) if outlook.token_nanos else 0
            yield cap if outlook.nanos(cap) <= limits.nanos else cap - 1
        if limits.tokens is not None:
            yield limits.tokens // limits.samples
        if limits.left_s is not None and outlook.known and pace.tpot_s > 0:
            yield 1 + math.floor((limits.left_s - outlook.wait_s - pace.ttft_s) / pace.tpot_s)
