"""Many who want the same money at once, over both ledgers: a file in the data folder, and a real Redis."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from router.ledger import Ledger, LedgerUnavailable, Meter, Rate
from tests.conformance.ledgers import (
    DAY,
    FOREVER,
    MONTH,
    NOW,
    Ledgers,
    charge,
    entries,
    hold,
    make_ledger,
    payer,
    settle_orphans,
    stand,
)

FANOUT = 3


async def served(ledger: Ledger, request: str, amount: int) -> bool:
    """One request with several legs; whether it could be paid."""
    legs = [f"{request}-{number}" for number in range(FANOUT)]
    if await ledger.reserve(payer(DAY, MONTH, request=request), [hold(leg, amount) for leg in legs], NOW) is not None:
        return False
    await asyncio.gather(*(ledger.settle([charge(leg, amount)], NOW) for leg in legs))
    return True


async def test_a_budget_for_ten_serves_ten_of_two_hundred(ledgers: Ledgers) -> None:
    """All at once, in one event loop: whether they are committed together, or go out together, makes no difference."""
    ledger = ledgers.open()
    found = await asyncio.gather(*(served(ledger, f"req-{number}", 33) for number in range(200)))
    assert sum(found) == 10
    assert await stand(ledger, DAY, MONTH) == [(990, 0), (990, 0)]
    assert sum(entry.charged for entry in await entries(ledger)) == 990


async def test_replicas_do_not_spend_the_same_money(ledgers: Ledgers) -> None:
    """Each with an event loop, a thread and a connection of its own, all on one store."""

    async def replica(name: int) -> int:
        ledger = make_ledger(ledgers.folder, ledgers.url)
        found = await asyncio.gather(*(served(ledger, f"req-{name}-{number}", 33) for number in range(25)))
        await ledger.close()
        return sum(found)

    served_by = await asyncio.gather(*(asyncio.to_thread(asyncio.run, replica(name)) for name in range(4)))
    assert sum(served_by) == 10


async def test_at_every_instant_no_more_is_spent_and_held_than_the_limit(ledgers: Ledgers) -> None:
    """While many hold, grow, book more or less than they held, free and leave, somebody looks on all the time."""
    limits = [replace(DAY, limit=700), replace(MONTH, limit=2500), Meter("key/ci", DAY.period, 5000)]
    watcher, done = ledgers.open(), asyncio.Event()
    seen = 0

    async def works(number: int) -> None:
        chance, ledger, owner = random.Random(number), ledgers.open(), f"owner-{number}"
        await ledger.beat(owner, NOW, FOREVER)
        for turn in range(25):
            legs = [f"{number}-{turn}-{leg}" for leg in range(FANOUT)]
            whose = payer(*chance.sample(limits, chance.randint(1, 3)), owner=owner)
            if await ledger.reserve(whose, [hold(leg, chance.randint(0, 60)) for leg in legs], NOW) is not None:
                continue
            await ledger.renew(whose, hold(legs[0], chance.randint(0, 60)), NOW)
            await asyncio.gather(
                ledger.settle([charge(legs[0], chance.randint(0, 150))], NOW),
                ledger.settle([charge(legs[0], 10), charge(legs[1], chance.randint(0, 20))], NOW),
                ledger.void([legs[chance.randint(1, 2)]], NOW),
            )
        await ledger.leave(owner)

    async def watches() -> None:
        nonlocal seen
        while not done.is_set():
            for standing in await watcher.standing(limits):
                assert standing.settled + standing.held <= (standing.meter.limit or 0), standing
                assert standing.held >= 0
            seen += 1

    watching = asyncio.create_task(watches())
    await asyncio.gather(*map(works, range(8)))
    done.set()
    await watching
    assert seen > 10
    await settle_orphans(watcher, NOW)
    assert [held for _, held in await stand(watcher, *limits)] == [0, 0, 0]
    assert all(entry.charged <= entry.held + 150 for entry in await entries(watcher))


async def test_a_leg_is_booked_by_one_of_many(ledgers: Ledgers) -> None:
    """However many settle it at once, in however many replicas."""
    replicas = [ledgers.open() for _ in range(3)]
    await replicas[0].reserve(payer(DAY), [hold("a", 100)], NOW)
    booked = await asyncio.gather(*(ledger.settle([charge("a", 70)], NOW) for ledger in replicas * 5))
    assert sum(map(len, booked)) == 1
    assert await stand(replicas[1], DAY) == [(70, 0)]


async def test_buckets_give_no_more_than_they_hold_to_all_together(ledgers: Ledgers) -> None:
    """Of a hundred that ask at once through several replicas, as many are served as there are units."""
    replicas, rate = [ledgers.open() for _ in range(3)], Rate("key/ci", "requests", 7)
    found = await asyncio.gather(*(replicas[number % 3].take([rate], [1], NOW) for number in range(100)))
    assert sum(taken.retry_after_s is None for taken in found) == 7


async def test_who_is_cancelled_has_asked_all_the_same(ledgers: Ledgers) -> None:
    """A hold is there, and a booking is made, although nobody waits for the answer; to be freed, it is voided."""
    ledger = ledgers.open()
    for what in (ledger.reserve(payer(DAY), [hold("a", 100)], NOW), ledger.settle([charge("a", 60)], NOW)):
        asked = asyncio.ensure_future(what)
        await asyncio.sleep(0)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        await ledger.standing([DAY])
    assert await stand(ledger, DAY) == [(60, 0)]


async def test_closing_does_first_what_was_asked_for(ledgers: Ledgers) -> None:
    """Whoever came before has an answer; whoever comes afterwards is told."""
    ledger = make_ledger(ledgers.folder, ledgers.url)
    asked = [asyncio.ensure_future(served(ledger, f"req-{number}", 1)) for number in range(20)]
    await asyncio.sleep(0)
    await ledger.close()
    await asyncio.gather(*asked, return_exceptions=True)
    assert await stand(ledgers.open(), DAY) == [(0, 20 * FANOUT)]
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.standing([DAY])
