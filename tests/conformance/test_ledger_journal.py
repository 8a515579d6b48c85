"""The journal and what is forgotten, over both ledgers: a file in the data folder, and a real Redis."""

from __future__ import annotations

import pytest

from router import ledger_redis, ledger_sqlite
from router.ledger import Entry, Ledger, Meter
from tests.conformance.ledgers import (
    DAY,
    DAY_S,
    FOREVER,
    KEY,
    MONTH,
    NOW,
    Ledgers,
    charge,
    entries,
    hold,
    kept,
    payer,
    stand,
)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few entries take several."""
    for module in (ledger_sqlite, ledger_redis):
        monkeypatch.setattr(module, "PAGE", 3)
        monkeypatch.setattr(module, "FORGOTTEN", 3)


@pytest.fixture
def ledger(ledgers: Ledgers) -> Ledger:
    return ledgers.open()


async def settled(ledger: Ledger, leg_id: str, at: float, tenant: str = "acme") -> None:
    await ledger.reserve(payer(DAY, tenant=tenant), [hold(leg_id, 1)], at)
    await ledger.settle([charge(leg_id, 1)], at)


def legs(found: list[Entry]) -> list[str]:
    return [entry.leg_id for entry in found]


async def test_an_entry_says_who_paid_how_much_for_what(ledger: Ledger) -> None:
    """All that is known of a leg, with the tokens that were charged, not those that were held for."""
    await ledger.reserve(payer(DAY, request="req-1"), [hold("a", 100, "physics")], NOW)
    await ledger.settle([charge("a", 1200, estimated=True)], NOW + 0.25)
    assert await entries(ledger) == [
        Entry(1, NOW + 0.25, "req-1", "a", "acme", "ci", "auto", "physics", 7, 50, 100, 1000, 200, estimated=True)
    ]


async def test_entries_come_in_the_order_of_settling(ledgers: Ledgers, ledger: Ledger) -> None:
    """Whichever replica settled them, and however many pages they fill; numbers rise."""
    other = ledgers.open()
    for number in range(10):
        await settled((ledger, other)[number % 2], f"leg-{number}", NOW + number)
    for reader in (ledger, other):
        found = await entries(reader)
        assert legs(found) == [f"leg-{number}" for number in range(10)]
        assert [entry.number for entry in found] == list(range(1, 11))


async def test_a_part_of_the_journal_is_read_alone(ledger: Ledger) -> None:
    """From a time to another, of one tenant, and on from where a reader was."""
    for number in range(12):
        await settled(ledger, f"leg-{number}", NOW + number * DAY_S / 4, tenant=("acme", "other")[number % 2])
    third_day = await entries(ledger, NOW + 2 * DAY_S, NOW + 3 * DAY_S)
    assert legs(third_day) == ["leg-8", "leg-9", "leg-10", "leg-11"]
    assert legs(await entries(ledger, NOW + DAY_S / 4, NOW + DAY_S / 2)) == ["leg-1"]
    assert legs(await entries(ledger, tenant="other")) == [f"leg-{number}" for number in range(1, 12, 2)]
    assert legs(await entries(ledger, tenant="other", after=9)) == ["leg-9", "leg-11"]
    assert legs(await entries(ledger, after=11)) == ["leg-11"]
    assert await entries(ledger, after=12) == []
    assert await entries(ledger, NOW - DAY_S, NOW) == []
    assert await entries(ledger, NOW + 5 * DAY_S) == []


async def test_clocks_of_replicas_may_differ(ledger: Ledger) -> None:
    """Numbers rise in the order of settling, also where times do not; each entry is found by its own time."""
    for leg_id, at in (("a", NOW + 5), ("b", NOW - 5), ("c", NOW + 1), ("d", NOW - DAY_S), ("e", NOW)):
        await settled(ledger, leg_id, at)
    assert legs(await entries(ledger, NOW)) == ["a", "c", "e"]
    assert legs(await entries(ledger, NOW - 10, NOW)) == ["b"]
    assert legs(await entries(ledger, until=NOW - 10)) == ["d"]


async def test_a_reader_may_stop_and_others_may_settle_meanwhile(ledger: Ledger) -> None:
    """A page is read at a time: what is settled behind the reader's back harms neither."""
    for number in range(5):
        await settled(ledger, f"leg-{number}", NOW)
    seen = []
    async for entry in ledger.journal(0, FOREVER):
        seen.append(entry.leg_id)
        await settled(ledger, f"later-{entry.number}", NOW)
        if len(seen) == 5:
            break
    assert seen == [f"leg-{number}" for number in range(5)]
    assert len(await entries(ledger)) == 10


async def test_what_is_old_is_forgotten_little_by_little(ledger: Ledger) -> None:
    """A bounded number of entries at a time, until none is left that ended before; numbers are not given again."""
    for number in range(8):
        await settled(ledger, f"leg-{number}", NOW + number)
    assert [await ledger.prune(NOW + 7) for _ in range(4)] == [3, 3, 1, 0]
    assert legs(await entries(ledger)) == ["leg-7"]
    assert await ledger.prune(NOW + 8) == 1
    assert await entries(ledger) == []
    await settled(ledger, "new", NOW + 9)
    assert [entry.number for entry in await entries(ledger)] == [9]


async def test_meters_of_periods_that_ended_are_forgotten(ledger: Ledger) -> None:
    """Once nothing is held on them any more; a month ends later than its days."""
    await ledger.reserve(payer(DAY, MONTH, KEY), [hold("a", 5)], NOW)
    await ledger.settle([charge("a", 5)], NOW)
    held = Meter("tenant/acme", "2026-11-25")
    await ledger.reserve(payer(held), [hold("b", 7)], NOW)
    await ledger.prune(NOW + DAY_S - 1)
    assert await stand(ledger, DAY, MONTH, KEY, held) == [(5, 0), (5, 0), (5, 0), (0, 7)]
    await ledger.prune(NOW + DAY_S)
    assert await stand(ledger, DAY, MONTH, KEY, held) == [(0, 0), (5, 0), (0, 0), (0, 7)]
    await ledger.settle([charge("b", 6)], NOW)
    await ledger.prune(NOW + 30 * DAY_S)
    assert await stand(ledger, MONTH, held) == [(0, 0), (0, 0)]


async def test_nothing_is_left_of_what_was_forgotten(ledgers: Ledgers, ledger: Ledger) -> None:
    """Neither rows nor keys: whatever a ledger is for is bounded by how long it is kept."""
    before = await kept(ledgers)
    for number in range(7):
        owner = f"owner-{number}"
        await ledger.beat(owner, NOW, NOW + 1)
        await ledger.reserve(payer(DAY, MONTH, owner=owner), [hold(f"leg-{number}", 5)], NOW)
        await ledger.settle([charge(f"leg-{number}", 5)], NOW + number * DAY_S)
    await ledger.beat("last", NOW + 10 * DAY_S, NOW + 11 * DAY_S)
    await ledger.leave("last")
    while await ledger.prune(NOW + 40 * DAY_S):
        pass
    await ledger.prune(NOW + 40 * DAY_S)
    assert await kept(ledgers) == before
