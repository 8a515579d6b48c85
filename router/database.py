"""One SQLite file and the thread that owns a connection to it: what is asked for at once is written in one transaction.

Callers give functions of the connection. Those that wait when the thread is free are run one after another, each inside
a savepoint, and committed together: a commit is what costs. One that raises undoes its own work and no other's. Several
processes may have the same file open (write-ahead log); a transaction begins by taking the write lock, so what a
function reads is what it writes upon.

The interpreter's lock is why an event loop stands still for the thread, for a moment and within bounds: SQLite lets go
of it with every statement, and a thread that wants it back from a busy loop was seen to wait for seconds.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from router.database_file import begin, busy, connected, opened
from router.database_log import LogKeeper

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
MOST_TOGETHER = 256  # in one transaction
MOST_WAITING = 4096  # then callers are refused: the file has not kept up for a second
PATIENCE_S = 0.002  # an event loop stands still for what usually takes a tenth of that
AGAIN_S = 0.01  # after it was in vain


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


@dataclass(slots=True, eq=False)
class _Turn:
    """What was asked for in one turn of an event loop. `awaited`: the loop stands still for it, and tells it itself."""

    loop: asyncio.AbstractEventLoop
    jobs: list[_Job] = field(default_factory=list)
    done: bool = False
    awaited: bool = False
    _end: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._end.acquire()

    def wait(self, limit_s: float) -> bool:
        """The loop stands still; whether it was done by then."""
        self.awaited = True
        if not self.done:
            self._end.acquire(timeout=limit_s)
        self.awaited = False
        return self.done  # looked at behind `awaited`, which `tell` looks at behind this

    def tell(self) -> None:
        """From the other thread: one wake-up, however many have an answer."""
        self.done = True
        self._end.release()
        if not self.awaited:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self.loop.call_soon_threadsafe(self.answer)

    def answer(self) -> None:
        for job in self.jobs:
            if job.future.done():  # cancelled, or its time is over
                continue
            if job.error is None:
                job.future.set_result(job.result)
            elif isinstance(job.error, StopIteration) or not isinstance(job.error, Exception):
                job.future.set_exception(RuntimeError(repr(job.error)))  # no future takes it, or no event loop
            else:
                job.future.set_exception(job.error)


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
            remedy = "another process keeps it" if busy(error) else "restore a backup, or move it away"
            raise ValueError(f"{path}: {error}; {remedy}") from error
        self._turns: dict[asyncio.AbstractEventLoop, _Turn] = {}  # that are not over yet
        self._asked: SimpleQueue[_Turn | None] = SimpleQueue()
        self._door = threading.Lock()  # of what follows: nobody comes in behind `close`
        self._waiting = 0
        self._closed = False
        self._stuck: _Turn | None = None
        self._thread = threading.Thread(target=self._run, name=f"sqlite {path.name}", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """What the function returns, once its work is committed. Raises what it raises, or sqlite3.Error.

        A caller that is cancelled does not take back what it asked for; one whose time is over does, unless it is just
        being done.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future())
        self._ask(loop, job)
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
            for turn in self._turns.values():
                self._asked.put(turn)
            self._asked.put(None)
        self._thread.join()

    def _ask(self, loop: asyncio.AbstractEventLoop, job: _Job) -> None:
        with self._door:
            if self._closed:
                raise sqlite3.ProgrammingError(f"{self.path} is closed")
            if self._waiting >= MOST_WAITING:
                raise sqlite3.OperationalError(f"{self.path}: {MOST_WAITING} are waiting already")
            self._waiting += 1
            turn = self._turns.get(loop)
            if turn is None:
                turn = self._turns[loop] = _Turn(loop)
                loop.call_soon(self._end, turn)
            turn.jobs.append(job)

    def _end(self, turn: _Turn) -> None:
        """The loop has done what it had to: now the thread, without competition."""
        with self._door:
            del self._turns[turn.loop]
            if not self._closed:
                self._asked.put(turn)
        if self._stuck is None or self._stuck.done:
            self._wait(turn)

    def _wait(self, turn: _Turn) -> None:
        """Once in a while, as long as it takes: a disk that is ill must not stop the loop, nor the loop the thread."""
        if turn.wait(PATIENCE_S):
            self._stuck = None
            turn.answer()
        else:
            self._stuck = turn
            turn.loop.call_later(AGAIN_S, self._wait, turn)

    def _read(self, work: Work[T]) -> T:
        with closing(connected(self.path, self._busy_s)) as connection:
            connection.execute("PRAGMA query_only = ON")
            return work(connection)

    def _run(self) -> None:
        log = LogKeeper(self.path)
        with closing(self._connection) as connection:
            connection.execute("PRAGMA busy_timeout = 0")  # `begin` waits: SQLite would look only every 1 - 100 ms
            going = True
            while going:
                turn, turns, jobs = self._asked.get(), [], []
                while turn is not None:
                    turns.append(turn)
                    jobs += turn.jobs
                    if len(jobs) >= MOST_TOGETHER or self._asked.empty():
                        break
                    turn = self._asked.get()
                self._do(turns, jobs, connection)
                log.wrote(len(jobs))
                going = turn is not None
            log.close()

    def _do(self, turns: list[_Turn], jobs: list[_Job], connection: sqlite3.Connection) -> None:
        for some in range(0, len(jobs), MOST_TOGETHER):
            wanted = [job for job in jobs[some : some + MOST_TOGETHER] if not job.withdrawn]
            if wanted:
                _do_together(connection, wanted, self._busy_s)
        with self._door:
            self._waiting -= len(jobs)
        for turn in turns:
            turn.tell()


def _do_together(connection: sqlite3.Connection, jobs: list[_Job], busy_s: float) -> None:
    """Fills in what came of each. Whatever goes wrong is told to callers, and ends nothing here."""
    try:
        begin(connection, busy_s)
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
