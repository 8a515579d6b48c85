"""Who asks, and what that one may spend: a key and its tenant as one frozen record. Pure.

Made by whoever authenticates, carried by the ticket; read by admission, the plan, the ledger and the queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from router.config_budgets import Budgets
from router.ledger import Meter

ANONYMOUS = "anonymous"
ALL_SCOPES: frozenset[str] = frozenset({"ask", "feedback", "usage"})


@dataclass(frozen=True, slots=True)
class Account:
    """One thing whose spending is bounded: a tenant, or a key of it. `id` as in the ledger: `tenant/acme`, `key/ci`.

    Money in nanodollars, rates per minute; None: not bounded.
    """

    id: str
    per_day: int | None = None
    per_month: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def bounded(self) -> bool:
        return self.per_day is not None or self.per_month is not None


@dataclass(frozen=True, slots=True)
class Caller:
    """`accounts`: the tenant's, then the key's. `budgets`: level ("tenant", "key") -> what a query may spend.

    `policies` and `experts`: that may be asked; None: all.
    """

    key: str = ANONYMOUS
    tenant: str = "default"
    weight: float = 1.0
    scopes: frozenset[str] = ALL_SCOPES
    policies: frozenset[str] | None = None
    experts: frozenset[str] | None = None
    accounts: tuple[Account, ...] = (Account("tenant/default"),)
    budgets: Mapping[str, Budgets] = field(default_factory=dict)

    def meters(self, now: float) -> tuple[Meter, ...]:
        """What its money counts on, at a time in unix seconds: days and months are UTC's."""
        day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        found = []
        for account in self.accounts:
            if account.per_day is not None:
                found.append(Meter(account.id, day, account.per_day))
            if account.per_month is not None:
                found.append(Meter(account.id, day[:7], account.per_month))
        return tuple(found)


NOBODY = Caller()
