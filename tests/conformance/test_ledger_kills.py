"""Killed at any moment, whoever it is: nothing that was said is untrue afterwards, and nothing stays held.

Real processes under SIGKILL: routers that move money on one file or one Redis, and the Redis itself.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from router.ledger import Ledger
from router.ledger_redis import RedisLedger
from tests.conformance.ledger_worker import LEASE_S, METERS, work
from tests.conformance.ledgers import (
    NOW,
    PATIENT_S,
    Ledgers,
    charge,
    entries,
    hold,
    kept,
    payer,
    settle_orphans,
    stand,
    until_done,
)
from tests.redis_server import needs_redis, redis_server
from tests.support import becomes_true

GENERATIONS, AT_ONCE, KILLS = 6, 4, 12
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["tests.conformance.ledger_worker"])


async def test_routers_that_are_killed(ledgers: Ledgers) -> None:
    """At random points of their work, many times, several at once, on one store: what they were told is in the
    journal, once; meters are the sums of entries and holds; their holds are settled by whoever lives.
    """
    told: dict[str, int] = {}
    chance = random.Random(7)
    for generation in range(GENERATIONS):
        names = [f"router-{generation}-{number}" for number in range(AT_ONCE)]
        told |= await asyncio.to_thread(_killed, names, ledgers, chance)
    survivor = ledgers.open()
    assert await survivor.orphans(NOW + LEASE_S - 1) == (), "they may still live"
    orphans = await survivor.orphans(NOW + LEASE_S, most=10_000)
    assert {orphan.payer.owner.rpartition("-")[0] for orphan in orphans} <= {f"router-{n}" for n in range(GENERATIONS)}
    held = sum(orphan.hold.amount for orphan in orphans)
    spent = sum(entry.charged for entry in await entries(survivor))
    assert await stand(survivor, *METERS) == [(spent, held)] * 2
    await settle_orphans(survivor, NOW + LEASE_S)
    await _balanced(survivor, told)
    assert len(told) >= GENERATIONS * AT_ONCE
    assert not any("hold" in name or "owned" in name for name in await kept(ledgers))


def _killed(names: list[str], ledgers: Ledgers, chance: random.Random) -> dict[str, int]:
    """Starts them, and kills each after it was told some things; all that they were told."""
    told: dict[str, int] = {}
    left: dict[Connection, tuple[BaseProcess, int]] = {}
    for name in names:
        ours, theirs = FORKS.Pipe(duplex=False)
        process: BaseProcess = FORKS.Process(target=work, args=(name, ledgers.folder, ledgers.url, theirs), daemon=True)
        process.start()
        theirs.close()
        left[ours] = process, chance.randint(1, 60)
    while left:
        for ready in wait(list(left), PATIENT_S):
            assert isinstance(ready, Connection)
            process, more = left[ready]
            try:
                leg_id, charged = ready.recv()
            except EOFError:
                process.join()
                assert process.exitcode == -9, "it ended by itself"
                del left[ready]
                continue
            told[leg_id] = charged
            left[ready] = process, more - 1
            if more == 1:
                process.kill()
    return told


async def _balanced(ledger: Ledger, told: dict[str, int]) -> None:
    """All that was said is in the journal, no leg twice; nothing is held, and what is settled is the journal's sum."""
    journal = await entries(ledger)
    booked = {entry.leg_id: entry.charged for entry in journal}
    assert len(booked) == len(journal)
    assert {leg_id: booked.get(leg_id) for leg_id in told} == told
    assert await stand(ledger, *METERS) == [(sum(booked.values()), 0)] * 2


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sym-") as folder:
        yield Path(folder)


@needs_redis
async def test_a_redis_that_is_killed(short_folder: Path) -> None:
    """Many times, while it is asked: with a file that it writes before it answers it knows everything it has said.
    Whoever was left without an answer asks again, and nothing is done twice.
    """
    told: dict[str, int] = {}
    ended = asyncio.Event()

    async def requests(ledger: Ledger, task: int) -> None:
        chance, number = random.Random(task), 0
        while not ended.is_set():
            number += 1
            legs = {f"{task}-{number}-{leg}": chance.randint(0, 50) for leg in range(3)}
            holds = [hold(leg_id, amount) for leg_id, amount in legs.items()]
            charges = [charge(leg_id, amount) for leg_id, amount in legs.items()]
            assert await until_done(lambda: ledger.reserve(payer(*METERS), holds, NOW)) is None  # noqa: B023  # done before the next round
            await until_done(lambda: ledger.settle(charges, NOW))  # noqa: B023  # done before the next round
            told.update(legs)

    def begun(server: ExitStack) -> str:
        return server.enter_context(redis_server(short_folder, durable=True))

    with ExitStack() as server:
        ledger = RedisLedger(begun(server), PATIENT_S)
        working = [asyncio.create_task(requests(ledger, task)) for task in range(4)]
        for number in range(KILLS):
            enough = len(told) + 10 * (number + 1)
            await becomes_true(lambda: len(told) >= enough)  # noqa: B023  # done before the next round
            await asyncio.to_thread(server.close)  # by SIGKILL
            await asyncio.to_thread(begun, server)
        ended.set()
        await asyncio.gather(*working)
        await _balanced(ledger, told)
        assert len(await entries(ledger)) == len(told)
        await ledger.close()
