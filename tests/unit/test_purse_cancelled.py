"""A request's money when its client leaves, whenever that is: real dispatch, a real ledger, experts on a stage."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from experts.errors import ExpertError
from router.bank import Bank
from router.call import Call
from router.events import Booked, Held
from router.purse import Purse
from tests.unit.make import query
from tests.unit.purse_world import OUT, PROMPT, MoneyWorld, money, outlook
from tests.unit.stage import END, NAMES, Line, World, alone, busy, down, nonsense, panel, slow, turns

ONE = PROMPT + 64 * OUT  # what is held for a call at first
PLANS = (
    panel(("ada", "bob"), ("cy",), spares=("dan", "eve")),
    panel(("ada", "bob", "cy"), spares=("dan",)),
    alone("ada", "cy", "dan"),
)
LINES: tuple[tuple[Line, ...], ...] = (
    ("4", "2", END), (3, "4", END), ("4",) * 70, (down,), (busy,), ("4", 2, slow), (nonsense,), (5,)
)  # fmt: skip


async def asked(world: World, purse: Purse, number: int, draw: random.Random) -> None:
    """One request, from its money to its last word; experts speak, fail and fall silent as it comes."""
    plan, request = draw.choice(PLANS), f"r{number}"
    for expert in NAMES:
        for _ in range(4):
            world.stage.says(expert, *draw.choice(LINES))
    call = Call(request, query("hi").body, funds=purse)
    try:
        if await purse.begin([(f"{request}-{place}", name) for place, name in enumerate(plan.waves[0])]) is not None:
            return
        if plan.aggregator != "single":
            await world.gather(plan, call)
            return
        async with world.dispatcher.relay(call, (*plan.experts, *plan.spares), world.told.append) as live:
            async for _ in live.chunks:
                pass
    except ExpertError:
        pass
    finally:
        purse.close()


async def left(world: World, books: MoneyWorld, bank: Bank, number: int, draw: random.Random) -> Purse:
    """The same, by a client that leaves after so many turns of the loop, or in the middle of what the ledger does.
    There is money for one, two, five or twenty calls.
    """
    before, likely = await books.standing(), {name: outlook(name, tokens=1) for name in NAMES}
    limit = before.settled + before.held + draw.choice([1, 2, 5, 20]) * ONE
    purse = books.purse(bank, limit, f"r{number}", outlooks=likely, max_tokens=200, tokens=600)
    task = asyncio.create_task(asked(world, purse, number, draw))
    await turns(draw.randint(0, 60))
    if draw.random() < 0.5:
        await asyncio.sleep(draw.uniform(0, 0.004))
    standing = await books.standing()
    assert standing.settled + standing.held <= limit
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return purse


async def test_whoever_leaves_at_any_moment_holds_nothing(tmp_path: Path) -> None:
    """While money is being held, while it is passed on, while it grows, while others race, while it is settled."""
    draw = random.Random(3)
    async with money(tmp_path, slice_tokens=16) as books:
        bank = books.bank()
        await bank.start()
        for number in range(250):
            world = await World(hasty=draw.random() < 0.5, hosted=draw.random() < 0.5).up()
            purse = await left(world, books, bank, number, draw)
            await world.watch.stop()
            await world.dispatcher.drain(30)
            assert not purse._grants
            assert not purse._left
            if draw.random() < 0.3:  # now and then all is booked before the next one comes
                await asyncio.sleep(0.002)
        await bank.stop(30)
        standing = await books.standing()
        assert standing.held == 0
        assert standing.settled == sum([entry.charged async for entry in books.ledger.journal(0, 2e9)])
        assert standing.settled > 50 * ONE
        held = sum(event.amount for event in books.events if isinstance(event, Held))
        assert held == sum(event.held for event in books.events if isinstance(event, Booked))
