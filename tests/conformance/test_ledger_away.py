"""A ledger that cannot be reached: whoever asks learns it in time, and nothing is half done when it is back."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from redis.asyncio import Redis

from router import database, redis_calls
from router.config import LedgerSettings
from router.ledger import Ledger, LedgerUnavailable
from router.ledger_open import open_ledger
from router.ledger_redis import RedisLedger
from router.ledger_sqlite import FILE, SqliteLedger
from tests.conformance.ledgers import (
    DAY,
    FOREVER,
    NOW,
    PATIENT_S,
    Ledgers,
    charge,
    entries,
    hold,
    payer,
    stand,
    until_done,
)
from tests.redis_server import needs_redis, redis_server

SOON_S = 0.1


@pytest.fixture
async def admin(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
        yield redis


async def all_fail(ledger: Ledger) -> None:
    """Every method says the same."""
    calls = [
        ledger.reserve(payer(DAY), [hold("a", 1)], NOW),
        ledger.renew(payer(DAY), hold("a", 1), NOW),
        ledger.settle([charge("a", 1)], NOW),
        ledger.void(["a"], NOW),
        ledger.standing([DAY]),
        ledger.take([], [], NOW),
        ledger.beat("replica", NOW, FOREVER),
        ledger.leave("replica"),
        ledger.prune(NOW),
    ]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in found] == [LedgerUnavailable] * len(calls)


async def test_a_file_that_another_process_keeps_locked(tmp_path: Path) -> None:
    """Nobody waits for longer than they said; what was given up is not done later, and all goes on afterwards."""
    ledger = SqliteLedger(tmp_path, SOON_S)
    await ledger.reserve(payer(DAY), [hold("kept", 10)], NOW)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await all_fail(ledger)
        with pytest.raises(LedgerUnavailable):
            await ledger.orphans(NOW)
    assert await until_done(lambda: stand(ledger, DAY)) == [(0, 10)]
    assert await ledger.settle([charge("kept", 7)], NOW)
    await ledger.close()


async def test_a_file_that_does_not_keep_up(ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more calls wait than can be answered: the next ones are refused at once, and those that wait are served."""
    monkeypatch.setattr(database, "MOST_WAITING", 5)
    monkeypatch.setattr(redis_calls, "MOST_WAITING", 5)
    ledger = ledgers.open()
    found = await asyncio.gather(
        *(ledger.reserve(payer(DAY), [hold(f"leg-{number}", 1)], NOW) for number in range(9)), return_exceptions=True
    )
    assert [type(each) for each in found] == [type(None)] * 5 + [LedgerUnavailable] * 4
    assert await stand(ledger, DAY) == [(0, 5)]


@needs_redis
async def test_a_server_that_is_killed_and_begins_anew() -> None:
    """Without it nobody is kept waiting; a new one is found by itself, although it knows none of the scripts."""
    with tempfile.TemporaryDirectory(prefix="sym-") as folder:
        with redis_server(Path(folder)) as url:
            ledger = RedisLedger(url, PATIENT_S)
            await ledger.reserve(payer(DAY), [hold("a", 10)], NOW)
        await all_fail(ledger)
        with redis_server(Path(folder)):
            assert await stand(ledger, DAY) == [(0, 0)]
            await asyncio.gather(*(ledger.reserve(payer(DAY), [hold(f"leg-{n}", 10)], NOW) for n in range(20)))
            assert await stand(ledger, DAY) == [(0, 200)]
        await ledger.close()


@needs_redis
async def test_a_server_that_forgets_its_scripts(redis_url: str, admin: Redis) -> None:
    """They are sent again, and each call is done once."""
    ledger = RedisLedger(redis_url, PATIENT_S)
    for number in range(3):
        await admin.script_flush()
        await asyncio.gather(
            ledger.renew(payer(DAY), hold("a", 10), NOW), ledger.reserve(payer(DAY), [hold(f"leg-{number}", 1)], NOW)
        )
    assert await stand(ledger, DAY) == [(0, 33)]
    await ledger.close()


@needs_redis
async def test_calls_of_one_moment_go_out_together(redis_url: str, admin: Redis) -> None:
    """A hundred callers cost one question and one answer over the network, not a hundred."""

    async def reads() -> int:
        found: int = (await admin.info("stats"))["total_reads_processed"]
        return found

    ledger = RedisLedger(redis_url, PATIENT_S)
    await ledger.reserve(payer(DAY), [hold("first", 1)], NOW)
    before = await reads()
    await asyncio.gather(*(ledger.reserve(payer(DAY), [hold(f"leg-{n}", 1)], NOW) for n in range(100)))
    assert await reads() - before < 10
    assert await stand(ledger, DAY) == [(0, 101)]
    await ledger.close()


@needs_redis
async def test_a_server_that_stands_still(redis_url: str, admin: Redis) -> None:
    """What was given up may be done later. A void that was asked for afterwards frees it, whichever comes first; a hold
    that was asked for after that stays.
    """
    ledger = RedisLedger(redis_url, SOON_S)
    await ledger.reserve(payer(DAY), [hold("before", 1)], NOW)
    await admin.client_pause(int(SOON_S * 4000))
    for number in range(3):
        with pytest.raises(LedgerUnavailable, match=r"no answer within 0\.1 s"):
            await ledger.reserve(payer(DAY), [hold(f"leg-{number}", 100)], NOW)
    await until_done(lambda: ledger.void(["leg-0", "leg-1", "leg-2"], NOW))
    assert await stand(ledger, DAY) == [(0, 1)]
    assert await ledger.reserve(payer(DAY), [hold("leg-0", 100)], NOW) is None
    assert await stand(ledger, DAY) == [(0, 101)]
    await ledger.close()


@needs_redis
async def test_a_hold_that_arrives_behind_its_void(redis_url: str, admin: Redis) -> None:
    """It was asked for before: it holds nothing. Another replica's does, and so does one that is asked for anew."""
    ledger, other = RedisLedger(redis_url, PATIENT_S), RedisLedger(redis_url, PATIENT_S)
    late = ledger._call()
    await ledger.void(["a"], NOW)
    ledger._call = lambda: late  # type: ignore[method-assign]  # as it was sent before
    assert await ledger.reserve(payer(DAY), [hold("a", 100)], NOW) is None
    assert await ledger.renew(payer(DAY), hold("a", 100), NOW) is None
    assert await stand(ledger, DAY) == [(0, 0)]
    assert await other.reserve(payer(DAY), [hold("a", 100)], NOW) is None
    assert await stand(ledger, DAY) == [(0, 100)]
    await ledger.close()
    await other.close()


@needs_redis
async def test_a_server_that_takes_nothing(redis_url: str, admin: Redis) -> None:
    """One that has become a copy of another, or has no memory left, books nothing, not even in part."""
    ledger = RedisLedger(redis_url, PATIENT_S)
    await ledger.reserve(payer(DAY), [hold("a", 100)], NOW)
    await admin.replicaof("127.0.0.1", "1")
    for ask in (ledger.reserve(payer(DAY), [hold("b", 1)], NOW), ledger.settle([charge("a", 60)], NOW)):
        with pytest.raises(LedgerUnavailable, match=r"(?i)read.?only"):
            await ask
    await admin.replicaof("NO", "ONE")
    await admin.config_set("maxmemory", 1)
    with pytest.raises(LedgerUnavailable, match="maxmemory"):
        await ledger.reserve(payer(DAY), [hold("b", 1)], NOW)
    await admin.config_set("maxmemory", 0)
    assert await stand(ledger, DAY) == [(0, 100)]
    assert await entries(ledger) == []
    assert await ledger.settle([charge("a", 60)], NOW)
    assert await stand(ledger, DAY) == [(60, 0)]
    await ledger.close()


async def test_a_configuration_names_the_one_that_is_opened(tmp_path: Path) -> None:
    """A file in the data folder, or a server that need not be there yet; a file of a later version is refused."""
    here = open_ledger(LedgerSettings(), tmp_path)
    assert await stand(here, DAY) == [(0, 0)]
    await here.close()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    away = open_ledger(LedgerSettings(url=f"unix://{tmp_path}/none.sock", timeout_s=SOON_S), tmp_path)
    await all_fail(away)
    await away.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as file:
        file.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="later version"):
        open_ledger(LedgerSettings(), tmp_path)
