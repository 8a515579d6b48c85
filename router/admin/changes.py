"""How another configuration comes into force in every router replica, or in none. Async shell around `store`.

Checked here, then proposed; each living replica prepares it beside the one it serves; once all are ready it is put in
force by one write that all of them see within a tenth of a second. A replica that cannot prepare it ends the proposal.
What needs a restart is said before anything changes. Whatever is refused is counted, and leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from router.config import Config
from router.config_change import changes, needs_restart
from router.config_file import ConfigError
from router.follow import config_of
from router.knowledge import Knowledge
from router.snapshot import Snapshot
from router.store import Busy, InForce, Replica, Store, Version

ALIVE_S = 2.0  # a replica that was not seen for longer is gone
PREPARE_S = 60.0  # reading fitted files and profiles takes about one
SWAP_S = 2.0
LOOK_S = 0.05


class Refused(Exception):
    """A configuration that does not come into force. `problems`: one line each, of what it says; `restart`: paths that
    take effect only with a restart; `stale`: it was made of another version than the one in force; `busy`: the same one
    may be taken later.
    """

    def __init__(
        self,
        why: str,
        problems: tuple[str, ...] = (),
        restart: tuple[str, ...] = (),
        *,
        stale: bool = False,
        busy: bool = False,
    ) -> None:
        super().__init__(why)
        self.why, self.problems, self.restart, self.stale, self.busy = why, problems, restart, stale, busy


@dataclass(frozen=True, slots=True)
class Applied:
    """What came into force, in place of what, what of it differs, and how long replicas took once it was decided.

    `late` are replicas that have not said within SWAP_S that they serve it: they refuse requests until they do.
    """

    version: Version
    previous: Version
    changes: tuple[str, ...]
    replicas: int
    swap_s: float
    late: tuple[str, ...] = ()


class Changes:
    """Of one run of the system. `now`: unix seconds."""

    def __init__(self, store: Store, run: str, now: Callable[[], float]) -> None:
        self._store, self._run, self._now = store, run, now
        self._turn = asyncio.Lock()
        self._config: tuple[int, Config] | None = None  # of the version in force, once it was needed

    def in_force(self) -> Version:
        """Raises Refused when another system has taken over the data folder."""
        version = self._store.version(self._state().active)
        assert version is not None, "what is in force is kept"
        return version

    async def config(self) -> Config:
        """What is in force."""
        return await self._served(self.in_force())

    async def apply(self, given: Snapshot, origin: str, *, instead_of: int | None = None) -> Applied:
        """Puts a configuration in force.

        Args:
            origin: where it comes from, for people.
            instead_of: number of the version that it was made of; None: whichever is in force.

        Raises:
            Refused: with what is wrong; everything is as it was.
        """
        async with self._turn:
            try:
                return await self._apply(given, origin, instead_of)
            except Refused as refused:
                if not refused.stale:
                    await asyncio.to_thread(self._store.reject, self._run, refused.why)
                raise

    def begin(self) -> None:
        """An admin side that ended in the middle of a change has left it behind: it is over."""
        if (found := self._store.in_force(self._run)) and found.candidate is not None:
            self._store.withdraw(self._run, found.candidate, "the admin side ended before all replicas were ready")

    async def check(self, given: Snapshot) -> tuple[str, ...]:
        """What `apply` would change. Raises Refused as it would."""
        return (await self._checked(given, self.in_force()))[1]

    async def roll_back(self, number: int | None = None) -> Applied:
        """Puts an earlier version in force again, under a new number: that one, or the last that was before this one.

        Raises:
            Refused: there is none; or it cannot be served any more.
        """
        now = self.in_force()
        known = [v for v in self._store.versions() if v.problem is None and v.path == now.path and v.files != now.files]
        wanted = known[:1] if number is None else [v for v in self._store.versions() if v.number == number]
        if not wanted:
            raise Refused("no earlier version is kept" if number is None else f"version {number} is not kept")
        found = wanted[0]
        return await self.apply(Snapshot.of(Path(found.path), found.files), f"rollback to {found.number}")

    async def _apply(self, given: Snapshot, origin: str, instead_of: int | None) -> Applied:
        previous = self.in_force()
        if instead_of not in (None, previous.number):
            raise Refused(f"version {previous.number} is in force, not {instead_of}; look at it first", stale=True)
        name, differing = await self._checked(given, previous)
        if name == previous.config:
            return Applied(previous, previous, (), len(self._alive()), 0.0)
        number = self._store.add(name, str(given.path), given.files, origin, self._now())
        try:
            self._store.propose(self._run, number, self._now(), self._now() + PREPARE_S + SWAP_S)
        except Busy as busy:
            self._store.withdraw(self._run, number, "another change was under way")
            raise Refused("another change is under way; try again", busy=True) from busy
        try:
            await self._prepared(number)
            if not self._store.activate(self._run, number):
                raise Refused("the proposal was over before all replicas were ready")
        except BaseException as error:  # also when who asked has gone: it must not keep others from changing anything
            self._store.withdraw(self._run, number, error.why if isinstance(error, Refused) else "it was interrupted")
            raise
        version = self._store.version(number)
        assert version is not None, "just added"
        return await self._swapped(version, previous, differing)

    async def _checked(self, given: Snapshot, previous: Version) -> tuple[str, tuple[str, ...]]:
        """What the configuration is called by, and what of it differs."""
        try:
            new = await asyncio.to_thread(given.load)
            old = await self._served(previous)
            if restart := needs_restart(old, new):
                raise Refused("a restart is needed", restart=tuple(restart))
            if unset := sorted(_keys(new) - os.environ.keys()):
                raise Refused(
                    "keys of experts are not set in the environment that this system was started in", tuple(unset)
                )
            knowledge = await asyncio.to_thread(Knowledge.load, new)
        except ConfigError as error:
            raise Refused("the configuration is not valid", tuple(error.problems)) from error
        except (ValueError, OSError) as error:
            raise Refused("the configuration cannot be served", tuple(str(error).splitlines())) from error
        return knowledge.version, tuple(changes(old, new))

    async def _served(self, version: Version) -> Config:
        """As it was read when it came into force, as far as that was in this process: files may have gone since."""
        if self._config is None or self._config[0] != version.number:
            self._config = version.number, await asyncio.to_thread(config_of, version)
        return self._config[1]

    async def _prepared(self, number: int) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + PREPARE_S
        while True:
            alive = self._alive()
            if failed := [r for r in alive if r.prepared == number and r.problem is not None]:
                raise Refused(f"replica {failed[0].id} cannot serve it: {failed[0].problem}")
            if alive and all(r.prepared == number for r in alive):
                return
            if clock() > end:
                raise Refused(f"replicas were not ready within {PREPARE_S:g} s", busy=True)
            await asyncio.sleep(LOOK_S)

    async def _swapped(self, version: Version, previous: Version, differing: tuple[str, ...]) -> Applied:
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            alive = self._alive()
            late = tuple(r.id for r in alive if r.active != version.number)
            seconds = clock() - began
            if not late or seconds > SWAP_S:
                return Applied(version, previous, differing, len(alive), seconds, late)
            await asyncio.sleep(LOOK_S)

    def _alive(self) -> list[Replica]:
        """Not those that were seen later than now: the clock was put back, and they have said nothing since."""
        now = self._now()
        return [r for r in self._store.replicas(self._run, now - ALIVE_S) if r.seen <= now + ALIVE_S]

    def _state(self) -> InForce:
        found = self._store.in_force(self._run)
        if found is None:
            raise Refused("another symposium has taken over the data folder", stale=True)
        return found


def _keys(config: Config) -> set[str]:
    """Variables of the environment that experts' API keys are in."""
    return {expert.api_key_env for expert in config.experts.values() if expert.api_key_env}
