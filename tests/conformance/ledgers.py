"""Both ledgers under one contract, and the money that tests move about in them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from redis.asyncio import Redis

from router.ledger import Charge, Entry, Hold, Ledger, LedgerUnavailable, Meter, Payer
from router.ledger_redis import RedisLedger
from router.ledger_sqlite import FILE, SqliteLedger

T = TypeVar("T")
NOW = 1_795_651_200.0  # 2026-11-26, 00:00 UTC
DAY_S = 86_400.0
FOREVER = NOW + 1e6
PATIENT_S = 30.0
DAY = Meter("tenant/acme", "2026-11-26", 1000)
MONTH = Meter("tenant/acme", "2026-11", 5000)
KEY = Meter("key/ci", "2026-11-26")


@dataclass(slots=True)
class Ledgers:
    """One store, empty at first, and the replicas that have it open. `url`: of its Redis, where it is one."""

    folder: Path
    url: str | None
    _opened: list[Ledger] = field(default_factory=list)

    def open(self, timeout_s: float = PATIENT_S) -> Ledger:
        """One more replica's."""
        ledger = make_ledger(self.folder, self.url, timeout_s)
        self._opened.append(ledger)
        return ledger

    async def close(self) -> None:
        for ledger in self._opened:
            await ledger.close()


def make_ledger(folder: Path, url: str | None, timeout_s: float = PATIENT_S) -> Ledger:
    return SqliteLedger(folder, timeout_s) if url is None else RedisLedger(url, timeout_s)


@asynccontextmanager
async def ledgers_at(folder: Path, url: str | None) -> AsyncIterator[Ledgers]:
    if url is not None:
        async with Redis.from_url(url) as redis:
            await redis.flushall()
    found = Ledgers(folder, url)
    try:
        yield found
    finally:
        await found.close()


def payer(*meters: Meter, request: str = "req", tenant: str = "acme", owner: str = "replica") -> Payer:
    return Payer(request, tenant, "ci", "auto", owner, meters)


def hold(leg_id: str, amount: int, expert: str = "math") -> Hold:
    return Hold(leg_id, expert, amount, hosted=True, prompt_tokens=10, output_tokens=100)


def charge(leg_id: str, amount: int, *, estimated: bool = False) -> Charge:
    return Charge(leg_id, amount, 7, 50, estimated)


async def stand(ledger: Ledger, *meters: Meter) -> list[tuple[int, int]]:
    """(settled, held) of each."""
    return [(found.settled, found.held) for found in await ledger.standing(meters)]


async def entries(
    ledger: Ledger, since: float = 0.0, until: float = 1e12, *, tenant: str | None = None, after: int = 0
) -> list[Entry]:
    return [entry async for entry in ledger.journal(since, until, tenant=tenant, after=after)]


async def settle_orphans(ledger: Ledger, now: float) -> None:
    """As a reaper does, until there are none."""
    while found := await ledger.orphans(now):
        await ledger.settle([charge(orphan.hold.leg_id, orphan.hold.amount, estimated=True) for orphan in found], now)


async def until_done(ask: Callable[[], Awaitable[T]]) -> T:
    """The same call again and again, as whoever must not lose it does."""
    while True:
        try:
            return await ask()
        except LedgerUnavailable:
            await asyncio.sleep(0.01)


async def kept(ledgers: Ledgers) -> set[str]:
    """What is in the store: tables that have rows, or keys; but for the journal's own counter."""
    if ledgers.url is not None:
        async with Redis.from_url(ledgers.url, decode_responses=True) as redis:
            return {name async for name in redis.scan_iter() if not name.endswith((":number", ":journal"))}
    with closing(sqlite3.connect(ledgers.folder / FILE)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name for name in tables if file.execute(f"SELECT 1 FROM {name}").fetchone()}  # noqa: S608  # ours
        return found - {"sqlite_sequence"}
