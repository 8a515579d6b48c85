"""What of a plan a query's budget allows: the plan itself, or the best that fits. Pure.

The policy's plan stays as it is where it fits. Otherwise the plan is taken that is worth most, of: the same experts, by
a vote where an aggregator is too dear or too slow; any panel (`router/panel_search.py`); any single expert.

    worth = P(its answer is there in time, and right), at most P(right) of the policy's plan

Who answers in time in 95 of 100 cases counts as in time. Who may be late makes a plan worth less by as much: it is cut
off at the deadline, and the answer is made without it. Nobody is convened beside others who is more likely late than
not. No plan counts as better than the policy's own, which has reasons that are not known here. So a tighter budget
never leads to a plan that is worth more: it only takes plans away, or time from them. Of plans that are worth the same
the earlier rung is taken (`Rung`), then more experts, then the cheaper plan. Where `min_confidence` is said, the
cheapest plan is taken that is worth as much; what is worth more is not asked for.

What a plan may cost at most, by the `max_tokens` that it sets, never exceeds the budget. Where not even one whole
answer fits, one is cut short: what that is worth nobody has measured, so that it counts as nothing and comes last;
never where half an answer is none (JSON, tools).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from types import MappingProxyType

from router.budget import Budget, Fit, Rung
from router.offers import LEAST_TOKENS, RUNGS, Menu, Offer
from router.outlook import USUAL, Outlook
from router.prospects import Limits, Prospect, begins_within_s, waves_s
from router.records import Candidate, Plan, Query
from router.unaffordable import Unaffordable, unaffordable


def affordable(
    wish: Plan,
    candidates: Sequence[Candidate],
    outlooks: Mapping[str, Outlook],
    budget: Budget,
    query: Query,
    *,
    alternatives: float,
    elapsed_s: float,
    writers: Mapping[str, Outlook] = MappingProxyType({}),
) -> Plan | Unaffordable:
    """The plan, with how it fits.

    Args:
        wish: what the policy would do without a budget.
        candidates: who may be asked, and who is excluded; none where the request names its expert.
        outlooks: of the candidates; whoever has none is not asked where anything is bounded.
        alternatives: the number of wrong answers among which experts scatter.
        elapsed_s: since the query's arrival.
        writers: of who may write one answer of the wish's experts, with the prompt that they get then. Of one that is
            missing the outlook among the others counts.
    """
    limits = Limits.of(budget, query, elapsed_s)
    if not budget.bounded:  # it stays as it is: nobody else is looked at
        convened, asked = replace(wish, spares=()), [c for c in candidates if c.expert in wish.experts]
        menu = Menu(convened, asked, outlooks, writers, limits, budget, query, alternatives)
        offer = menu.best()
        assert offer is not None, "nothing stands in its way"
        return replace(_served(menu, offer), spares=wish.spares)
    menu = Menu(wish, candidates, outlooks, writers, limits, budget, query, alternatives)
    offer = menu.best() or menu.shortened()
    if offer is None:
        least = LEAST_TOKENS if menu.may_be_cut else None
        return unaffordable(menu.prospects, limits, least, elapsed_s)
    return _served(menu, offer)


def _served(menu: Menu, offer: Offer) -> Plan:
    """The offer as a plan: waves like the wish's, spares that fit, bounds on answers."""
    wish, prospects, limits = menu.wish, menu.prospects, menu.limits
    within_s = limits.together_s if offer.writer is None else begins_within_s(offer.writer, limits)
    waves = _waves(offer.experts, [len(wave) for wave in wish.waves], prospects, within_s)
    legs = [prospects[name] for name in offer.experts] + ([offer.writer] if offer.writer else [])
    before: Rung = wish.fit.rung if wish.fit else "none"  # given up already, for another budget
    fit = Fit(
        rung=max(offer.rung, before, key=RUNGS.index),
        quality=offer.worth,
        gap=offer.gap,
        usd_nanos=offer.usd_nanos,
        late_s=_late_s(waves, prospects, offer.writer),
        max_tokens={offer.experts[0]: offer.cap} if offer.cap else _caps(offer, prospects, limits),
        answers_within_s=within_s if offer.writer else None,
    )
    made = replace(wish, waves=waves, spares=_spares(menu, offer, legs), fit=fit)
    if offer.aggregator == "single":
        return made if wish.aggregator == "single" else Plan(waves, "single", made.spares, wish.reason, fit=fit)
    agreed_at = wish.agreed_at if offer.writer else None
    made = replace(made, aggregator=offer.aggregator, synthesizers=offer.writers, agreed_at=agreed_at)
    enough = menu.budget.min_confidence
    return made if enough is None else _sooner(made, enough)


def _sooner(plan: Plan, enough: float) -> Plan:
    """No expert more is heard, and no aggregator asked, once the vote is sure enough."""
    decided_at = enough if plan.decided_at is None else min(plan.decided_at, enough)
    agreed_at = enough if plan.agreed_at is None else min(plan.agreed_at, enough)
    return replace(plan, decided_at=decided_at, agreed_at=agreed_at if plan.synthesizers else None)


def _waves(
    experts: Sequence[str], sizes: Sequence[int], prospects: Mapping[str, Prospect], within_s: float | None
) -> tuple[tuple[str, ...], ...]:
    """As many of the first waves one after the other as there is time for; all others at once."""
    cut, rest = [], tuple(experts)
    for size in sizes[:-1]:
        cut.append(rest[:size])
        rest = rest[size:]
    cut = [wave for wave in (*cut, rest) if wave]
    for kept in range(len(cut) - 1, 0, -1):
        waves = (*cut[:kept], tuple(chain(*cut[kept:])))
        if within_s is None or waves_s(waves, prospects) <= within_s:
            return waves
    return (tuple(experts),)


def _late_s(waves: Sequence[Sequence[str]], prospects: Mapping[str, Prospect], writer: Prospect | None) -> float | None:
    legs = [prospects[name] for name in chain(*waves)] + ([writer] if writer else [])
    if not any(leg.outlook.known for leg in legs):
        return None
    return waves_s(waves, prospects) + (writer.late_s if writer else 0.0)


def _spares(menu: Menu, offer: Offer, legs: Sequence[Prospect]) -> tuple[str, ...]:
    """Who could take the place of any of these calls."""
    if offer.cap is not None:
        return ()
    limits, alone = menu.limits, offer.aggregator == "single"
    nanos, tokens = sum(leg.nanos for leg in legs), sum(leg.length for leg in legs)
    convened = [menu.prospects[name] for name in offer.experts]
    nanos -= min(one.nanos for one in convened)
    tokens -= min(one.length for one in convened)
    return tuple(
        name
        for name, one in menu.prospects.items()
        if name not in offer.experts
        and (one.alone > 0 if alone else one.together >= USUAL)
        and limits.pays(nanos + one.nanos, tokens + one.length)
    )


def _caps(offer: Offer, prospects: Mapping[str, Prospect], limits: Limits) -> dict[str, int]:
    """Expert -> output tokens of a sample, so many that together they may cost what the budget allows, and not more.

    Each has what its answer needs. What is left raises the lowest bounds first, all to the same level.
    """
    if limits.nanos is None and limits.tokens is None:
        return {}
    convened = {name: prospects[name] for name in offer.experts}
    writer = [] if offer.writer is None else [offer.writer]

    def at(level: int) -> dict[str, int]:
        return {name: max(o.length, min(level, limits.ceiling(o.outlook))) for name, o in convened.items()}

    def fits(caps: Mapping[str, int]) -> bool:
        nanos = sum(convened[name].outlook.nanos(cap) for name, cap in caps.items())
        nanos += sum(one.nanos for one in writer)
        return limits.pays(nanos, sum(caps.values()) + sum(one.length for one in writer))

    low, high = 0, max(limits.ceiling(one.outlook) for one in convened.values())
    while low < high:
        level = (low + high + 1) // 2
        low, high = (level, high) if fits(at(level)) else (low, level - 1)
    return at(low)
