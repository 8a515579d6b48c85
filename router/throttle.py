"""Requests and tokens a minute, drawn from buckets that the ledger keeps for all replicas. Async shell.

One question to the ledger for each request of a caller that has rates, none for others. While a bucket is known to be
short, requests are refused without asking. What requests have used in truth is told to the ledger behind their backs:
summed by bucket, so that it is bounded by how many buckets there are; what cannot be told is dropped, as every bucket
fills within a minute. Must not know HTTP, or what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from router.caller import Caller
from router.config import LedgerSettings
from router.errors import LedgerDown, RateLimited
from router.events import Emit, Event, Finished, LedgerLost, Turned
from router.ledger import Ledger, LedgerUnavailable, Rate, Taken
from router.rate_limits import CODE, Refusal, buckets, expected_tokens, headers, refused, units
from router.records import Query

MOST_KNOWN = 10_000  # buckets that are remembered to be short
AWAY_S = 1.0  # so long a ledger that did not answer is not asked


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What one request has taken of the caller's buckets of tokens."""

    rates: tuple[Rate, ...]
    tokens: int


class Throttle:
    """Of one router replica. `clock`: monotonic seconds; `now`: unix seconds."""

    def __init__(
        self,
        ledger: Ledger,
        settings: LedgerSettings,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        emit: Emit,
    ) -> None:
        self._ledger, self._open = ledger, settings.on_failure == "open"
        self._clock, self._now, self._emit = clock, now, emit
        self._short: dict[Rate, Refusal] = {}
        self._drawn: dict[str, _Drawn] = {}  # of requests under way
        self._owed: dict[Rate, int] = {}
        self._telling: asyncio.Task[None] | None = None
        self._away_until = float("-inf")

    def check(self, caller: Caller) -> None:
        """Before anything of a request is read: asks nobody.

        Raises:
            RateLimited: a bucket is known to hold nothing.
        """
        self._check(caller, buckets(caller), 1)

    async def take(self, caller: Caller, request_id: str, query: Query | None) -> Mapping[str, str]:
        """Draws one request, and the tokens that the query may use; the headers that tell of it.

        `query` None: it was no valid one; it counts as a request all the same.

        Raises:
            RateLimited: there is not enough of a bucket, or never will be.
            LedgerDown: the ledger cannot be asked, and the operator wants no request to be served without it.
        """
        if not (rates := buckets(caller)):
            return {}
        try:
            tokens = 0 if query is None else expected_tokens(query, rates)
        except RateLimited as error:  # more than a full bucket: a request it is, all the same
            error.more_headers = await self.take(caller, request_id, None)
            raise self._refused(caller, error, "tokens") from None
        self._check(caller, rates, tokens)
        wanted = units(rates, tokens)
        taken = await self._asked(rates, wanted)
        if taken is None:
            return {}
        if taken.short is not None and taken.retry_after_s is not None:
            self._remember(taken, taken.short, taken.retry_after_s, wanted[rates.index(taken.short)])
            raise self._refused(caller, refused(taken.short, taken.retry_after_s, taken.levels), taken.short.unit)
        self._drawn[request_id] = _Drawn(tuple(rate for rate in rates if rate.unit == "tokens"), tokens)
        return headers(taken.levels)

    def emit(self, event: Event) -> None:
        """A request that has ended: what it has used is what it should have drawn.

        One whose client left gets nothing back: what it had under way is not among what it is known to have used.
        """
        if not isinstance(event, Finished) or (drawn := self._drawn.pop(event.request_id, None)) is None:
            return
        used = 0
        if event.response is not None:
            usage = event.response.usage
            used = usage.prompt_tokens + usage.completion_tokens
        if event.outcome == "cancelled":
            used = max(used, drawn.tokens)
        if used == drawn.tokens:
            return
        for rate in drawn.rates:
            self._owed[rate] = self._owed.get(rate, 0) + used - drawn.tokens
        if self._owed and self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    async def stop(self, limit_s: float) -> None:
        """What is still to be told is told, as far as that is done in time."""
        if self._telling is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._telling, limit_s)

    async def _asked(self, rates: tuple[Rate, ...], wanted: tuple[int, ...]) -> Taken | None:
        """None: the ledger is away, and requests are served without it. One that did not answer just now is not waited
        for again.
        """
        if self._clock() >= self._away_until:
            try:
                return await self._ledger.take(rates, wanted, self._now())
            except LedgerUnavailable:
                self._away_until = self._clock() + AWAY_S
        self._emit(LedgerLost("take", self._open))
        if not self._open:
            raise LedgerDown("Rates cannot be kept now; try again shortly.", code="ledger_down")
        return None

    async def _tell(self) -> None:
        try:
            while self._owed:
                owed, self._owed = self._owed, {}
                await self._ledger.take(list(owed), list(owed.values()), self._now(), force=True)
                for rate, more in owed.items():
                    if more < 0:  # there may be enough by now
                        self._short.pop(rate, None)
        except LedgerUnavailable:
            self._emit(LedgerLost("take", self._open))
        finally:
            self._telling = None

    def _check(self, caller: Caller, rates: tuple[Rate, ...], tokens: int) -> None:
        now = self._clock()
        for rate, wanted in zip(rates, units(rates, tokens), strict=True):
            known = self._short.get(rate)
            if known is not None and (wait_s := known.wait_s(wanted, now)) > 0:
                raise self._refused(caller, refused(rate, wait_s, known.levels_at(now)), rate.unit)

    def _remember(self, taken: Taken, short: Rate, wait_s: float, wanted: int) -> None:
        now = self._clock()
        if len(self._short) >= MOST_KNOWN:
            self._short = {rate: known for rate, known in self._short.items() if known.until > now}
            if len(self._short) >= MOST_KNOWN:
                self._short.clear()
        self._short[short] = Refusal(short, wanted, now + wait_s, taken.levels, now)

    def _refused(self, caller: Caller, error: RateLimited, unit: str) -> RateLimited:
        error.why = unit
        self._emit(Turned(caller.tenant, "", CODE, unit))
        return error
