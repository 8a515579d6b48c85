"""Lanes in front of an expert of so many slots, in a time of its own: minutes of load in a moment, always the same.

The event loop's clock does not run; it is set to when the next thing is due.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from experts.errors import ExpertBusy
from router.caller import Caller
from router.config import Concurrency
from router.events import Event
from router.lanes import Lanes

T = TypeVar("T")
EXPERT = "ada"


class _NoWait(selectors.SelectSelector):
    """Whoever waits is there at once; `clock` says when that is."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "somebody waits for what never comes"
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time passes only where all wait."""

    def __init__(self) -> None:
        self._no_wait = _NoWait()
        super().__init__(self._no_wait)

    def time(self) -> float:
        return self._no_wait.now


def in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Job:
    """A request of one tenant: when it comes, how long its answer takes in a slot, by when it must be there."""

    at: float
    tenant: str
    first_s: float
    rest_s: float
    deadline_s: float | None = None
    weight: float = 1.0
    tokens: int = 100


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job: "ok", "late", "full" or "hopeless"."""

    job: Job
    outcome: str
    seconds: float


@dataclass(slots=True)
class Server:
    """An expert that gives so many answers at once; further calls wait inside it, the first one first."""

    slots: int
    free: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.free = asyncio.Semaphore(self.slots)

    async def answer(self, job: Job) -> AsyncIterator[str]:
        async with self.free:
            await asyncio.sleep(job.first_s)
            yield "first token"
            await asyncio.sleep(job.rest_s)


class World:
    """Jobs that go through lanes to a server. `lanes` None: straight to it, an unbounded first in, first out."""

    def __init__(self, slots: int, settings: Concurrency | None) -> None:
        self.server, self.done, self.events = Server(slots), list[Done](), list[Event]()
        self.lanes = None if settings is None else Lanes([EXPERT], settings, now, self.events.append)

    async def run(self, jobs: Sequence[Job], needs_s: float = 0.0, look: Callable[[], object] | None = None) -> None:
        """All of them, each at its time; `look` is called at each."""
        async with asyncio.TaskGroup() as group:
            for job in sorted(jobs, key=lambda job: job.at):
                await asyncio.sleep(max(job.at - now(), 0.0))
                if look is not None:
                    look()
                group.create_task(self._one(job, needs_s))

    async def _one(self, job: Job, needs_s: float) -> None:
        began, outcome = now(), "ok"
        try:
            async with asyncio.timeout(job.deadline_s):
                if self.lanes is None:
                    async for _ in self.server.answer(job):
                        pass
                else:
                    await self._in_turn(self.lanes, job, needs_s)
        except TimeoutError:
            outcome = "late"
        except ExpertBusy as error:
            outcome = error.why
        self.done.append(Done(job, outcome, now() - began))

    async def _in_turn(self, lanes: Lanes, job: Job, needs_s: float) -> None:
        caller, ends_at = Caller(tenant=job.tenant, weight=job.weight), None
        if job.deadline_s is not None:
            ends_at = now() + job.deadline_s
        turn = await lanes.enter(EXPERT, caller, job.tokens, ends_at, needs_s)
        first_s, outcome = None, "cut"
        try:
            async for _ in self.server.answer(job):
                first_s = now() - turn.began
                lanes.spoke(turn, first_s)
            outcome = "answered"
        finally:
            lanes.ended(turn, outcome, first_s, now() - turn.began)

    def of(self, tenant: str, outcome: str = "ok", since: float = 0.0) -> list[Done]:
        found = [one for one in self.done if one.job.tenant == tenant and one.outcome == outcome]
        return [one for one in found if one.job.at >= since]


def poisson(rng: random.Random, per_s: float, until_s: float, job: Callable[[float], Job]) -> list[Job]:
    """Jobs that come independently of each other, so many a second on the mean."""
    jobs, at = list[Job](), rng.expovariate(per_s)
    while at < until_s:
        jobs.append(job(at))
        at += rng.expovariate(per_s)
    return jobs
