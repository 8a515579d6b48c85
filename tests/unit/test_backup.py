"""The state in one file and back: real databases, while others write to them, and backups of earlier versions."""

from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from router import ledger_sqlite, registry_sqlite, store
from router.backup import back_up, restore
from router.config import ApiKey
from router.ledger import Charge, Hold, Meter, Payer
from router.ledger_sqlite import SqliteLedger
from router.registry import Key
from router.registry_sqlite import SqliteRegistry
from router.store import Store

FILES = {"/a.yaml": "version: 1\n"}
ALL = (store.FILE, ledger_sqlite.FILE, registry_sqlite.FILE)
METER = Meter("tenant/acme", "2026-11", 1_000_000)


def versions(folder: Path) -> list[str]:
    return [version.config for version in Store(folder).versions()]


def old_backup(folder: Path, file: Path) -> None:
    """As it was made before there was money: the store alone."""
    with closing(sqlite3.connect(folder / store.FILE)) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)


def beside(path: Path) -> set[str]:
    return {found.name for found in path.parent.iterdir()}


async def spend(folder: Path, leg_id: str) -> int:
    """What is settled then."""
    ledger, payer = SqliteLedger(folder), Payer("req", "acme", "ci", "auto", "me", (METER,))
    await ledger.beat("me", 0.0, 100.0)
    await ledger.reserve(payer, [Hold(leg_id, "ada", 10)], 1.0)
    await ledger.settle([Charge(leg_id, 10, 1, 1)], 2.0)
    (standing,) = await ledger.standing([METER])
    await ledger.close()
    return standing.settled


async def make_key(folder: Path, name: str) -> list[str]:
    """The keys there are then."""
    registry = SqliteRegistry(folder)
    await registry.put_key(Key(name, "0" * 64, ApiKey(name=name, sha256="0" * 64), 0.0))
    found = [key.id for key in await registry.keys()]
    await registry.close()
    return found


async def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    """Versions, money and keys of the moment of the backup; what was done since is gone. Only its owner can read it."""
    folder, file = tmp_path / "data", tmp_path / "copy?50%25.tar"
    Store(folder).add("first", "/a.yaml", FILES, "start", 1.0)
    await spend(folder, "leg-1")
    await make_key(folder, "ann")
    assert back_up(folder, file) == ALL
    assert file.stat().st_mode & 0o077 == 0
    Store(folder).add("later", "/a.yaml", FILES, "admin", 2.0)
    assert await spend(folder, "leg-2") == 20
    await make_key(folder, "bob")
    (folder / store.FILE).write_bytes(b"damaged" * 1000)
    assert restore(file, folder) == ALL
    assert versions(folder) == ["first"]
    assert await spend(folder, "leg-3") == 20
    assert await make_key(folder, "cyd") == ["ann", "cyd"]
    assert beside(file) == {"data", file.name}
    assert not [name for name in beside(folder / "any") if name.startswith(".")]


async def test_a_copy_is_of_one_moment_while_others_write(tmp_path: Path) -> None:
    """What is in a transaction that was not committed when the backup was made is in none of it."""
    folder, file = tmp_path / "data", tmp_path / "copy"
    await make_key(folder, "ann")
    with closing(sqlite3.connect(folder / registry_sqlite.FILE, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("DELETE FROM keys")
        back_up(folder, file)
        writing.execute("COMMIT")
    restore(file, tmp_path / "other")
    assert await make_key(tmp_path / "other", "bob") == ["ann", "bob"]


async def test_a_backup_of_an_earlier_version_takes_the_place_of_the_store_alone(tmp_path: Path) -> None:
    """What it does not hold stays as it is."""
    folder, file = tmp_path / "data", tmp_path / "copy.sqlite3"
    Store(folder).add("first", "/a.yaml", FILES, "start", 1.0)
    old_backup(folder, file)
    Store(folder).add("later", "/a.yaml", FILES, "admin", 2.0)
    await spend(folder, "leg-1")
    assert restore(file, folder) == (store.FILE,)
    assert versions(folder) == ["first"]
    assert await spend(folder, "leg-2") == 20


def whole(folder: Path, name: str = store.FILE, bytes_: bytes | None = None) -> Path:
    """A tar file with one database, or what is said to be one."""
    Store(folder / "made")
    path = folder / "made" / store.FILE
    if bytes_ is not None:
        path.write_bytes(bytes_)
    with tarfile.open(folder / "copy", "w") as tar:
        tar.add(path, name)
    return folder / "copy"


@pytest.mark.parametrize("content", [b"", b"no database" * 500, None])
def test_what_is_no_backup_changes_nothing(tmp_path: Path, content: bytes | None) -> None:
    """It is looked at before anything is removed."""
    Store(tmp_path / "data").add("first", "/a.yaml", FILES, "start", 1.0)
    if content is not None:
        (tmp_path / "copy").write_bytes(content)
    with pytest.raises(ValueError, match=r"backup|no such file"):
        restore(tmp_path / "copy", tmp_path / "data")
    assert versions(tmp_path / "data") == ["first"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (store.FILE, b""),
        (store.FILE, b"no database" * 500),
        ("../symposium.sqlite3", None),
        (ledger_sqlite.FILE, None),  # another one's tables
    ],
)
def test_a_tar_file_of_something_else_changes_nothing(tmp_path: Path, name: str, content: bytes | None) -> None:
    """Nor is anything written beside the data folder."""
    Store(tmp_path / "data").add("first", "/a.yaml", FILES, "start", 1.0)
    with pytest.raises(ValueError, match="no whole backup"):
        restore(whole(tmp_path, name, content), tmp_path / "data")
    assert versions(tmp_path / "data") == ["first"]
    assert not (tmp_path / store.FILE).exists()


def test_a_part_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Whoever gives a backup must not learn what else is on this machine."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    with tarfile.open(tmp_path / "copy", "w") as tar:
        tar.add(tmp_path / "link", store.FILE)
    with pytest.raises(ValueError, match="no whole backup"):
        restore(tmp_path / "copy", tmp_path / "data")


def test_a_backup_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """By each part's own schema."""
    file = whole(tmp_path)
    with closing(sqlite3.connect(tmp_path / "made" / store.FILE)) as database:
        database.execute("PRAGMA user_version = 99")
    with tarfile.open(file, "w") as tar:
        tar.add(tmp_path / "made" / store.FILE, store.FILE)
    with pytest.raises(ValueError, match="later version"):
        restore(file, tmp_path / "data")


def test_nothing_is_overwritten_and_nothing_is_made_of_nothing(tmp_path: Path) -> None:
    """A file that is there stays; a folder without state is said to have none."""
    Store(tmp_path / "data")
    (tmp_path / "copy").write_bytes(b"mine")
    with pytest.raises(ValueError, match="is there already"):
        back_up(tmp_path / "data", tmp_path / "copy")
    with pytest.raises(ValueError, match="nothing to back up"):
        back_up(tmp_path / "none", tmp_path / "other")
    assert (tmp_path / "copy").read_bytes() == b"mine"
