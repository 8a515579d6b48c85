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
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
MOST_TOGETHER = 256  # in one transaction
MOST_WAITING = 4096  # then callers are refused: the file has not kept up for a second
POLL_S = 0.0005  # between two looks whether another process has ended its transaction: that takes it less
STATEMENTS = 256  # that are kept compiled


@dataclass(slots=True, eq=False)
class _Job:
    """`withdrawn`: its caller waits no more and does not want it done."""

    work: Work[Any]
    future: asyncio.Future[Any]
    withdrawn: bool = False
    result: Any = None
    error: BaseException | None = None

    def withdraw(self, why: sqlite3.Error) -> None:
        self.withdrawn = True
        if not self.future.done():
            self.future.set_exception(why)


class Database:
    """For one event loop or several. `busy_s`: how long another process's transaction is waited for."""

    def __init__(
        self, path: Path, migrations: tuple[str, ...], busy_s: float = 5.0, timeout_s: float | None = None
    ) -> None:
        """`timeout_s`: after so long a caller waits no more for the thread; None: as long as it takes.

        Raises:
            ValueError: the file is of a later version of this project, or no such file.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self.path, self._busy_s, self._timeout_s = path, busy_s, timeout_s
        try:
            self._connection = opened(path, migrations, busy_s)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path}: {error}; restore a backup, or move it away") from error
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._door = threading.Lock()  # nobody comes in behind `close`
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"sqlite {path.name}", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """What the function returns, once its work is committed. Raises what it raises, or sqlite3.Error.

        A caller that is cancelled does not take back what it asked for; one whose time is over does, unless it is just
        being done.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future())
        with self._door:
            if self._closed:
                raise sqlite3.ProgrammingError(f"{self.path} is closed")
            if self._jobs.qsize() >= MOST_WAITING:
                raise sqlite3.OperationalError(f"{self.path}: {MOST_WAITING} are waiting already")
            self._jobs.put(job)
        if self._timeout_s is None:
            return await job.future  # type: ignore[no-any-return]
        late = sqlite3.OperationalError(f"{self.path}: not done within {self._timeout_s:g} s")
        timer = loop.call_later(self._timeout_s, job.withdraw, late)
        try:
            return await job.future  # type: ignore[no-any-return]
        finally:
            timer.cancel()

    async def read(self, work: Work[T]) -> T:
        """What the function reads, on a connection of its own: for long reads, which hold up nobody that way.

        Raises what it raises, or sqlite3.Error.
        """
        return await asyncio.to_thread(self._read, work)

    def close(self) -> None:
        """After all that was asked for is done. Blocking."""
        with self._door:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _read(self, work: Work[T]) -> T:
        with closing(_connected(self.path, self._busy_s)) as connection:
            connection.execute("PRAGMA query_only = ON")
            return work(connection)

    def _run(self) -> None:
        with closing(self._connection) as connection:
            connection.execute("PRAGMA busy_timeout = 0")  # `_begun` waits: SQLite would look only every 1 - 100 ms
            going = True
            while going:
                jobs = [self._jobs.get()]
                with suppress(Empty):
                    while len(jobs) < MOST_TOGETHER:
                        jobs.append(self._jobs.get_nowait())
                going = None not in jobs
                wanted = [job for job in jobs if job is not None and not job.withdrawn]
                if wanted:
                    _do_together(connection, wanted, self._busy_s)
                    _tell(wanted)


def _do_together(connection: sqlite3.Connection, jobs: list[_Job], busy_s: float) -> None:
    """Fills in what came of each. Whatever goes wrong is told to callers, and ends nothing here."""
    try:
        _begin(connection, busy_s)
        for job in jobs:
            if job.withdrawn:  # while the lock was waited for
                continue
            connection.execute("SAVEPOINT job")
            try:
                job.result = job.work(connection)
            except Exception as error:  # noqa: BLE001  # the caller's: told to it
                job.error = error
                connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except BaseException as error:  # noqa: BLE001  # all of them learn of it
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        for job in jobs:
            job.error = job.error or error


def _begin(connection: sqlite3.Connection, busy_s: float) -> None:
    """Takes the write lock, waiting for others who have it."""
    if connection.in_transaction:  # one that could be neither committed nor undone: the disk was ill
        connection.execute("ROLLBACK")
    ends = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _busy(error) or time.monotonic() > ends:
                raise
            time.sleep(POLL_S)
        else:
            return


def _busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # with whatever reason in the higher bits


def _tell(jobs: list[_Job]) -> None:
    """Wakes each event loop once, however many of its callers have an answer."""
    loops: defaultdict[asyncio.AbstractEventLoop, list[_Job]] = defaultdict(list)
    for job in jobs:
        loops[job.future.get_loop()].append(job)
    for loop, told in loops.items():
        with suppress(RuntimeError):  # it is closed: nobody waits
            loop.call_soon_threadsafe(_answer, told)


def _answer(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():  # cancelled, or its time is over
            continue
        if job.error is None:
            job.future.set_result(job.result)
        elif isinstance(job.error, StopIteration) or not isinstance(job.error, Exception):
            job.future.set_exception(RuntimeError(repr(job.error)))  # no future takes it, or no event loop
        else:
            job.future.set_exception(job.error)


def opened(path: Path, migrations: tuple[str, ...], busy_s: float) -> sqlite3.Connection:
    """A connection to the file, brought up to date; of several processes that open it first, one makes it.

    Raises:
        ValueError: the file is of a later version.
    """
    connection = _connected(path, busy_s)
    try:
        _log_ahead(connection, busy_s)
        migrate(connection, path, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def _connected(path: Path, busy_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=busy_s, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _log_ahead(connection: sqlite3.Connection, busy_s: float) -> None:
    """Write-ahead log; while somebody else is just turning to it, SQLite says "locked" without waiting."""
    ends = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _busy(error) or time.monotonic() > ends:
                raise
            time.sleep(POLL_S)
        else:
            return


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
