"""The state that the admin side and router replicas share: versions, what is in force, who is alive; on disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from router.store import FILE, MAX_VERSIONS, MIGRATIONS, Busy, InForce, Replica, Store

FILES = {"/a.yaml": "version: 1\n"}


def begun(folder: Path) -> tuple[Store, int]:
    """A store with a run that serves its first version."""
    store = Store(folder)
    number = store.add("abc", "/a.yaml", FILES, "start", 1.0)
    store.begin("run", number)
    return store, number


def test_a_version_is_kept_as_it_was_given(tmp_path: Path) -> None:
    """Text, path, origin and time, also for another process that opens the file later."""
    store, number = begun(tmp_path)
    found = Store(tmp_path).version(number)
    assert found is not None
    assert (found.config, found.path, found.files, found.origin, found.made) == ("abc", "/a.yaml", FILES, "start", 1.0)
    assert store.version(number + 1) is None


def test_a_proposal_comes_into_force_at_once_or_not_at_all(tmp_path: Path) -> None:
    """Prepared while the old one is served; activated in one step; withdrawn with the reason."""
    store, first = begun(tmp_path)
    second = store.add("def", "/a.yaml", FILES, "admin", 2.0)
    store.propose("run", second, 2.0, 10.0)
    assert store.in_force("run") == InForce(first, second)
    assert store.activate("run", second)
    assert store.in_force("run") == InForce(second)
    third = store.add("ghi", "/a.yaml", FILES, "admin", 3.0)
    store.propose("run", third, 3.0, 10.0)
    store.withdraw("run", third, "no room")
    assert not store.activate("run", third)
    assert store.in_force("run") == InForce(second)
    assert [version.problem for version in store.versions()] == ["no room", None, None]


def test_one_proposal_at_a_time(tmp_path: Path) -> None:
    """A second one is refused as long as the first may still end; one that nobody ended does not block for ever."""
    store, number = begun(tmp_path)
    store.propose("run", number, 0.0, 10.0)
    with pytest.raises(Busy):
        store.propose("run", number, 9.0, 20.0)
    store.propose("run", number, 10.5, 20.0)


def test_what_an_earlier_run_said_is_gone(tmp_path: Path) -> None:
    """Its replicas are not waited for, and its own replicas learn that they are not meant any more."""
    store, number = begun(tmp_path)
    store.beat("run", Replica("r1", "127.0.0.1:1", 5.0, number))
    store.begin("next", number)
    assert store.replicas("run", 0.0) == store.replicas("next", 0.0) == []
    assert store.in_force("run") is None


def test_what_was_proposed_when_a_run_ended_never_was_in_force(tmp_path: Path) -> None:
    """Nobody rolls back to it unawares; the one in force is never said to have had a problem."""
    store, first = begun(tmp_path)
    store.propose("run", store.add("def", "/a.yaml", FILES, "admin", 2.0), 2.0, 10.0)
    store.begin("next", first)
    store.withdraw("next", first, "too late")
    assert [version.problem is None for version in store.versions()] == [False, True]


def test_replicas_are_those_that_were_seen_lately(tmp_path: Path) -> None:
    """The last word of each; who left, or was silent too long, is none."""
    store, number = begun(tmp_path)
    store.beat("run", Replica("r1", "127.0.0.1:1", 5.0, number))
    store.beat("run", Replica("r2", "127.0.0.1:2", 8.0, number))
    store.beat("run", Replica("r2", "127.0.0.1:2", 9.0, number, 7, "broken"))
    assert store.replicas("run", 6.0) == [Replica("r2", "127.0.0.1:2", 9.0, number, 7, "broken")]
    store.leave("run", "r2")
    assert [replica.id for replica in store.replicas("run", 0.0)] == ["r1"]


def test_what_was_refused_is_counted(tmp_path: Path) -> None:
    """With the last reason: replicas show it in a metric."""
    store, number = begun(tmp_path)
    store.reject("run", "no")
    store.reject("run", "no again")
    assert store.in_force("run") == InForce(number, None, 2, "no again")


def test_versions_are_bounded_and_the_one_in_force_stays(tmp_path: Path) -> None:
    """The oldest go first, however old the one is that is served."""
    store, first = begun(tmp_path)
    for count in range(MAX_VERSIONS + 5):
        store.add(str(count), "/a.yaml", FILES, "admin", 2.0)
    numbers = [version.number for version in store.versions()]
    assert len(numbers) == MAX_VERSIONS + 1
    assert first in numbers
    assert first + 1 not in numbers


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """Nothing is written to it: what it means is not known."""
    begun(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(ValueError, match="made by a later version"):
        Store(tmp_path)


def test_a_damaged_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    """It says what can be done."""
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match="symposium restore"):
        Store(tmp_path)


def test_a_migration_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    """An empty file is what a process leaves that ended before the first one was whole."""
    (tmp_path / FILE).touch()
    store, number = begun(tmp_path)
    assert store.in_force("run") == InForce(number)


def open_and_add(folder: str) -> None:
    """What several processes do at once."""
    store = Store(Path(folder))
    for count in range(20):
        store.add(str(count), "/a.yaml", FILES, "admin", 1.0)


def test_several_processes_open_and_write_it_at_once(tmp_path: Path) -> None:
    """The first one makes the schema; nobody fails, nothing is lost."""
    context = get_context("spawn")
    processes = [context.Process(target=open_and_add, args=(str(tmp_path),)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(Store(tmp_path).versions()) == 60
