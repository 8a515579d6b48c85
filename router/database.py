"""One SQLite file and the thread that owns a connection to it: what is asked for at once is written in one transaction.

Callers give functions of the connection. Those that wait when the thread is free are run one after another, each inside
a savepoint, and committed together: a commit is what costs. One that raises undoes its own work and no other's. Several
processes may have the same file open (write-ahead log); a transaction begins by taking the write lock, so what a
function reads is what it writes upon.

`synchronous` is NORMAL: killing any process loses nothing; a machine that loses power may lose the last moments, never
a part of a transaction.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
MOST_TOGETHER = 256
_Job = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]


class Database:
    """For one event loop or several threads. `busy_s`: how long another process's write is waited for."""

    def __init__(self, path: Path, migrations: tuple[str, ...], busy_s: float = 5.0) -> None:
        """Raises ValueError when the file is of a later version of this project, or no such file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self.path, self._busy_s = path, busy_s
        try:
            with closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                migrate(connection, path, migrations)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path}: {error}; restore a backup, or move it away") from error
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"sqlite {path.name}", daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """What the function returns, once its work is committed. Raises what it raises, or sqlite3.Error.

        A caller that is cancelled does not take back what it asked for.
        """
        if self._closed:
            raise sqlite3.ProgrammingError(f"{self.path} is closed")
        future: Future[T] = Future()
        self._jobs.put((job, future))
        return await asyncio.shield(asyncio.wrap_future(future))

    def close(self) -> None:
        """After all that was asked for is done. Blocking."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _run(self) -> None:
        with closing(self._connect()) as connection:
            going = True
            while going:
                jobs = [self._jobs.get()]
                with suppress(queue.Empty):
                    while len(jobs) < MOST_TOGETHER:
                        jobs.append(self._jobs.get_nowait())
                going = None not in jobs
                if wanted := [job for job in jobs if job is not None]:
                    _together(connection, wanted)


def _together(connection: sqlite3.Connection, jobs: list[_Job]) -> None:
    done: list[tuple[Future[Any], Any]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job, future in jobs:
            connection.execute("SAVEPOINT job")
            try:
                done.append((future, job(connection)))
            except Exception as error:  # noqa: BLE001  # the caller's: told to it
                connection.execute("ROLLBACK TO job")
                future.set_exception(error)
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        for _, future in jobs:
            if not future.done():
                future.set_exception(error)
        return
    for future, result in done:
        future.set_result(result)


def migrate(connection: sqlite3.Connection, path: Path, migrations: tuple[str, ...]) -> None:
    """All that are missing, or none, in one transaction; of several processes the first one does it.

    Raises:
        ValueError: the file is of a later version.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        if number > len(migrations):
            raise ValueError(f"{path}: made by a later version (schema {number}); update this one, or move it away")
        for script in migrations[number:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
