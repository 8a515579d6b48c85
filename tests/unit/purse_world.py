"""A real ledger in a folder, a bank on it, and purses of requests: what tests of money begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experts.client import LegTokens
from router.bank import Bank
from router.config import LedgerSettings
from router.events import Booked, Event
from router.ledger import Ledger, Meter, Payer, Standing
from router.ledger_sqlite import SqliteLedger
from router.outlook import Outlook
from router.purse import Purse, Terms

NOW = 1_796_000_000.0
OUT = 10  # nanodollars an output token; a prompt costs PROMPT in all
PROMPT = 100


def outlook(expert: str, **fields: Any) -> Outlook:
    return Outlook(expert, **{"prompt_tokens": 10, "prompt_nanos": PROMPT, "token_nanos": OUT, "room": 1000} | fields)


@dataclass
class MoneyWorld:
    """`counted`: leg id -> what its host would say."""

    ledger: Ledger
    settings: LedgerSettings
    events: list[Event] = field(default_factory=list)
    counted: dict[str, LegTokens] = field(default_factory=dict)
    now: float = NOW
    set_by_s: float = 0.0  # unix time was set anew by so much

    def bank(self, owner: str = "me") -> Bank:
        async def count(expert: str, leg_id: str) -> LegTokens | None:
            return self.counted.get(leg_id)

        return Bank(
            self.ledger,
            self.settings,
            owner,
            clock=lambda: self.now,
            now=lambda: self.now + self.set_by_s,
            count=count,
            price=price,
            emit=self.events.append,
        )

    def purse(self, bank: Bank, limit: int | None, request_id: str = "r", **terms: Any) -> Purse:
        meters = () if limit is None else (Meter("tenant/t", "2026-11", limit),)
        payer = Payer(request_id, "t", "k", "auto", bank.owner, meters)
        given = {"outlooks": {name: outlook(name) for name in ("ada", "bob", "cy")}} | terms
        return Purse(bank, payer, Terms(**given), price)

    async def standing(self) -> Standing:
        (found,) = await self.ledger.standing([Meter("tenant/t", "2026-11")])
        return found

    def booked(self) -> list[tuple[str, int]]:
        return [(e.leg_id, e.charged) for e in self.events if isinstance(e, Booked)]


def price(expert: str, prompt: int, output: int) -> int:
    return prompt * (PROMPT // 10) + output * OUT


@asynccontextmanager
async def money(folder: Path, **settings: Any) -> AsyncIterator[MoneyWorld]:
    ledger = SqliteLedger(folder)
    try:
        yield MoneyWorld(ledger, LedgerSettings(**settings))
    finally:
        await ledger.close()
