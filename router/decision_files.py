"""The decision log's folder: SQLite files by day, shared by every process that writes there; which one is written to,
which go, the key of its hashes. Blocking.

A process holds the folder's lock while it writes or deletes: milliseconds, once for many rows. A file is opened for
each write and closed behind it, so that it is whole on its own, and what is in it is there however the process ends.
Its schema is made by numbered migrations: an older file is brought up to date, a newer one left alone. Must not know:
what a row means, threads.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

from router.config_observability import Decisions
from router.decision_rows import DecisionRow, LegRow

log = logging.getLogger(__name__)
Row = DecisionRow | LegRow
FOLDER, LOCK, KEY = "decisions", "lock", "hash.key"
KEY_BYTES = 32
LOCK_S = 5.0  # for another process's write; then the rows are given up, and counted
BUSY_S = 5.0
TABLES: dict[type[Row], str] = {DecisionRow: "decisions", LegRow: "legs"}
MIGRATIONS = (
    """
    CREATE TABLE decisions (
        schema_version INTEGER NOT NULL, unix_s REAL NOT NULL, request_id TEXT NOT NULL, principal TEXT NOT NULL,
        policy TEXT NOT NULL, outcome TEXT NOT NULL, status INTEGER NOT NULL, code TEXT, seconds REAL NOT NULL,
        first_byte_s REAL, model TEXT, kind TEXT, stream BOOLEAN, config_version TEXT, overhead_s REAL, category TEXT,
        abstained TEXT, familiarity REAL, planned TEXT, reason TEXT, aggregated TEXT, why TEXT, answered_by TEXT,
        legs INTEGER, prompt_tokens INTEGER, completion_tokens INTEGER, usage_exact BOOLEAN, cost_usd REAL,
        vote_share REAL, vote_posterior REAL, vote_spread REAL, turns INTEGER, anchor INTEGER, prompt_chars INTEGER,
        prompt_hash TEXT, question_hash TEXT, question TEXT, categories_json TEXT, skills_json TEXT,
        candidates_json TEXT, plan_json TEXT, vote_json TEXT, missing_json TEXT, stale_json TEXT
    );
    CREATE TABLE legs (
        schema_version INTEGER NOT NULL, unix_s REAL NOT NULL, request_id TEXT NOT NULL, leg_id TEXT NOT NULL,
        expert TEXT NOT NULL, role TEXT NOT NULL, outcome TEXT, seconds REAL, first_token_s REAL,
        prompt_tokens INTEGER, completion_tokens INTEGER, usage_exact BOOLEAN, cost_usd REAL
    );
    CREATE INDEX decisions_request ON decisions (request_id);
    CREATE INDEX legs_request ON legs (request_id);
    """,
    """
    ALTER TABLE decisions ADD COLUMN tenant TEXT;
    ALTER TABLE decisions ADD COLUMN refused_for TEXT;
    ALTER TABLE decisions ADD COLUMN deadline_s REAL;
    ALTER TABLE decisions ADD COLUMN max_cost_usd REAL;
    ALTER TABLE decisions ADD COLUMN degraded TEXT;
    ALTER TABLE decisions ADD COLUMN quality REAL;
    ALTER TABLE decisions ADD COLUMN ended_early TEXT;
    ALTER TABLE decisions ADD COLUMN budget_json TEXT;
    """,
)  # their number is SCHEMA_VERSION in router/decision_rows.py
_NAME = re.compile(r"decisions-(\d{4}-\d{2}-\d{2})-(\d{4,})\.sqlite3")
_TYPES: dict[type, str] = {int: "INTEGER", float: "REAL", str: "TEXT", bool: "BOOLEAN"}


@dataclass(frozen=True, slots=True, order=True)
class LogFile:
    """One file: of a day (UTC), with its number on that day. They order by age."""

    day: date
    number: int
    path: Path

    @classmethod
    def at(cls, folder: Path, day: date, number: int) -> LogFile:
        return cls(day, number, folder / f"decisions-{day.isoformat()}-{number:04}.sqlite3")

    @property
    def parts(self) -> tuple[Path, Path, Path]:
        """The file, its write-ahead log and that log's index, of which the two are there while it is open."""
        return self.path, Path(f"{self.path}-wal"), Path(f"{self.path}-shm")

    @property
    def bytes(self) -> int:
        return sum(map(_size, self.parts))

    def remove(self) -> None:
        for part in self.parts:
            part.unlink(missing_ok=True)


class DecisionFiles:
    """The folder, as one process writes to it."""

    def __init__(self, data: Path, settings: Decisions, migrations: Sequence[str] = MIGRATIONS) -> None:
        """Makes the folder where there is none, and brings its files up to date.

        Raises:
            ValueError: it cannot be written to, or the key in it is none; says what to do.
        """
        self.folder, self._settings, self._migrations = data / FOLDER, settings, migrations
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self.folder):
                self.key = _key(self.folder / KEY)
                for file in log_files(self.folder):
                    self._update(file)
        except (OSError, sqlite3.OperationalError) as error:
            raise ValueError(
                f"{self.folder}: cannot be written to ({error}); let `data` name a folder that can, or set "
                "decisions.enabled: false"
            ) from error

    def write(self, rows: Sequence[Row], unix_s: float) -> None:
        """All of the rows, or none; then what is too much, or too old, goes.

        Raises:
            OSError, sqlite3.Error: they are not written. TimeoutError: others held the folder for too long.
        """
        with locked(self.folder):
            current = self._current(_day(unix_s))
            with closing(_connect(current.path)) as database, database:
                for kind, table in TABLES.items():
                    names = list(columns(kind))
                    insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608  # all ours
                    some = [row for row in rows if isinstance(row, kind)]
                    database.executemany(insert, ([getattr(row, name) for name in names] for row in some))
            try:
                self._prune(_day(unix_s), current)
            except OSError:  # the rows are written, whatever becomes of old files
                log.exception("%s: old files could not be removed", self.folder)

    def prune(self, unix_s: float) -> None:
        """What is too old goes, also where nobody asks any more. Raises OSError."""
        with locked(self.folder):
            self._prune(_day(unix_s), None)

    def _current(self, day: date) -> LogFile:
        """Today's last file, or the next one where that is full, or not ours to write to."""
        found = [file for file in log_files(self.folder) if file.day == day]
        file = found[-1] if found else LogFile.at(self.folder, day, 0)
        if found and (file.bytes >= self._settings.file_mb * 1e6 or not self._update(file)):
            file = LogFile.at(self.folder, day, file.number + 1)
        if not file.path.exists():
            self._update(file)
        return file

    def _update(self, file: LogFile) -> bool:
        """Whether the file has the schema of now, if need be after migrations; a newer or a broken one never has."""
        try:
            with closing(_connect(file.path)) as database:
                return migrate(database, self._migrations)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            log.warning("%s: %s; left as it is", file.path, error)
            return False

    def _prune(self, today: date, current: LogFile | None) -> None:
        files = [file for file in log_files(self.folder) if current is None or file.path != current.path]
        kept = current.bytes if current else 0
        for file in reversed(files):  # the latest first: what is over the bounds is what comes last
            old = file.day <= today - timedelta(days=self._settings.max_days)
            kept += file.bytes
            if old or kept > self._settings.max_mb * 1e6:
                file.remove()


def log_files(folder: Path) -> list[LogFile]:
    """All of them, the oldest first."""
    found = []
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if (name := _NAME.fullmatch(path.name)) is not None:
                with suppress(ValueError):
                    found.append(LogFile(date.fromisoformat(name[1]), int(name[2]), path))
    return sorted(found)


def columns(kind: type[Row]) -> dict[str, str]:
    """Column -> SQLite's type, of the table that holds such rows."""
    hints = get_type_hints(kind)
    return {f.name: _TYPES[(get_args(hints[f.name]) or (hints[f.name],))[0]] for f in fields(kind)}


def migrate(database: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> bool:
    """Runs the migrations that a file has not had, each with its number in one transaction; False for a newer file."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(migrations[version:], version + 1):
        database.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")
    return bool(version <= len(migrations))


@contextmanager
def locked(folder: Path, wait_s: float = LOCK_S) -> Iterator[None]:
    """Alone in the folder, among all processes that ask.

    Raises:
        TimeoutError: somebody else held it for so long.
    """
    ends = time.monotonic() + wait_s
    with os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > ends:
                    raise TimeoutError(f"{folder}: another process held the lock for {wait_s:g} s") from error
                time.sleep(0.005)
        yield


def read(folder: Path, kind: type[Row], requests: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows as column -> value, the latest first: all, or those of some requests.

    A file that goes meanwhile, or is none, is left out.
    """
    some = "" if requests is None else f"WHERE request_id IN ({', '.join('?' * len(requests))})"
    select = f"SELECT * FROM {TABLES[kind]} {some} ORDER BY rowid DESC"  # noqa: S608  # values are bound
    for file in reversed(log_files(folder)):
        try:
            with closing(sqlite3.connect(f"{file.path.as_uri()}?mode=rw", uri=True, timeout=BUSY_S)) as database:
                database.row_factory = sqlite3.Row
                yield from map(dict, database.execute(select, requests or ()))
        except sqlite3.DatabaseError as error:
            log.warning("%s: %s; left out", file.path, error)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_S)
    try:
        database.execute("PRAGMA journal_mode = WAL")  # who reads waits for nobody, and nobody for them
        database.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        database.close()
        raise
    return database


def _key(path: Path) -> bytes:
    """The key of the hashes, made at first. The folder is locked."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = secrets.token_bytes(KEY_BYTES)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key)
            os.fsync(file.fileno())
        new.replace(path)
    if len(key) != KEY_BYTES:
        raise ValueError(
            f"{path}: not the key of prompts' hashes; restore it, or remove it: hashes will be others then"
        )
    return key


def _day(unix_s: float) -> date:
    return datetime.fromtimestamp(unix_s, UTC).date()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
