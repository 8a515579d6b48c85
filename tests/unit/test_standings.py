"""How tenants stand is looked up in the ledger, again and again; a ledger that is away is said, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from router import standings
from router.config import Config
from router.config_file import load
from router.events import Event, LedgerLost
from router.ledger import Charge, Hold, LedgerUnavailable, Meter, Payer, Standing
from router.ledger_sqlite import SqliteLedger
from router.money import NANOS
from router.standings import Stand, Standings, meters
from tests.support import becomes_true
from tests.unit.make import YAML, yaml_file

NOW = 1_795_694_400.0  # 2026-11-26, noon in UTC
DAY, MONTH = Meter("tenant/acme", "2026-11-26", 2 * NANOS), Meter("tenant/acme", "2026-11", 30 * NANOS)
TENANTS = "tenants: {acme: {usd_per_day: 2, usd_per_month: 30}, free: {}, own: {usd_per_month: 1}}\n"


def config(folder: Path, tenants: str = TENANTS) -> Config:
    """Of three tenants, two of them with budgets."""
    return load(yaml_file(folder, YAML + tenants))


class Away:
    """The ledger, when it is not `there`."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.ledger, self.there = ledger, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    async def standing(self, asked: Sequence[Meter]) -> tuple[Standing, ...]:
        if not self.there:
            raise LedgerUnavailable
        return await self.ledger.standing(asked)


def test_meters_are_those_of_tenants_with_budgets(tmp_path: Path) -> None:
    """Of the running day and month, in UTC; who has no budget for a period has no meter of it."""
    assert meters(config(tmp_path), NOW) == {
        ("acme", "day"): DAY,
        ("acme", "month"): MONTH,
        ("own", "month"): Meter("tenant/own", "2026-11", NANOS),
    }
    assert meters(config(tmp_path, ""), NOW) == {}


async def test_what_the_ledger_says_is_shown_and_shown_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start already; while the ledger is away that is said, and shown again as soon as it is back."""
    monkeypatch.setattr(standings, "EVERY_S", 0.01)
    ledger = Away(SqliteLedger(tmp_path))
    shown: list[Mapping[Stand, Standing]] = []
    events: list[Event] = []
    loaded = config(tmp_path)
    found = Standings(ledger, lambda: loaded, lambda: NOW, shown.append, events.append)
    await ledger.beat("me", NOW, NOW + 60)
    payer = Payer("r", "acme", "key", "auto", "me", (DAY, MONTH))
    assert await ledger.reserve(payer, [Hold("r-0", "ada", NANOS), Hold("r-1", "ada", NANOS // 2)], NOW) is None
    await ledger.settle([Charge("r-0", NANOS // 4, 1, 1)], NOW)
    try:
        await found.start()
        assert shown[-1]["acme", "day"] == Standing(DAY, NANOS // 4, NANOS // 2)
        assert shown[-1]["own", "month"] == Standing(Meter("tenant/own", "2026-11", NANOS), 0, 0)
        ledger.there = False
        await becomes_true(lambda: LedgerLost("standing", open=False) in events)
        times = len(shown)
        ledger.there = True
        await becomes_true(lambda: len(shown) > times)
    finally:
        await found.stop()
        await ledger.close()


async def test_without_budgets_it_still_says_whether_the_ledger_is_there(tmp_path: Path) -> None:
    """Nothing is shown of anybody, but the ledger was asked."""
    ledger = Away(SqliteLedger(tmp_path))
    shown: list[Mapping[Stand, Standing]] = []
    events: list[Event] = []
    loaded = config(tmp_path, "")
    for there in (True, False):
        ledger.there = there
        found = Standings(ledger, lambda: loaded, lambda: NOW, shown.append, events.append)
        await found.start()
        await found.stop()
    assert (shown, events) == ([{}], [LedgerLost("standing", open=False)])
    await ledger.close()
