"""Turns at experts: how many calls of each are under way, who waits, who comes next. Thin async shell.

One per router replica, for all its experts. Who may wait, and for how many there are turns, is decided in `lane.py`;
here calls wait, and are told. Nothing waits where a turn is free.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Literal

from experts.errors import ExpertBusy
from router.caller import Caller
from router.config import Concurrency
from router.events import Emit, Waited
from router.fair_queue import Entry
from router.lane import Lane, Turn

ROUNDS = 2  # of the event loop, that a first token waits for its turn here; measured: 2 to 3
MOST_OURS = 0.75  # of a delay
Waiting = dict[Entry, asyncio.Future[Turn]]


class Lanes:
    """The lanes of a router replica. `clock` is monotonic, in seconds; of one event loop, not for threads."""

    def __init__(self, experts: Iterable[str], settings: Concurrency, clock: Callable[[], float], emit: Emit) -> None:
        self._clock, self._emit = clock, emit
        self._lanes: dict[str, Lane] = {}
        self._waiting: dict[str, Waiting] = {}
        self.configured(experts, settings)

    def configured(self, experts: Iterable[str], settings: Concurrency) -> None:
        """Goes by these settings from now on; what is under way, waits and is known stays, also of experts that went.

        Who waits already keeps the place, where the bounds have become narrower.
        """
        for expert in experts:
            if expert not in self._lanes:
                self._lanes[expert], self._waiting[expert] = Lane.begun(settings), {}
        for expert, lane in self._lanes.items():
            lane.configured(settings)
            self._serve(expert)

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
        if lane.opens(caller):
            lane.arrived(turned_away=False)
            lane.queue.begin(caller.tenant, caller.weight, tokens)
            self._emit(Waited(expert, caller.tenant, 0.0))
            return Turn(expert, caller.tenant, tokens, lane.queue.under_way, now)
        ends = math.inf if ends_at is None else ends_at
        wait_s = lane.wait_s(caller, ends)
        if now + lane.margin * wait_s + needs_s > ends:
            if now + needs_s <= ends:  # else it tells nothing of the lane
                lane.arrived(turned_away=True)
            raise self._refused(expert, caller.tenant, "hopeless", wait_s, now, now)
        entry, pushed = lane.queue.push(caller.tenant, caller.weight, tokens, ends, needs_s)
        for other in pushed:
            self._turned_away(expert, other, "full")
        lane.arrived(turned_away=entry is None)
        if entry is None:
            raise self._refused(expert, caller.tenant, "full", wait_s, now, now)
        return await self._waited(expert, entry, now)

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
        lane.ended(turn, seconds, tokens)
        delay_s = math.inf if failed else lane.delay_s(outcome, first_token_s, seconds)
        if delay_s is not None:
            lane.heard(turn, delay_s, self._clock())
        self._serve(turn.expert)

    def spoke(self, turn: Turn, first_token_s: float) -> None:
        """The call's first token has come.

        As long as the event loop takes for its next round, so long this token may have lain here before, and its
        request, too: what keeps this process busy is not the expert's delay.
        """
        read_at = self._clock()

        def heard() -> None:
            now = self._clock()
            ours_s = ROUNDS * (now - read_at)
            if ours_s < MOST_OURS * first_token_s:
                self._lanes[turn.expert].heard(turn, first_token_s - ours_s, now)
                self._serve(turn.expert)
            turn.heard = True  # else it tells more of this process than of the expert

        asyncio.get_running_loop().call_soon(heard)

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
        return self._lanes[expert].wait_s(caller, math.inf if ends_at is None else ends_at)

    def through_s(self, expert: str, caller: Caller, ends_at: float | None, needs_s: float) -> float:
        """In how long a call would be through that needs so long after its wait, as `enter` reckons."""
        return self._lanes[expert].through_s(caller, math.inf if ends_at is None else ends_at, needs_s)

    def shut_out(
        self,
        experts: Iterable[str],
        caller: Caller,
        ends_at: float | None,
        now: float,
        needs_s: Callable[[str], float],
    ) -> dict[str, float]:
        """Where `enter` would let a call wait for none of these experts: in how long each would be through with it;
        else nothing. Cheap: to be asked before all else is done.

        Who is shut out counts as one call that they have turned away together. `needs_s`: of each, as for `enter`.
        """
        ends = math.inf if ends_at is None else ends_at
        needed, through = dict[str, float](), dict[str, float]()
        for name in experts:
            lane = self._lanes[name]
            if lane.opens(caller):
                return {}
            needed[name] = needs_s(name)
            through[name] = lane.through_s(caller, ends, needed[name])
            if lane.admits(caller) and now + through[name] <= ends:
                return {}
        for name, seconds in needed.items():
            if now + seconds <= ends:
                self._lanes[name].arrived(turned_away=True, weight=1 / len(needed))
        return through

    def _serve(self, expert: str) -> None:
        """Gives turns to those that are next, as far as there are any."""
        lane = self._lanes[expert]
        while lane.queue:
            now = self._clock()
            entry, hopeless = lane.queue.next(now, *lane.bounds())
            for late in hopeless:
                self._turned_away(expert, late, "hopeless")
            if entry is None:
                break
            future = self._waiting[expert].pop(entry)
            if future.done():  # cancelled, and not yet told so
                lane.queue.ended(entry.tenant, -entry.tokens)
            else:
                future.set_result(Turn(expert, entry.tenant, entry.tokens, lane.queue.under_way, now))

    async def _waited(self, expert: str, entry: Entry, since: float) -> Turn:
        future: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        lane, waiting = self._lanes[expert], self._waiting[expert]
        waiting[entry] = future
        try:
            turn = await future
        except ExpertBusy as error:
            raise self._refused(expert, entry.tenant, error.why, error.wait_s, since, self._clock()) from None
        except asyncio.CancelledError:
            waiting.pop(entry, None)
            lane.queue.remove(entry)
            if future.done() and not future.cancelled() and future.exception() is None:
                self._unused(future.result())
            raise
        self._emit(Waited(expert, entry.tenant, turn.began - since))
        return turn

    def _unused(self, turn: Turn) -> None:
        """It came at the moment in which its call was cancelled."""
        turn.over = True
        self._lanes[turn.expert].queue.ended(turn.tenant, -turn.tokens)
        self._serve(turn.expert)

    def _turned_away(self, expert: str, entry: Entry, why: Literal["full", "hopeless"]) -> None:
        future = self._waiting[expert].pop(entry)
        if not future.done():
            future.set_exception(ExpertBusy(expert, why, 0.0))

    def _refused(
        self, expert: str, tenant: str, why: Literal["full", "hopeless"], wait_s: float, since: float, now: float
    ) -> ExpertBusy:
        self._emit(Waited(expert, tenant, now - since, why))
        return ExpertBusy(expert, why, wait_s)
