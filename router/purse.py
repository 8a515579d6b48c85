"""The money of one request: what is held for each of its calls, how long an answer that pays for, what came of it.

Async shell over `bank`; what calls may cost is computed here, by plain arithmetic. A call begins only when money is
held for it: for those of the plan's first wave and for its aggregator all at once (`begin`), for any other one when it
comes to it. Of a long answer what is likely is held at first, and more as it grows, so that its worst case locks nobody
out. Must not know who is asked, or why.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from experts.errors import ExpertUnfunded
from router.bank import Bank
from router.errors import LedgerDown
from router.ledger import Charge, Hold, Payer, Short
from router.outlook import Outlook
from router.records import Usage

LOW_WATER = 0.5  # of the next slice: with less than that left, it is asked for
UNUSED = Usage()
LEAST_SLICE = 64  # tokens
SPARE_CHUNKS = 16  # of each sample, that may come without a token: where nobody counts, a chunk is taken for one
Price = Callable[[str, int, int], int]  # expert, prompt and output tokens -> nanodollars


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request's calls may cost at most.

    `outlooks`: of everybody who may be called; `writers`: of those who may write one answer of several, which is
    another prompt: their calls' ids begin with `writing`. `caps`: expert -> output tokens of each sample, as planned.
    `max_tokens`: the client's own bound, of each sample. `samples`: that each expert is asked for. `nanos` and
    `tokens`: of all calls together. `hosted`: experts whose tokens our own hosts count. `slice_tokens`: that are held
    at once.
    """

    outlooks: Mapping[str, Outlook]
    writers: Mapping[str, Outlook] = field(default_factory=dict)
    writing: str = "-"
    caps: Mapping[str, int] = field(default_factory=dict)
    max_tokens: int | None = None
    samples: int = 1
    nanos: int | None = None
    tokens: int | None = None
    hosted: frozenset[str] = frozenset()
    slice_tokens: int = 1024


@dataclass(slots=True)
class Grant:
    """One call's money. `cap`: output tokens of each sample that it may take, None: as many as there are; `covered`: of
    all samples together, that are paid for so far. `dry`: no more is to be had.
    """

    outlook: Outlook
    cap: int | None
    bound: int  # of each sample, for sums
    covered: int
    held: int
    dry: bool = False
    growing: asyncio.Task[None] | None = None
    paid: bool = False  # its money is there
    opened: bool = False

    @property
    def expert(self) -> str:
        return self.outlook.expert

    @property
    def worst(self) -> int:
        """What it may cost at most, nanodollars."""
        return self.outlook.nanos(self.bound)


class Funds(Protocol):
    """What a call needs of its request's money."""

    async def open(self, leg_id: str, expert: str) -> int | None:
        """Money for a call; the `max_tokens` it may be sent with, None: as it is. Raises ExpertUnfunded."""

    def goes_on(self, leg_id: str, tokens: int) -> bool:
        """So many output tokens have come; whether there is money for more."""

    def reserved(self, leg_id: str) -> Usage | None:
        """What is held for it, as tokens: the estimate where nobody counts."""

    def ended(self, leg_id: str, usage: Usage | None) -> None:
        """What it has used; None: it was never sent."""


class Free:
    """Nobody pays: for calls that are not a client's."""

    async def open(self, leg_id: str, expert: str) -> int | None:
        return None

    def goes_on(self, leg_id: str, tokens: int) -> bool:
        return True

    def reserved(self, leg_id: str) -> Usage | None:
        return None

    def ended(self, leg_id: str, usage: Usage | None) -> None:
        pass


FREE = Free()


class Purse:
    """Of one request."""

    def __init__(self, bank: Bank, payer: Payer, terms: Terms, price: Price) -> None:
        self._bank, self._payer, self._terms, self._price = bank, payer, terms, price
        self._grants: dict[str, Grant] = {}
        self._left: dict[str, Grant] = {}  # held for calls that have used nothing
        self._planned = dict(terms.caps)  # of those that have not come to their money yet
        self._spent_nanos = self._spent_tokens = 0
        self._closed = False

    async def begin(self, legs: Sequence[tuple[str, str]]) -> Short | None:
        """Money for these calls (leg id, expert), for all of them or for none: then what is short.

        Raises:
            LedgerDown: nobody can tell.
        """
        for leg_id, expert in legs:  # each counts for those after it
            self._grants[leg_id] = self._granted(leg_id, expert)
        granted, self._grants = {leg_id: grant for leg_id, grant in self._grants.items() if grant.bound > 0}, {}
        return await self._held(granted)

    async def open(self, leg_id: str, expert: str) -> int | None:
        """As `Funds`: a call of the plan has its money already, one in another's place takes what that has left."""
        grant = self._grants.get(leg_id)
        if grant is not None and grant.expert != expert:  # held for another one, who costs something else
            self.ended(leg_id, None)
            grant = None
        if grant is None:
            grant = self._granted(leg_id, expert)
            if grant.bound < 1:
                raise ExpertUnfunded(expert, "the query's budget does not allow another call")
            try:
                short = await self._held({leg_id: grant})
            except LedgerDown as error:
                raise ExpertUnfunded(expert, "the ledger cannot be reached") from error
            if short is not None:
                raise ExpertUnfunded(expert, f"{short.meter.account} has no money left for {short.meter.period}")
        grant.opened = True
        return grant.cap

    async def _held(self, granted: Mapping[str, Grant]) -> Short | None:
        """They count from now on, so that calls that begin at the same time do not spend the same money."""
        self._grants |= granted
        short: Short | None = None
        done = False
        try:
            holds = [self._hold(*item) for item in granted.items()]
            if self._left and len(holds) == 1:
                # Its own, where another expert had been meant to make the call; else the most there is.
                own = holds[0].leg_id
                left_id = own if own in self._left else max(self._left, key=lambda leg_id: self._left[leg_id].held)
                left = self._left.pop(left_id)
                short = await self._bank.pass_on(left_id, left.held, self._payer, holds[0])
                if short is not None:
                    self._left[left_id] = left
                    if self._closed:
                        self._free_left()
            else:
                short = await self._bank.hold(self._payer, holds)
            done = short is None
            for grant in granted.values():
                grant.paid = done
            return short
        finally:
            if not done:
                for leg_id in granted:
                    self._grants.pop(leg_id, None)

    def goes_on(self, leg_id: str, tokens: int) -> bool:
        grant = self._grants.get(leg_id)
        if grant is None:
            return True
        more = self._next_slice(grant)
        if more and not grant.dry and grant.growing is None and grant.covered - tokens < LOW_WATER * more:
            grant.growing = asyncio.create_task(self._grow(leg_id, grant))
        return tokens < (grant.covered if grant.dry else self._most_chunks(grant))

    def _most_chunks(self, grant: Grant) -> float:
        """An expert that was told how long its answer may be, and goes on, is stopped."""
        told = grant.bound < grant.outlook.room
        return (grant.bound + SPARE_CHUNKS) * self._terms.samples if told else math.inf

    def reserved(self, leg_id: str) -> Usage | None:
        grant = self._grants.get(leg_id)
        return Usage(grant.outlook.prompt_tokens, grant.covered, exact=False) if grant is not None else None

    def ended(self, leg_id: str, usage: Usage | None) -> None:
        grant = self._grants.pop(leg_id, None)
        if grant is None:
            return
        if usage is None or usage == UNUSED:  # whoever is asked in its place may need what it leaves
            self._left[leg_id] = grant
            if self._closed:
                self._free_left()
            return
        amount = self._price(grant.expert, usage.prompt_tokens, usage.completion_tokens)
        self._spent_nanos += amount
        self._spent_tokens += usage.completion_tokens
        charge = Charge(leg_id, amount, usage.prompt_tokens, usage.completion_tokens, not usage.exact)
        if grant.growing is None:
            self._settle(grant, charge)
        else:  # what is being held for it just now is its money, too
            grant.growing.add_done_callback(lambda _: self._settle(grant, charge))

    def _settle(self, grant: Grant, charge: Charge) -> None:
        self._bank.settle(charge.leg_id, self._payer.tenant, grant.expert, grant.held, charge)

    def close(self) -> None:
        """What is held for calls that were not made goes back; those under way are settled as they end."""
        self._closed = True
        for leg_id in [leg_id for leg_id, grant in self._grants.items() if grant.paid and not grant.opened]:
            self._left[leg_id] = self._grants.pop(leg_id)
        self._free_left()

    def _free_left(self) -> None:
        while self._left:
            leg_id, grant = self._left.popitem()
            self._bank.free(leg_id, self._payer.tenant, grant.expert, grant.held)

    def _granted(self, leg_id: str, expert: str) -> Grant:
        """How long this expert's answer may be, and how much of it is paid for at first."""
        terms = self._terms
        writes = leg_id.startswith(terms.writing)
        outlook = (terms.writers if writes else terms.outlooks)[expert]
        own = min(outlook.room, terms.max_tokens or outlook.room)
        planned = own if writes else self._planned.pop(expert, own)
        bound = min(own, planned, self._affordable(outlook))
        likely = max(outlook.tokens, LEAST_SLICE)
        first = likely if bound > 2 * likely else bound
        return Grant(
            outlook, bound if bound < own else None, bound, first * terms.samples, outlook.nanos(max(first, 0))
        )

    def _affordable(self, outlook: Outlook) -> int:
        """Output tokens of each sample that the query's own budget leaves for one more call, beside those that have
        their money and those that are planned.
        """
        terms, grants, bound = self._terms, self._grants.values(), outlook.room
        if terms.nanos is not None:
            planned = sum(terms.outlooks[expert].nanos(cap) for expert, cap in self._planned.items())
            left = terms.nanos - self._spent_nanos - planned - sum(grant.worst for grant in grants)
            bound = min(bound, _tokens(outlook, left))
        if terms.tokens is not None:
            planned = sum(self._planned.values()) + sum(grant.bound for grant in grants)
            bound = min(bound, (terms.tokens - self._spent_tokens) // terms.samples - planned)
        return bound

    def _hold(self, leg_id: str, grant: Grant) -> Hold:
        hosted, prompt = grant.expert in self._terms.hosted, grant.outlook.prompt_tokens
        return Hold(leg_id, grant.expert, grant.held, hosted, prompt, grant.covered)

    def _next_slice(self, grant: Grant) -> int:
        """As much as is held already: what was expected was too little."""
        return min(self._terms.slice_tokens, grant.covered, grant.bound * self._terms.samples - grant.covered)

    async def _grow(self, leg_id: str, grant: Grant) -> None:
        terms = self._terms
        more = self._next_slice(grant)
        amount = -int(-(grant.outlook.token_nanos / terms.samples * more) // 1)
        hold = replace(self._hold(leg_id, grant), amount=amount, output_tokens=more)
        try:
            short = await self._bank.more(self._payer, hold)
        except LedgerDown:
            grant.dry = True
            return
        finally:
            grant.growing = None
        if short is not None:
            grant.dry = True
            return
        grant.covered += more
        grant.held += amount


def _tokens(outlook: Outlook, nanos: int) -> int:
    """So many output tokens of each sample cost no more than that."""
    if nanos < outlook.prompt_nanos:
        return 0
    if outlook.token_nanos <= 0:
        return outlook.room
    found = min(outlook.room, int((nanos - outlook.prompt_nanos) / outlook.token_nanos) + 1)
    while found > 0 and outlook.nanos(found) > nanos:  # once, or twice: floats are rounded
        found -= 1
    return found
