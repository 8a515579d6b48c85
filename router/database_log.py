"""The write-ahead log of a SQLite file is brought into the file behind everybody's back.

SQLite would do it within some commit, every thousand pages, and within each where several processes write: whoever has
asked for that one waits for the disk, which took up to a second. Here a thread does it now and then; it holds writers
up only where the log grows faster than that.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from router.database_file import connected

JOBS, SECONDS = 2000, 30.0  # after so many, or so long after the last time, it is done
MOST_PAGES = 16_384  # of the log, 64 MiB: then writers wait until it can begin anew
WRITERS_WAIT_S = 0.1


class LogKeeper:
    """For one thread that writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs, self._done_at = 0, time.monotonic()
        self._thread: threading.Thread | None = None

    def wrote(self, jobs: int) -> None:
        """So much was committed."""
        self._jobs += jobs
        if self._jobs < JOBS and time.monotonic() < self._done_at + SECONDS:
            return
        if self._thread is None or not self._thread.is_alive():
            self._jobs, self._done_at = 0, time.monotonic()
            self._thread = threading.Thread(target=self._keep, name=f"log of {self._path.name}", daemon=True)
            self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _keep(self) -> None:
        with (
            suppress(sqlite3.Error),
            closing(connected(self._path, WRITERS_WAIT_S)) as connection,
        ):  # the next time, then
            _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > MOST_PAGES:
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
