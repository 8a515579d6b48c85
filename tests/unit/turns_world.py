"""Lanes whose calls are given turns and end them by hand, in a time of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from router.caller import Caller
from router.config import Concurrency
from router.events import Event, Waited
from router.lane import Turn
from router.lanes import Lanes
from tests.unit.lane_world import in_virtual_time, now

EXPERT = "ada"
TWO = Concurrency(least=2, first=2, most=2, queued_requests=4)  # turns at once
ADA, BOB = Caller(tenant="ada"), Caller(tenant="bob")


class World:
    """Lanes of one expert, and what was told of them."""

    def __init__(self, settings: Concurrency = TWO) -> None:
        self.events: list[Event] = []
        self.lanes = Lanes([EXPERT], settings, now, self.events.append)

    async def enter(self, caller: Caller = ADA, ends_at: float | None = None, needs_s: float = 0.0) -> Turn:
        return await self.lanes.enter(EXPERT, caller, 100, ends_at, needs_s)

    def waits(self, caller: Caller = ADA, **more: float) -> asyncio.Task[Turn]:
        return asyncio.create_task(self.enter(caller, **more))

    async def full(self) -> list[Turn]:
        """All turns are taken, by calls that take a second."""
        turns = [await self.enter() for _ in range(2)]
        for turn in turns:
            self.end(turn)
        return [await self.enter() for _ in range(2)]

    def end(self, turn: Turn, outcome: str = "answered", seconds: float = 1.0) -> None:
        self.lanes.ended(turn, outcome, 0.1 if outcome == "answered" else None, seconds, 100)

    def refused(self) -> list[str]:
        return [event.refused for event in self.events if isinstance(event, Waited) and event.refused]

    def nothing_is_left(self) -> None:
        assert (self.lanes.load(EXPERT), self.lanes.queued(EXPERT)) == (0, 0)
        assert self.lanes._waiting[EXPERT] == {}


def virtual(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Runs it in a time of its own."""

    def run() -> None:
        in_virtual_time(test())

    run.__doc__, run.__name__ = test.__doc__, test.__name__
    return run


async def turns_of_the_loop(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)
