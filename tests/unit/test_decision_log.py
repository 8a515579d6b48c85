"""The decision log's writer: nothing waits for it, nothing is lost silently, what is there at the end is written."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import router.decision_log
from router.config_observability import Decisions
from router.decision_files import FOLDER, DecisionFiles, Row, locked, read
from router.decision_log import BATCH, DecisionLog, NoLog, open_decision_log
from router.decision_rows import DecisionRow, LegRow
from router.events import Decided
from tests.support import becomes_equal, becomes_true
from tests.unit.make import decision, query
from tests.unit.make_decisions import TERMS, ended, finished, refused, settings, settled


@dataclass
class Counts:
    """What the log says of itself."""

    written: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def wrote(self, count: int) -> None:
        self.written += count

    def lost(self, count: int, why: str) -> None:
        self.dropped[why] += count

    @property
    def total(self) -> int:
        return self.written + self.dropped.total()


@asynccontextmanager
async def logging_to(folder: Path, counts: Counts, **fields: Any) -> AsyncIterator[DecisionLog]:
    opened = open_decision_log(settings(**({"flush_s": 0.05} | fields)), folder, counts.wrote, counts.lost)
    async with opened as log:
        assert isinstance(log, DecisionLog)
        yield log


def rows(folder: Path, kind: type[Row] = DecisionRow) -> list[dict[str, Any]]:
    return list(read(folder / FOLDER, kind))


@pytest.mark.anyio
async def test_requests_and_calls_are_written_while_the_router_runs(tmp_path: Path) -> None:
    """Within a moment, without anybody closing anything."""
    counts = Counts()
    async with logging_to(tmp_path, counts) as log:
        log.emit(ended(), TERMS)
        log.emit(settled(), TERMS)
        log.emit(finished(), TERMS)
        log.emit(refused("req_2"), TERMS)
        await becomes_equal(lambda: counts.written, 3)
        assert [(r["request_id"], r["outcome"]) for r in rows(tmp_path)] == [
            ("req_2", "refused"),
            ("req_1", "answered"),
        ]
        assert [(r["leg_id"], r["outcome"], r["prompt_tokens"]) for r in rows(tmp_path, LegRow)] == [
            ("req_1-0", "answered", 10)
        ]
        log.emit(refused("req_3"), TERMS)
        await becomes_equal(lambda: counts.written, 4)
    assert counts.total == 4


@pytest.mark.anyio
async def test_many_records_at_once_are_all_written(tmp_path: Path) -> None:
    """More than one batch holds; none waits for another one to come."""
    counts = Counts()
    async with logging_to(tmp_path, counts) as log:
        for n in range(2 * BATCH + 500):
            log.emit(refused(f"req_{n}"), TERMS)
        await becomes_equal(lambda: counts.written, 2 * BATCH + 500)


@pytest.mark.anyio
async def test_what_is_there_at_the_end_is_written(tmp_path: Path) -> None:
    """However long a flush would have been; a call whose usage never came, too."""
    counts = Counts()
    async with logging_to(tmp_path, counts, flush_s=60) as log:
        for n in range(2500):
            log.emit(refused(f"req_{n}"), TERMS)
        log.emit(ended("req_0-0", "cancelled"), TERMS)
    assert (counts.written, counts.dropped.total()) == (2501, 0)
    assert len(rows(tmp_path)) == 2500
    assert [(r["outcome"], r["prompt_tokens"]) for r in rows(tmp_path, LegRow)] == [("cancelled", None)]


@pytest.mark.anyio
async def test_what_the_queue_has_no_room_for_is_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While somebody else holds the folder nothing waits; a record is written or counted, and the log says how many."""
    counts = Counts()
    with caplog.at_level(logging.WARNING, "router.decision_log"):
        async with logging_to(tmp_path, counts, queue=10) as log:
            with locked(tmp_path / FOLDER):
                for n in range(5000):
                    log.emit(refused(f"req_{n}"), TERMS)
                assert counts.dropped["queue_full"] > 0
                assert counts.written == 0
    assert set(counts.dropped) == {"queue_full"}
    assert counts.total == 5000
    assert counts.written == len(rows(tmp_path)) >= 10
    assert f"{counts.dropped['queue_full']} queue_full" in caplog.text


@pytest.mark.anyio
async def test_what_cannot_be_written_is_dropped_and_counted(tmp_path: Path) -> None:
    """A disk that is full, a folder that has gone: the log goes on, and so does the router."""
    counts = Counts()
    async with logging_to(tmp_path, counts) as log:
        folder = (tmp_path / FOLDER).rename(tmp_path / "away")
        log.emit(finished(), TERMS)
        await becomes_true(lambda: counts.dropped["write_failed"] == 1)
        folder.rename(tmp_path / FOLDER)
        log.emit(finished("req_2"), TERMS)
        await becomes_equal(lambda: counts.written, 1)
    assert [r["request_id"] for r in rows(tmp_path)] == ["req_2"]


@pytest.mark.anyio
async def test_a_record_of_which_no_row_can_be_made_costs_no_other(tmp_path: Path) -> None:
    """A bug of ours is counted; what comes after it is written."""
    counts = Counts()
    async with logging_to(tmp_path, counts) as log:
        log.emit(finished(decision="not a decision", response=None), TERMS)
        log.emit(finished("req_2"), TERMS)
        await becomes_equal(lambda: counts.written, 1)
    assert counts.dropped == {"broken": 1}


class Hanging(DecisionFiles):
    """A disk that does not answer until it is let go."""

    def __init__(self, data: Path, settings: Decisions) -> None:
        super().__init__(data, settings)
        self.asked, self.let_go = threading.Event(), threading.Event()

    def write(self, rows: Sequence[Row], unix_s: float) -> None:
        self.asked.set()
        self.let_go.wait(60)


def test_a_disk_that_hangs_holds_no_router_up(tmp_path: Path) -> None:
    """Closing waits for a bounded time; what was not written until then is counted as dropped, and what comes later."""
    counts, files = Counts(), Hanging(tmp_path, settings())
    log = DecisionLog(settings(flush_s=0.01), files, counts.wrote, counts.lost)
    log.start()
    log.emit(refused("req_1"), TERMS)
    assert files.asked.wait(60)
    log.emit(refused("req_2"), TERMS)
    log.close(limit_s=0.01)
    log.emit(refused("req_3"), TERMS)
    assert counts.dropped == {"closed": 3}
    files.let_go.set()


def test_long_questions_behind_a_disk_that_hangs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what they hold in memory, not only by their number: what is too much is dropped, and counted."""
    about = decision(query=query("?" * 100))
    monkeypatch.setattr(router.decision_log, "MAX_WAITING_CHARS", 350)
    counts, files = Counts(), Hanging(tmp_path, settings())
    log = DecisionLog(settings(flush_s=0.01), files, counts.wrote, counts.lost)
    log.start()
    log.emit(refused("req_1"), TERMS)
    assert files.asked.wait(60)
    for n in range(5):
        log.emit(finished(f"long_{n}", decision=about, response=None), TERMS)
    log.emit(refused("req_2"), TERMS)
    assert counts.dropped == {"queue_full": 2}
    files.let_go.set()
    log.close()


@pytest.mark.anyio
async def test_calls_that_are_never_settled_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest one is written without its usage when there are too many."""
    monkeypatch.setattr(router.decision_log, "MAX_UNSETTLED", 2)
    counts = Counts()
    async with logging_to(tmp_path, counts) as log:
        for n in range(3):
            log.emit(ended(f"req_{n}-0", "cut"), TERMS)
        await becomes_equal(lambda: counts.written, 1)
        assert [(r["leg_id"], r["prompt_tokens"]) for r in rows(tmp_path, LegRow)] == [("req_0-0", None)]
    assert counts.written == 3


@pytest.mark.anyio
async def test_only_ends_are_written(tmp_path: Path) -> None:
    """A decision is told with its outcome, not before."""
    counts = Counts()
    async with logging_to(tmp_path, counts) as log:
        log.emit(Decided(decision()), TERMS)
    assert counts.total == 0


@pytest.mark.anyio
async def test_an_operator_may_want_no_log(tmp_path: Path) -> None:
    """Then nothing is made, and nothing is counted."""
    counts = Counts()
    async with open_decision_log(settings(enabled=False), tmp_path, counts.wrote, counts.lost) as log:
        assert isinstance(log, NoLog)
        log.emit(finished(), TERMS)
    assert (counts.total, rows(tmp_path)) == (0, [])


def test_a_file_may_take_half_of_all() -> None:
    """The oldest file goes as a whole: with one that may be all of it, everything would go at once."""
    with pytest.raises(ValueError, match="file_mb: must be at most half of max_mb"):
        Decisions(max_mb=10, file_mb=6)
