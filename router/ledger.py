"""Money: held before a leg starts, settled by what it used, never spent twice. The contract; who keeps it is elsewhere.

    reserve   all holds of a request, or none, in one atomic step, within every meter
    renew     one hold grows, or a leg that was not planned gets one
    pass_on   one hold becomes another leg's
    settle    a hold becomes a charge and a journal entry, in one transaction; once, however often it is asked for
    orphans   holds of replicas that were not heard of for too long, for whoever settles them

Amounts are whole nanodollars. Times are unix seconds, of the caller's. A meter never shows more settled and held
together than its limit: what a leg used beyond its hold is charged as far as the limits of its meters allow, and the
rest is in the journal as `overrun`, which nobody pays.

`ledger_sqlite.py` and `ledger_redis.py` keep to it; `tests/conformance/test_ledger.py` runs over both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


class LedgerUnavailable(Exception):
    """It did not answer in time, or its file or server is not there. What was asked may or may not have been done."""


@dataclass(frozen=True, slots=True)
class Meter:
    """What one account may spend in one period: "2026-11-26" or "2026-11", UTC. `limit` None: it is only counted."""

    account: str
    period: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Money set aside for one leg. `hosted`: whether our own engine counts its tokens. `tokens`: prompt and output that
    it covers, for the journal of a leg of which nothing else is known.
    """

    leg_id: str
    expert: str
    amount: int
    hosted: bool = False
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose request it is, and every meter that its money counts on. `owner`: the router replica that runs it."""

    request_id: str
    tenant: str
    key: str
    policy: str
    owner: str
    meters: tuple[Meter, ...] = ()


@dataclass(frozen=True, slots=True)
class Charge:
    """What a leg has used: `amount` is what its tokens cost. `estimated`: nobody counted them exactly.

    Numbers are taken as servers say them; what is beyond reason is booked as the most that there may be.
    """

    leg_id: str
    amount: int
    prompt_tokens: int
    output_tokens: int
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """One charge as it was booked. `held`: what was set aside for it; `charged` + `overrun` is its amount."""

    leg_id: str
    tenant: str
    held: int
    charged: int
    overrun: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class Short:
    """Why money could not be held: the meter that would be over, and how it stands. `asked`: what was to be held.

    `passing`: what is settled alone leaves room, so it may be had once other requests have ended.
    """

    meter: Meter
    settled: int
    held: int
    asked: int

    @property
    def passing(self) -> bool:
        return self.meter.limit is None or self.settled + self.asked <= self.meter.limit


@dataclass(frozen=True, slots=True)
class Standing:
    """How a meter stands."""

    meter: Meter
    settled: int
    held: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket of an account: so many `unit` a minute, as many at once; it fills evenly."""

    account: str
    unit: Literal["requests", "tokens"]
    per_minute: int


@dataclass(frozen=True, slots=True)
class Level:
    """How a bucket stands. `remaining`: whole units, below zero after a correction. `reset_s`: until it is full."""

    rate: Rate
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """`levels` in the order asked for. `retry_after_s`: None where it was taken, else when it could be: infinity where
    a bucket does not hold so much.
    """

    levels: tuple[Level, ...]
    retry_after_s: float | None = None
    short: Rate | None = None


@dataclass(frozen=True, slots=True)
class Orphan:
    """A hold whose owner's lease is over."""

    payer: Payer
    hold: Hold


@dataclass(frozen=True, slots=True)
class Entry:
    """One settlement in the journal. Numbers rise in the order of settling; none is given twice."""

    number: int
    at: float
    request_id: str
    leg_id: str
    tenant: str
    key: str
    policy: str
    expert: str
    prompt_tokens: int
    output_tokens: int
    held: int
    charged: int
    overrun: int
    estimated: bool


class Ledger(Protocol):
    """All methods raise LedgerUnavailable. Safe to call from many replicas at once, and again after an error."""

    async def reserve(self, payer: Payer, holds: Sequence[Hold], now: float) -> Short | None:
        """Holds all of it, or nothing and says why. A leg id that has a hold, or was settled, is not held twice.

        The payer's owner must have a lease (`beat`).
        """

    async def renew(self, payer: Payer, hold: Hold, now: float) -> Short | None:
        """The leg's hold grows by `hold.amount` and its output tokens, on the meters and within the limits that it was
        made with; a leg that has none gets one. A settled leg gets nothing: None. Asked for twice, it grows twice.
        """

    async def pass_on(self, leg_id: str, payer: Payer, hold: Hold, now: float) -> Short | None:
        """A leg that has used nothing leaves its money to another one, in one step: nobody comes between. Where the new
        hold is larger than there is room for, the old one stays. A leg that has no hold has none to leave.
        """

    async def settle(self, charges: Sequence[Charge], now: float) -> tuple[Settled, ...]:
        """Books each charge whose leg has a hold, and its journal entry; a leg without one was settled: left out."""

    async def void(self, leg_ids: Sequence[str], now: float) -> None:
        """Frees holds of legs that were never sent; no journal entry. Such a leg may be held again."""

    async def standing(self, meters: Sequence[Meter]) -> tuple[Standing, ...]:
        """In the order asked for; zeros where nothing was ever held."""

    async def take(self, rates: Sequence[Rate], units: Sequence[int], now: float, *, force: bool = False) -> Taken:
        """Takes so many units of each bucket, or nothing of any. `force`: in any case, also below zero; units may be
        negative then: what was taken too much is given back. No bucket is named twice.
        """

    async def beat(self, owner: str, now: float, until: float) -> None:
        """The owner lives, and its holds with it, until then."""

    async def leave(self, owner: str) -> None:
        """The owner has ended: what it still holds is orphaned now."""

    async def orphans(self, now: float, most: int = 100) -> tuple[Orphan, ...]:
        """Holds of owners whose lease is over, or that never had one."""

    def journal(self, since: float, until: float, *, tenant: str | None = None, after: int = 0) -> AsyncIterator[Entry]:
        """Entries with since <= at < until and a number above `after`, in the order of their numbers."""

    async def prune(self, before: float) -> int:
        """Forgets journal entries, and meters of periods, that ended before, some hundreds at once; how many entries
        went. To be asked again until none does.
        """

    async def close(self) -> None:
        """What was asked for before is done first."""
