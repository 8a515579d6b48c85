"""Many jobs over few connections: whoever is free takes the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Job = TypeVar("Job")
Found = TypeVar("Found")


async def pooled(jobs: Sequence[Job], connections: int, work: Callable[[Job], Awaitable[Found]]) -> list[Found]:
    """`work` of every job, at most `connections` at once, each taking the next as it is free; in the order of the jobs.

    The first error ends all.
    """
    found: dict[int, Found] = {}
    left = iter(enumerate(jobs))

    async def worker() -> None:
        for number, job in left:
            found[number] = await work(job)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(connections, len(jobs))):
                group.create_task(worker())
    except ExceptionGroup as errors:  # a TaskGroup's wrapping: the caller is told the error itself
        raise errors.exceptions[0] from None
    return [found[number] for number in range(len(jobs))]
