"""What the admin side and every router replica share: versions of the configuration, the one in force, who is alive.

One SQLite file in the data folder (write-ahead log, so readers never wait). Its schema is made by numbered migrations:
an older file is brought up to date when it is opened, a newer one is refused. Times are unix seconds, of the caller's.
Must not know: what a configuration says, or when it should change.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from router.database_file import bring_up_to_date

FILE = "symposium.sqlite3"
MAX_VERSIONS = 100  # that are kept; the oldest go first
BUSY_S = 5.0  # another process writes: milliseconds at most, unless its disk is ill
MIGRATIONS = (
    """
    CREATE TABLE versions (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        config TEXT NOT NULL,
        path TEXT NOT NULL,
        files TEXT NOT NULL,
        origin TEXT NOT NULL,
        made REAL NOT NULL,
        problem TEXT
    );
    CREATE TABLE runs (
        run TEXT PRIMARY KEY,
        active INTEGER NOT NULL REFERENCES versions (number),
        candidate INTEGER REFERENCES versions (number),
        candidate_until REAL,
        rejections INTEGER NOT NULL DEFAULT 0,
        rejection TEXT
    );
    CREATE TABLE replicas (
        run TEXT NOT NULL,
        id TEXT NOT NULL,
        address TEXT NOT NULL,
        seen REAL NOT NULL,
        active INTEGER NOT NULL,
        prepared INTEGER,
        problem TEXT,
        PRIMARY KEY (run, id)
    );
    """,
)


class Busy(Exception):
    """Another change is under way."""


@dataclass(frozen=True, slots=True)
class Version:
    """A configuration as it was given. `files`: absolute path -> text, of the file at `path` and all it includes.

    `config` is what it was called by (`Knowledge.version`); `problem` says why it never came into force.
    """

    number: int
    config: str
    path: str
    files: Mapping[str, str]
    origin: str
    made: float
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class InForce:
    """Numbers of the version that is served and of the one that is to be prepared, if any; how many configurations
    were refused in this run, and why the last one was.
    """

    active: int
    candidate: int | None = None
    rejections: int = 0
    rejection: str | None = None


@dataclass(frozen=True, slots=True)
class Replica:
    """One router replica, as it last said. `address`: host:port of its own metrics."""

    id: str
    address: str
    seen: float
    active: int
    prepared: int | None = None
    problem: str | None = None


class Store:
    """All of it. Blocking, and quick; several processes may hold one on the same file."""

    def __init__(self, folder: Path) -> None:
        """Raises ValueError when the file is of a later version of this project, or no such file."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self.path.touch(mode=0o600)  # what configurations say is for their owner
        try:
            with self._database() as database:
                bring_up_to_date(database, self.path, MIGRATIONS, BUSY_S)
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{self.path}: {error}; restore a backup (`symposium restore`), or move it away"
            ) from error

    def add(self, config: str, path: str, files: Mapping[str, str], origin: str, now: float) -> int:
        """Keeps a configuration; its number."""
        with self._database() as database, database:
            made = database.execute(
                "INSERT INTO versions (config, path, files, origin, made) VALUES (?, ?, ?, ?, ?)",
                (config, path, json.dumps(dict(files)), origin, now),
            )
            database.execute(
                "DELETE FROM versions WHERE number <= ? AND number NOT IN "
                "(SELECT active FROM runs UNION SELECT candidate FROM runs WHERE candidate IS NOT NULL)",
                ((made.lastrowid or 0) - MAX_VERSIONS,),
            )
            return made.lastrowid or 0

    def version(self, number: int) -> Version | None:
        return next(self._versions("WHERE number = ?", (number,)), None)

    def versions(self) -> list[Version]:
        """The latest first."""
        return list(self._versions("ORDER BY number DESC", ()))

    def begin(self, run: str, number: int) -> None:
        """A run of the system starts with this version; what earlier runs said of themselves goes."""
        with self._database() as database, database:
            database.execute(
                "UPDATE versions SET problem = 'the system ended before all replicas were ready' "
                "WHERE number IN (SELECT candidate FROM runs)"
            )
            database.execute("DELETE FROM runs")
            database.execute("DELETE FROM replicas")
            database.execute("INSERT INTO runs (run, active) VALUES (?, ?)", (run, number))

    def in_force(self, run: str) -> InForce | None:
        """None: this run was never begun, or another one has begun since."""
        with self._database() as database:
            found = database.execute(
                "SELECT active, candidate, rejections, rejection FROM runs WHERE run = ?", (run,)
            ).fetchone()
            return None if found is None else InForce(*found)

    def propose(self, run: str, number: int, now: float, until: float) -> None:
        """All replicas are to prepare this version. A proposal that nobody ended by `until` is over.

        Raises:
            Busy: another one is.
        """
        with self._database() as database, database:
            taken = database.execute(
                "UPDATE runs SET candidate = ?, candidate_until = ? "
                "WHERE run = ? AND (candidate IS NULL OR candidate_until < ?)",
                (number, until, run, now),
            )
            if taken.rowcount != 1:
                raise Busy

    def activate(self, run: str, number: int) -> bool:
        """The candidate comes into force; False when it is none any more."""
        with self._database() as database, database:
            done = database.execute(
                "UPDATE runs SET active = candidate, candidate = NULL WHERE run = ? AND candidate = ?", (run, number)
            )
            return done.rowcount == 1

    def reject(self, run: str, problem: str) -> None:
        """A configuration was refused, before or after it was proposed."""
        with self._database() as database, database:
            database.execute("UPDATE runs SET rejections = rejections + 1, rejection = ? WHERE run = ?", (problem, run))

    def withdraw(self, run: str, number: int, problem: str) -> None:
        """The candidate does not come into force."""
        with self._database() as database, database:
            database.execute("UPDATE runs SET candidate = NULL WHERE run = ? AND candidate = ?", (run, number))
            database.execute(
                "UPDATE versions SET problem = ? WHERE number = ? AND number NOT IN (SELECT active FROM runs)",
                (problem, number),
            )

    def beat(self, run: str, replica: Replica) -> None:
        """A replica lives, and is where it says."""
        with self._database() as database, database:
            database.execute(
                "INSERT OR REPLACE INTO replicas (run, id, address, seen, active, prepared, problem) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (run, replica.id, replica.address, replica.seen, replica.active, replica.prepared, replica.problem),
            )
            database.execute("DELETE FROM replicas WHERE seen < ?", (replica.seen - 3600,))

    def leave(self, run: str, replica_id: str) -> None:
        """A replica ends."""
        with self._database() as database, database:
            database.execute("DELETE FROM replicas WHERE run = ? AND id = ?", (run, replica_id))

    def replicas(self, run: str, since: float) -> list[Replica]:
        """Those that were alive at some time since."""
        with self._database() as database:
            rows = database.execute(
                "SELECT id, address, seen, active, prepared, problem FROM replicas WHERE run = ? AND seen >= ? "
                "ORDER BY id",
                (run, since),
            )
            return [Replica(*row) for row in rows]

    def _versions(self, which: str, values: tuple[object, ...]) -> Iterator[Version]:
        with self._database() as database:
            rows = database.execute(
                f"SELECT number, config, path, files, origin, made, problem FROM versions {which}",  # noqa: S608  # ours: values are bound
                values,
            ).fetchall()
        for number, config, path, files, origin, made, problem in rows:
            yield Version(number, config, path, json.loads(files), origin, made, problem)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=BUSY_S)) as database:
            yield database
