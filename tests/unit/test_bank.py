"""A replica's dealings with the ledger: nothing is lost when it is away, nothing stays held when somebody has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experts.client import LegTokens
from router.bank import Bank
from router.errors import LedgerDown
from router.events import LedgerLost
from router.ledger import Charge, Hold, LedgerUnavailable, Meter, Payer, Settled, Short
from router.records import Usage
from tests.support import becomes_true
from tests.unit.purse_world import OUT, PROMPT, MoneyWorld, money


class Away:
    """The ledger, when it is not `there`; also where what was asked is done all the same (`deaf`)."""

    def __init__(self, ledger: Any) -> None:
        self.ledger, self.there, self.deaf = ledger, True, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    async def reserve(self, payer: Payer, holds: Sequence[Hold], now: float) -> Short | None:
        if self.deaf:
            await self.ledger.reserve(payer, holds, now)
        if self.deaf or not self.there:
            raise LedgerUnavailable
        found: Short | None = await self.ledger.reserve(payer, holds, now)
        return found

    async def settle(self, charges: Sequence[Charge], now: float) -> tuple[Settled, ...]:
        if not self.there:
            raise LedgerUnavailable
        found: tuple[Settled, ...] = await self.ledger.settle(charges, now)
        return found


def away(world: MoneyWorld) -> Away:
    ledger = Away(world.ledger)
    world.ledger = ledger
    return ledger


async def test_what_cannot_be_booked_now_is_booked_later(tmp_path: Path) -> None:
    """Once, and visibly late."""
    async with money(tmp_path) as world:
        ledger = away(world)
        bank = world.bank()
        await bank.start()
        purse = world.purse(bank, 10_000, max_tokens=5)
        await purse.begin([("r-0", "ada")])
        await purse.open("r-0", "ada")
        ledger.there = False
        purse.ended("r-0", Usage(10, 5))
        await becomes_true(lambda: LedgerLost("settle", False) in world.events)
        ledger.there = True
        await bank.stop(5)
        assert world.booked() == [("r-0", PROMPT + 5 * OUT)]
        standing = await world.standing()
        assert (standing.settled, standing.held) == (PROMPT + 5 * OUT, 0)


@pytest.mark.parametrize("on_failure", ["closed", "open"])
async def test_without_its_ledger_it_refuses_or_serves_as_the_operator_says(tmp_path: Path, on_failure: str) -> None:
    """Visibly in both cases; what may have been held all the same goes back."""
    async with money(tmp_path, on_failure=on_failure) as world:
        ledger = away(world)
        bank = world.bank()
        await bank.start()
        ledger.deaf = True
        purse = world.purse(bank, 10_000, max_tokens=5)
        if on_failure == "closed":
            with pytest.raises(LedgerDown):
                await purse.begin([("r-0", "ada")])
        else:
            assert await purse.begin([("r-0", "ada")]) is None
        assert LedgerLost("reserve", on_failure == "open") in world.events
        assert bank.away
        await bank.stop(5)
        assert (await world.standing()).held == 0


async def test_whoever_leaves_while_money_is_being_held_holds_nothing(tmp_path: Path) -> None:
    """Also where the ledger has done it by then."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        for _ in range(20):
            task = asyncio.create_task(world.purse(bank, 10_000, max_tokens=5).begin([("r-0", "ada")]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await bank.stop(5)
        assert (await world.standing()).held == 0


async def test_what_a_dead_replica_held_is_settled_by_what_hosts_counted(tmp_path: Path) -> None:
    """Exactly where a host knows, as nothing where it does not, as all that was held where nobody counts."""
    async with money(tmp_path) as world:
        dead, alive = world.bank("dead"), world.bank("alive")
        await dead.start()
        await alive.start()
        purse = world.purse(dead, 100_000, max_tokens=50, hosted=frozenset({"ada", "bob"}))
        await purse.begin([("r-0", "ada"), ("r-1", "bob"), ("r-2", "cy")])
        for task in dead._tasks:  # killed: it says nothing any more
            task.cancel()
        world.counted["r-0"] = LegTokens(10, 7, exact=True)
        await alive._reap()
        assert (await world.standing()).held == 3 * (PROMPT + 50 * OUT)  # it may be alive
        world.now += world.settings.lease_s + 1
        await alive._beat()
        await alive._reap()
        standing = await world.standing()
        assert standing.held == 0
        assert standing.settled == (PROMPT + 7 * OUT) + 0 + (PROMPT + 50 * OUT)
        entries = {e.leg_id: e.estimated async for e in world.ledger.journal(0, 2e9)}
        assert entries == {"r-0": False, "r-1": True, "r-2": True}
        await alive.stop(5)


async def test_after_an_outage_nobody_is_taken_for_dead_at_once(tmp_path: Path) -> None:
    """Those who live could not say so while the ledger was away: they get the time to."""
    async with money(tmp_path) as world:
        one, other = world.bank("one"), world.bank("other")
        await one.start()
        await other.start()
        purse = world.purse(one, 100_000, max_tokens=50)
        await purse.begin([("r-0", "ada")])
        other._steady_since = None  # its last beat failed
        world.now += world.settings.lease_s + 1
        await other._beat()
        await other._reap()
        assert (await world.standing()).held > 0
        await one._beat()
        world.now += world.settings.lease_s / 2
        await other._reap()
        assert (await world.standing()).held > 0
        purse.close()
        for bank in (one, other):
            await bank.stop(5)


async def test_a_clock_that_is_set_anew_kills_nobody(tmp_path: Path) -> None:
    """Leases are on the old one: those who live get the time to say so on the new one."""
    async with money(tmp_path) as world:
        one, other = world.bank("one"), world.bank("other")
        await one.start()
        await other.start()
        purse = world.purse(one, 100_000, max_tokens=50)
        await purse.begin([("r-0", "ada")])
        world.now += world.settings.lease_s
        for bank in (one, other):
            await bank._beat()
        world.set_by_s = 3600.0
        await other._reap()
        assert (await world.standing()).held > 0
        for task in one._tasks:
            task.cancel()
        world.now += world.settings.lease_s
        await other._reap()  # it has had the time
        assert (await world.standing()).held == 0
        await other.stop(5)


async def test_who_was_away_says_that_it_lives_before_it_holds_money(tmp_path: Path) -> None:
    """What it holds is nobody else's to settle from the first moment on, also where it has never been heard of."""
    async with money(tmp_path) as world:
        one, other = world.bank("one"), world.bank("other")
        await other.start()
        await world.purse(one, 100_000, max_tokens=50).begin([("r-0", "ada")])  # it never began to beat
        world.now += world.settings.lease_s / 2
        await other._reap()
        assert (await world.standing()).held > 0
        world.now += world.settings.lease_s
        await other._beat()
        await world.purse(one, 100_000, "r2", max_tokens=50).begin([("r2-0", "ada")])
        await other._reap()
        assert (await world.standing()).held > 0
        await other.stop(5)


async def test_bookings_of_what_was_held_are_not_crowded_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While requests are served without account, there is nothing to book for them: older ones come first."""
    monkeypatch.setattr("router.bank.MOST_PENDING", 2)
    async with money(tmp_path, on_failure="open") as world:
        ledger = away(world)
        bank = world.bank()
        await bank.start()
        purse = world.purse(bank, 10_000, max_tokens=5)
        await purse.begin([("r-0", "ada")])
        await purse.open("r-0", "ada")
        ledger.there = False
        purse.ended("r-0", Usage(10, 5))
        for number in range(5):
            unpaid = world.purse(bank, 10_000, f"u{number}", max_tokens=5)
            await unpaid.begin([(f"u{number}-0", "ada")])
            unpaid.ended(f"u{number}-0", Usage(10, 5))
        assert LedgerLost("dropped", True) in world.events
        ledger.there = True
        await bank.stop(5)
        standing = await world.standing()
        assert (standing.settled, standing.held) == (PROMPT + 5 * OUT, 0)


async def test_what_is_known_to_be_spent_needs_no_question(tmp_path: Path) -> None:
    """Settled money does not come back within its period."""
    async with money(tmp_path) as world:
        bank: Bank = world.bank()
        await bank.start()
        meter = Meter("tenant/t", "2026-11", PROMPT + 5 * OUT)
        assert bank.left([meter]) == (meter, PROMPT + 5 * OUT)
        purse = world.purse(bank, meter.limit, max_tokens=5)
        await purse.begin([("r-0", "ada")])
        await purse.open("r-0", "ada")
        purse.ended("r-0", Usage(10, 5))
        await becomes_true(lambda: bool(world.booked()))
        assert await world.purse(bank, meter.limit, "r2", max_tokens=5).begin([("r2-0", "ada")]) is not None
        assert bank.left([meter]) == (meter, 0)
        await bank.stop(5)
