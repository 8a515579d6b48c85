"""A process that moves money until it is killed, and says what it was told: for tests that kill it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from router.ledger import Payer
from tests.conformance.ledgers import DAY, MONTH, NOW, charge, hold, make_ledger

LEASE_S = 10.0
TASKS = 4
METERS = (replace(DAY, limit=10**9), replace(MONTH, limit=10**9))


def work(name: str, folder: Path, url: str | None, told: Connection) -> None:
    """Never returns. Each message: a leg that was settled, and what it was charged."""
    asyncio.run(_work(name, folder, url, told))


async def _work(name: str, folder: Path, url: str | None, told: Connection) -> None:
    ledger = make_ledger(folder, url)
    await ledger.beat(name, NOW, NOW + LEASE_S)

    async def requests(task: int) -> None:
        chance, number = random.Random(f"{name}/{task}"), 0
        while True:
            number += 1
            request = f"{name}-{task}-{number}"
            payer = Payer(request, "acme", "ci", "auto", name, METERS)
            first, second, third = (f"{request}-{leg}" for leg in range(3))
            await ledger.reserve(payer, [hold(leg, chance.randint(0, 50)) for leg in (first, second)], NOW)
            await ledger.renew(payer, hold(first, chance.randint(0, 50)), NOW)
            if chance.random() < 0.5:
                await ledger.pass_on(second, payer, hold(third, chance.randint(0, 100)), NOW)
            else:
                await ledger.void([second], NOW)
            for settled in await ledger.settle([charge(leg, chance.randint(0, 150)) for leg in (first, third)], NOW):
                told.send((settled.leg_id, settled.charged))

    await asyncio.gather(*map(requests, range(TASKS)))
