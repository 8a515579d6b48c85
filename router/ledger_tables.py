"""The ledger's tables in SQLite, and the longer statements upon them.

A meter's row says what is settled and what is held on it; `holds` are the parts of the latter, each with whose it is
and the meters it counts on, with their limits; `journal` are the parts of the former.
"""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE meters (
        period TEXT NOT NULL,
        account TEXT NOT NULL,
        settled INTEGER NOT NULL,
        held INTEGER NOT NULL,
        PRIMARY KEY (period, account)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE holds (
        leg_id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        payer TEXT NOT NULL,
        expert TEXT NOT NULL,
        amount INTEGER NOT NULL,
        hosted INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE journal (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        request_id TEXT NOT NULL,
        leg_id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        policy TEXT NOT NULL,
        expert TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        held INTEGER NOT NULL,
        charged INTEGER NOT NULL,
        overrun INTEGER NOT NULL,
        estimated INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX journal_by_time ON journal (at);
    CREATE TABLE owners (owner TEXT PRIMARY KEY, until REAL NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE buckets (
        account TEXT NOT NULL,
        unit TEXT NOT NULL,
        level REAL NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (account, unit)
    ) STRICT, WITHOUT ROWID
    """,
)
# One that is neither held nor settled: (leg_id, owner, payer, expert, amount, hosted, prompt and output tokens).
HOLD = """
    INSERT INTO holds SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (SELECT 1 FROM journal WHERE leg_id = ?1)
    ON CONFLICT DO NOTHING RETURNING 1
"""
# (period, account, amount, limit); no row comes back when it would be over the limit.
COUNT = """
    INSERT INTO meters SELECT ?1, ?2, 0, ?3 WHERE ?3 <= ?4
    ON CONFLICT DO UPDATE SET held = held + ?3 WHERE settled + held + ?3 <= ?4 RETURNING 1
"""
BOOK = """
    INSERT INTO journal (at, request_id, leg_id, tenant, key, policy, expert, prompt_tokens, output_tokens, held,
        charged, overrun, estimated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# (amount held, amount settled, period, account)
MOVE = "UPDATE meters SET held = held - ?, settled = settled + ? WHERE period = ? AND account = ?"
STANDS = "SELECT settled, held FROM meters WHERE period = ? AND account = ?"
GROW = """
    UPDATE holds SET amount = amount + ?, output_tokens = output_tokens + ? WHERE leg_id = ? RETURNING payer
"""
FREE = "DELETE FROM holds WHERE leg_id = ? RETURNING owner, payer, leg_id, expert, amount"
BOUNDS = "SELECT min(number), max(number) FROM journal WHERE at >= ? AND at < ?"
READ = """
    SELECT number, at, request_id, leg_id, tenant, key, policy, expert, prompt_tokens, output_tokens, held, charged,
        overrun, estimated
    FROM journal WHERE number > ?1 AND number <= ?2 AND +at >= ?3 AND +at < ?4 AND (?5 IS NULL OR tenant = ?5)
    ORDER BY number LIMIT ?6
"""
ORPHANS = """
    SELECT owner, payer, leg_id, expert, amount, hosted, prompt_tokens, output_tokens FROM holds
    WHERE owner NOT IN (SELECT owner FROM owners WHERE until > ?) LIMIT ?
"""
LEVEL = "SELECT level, at FROM buckets WHERE account = ? AND unit = ?"
FILL = """
    INSERT INTO buckets VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET level = excluded.level, at = max(at, excluded.at)
"""
FORGET = "DELETE FROM journal WHERE number IN (SELECT number FROM journal WHERE at < ? ORDER BY at LIMIT ?)"
# (day, at most so many): a day or a month that ended before that day; its name is a part of the day's.
FORGET_METERS = """
    DELETE FROM meters WHERE (period, account) IN (
        SELECT period, account FROM meters
        WHERE period < ?1 AND period < substr(?1, 1, length(period)) AND held = 0 LIMIT ?2
    )
"""
