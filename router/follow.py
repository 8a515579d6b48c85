"""Keeps one router replica on the configuration that is in force for all of them. Async shell around `store`.

A version that is proposed is prepared beside the one in force, and said to be ready; what comes into force is swapped
in at once. All replicas look several times a second, so they swap together; one whose event loop stood still looks
before it takes another request. What cannot be read, prepared or reached leaves the edition in force as it is.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from router.config import Config
from router.edition import Edition
from router.errors import NotCurrent
from router.service import Service
from router.snapshot import Snapshot
from router.store import InForce, Replica, Store, Version

log = logging.getLogger(__name__)
POLL_S = 0.1
BEAT_S = 0.5
FRESH_S = 1.0  # what was read longer ago is read again before a request is taken
RETRY_S = 5.0  # then what is in force is prepared again, where that failed
BEHIND_S = 2.0  # so long a replica may serve what was in force before
CATCH_UP_S = 0.5  # so long a request waits for that


class Follower:
    """Of one replica and one run of the system."""

    def __init__(
        self, store: Store, run: str, service: Service, active: int, address: str, now: Callable[[], float]
    ) -> None:
        """Args:
        active: number of the version that the service was opened with.
        address: host:port of the replica's own metrics.
        now: unix seconds.
        """
        self._store, self._run, self._service, self._now = store, run, service, now
        self._me = Replica(uuid.uuid4().hex[:12], address, 0.0, active)
        self._prepared: tuple[int, Edition | None] = (active, None)
        self._preparing: asyncio.Task[None] | None = None
        self._looked = service.clock()
        self._tried = float("-inf")
        self._turn = asyncio.Lock()
        self._rejections: int | None = None
        self._behind_since: float | None = None

    @property
    def behind(self) -> bool:
        """Whether all others have long served what this replica could not take over: it must be replaced."""
        since = self._behind_since
        return since is not None and self._service.clock() - since > BEHIND_S

    async def follow(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._look()
            except sqlite3.Error:  # said by its age: a replica that was not seen for long is none
                pass
            except Exception:  # the outer shell of this task: without it the replica would stay on what it serves
                log.exception("what is in force could not be followed")
            await asyncio.sleep(POLL_S)

    async def up_to_date(self) -> None:
        """Before a request is taken: looks again where that was too long ago.

        Raises:
            NotCurrent: another configuration has been in force for so long that this replica must not serve its own.
        """
        if self._service.clock() - self._looked > FRESH_S:
            with suppress(sqlite3.Error, TimeoutError):
                async with asyncio.timeout(CATCH_UP_S):
                    await self._look(FRESH_S)
        if self.behind:
            raise NotCurrent("This replica is not up to date; try again.", code="not_current")

    async def leave(self) -> None:
        if self._preparing:
            self._preparing.cancel()
        with suppress(sqlite3.Error):
            await asyncio.to_thread(self._store.leave, self._run, self._me.id)

    async def _look(self, fresh_s: float = -1.0) -> None:
        """Unless somebody has looked that lately."""
        async with self._turn:
            if self._service.clock() - self._looked <= fresh_s:
                return
            found = await asyncio.to_thread(self._store.in_force, self._run)
            if found is None:  # another run has begun with this data folder: this one is on its way down
                return
            if found.active != self._me.active:
                self._behind_since = self._behind_since or self._service.clock()
                await self._swap(found.active)
            if found.active == self._me.active:
                self._behind_since = None
            if found.candidate not in (None, self._prepared[0]) and self._preparing is None:
                self._preparing = asyncio.create_task(self._prepare(found.candidate))
            if found.candidate is None and found.active == self._me.active and self._preparing is None:
                self._forget()
            self._hear(found)
            self._looked = self._service.clock()
            if not 0 <= self._now() - self._me.seen < BEAT_S:  # also where the clock was put back
                await self._beat()

    async def _swap(self, number: int) -> None:
        while self._preparing is not None or self._wanting(number):
            self._preparing = self._preparing or asyncio.create_task(self._prepare(number))
            await asyncio.shield(self._preparing)  # a request that looks may be cancelled: what it waits for may not
        edition = self._prepared[1]
        if edition is not None:
            self._service.swap(edition)
            self._me = replace(self._me, seen=0.0, active=number, prepared=number, problem=None)
            log.info("configuration %s is in force", edition.version)

    def _wanting(self, number: int) -> bool:
        """What is in force is tried again where it could not be prepared: the others serve it."""
        again = self._prepared[1] is None and self._service.clock() - self._tried >= RETRY_S
        return self._prepared[0] != number or again

    async def _prepare(self, number: int) -> None:
        edition, problem = None, None
        try:
            version = await asyncio.to_thread(self._store.version, number)
            edition = await self._service.prepare(await asyncio.to_thread(config_of, version))
            if version and edition.version != version.config:
                edition, problem = None, "its files have changed since it was checked"
        except (ValueError, OSError) as error:
            problem = str(error)
        except Exception as error:  # a bug of ours, or an ill disk: said, and no other change is kept from being made
            log.exception("version %d could not be prepared", number)
            problem = f"{type(error).__name__}: {error}"
        self._prepared, self._preparing, self._tried = (number, edition), None, self._service.clock()
        self._me = replace(self._me, seen=0.0, prepared=number, problem=problem)
        with suppress(sqlite3.Error):  # it is said again
            await self._beat()

    def _forget(self) -> None:
        """What was prepared and did not come into force: its knowledge, and the probes of its new experts."""
        if self._prepared[0] != self._me.active:
            self._prepared = (self._me.active, self._service.edition)
            self._service.keep()

    async def _beat(self) -> None:
        self._me = replace(self._me, seen=self._now())
        await asyncio.to_thread(self._store.beat, self._run, self._me)

    def _hear(self, found: InForce) -> None:
        """Of configurations that were refused while this replica ran."""
        if self._rejections is not None and found.rejections > self._rejections:
            self._service.telemetry.config_rejected(found.rejections - self._rejections)
        self._rejections = found.rejections


@asynccontextmanager
async def following(
    store: Store, run: str, service: Service, active: int, address: str, now: Callable[[], float]
) -> AsyncIterator[Follower]:
    """A replica that is on what is in force when the block begins, and stays so."""
    follower = Follower(store, run, service, active, address, now)
    await follower._look()
    task = asyncio.create_task(follower.follow())
    try:
        service.up_to_date, service.behind = follower.up_to_date, lambda: follower.behind
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await follower.leave()


def config_of(version: Version | None) -> Config:
    """Raises ValueError where it is not kept any more, or cannot be read."""
    if version is None:
        raise ValueError("the version is not kept any more")
    return Snapshot.of(Path(version.path), version.files).load()
