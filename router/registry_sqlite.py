"""The registry in a file of its own in the data folder, for replicas that share it. Keeps to `registry.py`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from router.database import Database, Work
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
from router.registry_tables import (
    MIGRATIONS,
    forget_asked,
    forget_claim,
    largest,
    restores_of,
    share,
    state_of,
    total,
)

T = TypeVar("T")
FILE = "registry.sqlite3"
TOGETHER = 1000  # are forgotten at once: others wait meanwhile


class SqliteRegistry:
    """`timeout_s`: after so long it counts as not reached."""

    def __init__(self, folder: Path, timeout_s: float = 1.0, bounds: Bounds | None = None) -> None:
        """Raises ValueError when the file is of a later version of this project, or no such file."""
        self._database = Database(folder / FILE, MIGRATIONS, busy_s=timeout_s, timeout_s=timeout_s)
        self._bounds = bounds or Bounds()

    async def put_key(self, key: Key) -> None:
        def put(db: sqlite3.Connection) -> None:
            (kept,) = db.execute("SELECT count(*) FROM keys WHERE id != ?", (key.id,)).fetchone()
            if kept >= self._bounds.keys:
                raise RegistryFull(f"{kept} keys are kept; one more there cannot be")
            db.execute("INSERT OR REPLACE INTO keys (id, row, ends) VALUES (?, ?, ?)", (key.id, key_row(key), key.ends))

        await self._run(put)

    async def keys(self) -> tuple[Key, ...]:
        rows = await self._read(lambda db: db.execute("SELECT row FROM keys ORDER BY id").fetchall())
        return tuple(key_of(row) for (row,) in rows)

    async def claim(self, scope: str, key: str, fingerprint: str, owner: str, now: float, until: float) -> Claim:
        def taken(db: sqlite3.Connection) -> Claim:
            found = db.execute(
                "SELECT fingerprint, owner, done, status, headers, body FROM claims "
                "WHERE scope = ? AND key = ? AND until > ?",
                (scope, key, now),
            ).fetchone()
            if found is None:
                forget_claim(db, scope, key)
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
                share(db, "claims", scope, size)
                while total(db, "claims") > self._bounds.kept_bytes:
                    who = largest(db, "claims")
                    (oldest,) = db.execute(
                        "SELECT key FROM claims WHERE scope = ? AND done ORDER BY until LIMIT 1", (who,)
                    ).fetchone()
                    forget_claim(db, who, oldest)

        await self._run(put)

    async def drop_claim(self, scope: str, key: str, owner: str) -> None:
        sql = "DELETE FROM claims WHERE scope = ? AND key = ? AND owner = ? AND NOT done"
        await self._run(lambda db: db.execute(sql, (scope, key, owner)))

    async def asked(self, requests: Sequence[Asked]) -> None:
        rows = [(r.request_id, r.source, r.at, asked_row(r)) for r in requests]

        def put(db: sqlite3.Connection) -> None:
            for row in rows:
                put = db.execute("INSERT OR IGNORE INTO asked (request_id, source, at, row) VALUES (?, ?, ?, ?)", row)
                share(db, "asked", row[1], put.rowcount)
            while total(db, "asked") > self._bounds.asked:
                who = largest(db, "asked")
                (oldest,) = db.execute(
                    "SELECT request_id FROM asked WHERE source = ? ORDER BY at LIMIT 1", (who,)
                ).fetchone()
                forget_asked(db, who, oldest)

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
            share(db, "feedback", source, 1)
            self._bound_feedback(db)
            return Judged(made.lastrowid or 0, asked_of(row), right, now)

        return await self._run(put)

    def _bound_feedback(self, db: sqlite3.Connection) -> None:
        """A tenth at once: everybody who follows begins anew when some goes."""
        if total(db, "feedback") <= self._bounds.feedback:
            return
        while total(db, "feedback") > self._bounds.feedback - self._bounds.feedback // 10:
            who = largest(db, "feedback")
            db.execute(
                "DELETE FROM feedback WHERE number = (SELECT min(number) FROM feedback WHERE source = ?)", (who,)
            )
            share(db, "feedback", who, -1)
        db.execute("UPDATE state SET epoch = epoch + 1")

    async def judged(self, after: int = 0, most: int = 10_000) -> tuple[Judged, ...]:
        def found(db: sqlite3.Connection) -> tuple[Judged, ...]:
            db.execute("BEGIN")  # both as they are at one time
            sql = "SELECT number, row, right, at FROM feedback WHERE number > ? ORDER BY number LIMIT ?"
            rows, ranges = db.execute(sql, (after, most)).fetchall(), counting(restores_of(db))
            return tuple(Judged(n, asked_of(row), bool(right), at, not counts(n, ranges)) for n, row, right, at in rows)

        return await self._read(found)

    async def feedback_state(self) -> FeedbackState:
        return await self._run(state_of)

    async def freeze(self, frozen: bool) -> None:
        def put(db: sqlite3.Connection) -> None:
            state = state_of(db)
            if frozen != (state.frozen is not None):
                db.execute("UPDATE state SET frozen = ?", (state.last if frozen else None,))

        await self._run(put)

    async def restore(self, number: int) -> bool:
        def put(db: sqlite3.Connection) -> bool:
            state = state_of(db)
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
                forget_claim(db, scope, key)
            old = db.execute("SELECT source, request_id FROM asked WHERE at < ? LIMIT ?", (asked, TOGETHER)).fetchall()
            for source, request_id in old:
                forget_asked(db, source, request_id)
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

    async def _run(self, work: Work[T]) -> T:
        return await self._asked(self._database.run(work))

    async def _read(self, work: Work[T]) -> T:
        """What takes longer with every row: beside those who write."""
        return await self._asked(self._database.read(work))

    async def _asked(self, done: Awaitable[T]) -> T:
        try:
            return await done
        except sqlite3.Error as error:
            raise LedgerUnavailable(str(error)) from error
