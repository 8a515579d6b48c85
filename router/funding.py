"""Time and money of a query: what it may spend, what a plan may take of it, and the money held before it begins.

Async shell. What is decided is decided elsewhere (`budget.py`, `admission.py`, `affordable.py`, the ledger); here it
meets live state. Must not know how money is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from router.admission import levels, overloaded
from router.affordable import affordable
from router.bank import Bank
from router.budget import Budget, resolve
from router.call import Call
from router.config import Policy
from router.errors import DeadlineExceeded, InsufficientQuota, RateLimited, SymposiumError
from router.events import Decided, Degraded, Emit, Turned
from router.knowledge import Knowledge
from router.ledger import Payer, Short
from router.money import NANOS, cost, usd
from router.outlook import Outlook
from router.outlooks import Outlooks
from router.purse import Purse, Terms
from router.records import Decision, Plan, Query, Ticket
from router.unaffordable import Unaffordable, refusal

WAIT_S = 1.0  # for money that others hold now
MOST_TRIES = 4  # to hold money for less and less


class Funding:
    """Of one edition."""

    def __init__(self, knowledge: Knowledge, bank: Bank, outlooks: Outlooks, emit: Emit) -> None:
        self._knowledge, self._bank, self._outlooks, self._emit = knowledge, bank, outlooks, emit

    @asynccontextmanager
    async def held(self, decision: Decision) -> AsyncIterator[tuple[Decision, Purse]]:
        """The decision with its money; what was not used of it is free after the block, and what is under way then is
        settled as it ends. Where less is to be had, the decision is another one.

        Raises:
            InsufficientQuota, RateLimited: nothing of it can be paid.
            LedgerDown: nobody can tell.
        """
        purse = self._purse(decision)
        tries = 0
        while (short := await purse.begin(self._legs(decision))) is not None:
            if (tries := tries + 1) == MOST_TRIES:  # others are quicker
                raise self._spent(short, decision.policy, decision.ticket)
            decision = self._less(decision, short)
            purse = self._purse(decision)
        try:
            self._emit(Decided(decision))
            if decision.plan.fit is not None and decision.plan.fit.rung != "none":
                self._emit(Degraded(decision.policy, decision.plan.fit.rung))
            yield decision, purse
        finally:
            purse.close()

    def aside(self, query: Query, ticket: Ticket, budget: Budget, expert: str, samples: int, call: Call) -> Call:
        """A call that helps to decide, with its own money: nothing else has been held yet. It may take half of the
        time that is left, and is not made where it could take more than half of the query's money or tokens.
        """
        price = self._knowledge.config.experts[expert].price
        prompt = sum(len(m["content"].encode()) for m in call.body["messages"])  # never more tokens than bytes
        most = int(call.body["max_tokens"])
        outlook = Outlook(
            expert,
            prompt_tokens=prompt,
            prompt_nanos=cost(price, prompt, 0),
            token_nanos=price.usd(0, 1) * NANOS * samples,
            tokens=most,
            room=most,
        )
        dear = budget.nanos is not None and 2 * outlook.nanos(most) > budget.nanos
        dear |= budget.tokens is not None and 2 * most * samples > budget.tokens
        terms = Terms(
            {expert: outlook},
            max_tokens=most,
            samples=samples,
            tokens=0 if dear else None,
            hosted=self._outlooks.hosted,
        )
        purse = Purse(self._bank, self._payer(query, ticket, query.model), terms, self._knowledge.nanos)
        purse.close()  # nobody is asked in its place: what it does not use is free at once
        now, ends_at = self._bank.clock(), budget.ends_at(ticket.arrived_at)
        until = None if ends_at is None else now + max(0.0, ends_at - now) / 2
        return replace(call, funds=purse, caller=ticket.caller, outlooks={expert: outlook}, ends_at=until)

    def budget(self, query: Query, ticket: Ticket, policy: Policy | None) -> Budget:
        """What holds for it. Raises BadRequest for a wish that cannot be, or is above a ceiling."""
        return resolve(query.wish, levels(self._knowledge.config, policy, ticket.caller), query.max_tokens)

    def check_door(self, query: Query, ticket: Ticket, experts: Sequence[str], budget: Budget) -> None:
        """Refuses what nobody could pay for, or would take in time, by what this replica knows. Costs next to nothing.

        Raises:
            InsufficientQuota: less is left than the cheapest call of any of these experts.
            Overloaded, DeadlineUnreachable: none of them would take a call, or not in time.
        """
        now, ends_at = self._bank.clock(), budget.ends_at(ticket.arrived_at)
        meters = ticket.caller.meters(self._bank.now())
        left = self._bank.left(meters) if meters else None
        if left is not None and left[1] < (least := self._outlooks.cheapest_nanos(query, experts)):
            meter, room = left
            short = Short(meter, (meter.limit or 0) - room, 0, least)
            raise self._spent(short, query.model, ticket, {"cheapest": {"cost_usd": usd(least)}})
        first = self._outlooks.shut_out(experts, ticket.caller, ends_at, now, query.max_tokens)
        if first is not None:
            expert, through_s = first
            fastest = {"experts": [expert], "seconds": round(now - ticket.arrived_at + through_s, 3)}
            raise self._turned(overloaded(ends_at, now, fastest), query.model, ticket, "overload")

    @asynccontextmanager
    async def in_time(self, ticket: Ticket, budget: Budget) -> AsyncIterator[None]:
        """Raises DeadlineExceeded when the block takes longer than there is time."""
        try:
            async with asyncio.timeout_at(budget.ends_at(ticket.arrived_at)):
                yield
        except TimeoutError as error:
            raise DeadlineExceeded("Nothing was asked by the deadline.", code="deadline_exceeded") from error

    async def outlooks(
        self, query: Query, names: Sequence[str], ticket: Ticket, category: str | None, budget: Budget
    ) -> dict[str, Outlook]:
        """What asking each of these is expected to take; prompts are counted well where money is bounded."""
        caller, ends_at = ticket.caller, budget.ends_at(ticket.arrived_at)
        paid = budget.nanos is not None or any(account.bounded for account in caller.accounts)
        return await self._outlooks.of(query, names, caller, category=category, ends_at=ends_at, paid=paid)

    def fitted(self, decision: Decision) -> Decision:
        """With what its budget allows of the plan; what helped to decide has been paid of it already.

        Raises:
            InsufficientQuota, DeadlineUnreachable: none does.
        """
        budget = decision.budget
        spent = sum(
            self._knowledge.nanos(leg.expert, leg.usage.prompt_tokens, leg.usage.completion_tokens)
            for leg in decision.asides
        )
        if budget.nanos is not None and spent:
            budget = replace(budget, nanos=max(1, budget.nanos - spent))
        if budget.tokens is not None and decision.asides:
            said = sum(leg.usage.completion_tokens for leg in decision.asides)
            budget = replace(budget, tokens=max(1, budget.tokens - said))
        found = self._affordable(decision, budget)
        if isinstance(found, Unaffordable):
            raise self._turned(refusal(found, budget), decision.policy, decision.ticket, found.why)
        return replace(decision, plan=found, budget=budget)

    def _less(self, decision: Decision, short: Short) -> Decision:
        """What can be had with the money that is left. What others only hold may be free again in a moment, and is no
        reason to give less.
        """
        room = (short.meter.limit or 0) - short.settled - short.held
        mine = decision.budget.nanos
        in_vain = short.passing or (mine is not None and mine <= room)
        # In vain: nothing is to fit, so that it is told what would have done.
        budget = replace(decision.budget, nanos=1 if in_vain else max(1, room))
        found = self._affordable(decision, budget)
        if isinstance(found, Unaffordable):
            raise self._spent(short, decision.policy, decision.ticket, refusal(found, budget).details)
        if in_vain:
            raise self._spent(short, decision.policy, decision.ticket)
        return replace(decision, plan=found, budget=budget)

    def _affordable(self, decision: Decision, budget: Budget) -> Plan | Unaffordable:
        """Of somebody who is to write one answer the prompt is as long as it may become."""
        plan, caller = decision.plan, decision.ticket.caller
        writers = self._outlooks.writing(decision.query, plan.synthesizers, len(plan.experts), caller)
        return affordable(
            plan,
            decision.candidates,
            decision.outlooks,
            budget,
            decision.query,
            alternatives=self._knowledge.config.convening.alternatives,
            elapsed_s=self._bank.clock() - decision.ticket.arrived_at,
            writers=writers,
        )

    def _turned(self, error: SymposiumError, policy: str, ticket: Ticket, why: str) -> SymposiumError:
        error.why = why
        self._emit(Turned(ticket.caller.tenant, policy, error.code, why))
        return error

    def _spent(
        self, short: Short, policy: str, ticket: Ticket, would_do: Mapping[str, Any] = MappingProxyType({})
    ) -> SymposiumError:
        """`would_do`: the plans that would have been possible."""
        meter = short.meter
        details = {
            **would_do,
            "account": meter.account,
            "period": meter.period,
            "limit_usd": usd(meter.limit or 0),
            "settled_usd": usd(short.settled),
            "held_usd": usd(short.held),
            "needed_usd": usd(short.asked),
        }
        if short.passing:
            passing = RateLimited(
                f"Other requests of '{meter.account}' hold what is left of its budget for {meter.period}.",
                code="rate_limit_exceeded",
                retry_after_s=WAIT_S,
                details=details,
            )
            return self._turned(passing, policy, ticket, "held")
        spent = InsufficientQuota(
            f"What '{meter.account}' has left for {meter.period} does not pay for this: {details['settled_usd']:g} of "
            f"{details['limit_usd']:g} USD are spent.",
            code="insufficient_quota",
            details=details,
        )
        return self._turned(spent, policy, ticket, "spent")

    def _legs(self, decision: Decision) -> list[tuple[str, str]]:
        """(leg id, expert) as the dispatcher will name them: the first wave, and whoever writes one answer of all."""
        plan, request_id = decision.plan, decision.query.request_id
        legs = [(f"{request_id}-{number}", expert) for number, expert in enumerate(plan.waves[0])]
        if plan.aggregator == "synthesize":
            legs.append((f"{request_id}-s-0", plan.synthesizers[0]))
        return legs

    def _purse(self, decision: Decision) -> Purse:
        query, plan, budget = decision.query, decision.plan, decision.budget
        caller, settings = decision.ticket.caller, self._bank.settings
        writers = plan.synthesizers if plan.aggregator == "synthesize" else ()
        terms = Terms(
            outlooks=decision.outlooks,
            writers=self._outlooks.writing(query, writers, len(plan.experts), caller),
            writing=f"{query.request_id}-s",
            caps=plan.fit.max_tokens if plan.fit else {},
            max_tokens=query.max_tokens,
            samples=query.needs.samples,
            nanos=budget.nanos,
            tokens=budget.tokens,
            hosted=self._outlooks.hosted,
            slice_tokens=settings.slice_tokens,
        )
        return Purse(self._bank, self._payer(query, decision.ticket, decision.policy), terms, self._knowledge.nanos)

    def _payer(self, query: Query, ticket: Ticket, policy: str) -> Payer:
        caller = ticket.caller
        meters = caller.meters(self._bank.now())
        return Payer(query.request_id, caller.tenant, caller.key, policy, self._bank.owner, meters)
