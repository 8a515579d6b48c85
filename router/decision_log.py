"""The decision log's writer: events in, rows in files, off the event loop. One per router replica.

`emit` puts a record into a bounded queue, or drops and counts it; a thread makes rows of the records and writes them
in batches. Nothing here waits for a disk on the event loop, and nothing raises into a request. A record holds its
request and its answers until its row is made, a tenth of a second later. Must not know: what a row says
(`decision_rows.py`), where it goes (`decision_files.py`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from router.config_observability import Decisions
from router.decision_files import DecisionFiles, Row
from router.decision_rows import Terms, Words, decision_row, leg_row
from router.events import Event, Finished, LegEnded, LegSettled
from router.records import Decision, Reply

log = logging.getLogger(__name__)
Why = Literal["queue_full", "write_failed", "broken", "closed"]
OnWritten = Callable[[int], None]
OnDropped = Callable[[int, Why], None]

TICK_S = 0.1  # between two looks into the queue; a router under load does not wake the thread for every request
IDLE_S = 3600.0  # then what has become too old goes
BATCH = 1000  # rows
CLOSE_S = 5.0
SAY_EVERY_S = 60.0
MAX_WAITING_CHARS = 64_000_000  # of questions and answers whose rows are not made yet: a disk may hang
MAX_UNSETTLED = 10_000  # calls that have ended and of which the usage is not known yet


@dataclass(frozen=True, slots=True)
class _Record:
    """What one row is made of: a request's end, or what is known of one call."""

    unix_s: float
    terms: Terms
    finished: Finished | None = None
    ended: LegEnded | None = None
    settled: LegSettled | None = None

    @property
    def size(self) -> int:
        """Characters of the question and of what experts said, which it keeps in memory."""
        decision = self.finished.decision if self.finished else None
        response = self.finished.response if self.finished else None
        asked = decision.query.texts if isinstance(decision, Decision) else ()
        replies = [leg for _, leg in response.ended if isinstance(leg, Reply)] if response else []
        return sum(map(len, asked)) + sum(len(text) for reply in replies for text in reply.texts)


class NoLog:
    """Where nothing is to be written down."""

    def emit(self, event: Event, terms: Terms) -> None:
        """Nothing comes of it."""


class DecisionLog:
    """`open_decision_log` makes one, and closes it. Every record is written, or dropped and counted, once."""

    def __init__(
        self,
        settings: Decisions,
        files: DecisionFiles,
        on_written: OnWritten,
        on_dropped: OnDropped,
    ) -> None:
        self._settings, self._files = settings, files
        self._on_written, self._on_dropped = on_written, on_dropped
        self._words = Words(files.key, settings.max_prompt_chars)
        self._queue: deque[_Record] = deque()
        self._put_chars, self._taken_chars = 0, 0  # each is changed by one thread alone
        self._unsettled: dict[str, _Record] = {}
        self._rows: list[Row] = []
        self._written_at = time.monotonic()
        self._given_up = False
        self._lost: Counter[str] = Counter()
        self._said_at = float("-inf")
        self._awake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def emit(self, event: Event, terms: Terms) -> None:
        """Of interest are the ends of requests and of calls. Never waits, never raises; one thread calls it."""
        if isinstance(event, Finished):
            self._put(_Record(time.time(), terms, event))
        elif isinstance(event, LegSettled):
            ended = self._unsettled.pop(event.leg_id, None)
            self._put(_Record(time.time(), terms, None, ended.ended if ended else None, event))
        elif isinstance(event, LegEnded):
            self._unsettled[event.leg_id] = _Record(time.time(), terms, ended=event)
            if len(self._unsettled) > MAX_UNSETTLED:
                self._give_up(next(iter(self._unsettled)))

    def close(self, limit_s: float = CLOSE_S) -> None:
        """Writes what is there, for at most so long; what is not written then is dropped, and counted."""
        for leg_id in list(self._unsettled):
            self._give_up(leg_id)
        self._closing.set()
        self._awake.set()
        self._thread.join(limit_s)
        self._given_up = self._thread.is_alive()  # it hangs in a write, which may yet come true
        if left := len(self._queue) + len(self._rows):
            self._drop(left, "closed")
        self._say()

    def _give_up(self, leg_id: str) -> None:
        """A call of which the usage never came is written without it."""
        if (found := self._unsettled.pop(leg_id, None)) is not None:  # `close` runs beside the event loop
            self._put(found)

    def _put(self, record: _Record) -> None:
        if self._closing.is_set():
            self._drop(1, "closed")
            return
        size = record.size
        if len(self._queue) >= self._settings.queue or self._put_chars - self._taken_chars + size > MAX_WAITING_CHARS:
            self._drop(1, "queue_full")
            return
        self._put_chars += size
        self._queue.append(record)
        if not self._awake.is_set():
            self._awake.set()

    def _drop(self, count: int, why: Why) -> None:
        self._lost[why] += count
        self._on_dropped(count, why)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._step()
            self._rest()
        self._step()

    def _rest(self) -> None:
        """Until there is something to do, and a little longer: others may follow."""
        patience_s = max(0.0, self._settings.flush_s - self._since_write_s) if self._rows else IDLE_S
        if not self._awake.wait(patience_s) and not self._rows:
            self._tidy()
        self._awake.clear()
        self._closing.wait(min(TICK_S, patience_s))

    def _step(self) -> None:
        while self._queue and not self._given_up:
            record = self._queue.popleft()
            self._taken_chars += record.size
            self._build(record)
            if len(self._rows) >= BATCH:
                self._write()
            time.sleep(0)  # the event loop may have the interpreter now: rows by the hundred would keep it waiting
        if self._rows and (self._closing.is_set() or self._since_write_s >= self._settings.flush_s):
            self._write()
        if self._lost and time.monotonic() - self._said_at >= SAY_EVERY_S:
            self._say()

    @property
    def _since_write_s(self) -> float:
        return time.monotonic() - self._written_at

    def _build(self, record: _Record) -> None:
        try:
            self._rows.append(self._row(record))
        except Exception:  # the outer shell of this thread: a bug of ours costs one record, not the log
            if not self._lost["broken"]:  # in this minute
                log.exception("decision log: no row could be made of a record")
            self._drop(1, "broken")

    def _row(self, record: _Record) -> Row:
        if (event := record.finished) is None:
            return leg_row(record.ended, record.settled, record.unix_s, record.terms)
        words = replace(self._words, mode=record.terms.prompts(event.policy))
        return decision_row(event, record.unix_s, record.terms, words)

    def _write(self) -> None:
        rows = self._rows
        try:
            self._files.write(rows, time.time())
        except Exception:  # the outer shell of this thread: a full disk, most likely; the next rows may find room
            if not self._lost["write_failed"]:
                log.exception("decision log: %d records could not be written", len(rows))
            self._drop(len(rows), "write_failed")
        else:
            self._on_written(len(rows))
        self._rows, self._written_at = [], time.monotonic()

    def _tidy(self) -> None:
        try:
            self._files.prune(time.time())
        except OSError:
            log.exception("decision log: old files could not be removed")

    def _say(self) -> None:
        """In the log too, not only in the metrics; not for every record."""
        lost, self._lost, self._said_at = self._lost, Counter(), time.monotonic()
        if lost:
            told = ", ".join(f"{count} {why}" for why, count in lost.items())
            log.warning("decision log: records were dropped: %s", told)


@asynccontextmanager
async def open_decision_log(
    settings: Decisions,
    data: Path,
    on_written: OnWritten,
    on_dropped: OnDropped,
) -> AsyncIterator[DecisionLog | NoLog]:
    """A log that is written to below `data`; leaving the block writes what is there, for CLOSE_S at most.

    Args:
        on_written, on_dropped: told numbers of records, from whichever thread; must not raise.

    Raises:
        ValueError: the folder cannot be written to; says what to do.
    """
    if not settings.enabled:
        yield NoLog()
        return
    decisions = DecisionLog(settings, await asyncio.to_thread(DecisionFiles, data, settings), on_written, on_dropped)
    decisions.start()
    try:
        yield decisions
    finally:
        await asyncio.to_thread(decisions.close)
