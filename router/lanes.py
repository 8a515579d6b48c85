"""Turns at experts: how many calls of each are under way, who waits, who comes next. Thin async shell.

One per router replica, for all its experts. How many may be under way is decided in `concurrency.py`, who is next in
`fair_queue.py`; here calls wait, and are told. Nothing waits where a turn is free.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

from experts.errors import ExpertBusy
from router import concurrency
from router.caller import Caller
from router.concurrency import Limit
from router.config import Concurrency
from router.events import Emit, Waited
from router.fair_queue import Entry, FairQueue

KEPT = 8  # one turn in so many is only for tenants that have less than their part
MARGIN, CHOOSY = 1.1, 1.5  # of foreseen waits; and so much more where all are turned away (`_Lane.margin`)
LEARNING = 1 / 32  # weight of one call in how long calls take
LEARNING_TURNED = 1 / 64  # weight of one call in how many are turned away
LATE = ("cut", "deadline")  # outcomes of calls that had to go before their first token, not by the client's will


@dataclass(slots=True, eq=False)
class Turn:
    """One call's turn: it may be sent now. To be given back once, by `Lanes.ended`.

    `load`: calls under way at the expert as it was given, itself included. `began`: when, on the lanes' clock.
    """

    expert: str
    tenant: str
    tokens: int
    load: int
    began: float
    waited_s: float = 0.0
    over: bool = False
    heard: bool = False


@dataclass(slots=True)
class _Lane:
    """One expert. `hold_s` and `tokens`: of its calls on the mean; None before one has ended. `turned_away`: the share
    of those that came of late.
    """

    queue: FairQueue
    limit: Limit
    hold_s: float | None = None
    tokens: float = 0.0
    turned_away: float = 0.0
    waiting: dict[Entry, asyncio.Future[Turn]] = field(default_factory=dict)

    @property
    def shared(self) -> int:
        """Of the calls that may be under way, those that may be whoever's."""
        return int(self.limit.calls) - int(self.limit.calls) // KEPT

    @property
    def margin(self) -> float:
        """What foreseen waits are taken times, before somebody may wait.

        One that turns out too long is a refusal that came late, or an answer that is cut off: a turn that was wasted,
        which somebody else could have used. The more come, the less is lost with one that is turned away.
        """
        return MARGIN + CHOOSY * self.turned_away

    def came(self, *, turned_away: bool) -> None:
        self.turned_away += LEARNING_TURNED * (turned_away - self.turned_away)


class Lanes:
    """The lanes of a router replica. `clock` is monotonic, in seconds; of one event loop, not for threads."""

    def __init__(self, experts: Iterable[str], settings: Concurrency, clock: Callable[[], float], emit: Emit) -> None:
        self._clock, self._emit = clock, emit
        self._lanes: dict[str, _Lane] = {}
        self._settings = settings
        self.configured(experts, settings)

    def configured(self, experts: Iterable[str], settings: Concurrency) -> None:
        """Goes by these settings from now on; what is under way, waits and is known stays, also of experts that went.

        Who waits already keeps the place, where the bounds have become narrower.
        """
        self._settings = settings
        for expert in experts:
            if expert not in self._lanes:
                queue = FairQueue(settings.queued_requests, settings.queued_tokens)
                self._lanes[expert] = _Lane(queue, concurrency.begun(settings))
        for expert, lane in self._lanes.items():
            lane.limit = lane.limit.within(settings)
            lane.queue.requests, lane.queue.tokens = settings.queued_requests, settings.queued_tokens
            self._serve(expert, lane)

    async def enter(
        self, expert: str, caller: Caller, tokens: int, ends_at: float | None = None, needs_s: float = 0.0
    ) -> Turn:
        """The call's turn, as soon as it has come. Cancelled while it waits, it leaves nothing behind.

        Args:
            tokens: that it is expected to take, prompt and answer: what fairness counts.
            ends_at: its deadline on the lanes' clock; None: it has none.
            needs_s: what half of such calls take: its turn is too late, once less than this is left. Who need not
                wait is not asked for it; of those who wait, the turns of such as would be late are lost.

        Raises:
            ExpertBusy: there is no turn for it, or none in time.
        """
        lane, now = self._lanes[expert], self._clock()
        if lane.queue.opens(caller.tenant, caller.weight, *self._bounds(lane)):
            lane.came(turned_away=False)
            lane.queue.begin(caller.tenant, caller.weight, tokens)
            return self._given(expert, lane, caller.tenant, tokens, now)
        ends = math.inf if ends_at is None else ends_at
        wait_s = self._wait_s(lane, caller, ends)
        if now + lane.margin * wait_s + needs_s > ends:
            lane.came(turned_away=True)
            raise self._refused(expert, caller.tenant, "hopeless", wait_s, now, now)
        entry, pushed = lane.queue.push(caller.tenant, caller.weight, tokens, ends, needs_s)
        for other in pushed:
            self._turned_away(expert, lane, other, "full")
        lane.came(turned_away=entry is None)
        if entry is None:
            raise self._refused(expert, caller.tenant, "full", wait_s, now, now)
        return await self._waited(expert, lane, entry, now)

    def ended(
        self,
        turn: Turn,
        outcome: str,
        first_token_s: float | None,
        seconds: float,
        tokens: int | None = None,
        *,
        failed: bool = False,
    ) -> None:
        """The call is through: its turn goes to the next. A second time it changes nothing.

        Args:
            outcome: as in `LegEnded`.
            first_token_s: None where none came.
            seconds: since its turn began.
            tokens: that it took, prompt and answer, where that is known.
            failed: whether it is the expert that failed, or was too slow: a sign of overload.
        """
        if turn.over:
            return
        turn.over = True
        lane = self._lanes[turn.expert]
        lane.queue.ended(turn.tenant, 0 if tokens is None else tokens - turn.tokens)
        weight = 1.0 if lane.hold_s is None else LEARNING
        lane.hold_s = (lane.hold_s or 0.0) + weight * (seconds - (lane.hold_s or 0.0))
        lane.tokens += weight * (turn.tokens - lane.tokens)
        delay_s = math.inf if failed else self._delay_s(lane, outcome, first_token_s, seconds)
        if delay_s is not None:
            self._heard(lane, turn, delay_s)
        self._serve(turn.expert, lane)

    def spoke(self, turn: Turn, first_token_s: float) -> None:
        """The call's first token has come."""
        lane = self._lanes[turn.expert]
        self._heard(lane, turn, first_token_s)
        self._serve(turn.expert, lane)

    def load(self, expert: str) -> int:
        """Calls under way."""
        return self._lanes[expert].queue.under_way

    def queued(self, expert: str) -> int:
        """Calls that wait."""
        return len(self._lanes[expert].queue)

    def limit(self, expert: str) -> int:
        """How many calls may be under way."""
        return int(self._lanes[expert].limit.calls)

    def wait_s(self, expert: str, caller: Caller, ends_at: float | None = None) -> float:
        """How long a call would wait for its turn, were it to enter now, as far as known."""
        return self._wait_s(self._lanes[expert], caller, math.inf if ends_at is None else ends_at)

    def hopeless(
        self,
        experts: Collection[str],
        caller: Caller,
        ends_at: float | None,
        now: float,
        needs_s: Callable[[str], float],
    ) -> bool:
        """Whether `enter` would let a call wait for none of these experts. Cheap: to be asked before all else is done.

        Where it is so, the call counts as turned away by each. `needs_s`: of each expert, as for `enter`.
        """
        ends = math.inf if ends_at is None else ends_at
        shut = bool(experts) and all(self._shut(name, caller, ends - now, ends, needs_s) for name in experts)
        if shut:
            for name in experts:
                self._lanes[name].came(turned_away=True)
        return shut

    def _shut(
        self, expert: str, caller: Caller, left_s: float, ends_at: float, needs_s: Callable[[str], float]
    ) -> bool:
        lane = self._lanes[expert]
        if lane.queue.opens(caller.tenant, caller.weight, *self._bounds(lane)):
            return False
        if not lane.queue.admits(caller.tenant, caller.weight, max(1, int(lane.tokens))):
            return True
        return left_s < math.inf and lane.margin * self._wait_s(lane, caller, ends_at) + needs_s(expert) > left_s

    def _bounds(self, lane: _Lane) -> tuple[int, int]:
        """How many calls may be under way; and so many whoever's they are.

        By simulation: where answers vary in length, a flood moves another tenant's p99 half as far as without the kept
        turns, and the expert does as much: the limit grows by those that are not used.
        """
        if lane.limit.probing:
            few = concurrency.few(lane.limit, self._settings)
            return few, few
        return int(lane.limit.calls), lane.shared

    def _wait_s(self, lane: _Lane, caller: Caller, ends_at: float) -> float:
        if lane.hold_s is None or lane.queue.opens(caller.tenant, caller.weight, *self._bounds(lane)):
            return 0.0
        turns = 1 + lane.queue.tokens_before(caller.tenant, caller.weight, ends_at) / max(lane.tokens, 1.0)
        return turns * lane.hold_s / lane.shared

    def _heard(self, lane: _Lane, turn: Turn, delay_s: float) -> None:
        if turn.heard:
            return
        turn.heard = True
        call = concurrency.Call(turn.began, turn.load, delay_s, lane.hold_s)
        lane.limit = concurrency.after(lane.limit, call, self._clock(), self._settings)

    def _given(self, expert: str, lane: _Lane, tenant: str, tokens: int, since: float) -> Turn:
        now = self._clock()
        self._emit(Waited(expert, tenant, now - since))
        return Turn(expert, tenant, tokens, lane.queue.under_way, now, now - since)

    def _serve(self, expert: str, lane: _Lane) -> None:
        """Gives turns to those that are next, as far as there are any."""
        now = self._clock()
        while lane.queue:
            entry, hopeless = lane.queue.next(now, *self._bounds(lane))
            for late in hopeless:
                self._turned_away(expert, lane, late, "hopeless")
            if entry is None:
                break
            future = lane.waiting.pop(entry)
            if future.done():  # cancelled, and not yet told so
                lane.queue.ended(entry.tenant, -entry.tokens)
            else:
                future.set_result(Turn(expert, entry.tenant, entry.tokens, lane.queue.under_way, now))

    async def _waited(self, expert: str, lane: _Lane, entry: Entry, since: float) -> Turn:
        future: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        lane.waiting[entry] = future
        try:
            turn = await future
        except ExpertBusy as error:
            raise self._refused(expert, entry.tenant, error.why, error.wait_s, since, self._clock()) from None
        except asyncio.CancelledError:
            lane.waiting.pop(entry, None)
            lane.queue.remove(entry)
            if future.done() and not future.cancelled() and future.exception() is None:
                self._unused(expert, lane, future.result())
            raise
        turn.waited_s = turn.began - since
        self._emit(Waited(expert, entry.tenant, turn.waited_s))
        return turn

    def _unused(self, expert: str, lane: _Lane, turn: Turn) -> None:
        """It came at the moment in which its call was cancelled."""
        turn.over = True
        lane.queue.ended(turn.tenant, -turn.tokens)
        self._serve(expert, lane)

    def _turned_away(self, expert: str, lane: _Lane, entry: Entry, why: Literal["full", "hopeless"]) -> None:
        future = lane.waiting.pop(entry)
        if not future.done():
            future.set_exception(ExpertBusy(expert, why, 0.0))

    def _refused(
        self, expert: str, tenant: str, why: Literal["full", "hopeless"], wait_s: float, since: float, now: float
    ) -> ExpertBusy:
        self._emit(Waited(expert, tenant, now - since, why))
        return ExpertBusy(expert, why, wait_s)

    @staticmethod
    def _delay_s(lane: _Lane, outcome: str, first_token_s: float | None, seconds: float) -> float | None:
        """What a call tells of the delay, if anything.

        One that went before its first token came has waited at least so long: were only those known that were in time,
        the limit would grow with every deadline that is missed.
        """
        if first_token_s is not None:
            return first_token_s
        usual_s = lane.limit.undisturbed_s
        return seconds if outcome in LATE and usual_s is not None and seconds > usual_s else None
