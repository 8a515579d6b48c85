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
        _log_ahead(connection, busy_s)
        migrate(connection, path, migrations)
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


def _log_ahead(connection: sqlite3.Connection, busy_s: float) -> None:
    """Write-ahead log; while somebody else is just turning to it, SQLite says "locked" without waiting."""
    ends = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not busy(error) or time.monotonic() > ends:
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


def begin(connection: sqlite3.Connection, busy_s: float) -> None:
    """Takes the write lock, waiting for others who have it."""
    if connection.in_transaction:  # one that could be neither committed nor undone: the disk was ill
        connection.execute("ROLLBACK")
    ends = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
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
