"""Requests that come when they come, however the last one fares: open-loop load, as many clients make it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

Ask = Callable[[int], Awaitable[None]]


def poisson(count: int, per_s: float, seed: int) -> list[float]:
    """When each of so many requests comes, seconds: independent of each other, so many a second on the mean."""
    rng, at_s, times = random.Random(seed), 0.0, []
    for _ in range(count):
        at_s += rng.expovariate(per_s)
        times.append(at_s)
    return times


async def run(times: Sequence[float], ask: Ask) -> list[float]:
    """Asks the n-th at `times[n]`; how late each was begun, seconds: a client that cannot keep up measures itself."""
    began, tasks, late = time.monotonic(), set[asyncio.Task[None]](), []
    async with asyncio.TaskGroup() as group:
        for number, at_s in enumerate(times):
            if (wait_s := began + at_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            late.append(time.monotonic() - began - at_s)
            task = group.create_task(_one(ask, number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    return late


async def _one(ask: Ask, number: int) -> None:
    await ask(number)
