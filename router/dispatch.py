"""The async shell around calling experts: waves, one replacement, hedges, and the abort of what is not needed.

Decides nothing about routing: who is asked and who may step in stands in the plan; when enough was heard, and when the
next wave is asked, is told by the pure rule that is passed in. Each expert is asked at most once per request, so there
are no loops by construction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from experts.errors import ExpertError
from router.call import Call, Leg
from router.events import Emit, ExtraLeg
from router.health import Health
from router.legs import Legs
from router.records import EndedLeg, Failure, JsonObject, Move, Plan, Reply, Standing

REPLACEMENTS = 1  # per request, before the client's first byte
Heard = Callable[[EndedLeg], None]
Rule = Callable[[Standing], Move]


@dataclass(slots=True)
class Table:
    """One request's legs, who may still step in, and whom to tell what has come of those that ended."""

    call: Call
    spares: list[str]
    tell: Heard
    whole: bool  # answers are wanted whole, not passed on as they come
    left: int = REPLACEMENTS
    legs: list[Leg] = field(default_factory=list)

    def enough(self) -> None:
        """What is aborted from now on is cut by us: the client has not gone."""
        for leg in self.legs:
            leg.cut = True


@dataclass(frozen=True, slots=True)
class Gathered:
    """Replies in the order of the plan, and the planned experts that neither answered nor were replaced."""

    replies: tuple[Reply, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveReply:
    """A streamed answer whose first chunk has come. `reply()` is what was used, once the chunks are through."""

    expert: str
    chunks: AsyncIterator[JsonObject]
    reply: Callable[[], Reply] = field(repr=False)
    failure: Callable[[ExpertError], Failure] = field(repr=False)


class Dispatcher:
    """Calls experts for requests. One per router replica."""

    def __init__(self, legs: Legs, health: Health, servers: Mapping[str, str], emit: Emit) -> None:
        """`servers`: expert -> the server it lives on."""
        self._legs, self._health, self._servers, self._emit = legs, health, servers, emit

    async def gather(self, call: Call, plan: Plan, rule: Rule, heard: Heard) -> Gathered:
        """Asks the plan's experts wave by wave until the rule says stop; none that could not be through in time.

        Never raises ExpertError: a leg that failed is a Failure, one that was not needed any more a Cut. `heard` is
        told each outcome the moment it is known. Cancelling aborts every leg.
        """
        table = Table(call, list(plan.spares), heard, whole=True)
        seats: dict[asyncio.Task[Reply | None], str] = {}
        replies: dict[str, Reply] = {}  # by who was planned for the seat
        missing: list[str] = []
        waves, numbers = list(plan.waves), count()
        self._opened()
        try:
            while (move := rule(Standing(tuple(replies.values()), tuple(seats.values()), tuple(waves)))) != "stop":
                if move == "ask":
                    first = waves[0] is plan.waves[0]  # the plan has just been made: it says what is in time
                    for expert in waves.pop(0):
                        leg_id = f"{call.request_id}-{next(numbers)}"
                        if not first and not self._legs.in_time(call, expert):
                            missing.append(expert)
                            continue
                        seats[asyncio.create_task(self._seat(table, leg_id, expert))] = expert
                    continue
                done, _ = await asyncio.wait(seats, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    expert, reply = seats.pop(task), task.result()
                    if reply is None:
                        missing.append(expert)
                    else:
                        replies[expert] = reply
            table.enough()
        finally:
            await _stopped(seats)
        return Gathered(tuple(replies[name] for name in plan.experts if name in replies), tuple(missing))

    @asynccontextmanager
    async def relay(self, call: Call, experts: Sequence[str], heard: Heard) -> AsyncIterator[LiveReply]:
        """The first expert's answer as it comes, the others being its spares. Leaving the block aborts it.

        `heard` is told each failure, and each leg that was cut, before the first chunk.

        Raises:
            ExpertError: nobody sent a first chunk; later errors come out of `chunks`.
        """
        table = Table(call, list(experts[1:]), heard, whole=False)
        self._opened()
        leg = await self._race(table, f"{call.request_id}-0", experts[0])
        try:
            yield LiveReply(leg.expert, leg.rest(), leg.reply, leg.failure)
        finally:
            await leg.close()

    async def aside(self, leg_id: str, expert: str, call: Call, limit_s: float) -> Reply | Failure:
        """Asks an expert for what helps to decide: nobody steps in for it. Never raises ExpertError."""
        return await self._legs.aside(leg_id, expert, call, limit_s)

    def in_time(self, call: Call, expert: str) -> bool:
        """Whether a call that begins now may be through by its deadline, as far as is known."""
        return self._legs.in_time(call, expert)

    async def drain(self, limit_s: float) -> None:
        """Waits for settlements still under way."""
        await self._legs.drain(limit_s)

    def _opened(self) -> None:
        self._health.retries.deposit()
        self._health.hedges.deposit()

    async def _seat(self, table: Table, leg_id: str, expert: str) -> Reply | None:
        """One whole answer, of the expert or of who steps in for it; None when nobody gave one."""
        name: str | None = expert
        while name is not None:
            try:
                leg = await self._race(table, leg_id, name)
            except ExpertError:
                return None
            try:
                reply = await self._legs.whole(leg)
            except ExpertError as error:
                table.tell(leg.failure(error))
                name, leg_id = self._replacement(table, error), f"{leg_id}r"
            except asyncio.CancelledError:
                if leg.cut:
                    table.tell(leg.dropped())
                raise
            else:
                table.tell(reply)
                return reply
        return None

    async def _race(self, table: Table, leg_id: str, expert: str) -> Leg:
        """The leg that sends a first chunk: the expert's, its replacement's, or that of the hedge asked beside it.

        The others are aborted. Raises the last ExpertError when none does.
        """
        race = _Race(self._legs, table, leg_id, lambda error: self._replacement(table, error))
        race.start(expert)
        patience_s = self._health.hedge_after_s(expert)
        try:
            while not race.over:
                if not await race.step(patience_s):
                    patience_s = None  # one hedge at most
                    if (name := self._hedge(table, expert)) is not None:
                        race.start(name)
        finally:
            self._legs.abort(race.stopped())
        return race.result()

    def _replacement(self, table: Table, error: ExpertError) -> str | None:
        """The next spare, rather one on another server than the one that just failed."""
        if not error.replaceable or table.left == 0:
            return None
        name = self._spare(table, error.expert)
        if name is None or not self._health.retries.take():
            return None
        table.left -= 1
        table.spares.remove(name)
        self._emit(ExtraLeg("retry", error.expert))
        return name

    def _hedge(self, table: Table, expert: str) -> str | None:
        name = self._spare(table, expert)
        if name is None or not self._health.hedges.take():
            return None
        table.spares.remove(name)
        self._emit(ExtraLeg("hedge", expert))
        return name

    def _spare(self, table: Table, instead_of: str) -> str | None:
        server = self._servers[instead_of]
        able = [name for name in table.spares if self._legs.in_time(table.call, name)]
        return next((name for name in able if self._servers[name] != server), able[0] if able else None)


class _Race:
    """Legs of one seat under way to their first chunk."""

    def __init__(self, legs: Legs, table: Table, leg_id: str, replacement: Callable[[ExpertError], str | None]) -> None:
        self._legs, self._table, self._replacement = legs, table, replacement
        self._ids = (f"{leg_id}{turn}" for turn in ("", "x", "y"))  # the expert, its hedge, a replacement
        self._running: dict[asyncio.Task[None], Leg] = {}
        self._won: Leg | None = None
        self._failed: ExpertError | None = None

    @property
    def over(self) -> bool:
        return self._won is not None or not self._running

    def start(self, expert: str) -> None:
        leg = self._legs.open(next(self._ids), expert, self._table.call, whole=self._table.whole)
        self._table.legs.append(leg)
        self._running[asyncio.create_task(self._legs.first(leg))] = leg

    async def step(self, patience_s: float | None) -> bool:
        """Until a leg has won or failed, which brings in its replacement; False when none did within `patience_s`."""
        done, _ = await asyncio.wait(self._running, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            leg = self._running.pop(task)
            if self._ended(leg, task.exception()):
                break
        return bool(done)

    def _ended(self, leg: Leg, error: BaseException | None) -> bool:
        """Whether it has won."""
        if error is None:
            self._won = leg
            return True
        if not isinstance(error, ExpertError):
            raise error
        self._failed = error
        self._table.tell(leg.failure(error))
        # A hedge under way is replacement enough.
        if not self._running and (name := self._replacement(error)) is not None:
            self.start(name)
        return False

    def stopped(self) -> dict[asyncio.Task[None], Leg]:
        """Those that have not won, to be aborted; cut, unless it is the client that has gone.

        Nothing is awaited: between a race that is won and the reading of the winner there is no time to be cancelled.
        """
        for task, leg in self._running.items():
            error = task.exception() if task.done() else None
            if isinstance(error, ExpertError):  # at the same moment
                self._table.tell(leg.failure(error))
                continue
            leg.cut = leg.cut or self._won is not None
            if leg.cut:
                self._table.tell(leg.dropped())
        return self._running

    def result(self) -> Leg:
        if self._won is None:
            assert self._failed is not None, "a race ends with a winner or an error"
            raise self._failed
        return self._won


async def _stopped(tasks: Mapping[asyncio.Task[Reply | None], str]) -> None:
    """Cancels the tasks and waits for their clean-up."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
