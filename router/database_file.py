"""A SQLite file that several processes have open: opened by all at once, brought up to date, its lock waited for.

Blocking. `synchronous` is NORMAL: killing any process loses nothing; a machine that loses power may lose the last
moments, never a part of a transaction.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

POLL_S = 0.0005  # between two looks whether another process has ended its transaction: that takes it less
STATEMENTS = 256  # that are kept compiled


def opened(path: Path, migrations: tuple[str, ...], busy_s: float) -> sqlite3.Connection:
    """A connection to the file, brought up to date; of several processes that open it first, one makes it.

    Raises:
        ValueError: the file is of a later version.
    """
    connection = connected(path, busy_s)
    try:
        bring_up_to_date(connection, path, migrations, busy_s)
    except BaseException:
        connection.close()
        raise
    return connection


def connected(path: Path, busy_s: float) -> sqlite3.Connection:
    """One more connection. What it commits stays in the write-ahead log until `LogKeeper` moves it."""
    connection = sqlite3.connect(
        path, timeout=busy_s, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def bring_up_to_date(connection: sqlite3.Connection, path: Path, migrations: tuple[str, ...], busy_s: float) -> None:
    """Write-ahead log, and all migrations that are missing; of several processes the first one does it.

    Raises:
        ValueError: the file is of a later version.
    """
    _patiently(connection, "PRAGMA journal_mode = WAL", busy_s)  # others just turning to it: "locked", without waiting
    _patiently(connection, "BEGIN IMMEDIATE", busy_s)
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


def begin(connection: sqlite3.Connection, busy_s: float) -> None:
    """Takes the write lock, waiting for others who have it."""
    if connection.in_transaction:  # one that could be neither committed nor undone: the disk was ill
        connection.execute("ROLLBACK")
    _patiently(connection, "BEGIN IMMEDIATE", busy_s)


def _patiently(connection: sqlite3.Connection, statement: str, busy_s: float) -> None:
    """Executes it as soon as nobody else has the lock, for so long at most."""
    ends = time.monotonic() + busy_s
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if not busy(error) or time.monotonic() > ends:
                raise
            time.sleep(POLL_S)
        else:
            return


def busy(error: sqlite3.Error) -> bool:
    """Whether another process has the lock."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_BUSY  # with whatever reason in the higher bits
