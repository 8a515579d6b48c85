"""The registry's tables in SQLite, and what is done in them more than once: functions of a connection.

What is bounded has a share for each who has some of it, kept with every change, so that the bound is never looked for:
`shares` says how much each has, and the indexes which of theirs is the oldest.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from router.registry import FeedbackState

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


def forget_claim(db: sqlite3.Connection, scope: str, key: str) -> None:
    gone = db.execute("DELETE FROM claims WHERE scope = ? AND key = ? RETURNING size", (scope, key)).fetchone()
    if gone and gone[0]:
        share(db, "claims", scope, -gone[0])


def forget_asked(db: sqlite3.Connection, source: str, request_id: str) -> None:
    db.execute("DELETE FROM asked WHERE request_id = ?", (request_id,))
    share(db, "asked", source, -1)


def share(db: sqlite3.Connection, what: str, who: str, change: int) -> None:
    db.execute(
        "INSERT INTO shares VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
        (what, who, change),
    )
    db.execute("DELETE FROM shares WHERE what = ? AND who = ? AND amount <= 0", (what, who))
    db.execute("UPDATE totals SET amount = amount + ? WHERE what = ?", (change, what))


def total(db: sqlite3.Connection, what: str) -> int:
    found: tuple[int] = db.execute("SELECT amount FROM totals WHERE what = ?", (what,)).fetchone()
    return found[0]


def largest(db: sqlite3.Connection, what: str) -> Any:
    """Who has the most of it."""
    (who,) = db.execute("SELECT who FROM shares WHERE what = ? ORDER BY amount DESC LIMIT 1", (what,)).fetchone()
    return who


def restores_of(db: sqlite3.Connection) -> list[tuple[int, int]]:
    return db.execute("SELECT number, last FROM restores ORDER BY done").fetchall()


def state_of(db: sqlite3.Connection) -> FeedbackState:
    frozen, epoch = db.execute("SELECT frozen, epoch FROM state").fetchone()
    last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'feedback'").fetchone()
    return FeedbackState(last[0] if last else 0, frozen, epoch)
