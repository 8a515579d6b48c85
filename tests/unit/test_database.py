"""One file, one thread, many callers: what is committed together, what fails alone, and that nobody is forgotten."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from router import database, database_file, database_log
from router.database import Database
from router.database_log import LogKeeper
from tests.support import becomes_true

MIGRATIONS = ("CREATE TABLE notes (text TEXT NOT NULL) STRICT",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.sqlite3"


@pytest.fixture
def opened(path: Path) -> Iterator[Database]:
    one = Database(path, MIGRATIONS, busy_s=0.1)
    yield one
    one.close()


def note(text: str) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))

    return work


def notes(path: Path) -> list[str]:
    """As another process sees them."""
    with closing(sqlite3.connect(path)) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]


class Held:
    """Keeps the thread busy until it is let go."""

    def __init__(self, opened: Database) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        self.done = asyncio.ensure_future(opened.run(self._hold))

    def _hold(self, _: sqlite3.Connection) -> None:
        self._begun.set()
        self._go.wait()

    async def begun(self) -> None:
        await becomes_true(self._begun.is_set)

    def let_go(self) -> None:
        self._go.set()


async def test_what_waits_together_is_committed_together(opened: Database, path: Path) -> None:
    """Callers that come while the thread is at work share one transaction, in the order in which they came."""
    held = Held(opened)
    await held.begun()
    numbers = [asyncio.ensure_future(opened.run(lambda c: c.total_changes)) for _ in range(2)]
    asked = [asyncio.ensure_future(opened.run(note(text))) for text in "abc"]
    await asyncio.sleep(0)
    held.let_go()
    await asyncio.gather(held.done, *numbers, *asked)
    assert notes(path) == ["a", "b", "c"]


async def test_one_that_fails_undoes_its_own_work_alone(opened: Database, path: Path) -> None:
    """Its error is told to its caller; what stands beside it in the transaction is committed."""

    def fails(connection: sqlite3.Connection) -> None:
        note("half")(connection)
        raise KeyError("mine")

    def stops(connection: sqlite3.Connection) -> None:
        next(iter(()))

    held = Held(opened)
    await held.begun()
    works = [note("a"), fails, stops, note("b")]
    asked = [asyncio.ensure_future(opened.run(work)) for work in works]
    await asyncio.sleep(0)
    held.let_go()
    found = await asyncio.gather(*asked, return_exceptions=True)
    await held.done
    assert [type(error) for error in found] == [type(None), KeyError, RuntimeError, type(None)]
    assert notes(path) == ["a", "b"]


async def test_what_ends_a_thread_ends_no_other_ones_work(opened: Database, path: Path) -> None:
    """Whoever waited with it is told that nothing was done, and the next one is served."""

    def ends(connection: sqlite3.Connection) -> None:
        raise SystemExit

    held = Held(opened)
    await held.begun()
    asked = [asyncio.ensure_future(opened.run(work)) for work in (note("a"), ends)]
    await asyncio.sleep(0)
    held.let_go()
    found = await asyncio.gather(held.done, *asked, return_exceptions=True)
    assert [type(error) for error in found[1:]] == [RuntimeError, RuntimeError]
    await opened.run(note("b"))
    assert notes(path) == ["b"]


async def test_a_full_disk_is_told_to_all_and_forgotten_when_there_is_room(opened: Database, path: Path) -> None:
    """SQLite undoes the whole transaction then: nobody is told that it was committed, and the thread lives on."""
    (pages,) = await opened.run(lambda c: c.execute("PRAGMA page_count").fetchone())
    await opened.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    held = Held(opened)
    await held.begun()
    asked = [asyncio.ensure_future(opened.run(note(text))) for text in ("a", "b" * 50_000, "c")]
    await asyncio.sleep(0)
    held.let_go()
    found = await asyncio.gather(*asked, return_exceptions=True)
    await held.done
    written = notes(path)
    assert [text for text, error in zip("abc", found, strict=True) if error is None] == written
    assert isinstance(found[1], sqlite3.OperationalError)
    await opened.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
    await opened.run(note("d"))
    assert notes(path)[-1] == "d"


async def test_who_is_cancelled_has_asked_all_the_same(opened: Database, path: Path) -> None:
    """What was to be booked is booked, also when the request that asked for it has gone."""
    held = Held(opened)
    await held.begun()
    asked = asyncio.ensure_future(opened.run(note("a")))
    await asyncio.sleep(0)
    asked.cancel()
    held.let_go()
    await held.done
    await opened.run(lambda _: None)
    assert asked.cancelled()
    assert notes(path) == ["a"]


async def test_what_nobody_waits_for_any_more_is_not_done(path: Path) -> None:
    """A caller whose time is over takes back what has not begun, so that an overload does not outlive itself."""
    late = Database(path, MIGRATIONS, timeout_s=0.02)
    held = Held(late)
    await held.begun()
    with pytest.raises(sqlite3.OperationalError, match=r"not done within 0\.02 s"):
        await late.run(note("a"))
    with pytest.raises(sqlite3.OperationalError, match="not done"):
        await held.done
    held.let_go()
    await asyncio.to_thread(late.close)
    assert notes(path) == []


async def test_no_more_may_wait_than_can_be_done(opened: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes beyond the bound is refused at once."""
    monkeypatch.setattr(database, "MOST_WAITING", 3)
    held = Held(opened)
    await held.begun()
    asked = [asyncio.ensure_future(opened.run(lambda _: None)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(sqlite3.OperationalError, match="3 are waiting already"):
        await opened.run(lambda _: None)
    held.let_go()
    await asyncio.gather(held.done, *asked)


async def test_another_process_is_waited_for_and_then_not_any_more(opened: Database, path: Path) -> None:
    """Its transaction may take `busy_s`; a longer one is an error for those who wait, not for those who come later."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await opened.run(note("a"))
        waits = asyncio.ensure_future(opened.run(note("b")))
        await asyncio.sleep(0.01)
        other.execute("COMMIT")
        await waits
    assert notes(path) == ["b"]


async def test_an_event_loop_stands_still_for_a_moment_only(opened: Database) -> None:
    """What takes longer is waited for beside everything else."""
    held = Held(opened)
    await held.begun()
    for _ in range(100):
        await asyncio.sleep(0)
    asked = asyncio.ensure_future(opened.run(lambda _: None))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not held.done.done()
    assert not asked.done()
    held.let_go()
    await asyncio.gather(held.done, asked)


async def test_a_reader_waits_for_nobody_and_writes_nothing(opened: Database, path: Path) -> None:
    """It has a connection of its own, which sees what is committed and cannot change it."""
    await opened.run(note("a"))
    held = Held(opened)
    await held.begun()
    assert await opened.read(lambda c: c.execute("SELECT text FROM notes").fetchall()) == [("a",)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await opened.read(note("b"))
    held.let_go()
    await held.done


def test_the_log_is_brought_into_the_file_while_it_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it neither grows for ever nor takes long to be read again; what is in it is seen before and after."""
    monkeypatch.setattr(database_log, "JOBS", 5)
    monkeypatch.setattr(database_log, "MOST_PAGES", 20)
    log = path.with_name(f"{path.name}-wal")
    with closing(database_file.opened(path, MIGRATIONS, 1.0)) as connection:
        keeper = LogKeeper(path)
        for _ in range(100):
            note("x" * 8000)(connection)
            keeper.wrote(1)
            keeper.close()
        assert log.stat().st_size < 60 * 4096, "of 300 pages that were written"
        assert path.stat().st_size > 100 * 2 * 4096
        assert len(notes(path)) == 100


async def test_closing_does_first_what_was_asked_for(path: Path) -> None:
    """Everybody who came before has an answer; who comes afterwards is told, and so is who closes twice."""
    one = Database(path, MIGRATIONS)
    held = Held(one)
    await held.begun()
    asked = [asyncio.ensure_future(one.run(note(str(number)))) for number in range(1000)]
    await asyncio.sleep(0)
    closing_ = asyncio.ensure_future(asyncio.to_thread(one.close))
    await asyncio.sleep(0.01)
    held.let_go()
    await asyncio.gather(held.done, *asked, closing_)
    one.close()
    assert len(notes(path)) == 1000
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        await one.run(note("late"))


def test_event_loops_may_share_it_and_end_before_their_answer(opened: Database, path: Path) -> None:
    """Each is told its own; one that is gone by then harms nobody."""

    async def leaves() -> None:
        held.append(asyncio.ensure_future(opened.run(lambda _: go.wait())))
        await asyncio.sleep(0.01)

    go = threading.Event()
    held: list[asyncio.Future[bool]] = []
    asyncio.run(leaves())
    go.set()
    asyncio.run(opened.run(note("a")))
    assert held[0].cancelled()
    assert notes(path) == ["a"]


def _open(path: Path) -> None:
    Database(path, MIGRATIONS).close()


def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """One of them makes it; no other one is told that it is locked."""
    context = get_context("spawn")
    with context.Pool(4) as pool:
        for number in range(8):
            pool.map(_open, [tmp_path / f"{number}.sqlite3"] * 4, chunksize=1)


def test_a_file_of_a_later_version_or_of_another_kind_is_refused(path: Path, tmp_path: Path) -> None:
    """With what to do about it, and as it was."""
    Database(path, (*MIGRATIONS, "CREATE TABLE more (x)")).close()
    with pytest.raises(ValueError, match="made by a later version"):
        Database(path, MIGRATIONS)
    other = tmp_path / "other.sqlite3"
    other.write_bytes(b"no database at all" * 1000)
    with pytest.raises(ValueError, match="restore a backup"):
        Database(other, MIGRATIONS)
