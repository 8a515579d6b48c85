"""The ledger in a file of its own in the data folder, for replicas that share it. Keeps to `ledger.py`.

Meters, holds and journal change in one transaction or not at all. A leg id in the journal was settled: it is not held
again, nor settled. A leg is charged within the limits of the meters that it was first held on.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import orjson

from router import ledger_tables as tables
from router.database import Database, Work
from router.ledger import (
    Charge,
    Entry,
    Hold,
    LedgerUnavailable,
    Meter,
    Orphan,
    Payer,
    Rate,
    Settled,
    Short,
    Standing,
    Taken,
)
from router.ledger_sums import LEG_MOST, SUM_MOST, chargeable, enough, refilled, taken, within

T = TypeVar("T")
FILE = "ledger.sqlite3"
PAGE = 1000  # entries of the journal that are read at once
FORGOTTEN = 200  # entries that are forgotten at once: others wait meanwhile
OWNERS_S = 86_400.0  # so long after its end an owner is forgotten


class _Refused(Exception):
    """Undoes what was held so far."""

    def __init__(self, short: Short) -> None:
        self.short = short


class SqliteLedger:
    """`timeout_s`: after so long it counts as not reached."""

    def __init__(self, folder: Path, timeout_s: float = 1.0) -> None:
        """Raises ValueError when the file is of a later version of this project, or no such file."""
        self._database = Database(folder / FILE, tables.MIGRATIONS, busy_s=timeout_s, timeout_s=timeout_s)

    async def reserve(self, payer: Payer, holds: Sequence[Hold], now: float) -> Short | None:
        return await self._short(lambda db: _hold(db, payer, holds))

    async def renew(self, payer: Payer, hold: Hold, now: float) -> Short | None:
        def grow(db: sqlite3.Connection) -> None:
            amount = within(hold.amount, LEG_MOST)
            grown = db.execute(tables.GROW, (amount, within(hold.output_tokens, SUM_MOST), hold.leg_id)).fetchone()
            if grown is None:
                _hold(db, payer, (hold,))
            else:
                _count(db, _payer("", grown[0]).meters, amount)

        return await self._short(grow)

    async def pass_on(self, leg_id: str, payer: Payer, hold: Hold, now: float) -> Short | None:
        def swap(db: sqlite3.Connection) -> None:
            _free(db, leg_id)
            _hold(db, payer, (hold,))

        return await self._short(swap)

    async def settle(self, charges: Sequence[Charge], now: float) -> tuple[Settled, ...]:
        return await self._run(lambda db: tuple(found for c in charges if (found := _settle(db, c, now))))

    async def void(self, leg_ids: Sequence[str], now: float) -> None:
        def free(db: sqlite3.Connection) -> None:
            for leg_id in leg_ids:
                _free(db, leg_id)

        await self._run(free)

    async def standing(self, meters: Sequence[Meter]) -> tuple[Standing, ...]:
        return await self._run(lambda db: tuple(Standing(meter, *_stands(db, meter)) for meter in meters))

    async def take(self, rates: Sequence[Rate], units: Sequence[int], now: float, *, force: bool = False) -> Taken:
        def draw(db: sqlite3.Connection) -> Taken:
            levels = [_level(db, rate, now) for rate in rates]
            if not (force or enough(levels, units)):
                return taken(rates, units, levels, done=False)
            levels = [
                min(rate.per_minute, level - wanted) for rate, level, wanted in zip(rates, levels, units, strict=True)
            ]
            for rate, level in zip(rates, levels, strict=True):
                db.execute(tables.FILL, (rate.account, rate.unit, level, now))
            return taken(rates, units, levels, done=True)

        return await self._run(draw)

    async def beat(self, owner: str, now: float, until: float) -> None:
        def live(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (owner, until))
            db.execute("DELETE FROM owners WHERE until < ?", (now - OWNERS_S,))

        await self._run(live)

    async def leave(self, owner: str) -> None:
        await self._run(lambda db: db.execute("DELETE FROM owners WHERE owner = ?", (owner,)))

    async def orphans(self, now: float, most: int = 100) -> tuple[Orphan, ...]:
        rows = await self._run(lambda db: db.execute(tables.ORPHANS, (now, most)).fetchall())
        return tuple(
            Orphan(_payer(owner, payer), Hold(leg_id, expert, amount, bool(hosted), prompt, output))
            for owner, payer, leg_id, expert, amount, hosted, prompt, output in rows
        )

    async def journal(
        self, since: float, until: float, *, tenant: str | None = None, after: int = 0
    ) -> AsyncIterator[Entry]:
        first, last = await self._read(lambda db: db.execute(tables.BOUNDS, (since, until)).fetchone())
        after = max(after, (first or 0) - 1)
        while last is not None and after < last:
            asked = (after, last, since, until, tenant, PAGE)
            rows = await self._read(lambda db, asked=asked: db.execute(tables.READ, asked).fetchall())  # type: ignore[misc]
            for row in rows:
                yield Entry(*(*row[:-1], bool(row[-1])))
            after = rows[-1][0] if len(rows) == PAGE else last

    async def prune(self, before: float) -> int:
        day = datetime.fromtimestamp(before, UTC).date().isoformat()

        def forget(db: sqlite3.Connection) -> int:
            db.execute(tables.FORGET_METERS, (day, FORGOTTEN))
            db.execute("DELETE FROM buckets WHERE at < ?", (before,))
            return db.execute(tables.FORGET, (before, FORGOTTEN)).rowcount

        return await self._run(forget)

    async def close(self) -> None:
        await asyncio.to_thread(self._database.close)

    async def _short(self, work: Work[None]) -> Short | None:
        try:
            await self._run(work)
        except _Refused as refused:
            return refused.short
        return None

    async def _run(self, work: Work[T]) -> T:
        try:
            return await self._database.run(work)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"{self._database.path}: {error}") from error

    async def _read(self, work: Work[T]) -> T:
        try:
            return await self._database.read(work)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"{self._database.path}: {error}") from error


def _free(db: sqlite3.Connection, leg_id: str) -> None:
    """What is held for it, if anything."""
    if freed := db.execute(tables.FREE, (leg_id,)).fetchone():
        _move(db, _payer(*freed[:2]).meters, held=freed[4], settled=0)


def _hold(db: sqlite3.Connection, payer: Payer, holds: Sequence[Hold]) -> None:
    """Those of them that are new. Raises _Refused."""
    meters = [(meter.account, meter.period, meter.limit) for meter in payer.meters]
    told = orjson.dumps((payer.request_id, payer.tenant, payer.key, payer.policy, meters)).decode()
    new = [hold for hold in holds if db.execute(tables.HOLD, _hold_row(payer.owner, told, hold)).fetchone()]
    if new:
        _count(db, payer.meters, sum(within(hold.amount, LEG_MOST) for hold in new))


def _hold_row(owner: str, payer: str, hold: Hold) -> tuple[object, ...]:
    tokens = within(hold.prompt_tokens, SUM_MOST), within(hold.output_tokens, SUM_MOST)
    return hold.leg_id, owner, payer, hold.expert, within(hold.amount, LEG_MOST), hold.hosted, *tokens


def _count(db: sqlite3.Connection, meters: Iterable[Meter], amount: int) -> None:
    """Holds that much more on each. Raises _Refused."""
    for meter in meters:
        limit = 2**62 if meter.limit is None else within(meter.limit, SUM_MOST)
        if not db.execute(tables.COUNT, (meter.period, meter.account, amount, limit)).fetchone():
            raise _Refused(Short(meter, *_stands(db, meter), amount))


def _settle(db: sqlite3.Connection, charge: Charge, now: float) -> Settled | None:
    found = db.execute(tables.FREE, (charge.leg_id,)).fetchone()
    if found is None:
        return None
    owner, told, leg_id, expert, held = found
    payer = _payer(owner, told)
    amount = charged = within(charge.amount, LEG_MOST)
    if amount > held:
        charged = chargeable(amount, held, (_room(db, m, m.limit) + held for m in payer.meters if m.limit is not None))
    _move(db, payer.meters, held=held, settled=charged)
    tokens = within(charge.prompt_tokens, SUM_MOST), within(charge.output_tokens, SUM_MOST)
    told_of = payer.request_id, leg_id, payer.tenant, payer.key, payer.policy, expert
    db.execute(tables.BOOK, (now, *told_of, *tokens, held, charged, amount - charged, charge.estimated))
    return Settled(leg_id, payer.tenant, held, charged, amount - charged, charge.estimated)


def _room(db: sqlite3.Connection, meter: Meter, limit: int) -> int:
    settled, held = _stands(db, meter)
    return within(limit, SUM_MOST) - settled - held


def _move(db: sqlite3.Connection, meters: Iterable[Meter], *, held: int, settled: int) -> None:
    """So much is held no more on each, and so much is settled."""
    for meter in meters:
        db.execute(tables.MOVE, (held, settled, meter.period, meter.account))


def _stands(db: sqlite3.Connection, meter: Meter) -> tuple[int, int]:
    """(settled, held)."""
    found: tuple[int, int] | None = db.execute(tables.STANDS, (meter.period, meter.account)).fetchone()
    return found or (0, 0)


def _level(db: sqlite3.Connection, rate: Rate, now: float) -> float:
    found = db.execute(tables.LEVEL, (rate.account, rate.unit)).fetchone()
    if found is None:
        return float(rate.per_minute)
    level, at = found
    return refilled(level, at, rate.per_minute, now)


def _payer(owner: str, told: str) -> Payer:
    request_id, tenant, key, policy, meters = orjson.loads(told)
    return Payer(request_id, tenant, key, policy, owner, tuple(Meter(*meter) for meter in meters))
