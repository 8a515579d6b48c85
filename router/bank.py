"""One router replica's dealings with the ledger: what is asked of it, what is booked behind the requests' backs.

Async shell. Holding money is awaited by requests; settling and freeing are queued, sent together, and tried again until
they are done. As long as it beats, this replica's holds are its own; holds of replicas that ended without a word are
settled by what hosts have counted (`_reap`), within `lease_s` + `REAP_S`, and not before the ledger was there for a
while. Must not know plans, legs or HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

from experts.client import LegTokens
from router.config import LedgerSettings
from router.errors import LedgerDown
from router.events import Booked, Emit, Held, LedgerLost
from router.ledger import Charge, Hold, Ledger, LedgerUnavailable, Meter, Orphan, Payer, Short

log = logging.getLogger(__name__)
REAP_S = 5.0
PRUNE_S = 3600.0
DAY_S = 86_400
RETRY_S = 0.2  # then what could not be booked is tried again
MOST_PENDING = 100_000  # bookings that wait for a ledger that is away; then new ones are left to the reapers
JUMP_S = 1.0  # unix time that goes so much faster or slower than seconds do was set anew
MOST_KNOWN = 10_000  # meters that are remembered
TOGETHER = 256
Count = Callable[[str, str], Awaitable[LegTokens | None]]  # expert, leg id -> what its host has counted
Price = Callable[[str, int, int], int]  # expert, prompt and output tokens -> nanodollars


@dataclass(frozen=True, slots=True)
class _Booking:
    """`charge` None: the leg was never sent, its hold goes back."""

    leg_id: str
    tenant: str
    expert: str
    held: int
    ended_at: float
    charge: Charge | None


class Bank:
    """`clock`: monotonic seconds; `now`: unix seconds. `count`: asks hosts about legs of other replicas."""

    def __init__(  # one argument for each thing that it deals with
        self,
        ledger: Ledger,
        settings: LedgerSettings,
        owner: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        count: Count,
        price: Price,
        emit: Emit,
    ) -> None:
        self.settings, self.owner, self.now, self.clock = settings, owner, now, clock
        self._ledger, self._count, self._price, self._emit = ledger, count, price, emit
        self._pending: deque[_Booking] = deque()
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._steady_since: float | None = None
        self.away = False  # money could not be held when it was asked for last
        self._offset = now() - clock()  # of unix time
        self._sure_until = -math.inf  # of being alive, to others, by the clock
        self._known: dict[tuple[str, str], int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._asked: set[asyncio.Task[Short | None]] = set()

    async def start(self) -> None:
        """Says that it lives, and begins to work in the background; what cannot be reached now is tried again."""
        with suppress(LedgerUnavailable):
            await self._beat()
        self._tasks = [asyncio.create_task(work) for work in (self._beating(), self._booking(), self._reaping())]

    async def stop(self, limit_s: float) -> None:
        """Books what is left, as far as that is done in time, and leaves the rest to other replicas."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*self._asked, return_exceptions=True)
                await self._idle.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(LedgerUnavailable):
            await self._ledger.leave(self.owner)

    async def hold(self, payer: Payer, holds: Sequence[Hold]) -> Short | None:
        """All of it, or nothing and why. Whoever is cancelled meanwhile holds nothing.

        Raises:
            LedgerDown: it cannot be had, and the operator wants no request to be served without account.
        """
        asked = asyncio.ensure_future(self._alive(lambda: self._ledger.reserve(payer, holds, self.now())))
        return await self._answered(asked, payer, holds, "reserve", lambda: self._void(payer, holds))

    async def pass_on(self, leg_id: str, held: int, payer: Payer, hold: Hold) -> Short | None:
        """A leg that has used nothing of what was `held` for it leaves it to another one; as `hold`, but where that is
        not enough the old hold stays.
        """
        asked = asyncio.ensure_future(self._alive(lambda: self._ledger.pass_on(leg_id, payer, hold, self.now())))
        both = [hold] if leg_id == hold.leg_id else [hold, replace(hold, leg_id=leg_id)]
        kept = False
        try:
            short = await self._answered(asked, payer, (hold,), "pass_on", lambda: self._void(payer, both))
            kept = short is not None
            return short
        finally:
            if not kept:
                self._emit(Booked(payer.tenant, held, 0, expert=hold.expert, leg_id=leg_id))

    async def more(self, payer: Payer, hold: Hold) -> Short | None:
        """The hold of a leg under way grows; as `hold`, but what it held before stays in any case."""
        asked = asyncio.ensure_future(self._ledger.renew(payer, hold, self.now()))
        return await self._answered(asked, payer, (hold,), "renew", lambda: None)

    def settle(self, leg_id: str, tenant: str, expert: str, held: int, charge: Charge) -> None:
        """Books what a leg has used, as soon as may be, once."""
        self._later(_Booking(leg_id, tenant, expert, held, self.clock(), charge))

    def free(self, leg_id: str, tenant: str, expert: str, held: int) -> None:
        """The hold of a leg that was never sent goes back."""
        self._later(_Booking(leg_id, tenant, expert, held, self.clock(), None))

    def left(self, meters: Sequence[Meter]) -> tuple[Meter, int] | None:
        """The meter with the least room as far as this replica knows, and at most how much that is, nanodollars.

        What is settled never sinks within a period, so what was heard once holds: it costs no question to the ledger.
        """
        rooms = [(m, m.limit - self._known.get((m.account, m.period), 0)) for m in meters if m.limit is not None]
        return min(rooms, key=lambda room: room[1], default=None)

    async def _alive(self, held: Callable[[], Awaitable[Short | None]]) -> Short | None:
        """What a replica holds that others take for dead, they settle under its hands: it says first that it lives."""
        if self.clock() > self._sure_until:
            await self._beat()
        return await held()

    async def _answered(
        self,
        asked: asyncio.Task[Short | None],
        payer: Payer,
        holds: Sequence[Hold],
        what: str,
        undo: Callable[[], None],
    ) -> Short | None:
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        try:
            short = await asyncio.shield(asked)
        except LedgerUnavailable as error:
            undo()  # it may have been done all the same
            self._lost(what)
            self.away = True
            if self.settings.on_failure == "closed":
                raise LedgerDown("Money cannot be accounted for now; try again shortly.", code="ledger_down") from error
            short = None
        except asyncio.CancelledError:
            asked.add_done_callback(lambda _: undo())  # not before it is done, or it would be done afterwards
            raise
        else:
            self.away = False
        if short is None:
            self._emit(Held(payer.tenant, sum(hold.amount for hold in holds)))
        else:
            self._learn(short.meter, short.settled)
        return short

    def _void(self, payer: Payer, holds: Sequence[Hold]) -> None:
        for hold in holds:
            self.free(hold.leg_id, payer.tenant, hold.expert, 0)

    def _learn(self, meter: Meter, settled: int) -> None:
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        at = meter.account, meter.period
        self._known[at] = max(settled, self._known.get(at, 0))

    def _lost(self, what: str) -> None:
        self._emit(LedgerLost(what, self.settings.on_failure == "open"))

    def _later(self, booking: _Booking) -> None:
        if len(self._pending) >= MOST_PENDING:  # while it is away nothing new is held: it is the old ones that matter
            self._lost("dropped")
            return
        self._pending.append(booking)
        self._idle.clear()
        self._wanted.set()

    async def _booking(self) -> None:
        while True:
            await self._wanted.wait()
            some = [self._pending.popleft() for _ in range(min(TOGETHER, len(self._pending)))]
            try:
                await self._book(some)
            except LedgerUnavailable:
                self._pending.extendleft(reversed(some))
                self._lost("settle")
                await asyncio.sleep(RETRY_S)
            except Exception:  # a bug of ours: what was held is left to whoever reaps, and the others go on
                log.exception("%d legs could not be booked", len(some))
            if not self._pending:
                self._wanted.clear()
                self._idle.set()

    async def _book(self, some: Sequence[_Booking]) -> None:
        if voided := [b.leg_id for b in some if b.charge is None]:
            await self._ledger.void(voided, self.now())
        charges = [b.charge for b in some if b.charge is not None]
        booked = {s.leg_id: s for s in await self._ledger.settle(charges, self.now())} if charges else {}
        for booking in some:
            lag_s, found = self.clock() - booking.ended_at, booked.get(booking.leg_id)
            charged, overrun = (found.charged, found.overrun) if found else (0, 0)
            estimated = found.estimated if found else False
            self._emit(
                Booked(booking.tenant, booking.held, charged, overrun, estimated, lag_s, booking.expert, booking.leg_id)
            )

    async def _beating(self) -> None:
        while True:
            await asyncio.sleep(self.settings.lease_s / 3)
            try:
                await self._beat()
            except LedgerUnavailable:
                self._lost("beat")
            except Exception:  # a bug of ours: without a next beat others would settle what is under way
                log.exception("it could not be said that this replica lives")

    async def _beat(self) -> None:
        now, began = self.now(), self.clock()
        try:
            await self._ledger.beat(self.owner, now, now + self.settings.lease_s)
        except LedgerUnavailable:
            self._steady_since = None
            raise
        self._sure_until = began + self.settings.lease_s / 2
        if self._steady_since is None:
            self._steady_since = self.clock()

    def _steady(self) -> bool:
        """Whether the ledger has been there, and clocks as they are, for so long that everybody who lives has said so
        since.
        """
        offset = self.now() - self.clock()
        if abs(offset - self._offset) > JUMP_S and self._steady_since is not None:
            self._steady_since = self.clock()
        self._offset = offset
        return self._steady_since is not None and self.clock() - self._steady_since >= self.settings.lease_s / 2

    async def _reaping(self) -> None:
        pruned_at, own = self.clock(), Random()
        while True:
            await asyncio.sleep(REAP_S * own.uniform(0.8, 1.0))  # so that replicas take turns
            try:
                await self._reap()
                if self.clock() - pruned_at > PRUNE_S:
                    pruned_at = self.clock()
                    while await self._ledger.prune(self.now() - self.settings.keep_days * DAY_S):
                        pass  # a little at a time
            except LedgerUnavailable:
                pass  # the beats say so
            except Exception:  # a bug of ours: the next time may go better
                log.exception("what replicas that are gone have held could not be settled")

    async def _reap(self) -> None:
        orphans = await self._ledger.orphans(self.now()) if self._steady() else ()
        if not orphans:
            return
        charges = await asyncio.gather(*map(self._owed, orphans))
        for settled in await self._ledger.settle(charges, self.now()):
            log.warning("leg %s of a replica that is gone is settled: %d", settled.leg_id, settled.charged)

    async def _owed(self, orphan: Orphan) -> Charge:
        """What its host has counted, nothing where the host does not know it; of an expert elsewhere all that was held:
        nobody can tell what it has used.
        """
        hold = orphan.hold
        if not hold.hosted:
            return Charge(hold.leg_id, hold.amount, hold.prompt_tokens, hold.output_tokens, estimated=True)
        counted = await self._count(hold.expert, hold.leg_id)
        if counted is None:
            return Charge(hold.leg_id, 0, 0, 0, estimated=True)
        prompt, output = counted.prompt_tokens, counted.output_tokens
        return Charge(hold.leg_id, self._price(hold.expert, prompt, output), prompt, output, not counted.exact)
