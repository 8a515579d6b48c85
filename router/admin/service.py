"""What the admin side is made of: changes, the watch on the configuration's file, keys, targets. One per system."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from router.admin.changes import ALIVE_S, Changes, Refused
from router.admin.keys import Keys
from router.config_file import read_text
from router.follow import config_of
from router.ledger import Ledger
from router.registry import Registry
from router.snapshot import Snapshot
from router.store import Store, Version

log = logging.getLogger(__name__)
FILE_LOOK_S = 0.5
Fetch = Callable[[str], Awaitable[tuple[str, str] | None]]  # engine -> its metrics and their content type
Targets = list[dict[str, object]]


class Admin:
    """`fetch`: an engine's metrics, None where it does not answer; `engines`: their names."""

    def __init__(
        self,
        store: Store,
        run: str,
        now: Callable[[], float],
        fetch: Fetch,
        engines: Sequence[str],
        *,
        registry: Registry,
        ledger: Ledger,
    ) -> None:
        self.changes, self.ledger = Changes(store, run, now), ledger
        self.registry, self.keys = registry, Keys(registry, self.changes.config, now)
        self._store, self._run, self._now, self._fetch, self._engines = store, run, now, fetch, engines

    def versions(self) -> list[Version]:
        return self._store.versions()

    def status(self) -> dict[str, object]:
        version, state = self.changes.in_force(), self._store.in_force(self._run)
        replicas = self._store.replicas(self._run, self._now() - ALIVE_S)
        return {
            "version": version.number,
            "config": version.config,
            "origin": version.origin,
            "path": version.path,
            "rejections": state.rejections if state else 0,
            "rejection": state.rejection if state else None,
            "engines": list(self._engines),
            "replicas": [{"id": r.id, "metrics": r.address, "version": r.active} for r in replicas],
        }

    def targets(self, host: str) -> Targets:
        """Prometheus' HTTP service discovery: each router replica, and each engine through this side.

        Args:
            host: host:port under which this side was asked.
        """
        replicas = self._store.replicas(self._run, self._now() - ALIVE_S)
        routers: Targets = [
            {"targets": [r.address], "labels": {"job": "symposium-router", "replica": r.id}} for r in replicas
        ]
        return routers + [
            {
                "targets": [host],
                "labels": {
                    "job": "symposium-engine",
                    "engine": name,
                    "__metrics_path__": f"/admin/v1/engines/{name}/metrics",
                },
            }
            for name in self._engines
        ]

    async def engine_metrics(self, engine: str) -> tuple[str, str] | None:
        return await self._fetch(engine) if engine in self._engines else None

    async def watch_file(self) -> None:
        """Applies the configuration's file, and what it includes, whenever one of them changes, and what was fitted or
        profiled for it; until cancelled.

        Its text is compared, not its time: editors and config maps put another file in its place.
        """
        path, seen = await asyncio.to_thread(self._seen)
        made = await asyncio.to_thread(self._made)
        while True:
            await asyncio.sleep(FILE_LOOK_S)
            with suppress(OSError, ValueError):  # being written just now
                found = await asyncio.to_thread(_read, seen)
                if found != seen:
                    seen = await self._apply_file(path, found)
                elif (now := await asyncio.to_thread(self._made)) != made:
                    made = now
                    await self._apply(Snapshot.of(path, self.changes.in_force().files), "fitted or profiled")

    def _made(self) -> list[tuple[int, int] | None]:
        """Size and time of the files that `symposium fit` and `profile` write: nothing else writes them."""
        config = config_of(self.changes.in_force())
        names = (config.routing.fitted, config.routing.profiles, config.routing.learned)
        return [_stamp(Path(name)) for name in names if name]

    def _seen(self) -> tuple[Path, dict[str, str]]:
        """The configuration's file, and its text with what it includes as it was last looked at.

        Where this side begins anew, a file that says what was in force before is not new: what was put in its place
        since, or rolled back to, stays.
        """
        begun = self.changes.in_force()
        if begun.origin not in ("start", "file"):
            for version in (v for v in self._store.versions() if v.path == begun.path):
                with suppress(OSError, ValueError):
                    if _read(version.files) == version.files:
                        return Path(begun.path), dict(version.files)
        return Path(begun.path), dict(begun.files)

    async def _apply_file(self, path: Path, found: dict[str, str]) -> dict[str, str]:
        """What was read of it, to be compared with the next time."""
        given = Snapshot.of(path)
        await self._apply(given, "file")
        return found | given.files

    async def _apply(self, given: Snapshot, origin: str) -> None:
        path = given.path
        try:
            done = await self.changes.apply(given, origin)
            log.info("version %d is in force, from %s", done.version.number, path)
        except Refused as refused:
            said = "; ".join(refused.problems or refused.restart) or "see the status"
            log.error("%s is not taken: %s: %s", path, refused.why, said)
        except Exception:  # the outer shell of the watch: the next text is looked at, whatever became of this one
            log.exception("%s could not be applied", path)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _read(names: Iterable[str]) -> dict[str, str]:
    """Raises OSError or ValueError."""
    return {name: read_text(Path(name)) for name in names}


@asynccontextmanager
async def open_admin(
    store: Store,
    run: str,
    now: Callable[[], float],
    fetch: Fetch,
    engines: Sequence[str],
    *,
    registry: Registry,
    ledger: Ledger,
) -> AsyncIterator[Admin]:
    """Running, and watching the file of the configuration that the run began with. Registry and ledger are closed by
    whoever opened them.
    """
    admin = Admin(store, run, now, fetch, engines, registry=registry, ledger=ledger)
    await asyncio.to_thread(admin.changes.begin)
    task = asyncio.create_task(admin.watch_file())
    try:
        yield admin
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
