"""The decision log's folder: several writers, files by day and size, bounds on all of them, older and newer schemas."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict
from datetime import date
from pathlib import Path
from stat import S_IMODE

import pytest

from router.decision_files import (
    FOLDER,
    KEY,
    LOCK,
    MIGRATIONS,
    TABLES,
    DecisionFiles,
    columns,
    locked,
    log_files,
    migrate,
    read,
)
from router.decision_rows import SCHEMA_VERSION, DecisionRow, LegRow
from tests.support import eventually
from tests.unit.make_decisions import DAY_S, NOON, call, row, settings

BUDGETS = "tenant refused_for deadline_s max_cost_usd degraded quality ended_early budget_json".split()  # in version 2
SMALL = {"max_mb": 0.4, "file_mb": 0.1}
WRITER = """
import sys
from pathlib import Path
from router.decision_files import DecisionFiles
from tests.unit.make_decisions import NOON, call, row, settings
files = DecisionFiles(Path(sys.argv[1]), settings())
for n in range(int(sys.argv[3])):
    name = f"req_{sys.argv[2]}_{n}"
    files.write([row(name), call(f"{name}-0")], NOON)
    print(n, flush=True)
"""


def writer(folder: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    """Another process that writes so many requests, and says after each that it is there."""
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])


def requests(folder: Path) -> list[str]:
    """Of all rows, the latest first."""
    return [found["request_id"] for found in read(folder / FOLDER, DecisionRow)]


def names(folder: Path) -> list[tuple[date, int]]:
    return [(file.day, file.number) for file in log_files(folder / FOLDER)]


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Every column of both tables, the latest row first; of some requests where they are named."""
    files = DecisionFiles(tmp_path, settings())
    files.write([row("req_1"), call("req_1-0"), row("req_2"), call("req_2-0")], NOON)
    found = list(read(files.folder, DecisionRow))
    assert [f["request_id"] for f in found] == ["req_2", "req_1"]
    assert found[1] == {name: getattr(row("req_1"), name) for name in columns(DecisionRow)}
    assert [f["leg_id"] for f in read(files.folder, LegRow, ["req_1"])] == ["req_1-0"]
    assert list(read(files.folder, LegRow, [])) == []


def test_a_file_is_whole_on_its_own_between_two_writes(tmp_path: Path) -> None:
    """It can be copied, or read by what knows SQLite and nothing of us."""
    files = DecisionFiles(tmp_path, settings())
    files.write([row()], NOON)
    assert {path.name for path in files.folder.iterdir()} == {"decisions-2025-12-31-0000.sqlite3", LOCK, KEY}


def test_each_day_has_its_file(tmp_path: Path) -> None:
    """UTC's day."""
    files = DecisionFiles(tmp_path, settings())
    for n, unix_s in enumerate([NOON, NOON + DAY_S / 2 - 1, NOON + DAY_S / 2]):
        files.write([row(f"req_{n}")], unix_s)
    assert names(tmp_path) == [(date(2025, 12, 31), 0), (date(2026, 1, 1), 0)]
    assert requests(tmp_path) == ["req_2", "req_1", "req_0"]


def test_a_full_file_is_followed_by_another_one(tmp_path: Path) -> None:
    """On the same day; nothing is lost while all of them are within the bound."""
    files = DecisionFiles(tmp_path, settings(max_mb=10, file_mb=0.1))
    for n in range(10):
        files.write([row(f"req_{n}_{m}") for m in range(20)], NOON)
    assert len(names(tmp_path)) > 2
    assert len(requests(tmp_path)) == 200


def test_the_oldest_files_go_when_all_are_too_large(tmp_path: Path) -> None:
    """After each write the folder holds at most `max_mb`, and the latest rows are in it."""
    files = DecisionFiles(tmp_path, settings(**SMALL))
    for n in range(40):
        files.write([row(f"req_{n}_{m}") for m in range(20)], NOON)
        assert sum(file.bytes for file in log_files(files.folder)) <= 0.4e6
    assert names(tmp_path)[0][1] > 0
    left = requests(tmp_path)
    assert left[0] == "req_39_19"
    assert "req_0_0" not in left


def test_files_go_with_their_days(tmp_path: Path) -> None:
    """`max_days` of them stay, today among them; also where nobody asks any more."""
    files = DecisionFiles(tmp_path, settings(max_days=2))
    for n in range(4):
        files.write([row(f"req_{n}")], NOON + n * DAY_S)
        assert len(names(tmp_path)) == min(n + 1, 2)
    files.prune(NOON + 10 * DAY_S)
    assert names(tmp_path) == []


def test_an_old_file_that_stays_does_not_make_new_rows_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is never told as lost, whatever comes of the files that should go."""
    files = DecisionFiles(tmp_path, settings(max_days=1))
    files.write([row("req_1")], NOON)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError("not ours")))
    files.write([row("req_2")], NOON + DAY_S)
    assert requests(tmp_path) == ["req_2", "req_1"]


def test_a_folder_with_anything_else_in_it_keeps_it(tmp_path: Path) -> None:
    """Only our own files are counted and removed."""
    files = DecisionFiles(tmp_path, settings(max_days=1))
    others = [files.folder / name for name in ("notes.txt", "decisions-2020-13-40-0000.sqlite3", "x.sqlite3")]
    for other in others:
        other.write_text("kept")
    files.write([row()], NOON)
    assert all(other.exists() for other in others)


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """Router replicas share the folder and its files: every row of each of them is there, once."""
    writers = [writer(tmp_path, name, 30) for name in "abc"]
    assert [process.communicate(timeout=60) and process.returncode for process in writers] == [0, 0, 0]
    assert sorted(requests(tmp_path)) == sorted(f"req_{name}_{n}" for name in "abc" for n in range(30))
    assert len(names(tmp_path)) == 1
    assert S_IMODE((tmp_path / FOLDER / KEY).stat().st_mode) == 0o600


def test_a_writer_that_is_killed_leaves_a_readable_file(tmp_path: Path) -> None:
    """What it said was written is there, and others go on in the same file."""
    process = writer(tmp_path, "a", 100_000)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    found = requests(tmp_path)
    assert {f"req_a_{n}" for n in said} <= set(found)
    DecisionFiles(tmp_path, settings()).write([row("req_b")], NOON)
    assert requests(tmp_path) == ["req_b", *found]
    with closing(sqlite3.connect(log_files(tmp_path / FOLDER)[0].path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_write_is_whole_or_nothing(tmp_path: Path) -> None:
    """A row that cannot be stored takes its batch with it, and leaves the file as it was."""
    files = DecisionFiles(tmp_path, settings())
    files.write([row("req_1")], NOON)
    with pytest.raises(OverflowError):
        files.write([row("req_2"), row("req_3", unix_s=2**70)], NOON)
    assert requests(tmp_path) == ["req_1"]


def test_reading_keeps_nobody_from_writing(tmp_path: Path) -> None:
    """Somebody who is in the middle of a long query waits for nobody, and nobody for them."""
    files = DecisionFiles(tmp_path, settings())
    files.write([row("req_1"), row("req_2")], NOON)
    reading = read(files.folder, DecisionRow)
    next(reading)
    files.write([row("req_3")], NOON)
    assert [found["request_id"] for found in reading] == ["req_1"]
    assert len(requests(tmp_path)) == 3


def test_a_folder_that_another_process_holds_is_given_up(tmp_path: Path) -> None:
    """A process that hangs with the lock stops nobody for long."""
    (tmp_path / "x").mkdir()
    with (
        locked(tmp_path / "x"),
        pytest.raises(TimeoutError, match=r"another process held the lock for 0\.01 s"),
        locked(tmp_path / "x", wait_s=0.01),
    ):
        pass


def test_the_schema_is_the_rows(tmp_path: Path) -> None:
    """What the migrations make has a column for each field, in its order and of its type, and the version's number."""
    with closing(sqlite3.connect(tmp_path / "x.sqlite3")) as database:
        assert migrate(database)
        for kind, table in TABLES.items():
            made = {name: of for _, name, of, *_ in database.execute(f"PRAGMA table_info({table})")}
            assert list(made.items()) == list(columns(kind).items())
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,) == (len(MIGRATIONS),)


def test_files_of_an_older_version_are_brought_up_to_date(tmp_path: Path) -> None:
    """At the start, with the rows that are in them."""
    DecisionFiles(tmp_path, settings()).write([row("req_1")], NOON)
    later = [*MIGRATIONS, "ALTER TABLE decisions ADD COLUMN mood TEXT DEFAULT 'good'"]
    DecisionFiles(tmp_path, settings(), later)
    assert [(found["request_id"], found["mood"]) for found in read(tmp_path / FOLDER, DecisionRow)] == [
        ("req_1", "good")
    ]


def test_a_file_of_the_first_version_has_no_budgets(tmp_path: Path) -> None:
    """Its rows stay; what they never said is None, and new rows say it."""
    files = DecisionFiles(tmp_path, settings(), MIGRATIONS[:1])
    old = {name: value for name, value in asdict(row("req_1")).items() if name not in BUDGETS}
    with closing(sqlite3.connect(files._current(date(2025, 12, 31)).path)) as database, database:
        insert = f"INSERT INTO decisions VALUES ({', '.join('?' * len(old))})"  # noqa: S608  # all ours
        database.execute(insert, list(old.values()))
    DecisionFiles(tmp_path, settings()).write([row("req_2")], NOON)
    later, first = read(tmp_path / FOLDER, DecisionRow)
    assert (later["request_id"], later["tenant"], later["deadline_s"]) == ("req_2", "acme", 2.0)
    assert (first["request_id"], {first[name] for name in BUDGETS}) == ("req_1", {None})


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """And says so at the start."""
    DecisionFiles(tmp_path, settings()).write([row("req_1")], NOON)
    with pytest.raises(ValueError, match="cannot be written to"):
        DecisionFiles(tmp_path, settings(), [*MIGRATIONS, "ALTER TABLE legs ADD COLUMN mood TEXT; NONSENSE"])
    assert "mood" not in next(read(tmp_path / FOLDER, DecisionRow))
    with closing(sqlite3.connect(log_files(tmp_path / FOLDER)[0].path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "newer"])
def test_a_file_that_is_not_ours_to_write_is_left_alone(tmp_path: Path, broken: bool) -> None:
    """One of a later release, or one that is no database any more: rows go into the next one."""
    files = DecisionFiles(tmp_path, settings())
    files.write([row("req_1")], NOON)
    path = log_files(files.folder)[0].path
    if broken:
        path.write_bytes(b"nonsense" * 1000)
    else:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    DecisionFiles(tmp_path, settings()).write([row("req_2")], NOON)
    assert path.read_bytes() == before
    assert requests(tmp_path) == ["req_2"] if broken else ["req_2", "req_1"]


def test_the_key_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    """Equal prompts have equal hashes after a restart, too; only the owner reads the key, and the folder."""
    key = DecisionFiles(tmp_path, settings()).key
    assert DecisionFiles(tmp_path, settings()).key == key
    assert DecisionFiles(tmp_path / "other", settings()).key != key
    assert S_IMODE((tmp_path / FOLDER / KEY).stat().st_mode) == 0o600
    assert S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700


def test_a_damaged_key_is_refused_at_the_start(tmp_path: Path) -> None:
    """With what to do: hashes by another key would look like other prompts."""
    DecisionFiles(tmp_path, settings())
    (tmp_path / FOLDER / KEY).write_bytes(b"short")
    with pytest.raises(ValueError, match="not the key of prompts' hashes; restore it, or remove it"):
        DecisionFiles(tmp_path, settings())


def test_a_folder_that_cannot_be_made_is_refused_at_the_start(tmp_path: Path) -> None:
    """Before the first request is lost; the message names the setting."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=r"cannot be written to .*decisions.enabled: false"):
        DecisionFiles(tmp_path / "file", settings())


def test_a_folder_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    """Nothing was written yet."""
    assert list(read(tmp_path / "none", DecisionRow)) == []


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    """What a killed one held is free at once."""
    process = writer(tmp_path, "a", 100_000)
    eventually(lambda: bool(requests(tmp_path)))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    with locked(tmp_path / FOLDER, wait_s=1):
        pass
