"""The state of a data folder in one file, and back: versions of the configuration, money, keys and feedback.

A backup is a tar file of SQLite databases. Each is a copy of one moment, also while others write, and the moments are
milliseconds apart: all of them are fixed before the first is copied. Backups of before there was money are one
database, the store's, and can be restored, too. What is kept in Redis is no part of it.
"""

from __future__ import annotations

import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from router import ledger_sqlite, ledger_tables, registry_sqlite, registry_tables, store

BUSY_S = 5.0
TEMPORARY = ".backup-"


@dataclass(frozen=True, slots=True)
class _Part:
    """One database. `tables`: some that it must have; `newest`: number of its latest schema."""

    file: str
    tables: frozenset[str]
    newest: int


PARTS = (
    _Part(store.FILE, frozenset({"versions", "runs"}), len(store.MIGRATIONS)),
    _Part(ledger_sqlite.FILE, frozenset({"holds", "journal"}), len(ledger_tables.MIGRATIONS)),
    _Part(registry_sqlite.FILE, frozenset({"keys", "feedback"}), len(registry_tables.MIGRATIONS)),
)


def back_up(folder: Path, file: Path) -> tuple[str, ...]:
    """Copies the state into a file that only its owner can read; the names of what is in it.

    Raises:
        ValueError: there is no state in the folder, or the file is there already.
    """
    if file.exists():
        raise ValueError(f"{file}: is there already; name another file")
    found = [part for part in PARTS if (folder / part.file).is_file()]
    if not found:
        raise ValueError(f"{folder}: nothing to back up; no symposium has run with this data folder")
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=file.resolve().parent) as name, ExitStack() as stack:
        copies, opened = Path(name), [stack.enter_context(_moment(folder / part.file)) for part in found]
        for part, source in zip(found, opened, strict=True):
            with closing(sqlite3.connect(copies / part.file)) as copy:
                source.backup(copy)
        whole = copies / "whole"
        whole.touch(mode=0o600)
        with tarfile.open(whole, "w") as tar:
            for part in found:
                tar.add(copies / part.file, part.file)
        whole.rename(file)
    return tuple(part.file for part in found)


def restore(file: Path, folder: Path) -> tuple[str, ...]:
    """A backup takes the place of the state in a data folder; nothing may be running on that. What it does not hold
    stays as it is. The names of what was put back.

    Raises:
        ValueError: it is no backup of this project, or of a later version of it; nothing has changed.
    """
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder) as name:
        found = _unpacked(file, Path(name))
        for part, copy in found:
            _check(file, part, copy)
        for part, copy in found:
            for suffix in ("", "-wal", "-shm"):
                (folder / f"{part.file}{suffix}").unlink(missing_ok=True)
            copy.chmod(0o600)
            copy.rename(folder / part.file)
    return tuple(part.file for part, _ in found)


@contextmanager
def _moment(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees the database as it is now, whatever others write meanwhile."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield connection


def _unpacked(file: Path, folder: Path) -> list[tuple[_Part, Path]]:
    """The databases in a backup as files of their own."""
    if not tarfile.is_tarfile(file):
        return [(PARTS[0], _copied(file, folder / PARTS[0].file))]
    found = []
    with tarfile.open(file, "r:") as tar:
        for part in PARTS:
            try:
                tar.extract(part.file, folder, filter="data")
            except KeyError:
                continue
            except (tarfile.TarError, OSError) as error:
                raise _none(file) from error
            found.append((part, folder / part.file))
    if not found:
        raise _none(file)
    return found


def _copied(file: Path, to: Path) -> Path:
    try:
        with _moment(file) as source, closing(sqlite3.connect(to)) as copy:
            source.backup(copy)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{file}: {error}; it is no backup that `symposium backup` made") from error
    return to


def _check(file: Path, part: _Part, copy: Path) -> None:
    try:
        with closing(sqlite3.connect(copy)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            whole = database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            (number,) = database.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise _none(file) from error
    if not (whole and part.tables <= tables):
        raise _none(file)
    if number > part.newest:
        raise ValueError(f"{file}: made by a later version ({part.file}, schema {number}); update this one first")


def _none(file: Path) -> ValueError:
    return ValueError(f"{file}: it is no whole backup that `symposium backup` made")
