"""The registry in a file of its own in the data folder, for replicas that share it. Keeps to `registry.py`.

What is bounded has a share for each who has some of it, kept with every change, so that the bound is never looked for:
`shares` says how much each has, and the indexes which of theirs is the oldest.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from router.database import Database
from router.ledger import LedgerUnavailable
from router.registry import (
    CLAIM_BYTES,
    Asked,
    Bounds,
    Claim,
    FeedbackState,
    Judged,
    Kept,
    Key,
    RegistryFull,
    counting,
    counts,
)
from router.registry_rows import asked_of, asked_row, headers_of, headers_row, key_of, key_row

T = TypeVar("T")
FILE = "registry.sqlite3"
TOGETHER = 1000  # are forgotten at once: others wait meanwhile
MIGRATIONS = (
    """
    CREATE TABLE keys (id TEXT PRIMARY KEY, row BLOB NOT NULL, ends REAL) WITHOUT ROWID;
    CREATE TABLE claims (
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        owner TEXT NOT NULL,
        until REAL NOT NULL,
        done INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL DEFAULT 0,
        status INTEGER,
        headers BLOB,
        body BLOB,
        PRIMARY KEY (scope, key)
    );
    CREATE INDEX claims_by_end ON claims (until);
    CREATE INDEX claims_by_scope ON claims (scope, done, until);
    CREATE TABLE asked (
        request_id TEXT PRIMARY KEY,
        source TEXT NOT NULL,
        at REAL NOT NULL,
        row BLOB NOT NULL,
        judged INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX asked_by_time ON asked (at);
    CREATE INDEX asked_by_source ON asked (source, at);
    CREATE TABLE feedback (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        source TEXT NOT NULL,
        row BLOB NOT NULL,
        right INTEGER NOT NULL,
        at REAL NOT NULL
    );
    CREATE INDEX feedback_by_source ON feedback (source, number);
    CREATE TABLE shares (what TEXT NOT NULL, who TEXT NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (what, who));
    CREATE INDEX shares_by_amount ON shares (what, amount);
    CREATE TABLE totals (what TEXT PRIMARY KEY, amount INTEGER NOT NULL);
    INSERT INTO totals VALUES ('claims', 0), ('asked', 0), ('feedback', 0);
    CREATE TABLE restores (done INTEGER PRIMARY KEY, number INTEGER NOT NULL, last INTEGER NOT NULL);
    CREATE TABLE state (frozen INTEGER, epoch INTEGER NOT NULL);
    INSERT INTO state VALUES (NULL, 0)
    """,
)


class SqliteRegistry:
    """`timeout_s`: after so long it counts as not reached."""

    def __init__(self, folder: Path, timeout_s: float = 1.0, bounds: Bounds | None = None) -> None:
        """Raises ValueError when the file is of a later version of this project, or no such file."""
        self._database = Database(folder / FILE, MIGRATIONS)
        self._timeout_s, self._bounds = timeout_s, bounds or Bounds()

    async def put_key(self, key: Key) -> None:
        def put(db: sqlite3.Connection) -> None:
            (kept,) = db.execute("SELECT count(*) FROM keys WHERE id != ?", (key.id,)).fetchone()
            if kept >= self._bounds.keys:
                raise RegistryFull(f"{kept} keys are kept; one more there cannot be")
            db.execute("INSERT OR REPLACE INTO keys (id, row, ends) VALUES (?, ?, ?)", (key.id, key_row(key), key.ends))

        await self._run(put)

    async def keys(self) -> tuple[Key, ...]:
        rows = await self._run(lambda db: db.execute("SELECT row FROM keys ORDER BY id").fetchall())
        return tuple(key_of(row) for (row,) in rows)

    async def claim(self, scope: str, key: str, fingerprint: str, owner: str, now: float, until: float) -> Claim:
        def taken(db: sqlite3.Connection) -> Claim:
            found = db.execute(
                "SELECT fingerprint, owner, done, status, headers, body FROM claims "
                "WHERE scope = ? AND key = ? AND until > ?",
                (scope, key, now),
            ).fetchone()
            if found is None:
                _forget_claim(db, scope, key)
                db.execute(
                    "INSERT INTO claims (scope, key, fingerprint, owner, until) VALUES (?, ?, ?, ?, ?)",
                    (scope, key, fingerprint, owner, until),
                )
                return Claim("mine")
            print_, whose, done, status, headers, body = found
            if print_ != fingerprint:
                return Claim("other")
            if done:
                return Claim("done", None if status is None else Kept(status, headers_of(headers), body))
            return Claim("mine" if whose == owner else "running")

        return await self._run(taken)

    async def keep_claim(self, scope: str, key: str, owner: str, until: float) -> None:
        sql = "UPDATE claims SET until = ? WHERE scope = ? AND key = ? AND owner = ? AND NOT done"
        await self._run(lambda db: db.execute(sql, (until, scope, key, owner)))

    async def answer(self, scope: str, key: str, owner: str, kept: Kept | None, until: float) -> None:
        headers = headers_row(kept.headers) if kept else b""
        size = CLAIM_BYTES + (len(kept.body) + len(headers) if kept else 0)
        if kept and size > self._bounds.kept_bytes:
            kept, size = None, CLAIM_BYTES

        def put(db: sqlite3.Connection) -> None:
            done = db.execute(
                "UPDATE claims SET done = 1, until = ?, size = ?, status = ?, headers = ?, body = ? "
                "WHERE scope = ? AND key = ? AND owner = ? AND NOT done",
                (until, size, *((kept.status, headers, kept.body) if kept else (None,) * 3), scope, key, owner),
            )
            if done.rowcount:
                _share(db, "claims", scope, size)
                while _total(db, "claims") > self._bounds.kept_bytes:
                    who = _most(db, "claims")
                    (oldest,) = db.execute(
                        "SELECT key FROM claims WHERE scope = ? AND done ORDER BY until LIMIT 1", (who,)
                    ).fetchone()
                    _forget_claim(db, who, oldest)

        await self._run(put)

    async def drop_claim(self, scope: str, key: str, owner: str) -> None:
        sql = "DELETE FROM claims WHERE scope = ? AND key = ? AND owner = ? AND NOT done"
        await self._run(lambda db: db.execute(sql, (scope, key, owner)))

    async def asked(self, requests: Sequence[Asked]) -> None:
        rows = [(r.request_id, r.source, r.at, asked_row(r)) for r in requests]

        def put(db: sqlite3.Connection) -> None:
            for row in rows:
                put = db.execute("INSERT OR IGNORE INTO asked (request_id, source, at, row) VALUES (?, ?, ?, ?)", row)
                _share(db, "asked", row[1], put.rowcount)
            while _total(db, "asked") > self._bounds.asked:
                who = _most(db, "asked")
                (oldest,) = db.execute(
                    "SELECT request_id FROM asked WHERE source = ? ORDER BY at LIMIT 1", (who,)
                ).fetchone()
                _forget_asked(db, who, oldest)

        await self._run(put)

    async def judge(self, request_id: str, source: str, right: bool, now: float) -> Judged | Literal["unknown", "done"]:
        def put(db: sqlite3.Connection) -> Judged | Literal["unknown", "done"]:
            found = db.execute(
                "SELECT row, judged FROM asked WHERE request_id = ? AND source = ?", (request_id, source)
            ).fetchone()
            if found is None:
                return "unknown"
            row, judged = found
            if judged:
                return "done"
            db.execute("UPDATE asked SET judged = 1 WHERE request_id = ?", (request_id,))
            made = db.execute(
                "INSERT INTO feedback (source, row, right, at) VALUES (?, ?, ?, ?)", (source, row, right, now)
            )
            _share(db, "feedback", source, 1)
            self._bound_feedback(db)
            return Judged(made.lastrowid or 0, asked_of(row), right, now)

        return await self._run(put)

    def _bound_feedback(self, db: sqlite3.Connection) -> None:
        """A tenth at once: everybody who follows begins anew when some goes."""
        if _total(db, "feedback") <= self._bounds.feedback:
            return
        while _total(db, "feedback") > self._bounds.feedback - self._bounds.feedback // 10:
            who = _most(db, "feedback")
            db.execute(
                "DELETE FROM feedback WHERE number = (SELECT min(number) FROM feedback WHERE source = ?)", (who,)
            )
            _share(db, "feedback", who, -1)
        db.execute("UPDATE state SET epoch = epoch + 1")

    async def judged(self, after: int = 0, most: int = 10_000) -> tuple[Judged, ...]:
        sql = "SELECT number, row, right, at FROM feedback WHERE number > ? ORDER BY number LIMIT ?"
        found, restores = await self._run(lambda db: (db.execute(sql, (after, most)).fetchall(), _restores(db)))
        ranges = counting(restores)
        return tuple(Judged(n, asked_of(row), bool(right), at, not counts(n, ranges)) for n, row, right, at in found)

    async def feedback_state(self) -> FeedbackState:
        return await self._run(_state)

    async def freeze(self, frozen: bool) -> None:
        def put(db: sqlite3.Connection) -> None:
            state = _state(db)
            if frozen != (state.frozen is not None):
                db.execute("UPDATE state SET frozen = ?", (state.last if frozen else None,))

        await self._run(put)

    async def restore(self, number: int) -> bool:
        def put(db: sqlite3.Connection) -> bool:
            state = _state(db)
            if not 0 <= number <= state.last:
                return False
            db.execute("INSERT INTO restores (number, last) VALUES (?, ?)", (number, state.last))
            frozen = None if state.frozen is None else state.last
            db.execute("UPDATE state SET frozen = ?, epoch = epoch + 1", (frozen,))
            return True

        return await self._run(put)

    async def prune(self, *, claims: float, asked: float, keys: float) -> None:
        def forget(db: sqlite3.Connection) -> int:
            ended = db.execute("SELECT scope, key FROM claims WHERE until < ? LIMIT ?", (claims, TOGETHER)).fetchall()
            for scope, key in ended:
                _forget_claim(db, scope, key)
            old = db.execute("SELECT source, request_id FROM asked WHERE at < ? LIMIT ?", (asked, TOGETHER)).fetchall()
            for source, request_id in old:
                _forget_asked(db, source, request_id)
            db.execute(
                "DELETE FROM keys WHERE ends < ? AND (ends < (SELECT max(ends) FROM keys) "
                "OR EXISTS (SELECT 1 FROM keys WHERE ends IS NULL))",
                (keys,),
            )
            return max(len(ended), len(old))

        while await self._run(forget) == TOGETHER:
            pass

    async def close(self) -> None:
        await asyncio.to_thread(self._database.close)

    async def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._database.run(job)
        except (sqlite3.Error, TimeoutError) as error:
            raise LedgerUnavailable(f"{self._database.path}: {str(error) or 'no answer in time'}") from error


def _forget_claim(db: sqlite3.Connection, scope: str, key: str) -> None:
    gone = db.execute("DELETE FROM claims WHERE scope = ? AND key = ? RETURNING size", (scope, key)).fetchone()
    if gone and gone[0]:
        _share(db, "claims", scope, -gone[0])


def _forget_asked(db: sqlite3.Connection, source: str, request_id: str) -> None:
    db.execute("DELETE FROM asked WHERE request_id = ?", (request_id,))
    _share(db, "asked", source, -1)


def _share(db: sqlite3.Connection, what: str, who: str, change: int) -> None:
    db.execute(
        "INSERT INTO shares VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
        (what, who, change),
    )
    db.execute("DELETE FROM shares WHERE what = ? AND who = ? AND amount <= 0", (what, who))
    db.execute("UPDATE totals SET amount = amount + ? WHERE what = ?", (change, what))


def _total(db: sqlite3.Connection, what: str) -> int:
    found: tuple[int] = db.execute("SELECT amount FROM totals WHERE what = ?", (what,)).fetchone()
    return found[0]


def _most(db: sqlite3.Connection, what: str) -> Any:
    """Who has the most of it."""
    (who,) = db.execute("SELECT who FROM shares WHERE what = ? ORDER BY amount DESC LIMIT 1", (what,)).fetchone()
    return who


def _restores(db: sqlite3.Connection) -> list[tuple[int, int]]:
    return db.execute("SELECT number, last FROM restores ORDER BY done").fetchall()


def _state(db: sqlite3.Connection) -> FeedbackState:
    frozen, epoch = db.execute("SELECT frozen, epoch FROM state").fetchone()
    last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'feedback'").fetchone()
    return FeedbackState(last[0] if last else 0, frozen, epoch)
