"""What an operator decides about time and money: budgets of queries, tenants, the ledger, how many calls at once.

A part of `router/config.py`, which is where everybody else takes it from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from experts.spec import Name, Spec, Wrong

Scope = Literal["ask", "feedback", "usage"]
DEFAULT_TENANT = "default"
SQLITE = "sqlite"


class QueryBudget(Spec):
    """What one query may spend; what is not said is not bounded here.

    `deadline_ms`: from its arrival to the end of its answer. `max_cost_usd`: of all its calls together. `max_tokens`:
    that all experts together may generate. `max_experts`: that may be convened. `min_confidence`: P(right) from which
    no more is spent on being surer.
    """

    deadline_ms: float | None = Field(default=None, gt=0)
    max_cost_usd: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, ge=1)
    max_experts: int | None = Field(default=None, ge=1)
    min_confidence: float | None = Field(default=None, gt=0, lt=1)


class Budgets(Spec):
    """Budgets of the queries of a policy, a tenant, a key or all; of several that speak of one, the tightest holds.

    `default`: of a query that does not say. `ceiling`: beyond it a query is refused.
    """

    default: QueryBudget = QueryBudget()
    ceiling: QueryBudget = QueryBudget()

    def contradictions(self) -> Iterator[Wrong]:
        for name in QueryBudget.model_fields:
            usual, most = getattr(self.default, name), getattr(self.ceiling, name)
            if usual is not None and most is not None and usual > most:
                yield ("default", name), f"must not exceed ceiling.{name}"


class Grants(Spec):
    """What may be spent and asked, by a tenant or by one of its keys.

    `usd_per_day` and `usd_per_month`: money, of days and months in UTC; null: not bounded. `requests_per_minute` and
    `tokens_per_minute`: rates; prompts count, and what is generated. `policies`: the models that may be asked, of those
    that route; null: all. `experts`: that may be convened, or asked by name; null: all. `budget`: of each query.
    """

    usd_per_day: float | None = Field(default=None, ge=0)
    usd_per_month: float | None = Field(default=None, ge=0)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    policies: tuple[Name, ...] | None = None
    experts: tuple[Name, ...] | None = None
    budget: Budgets = Budgets()


class Tenant(Grants):
    """Somebody who pays: what all its keys together may spend.

    `weight`: its share of an expert that cannot serve all at once, beside other tenants' weights. `description`: for
    people.
    """

    weight: float = Field(default=1.0, gt=0, le=1000)
    description: str = ""


class ApiKey(Grants):
    """A client key, stored as a digest (`symposium keys digest` makes one; `keys make` needs no line here).

    `name`: whose it is. `sha256`: of the whole key, 64 hex digits. `tenant`: who pays for it. `scopes`: what it is for:
    to `ask`, to give `feedback`, to read its tenant's `usage`.
    """

    name: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenant: Name = DEFAULT_TENANT
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = ("ask", "feedback")


class LedgerSettings(Spec):
    """Where money is kept. `ledger: redis://…` alone is short for its `url`.

    `url`: `sqlite` is a file in the data folder, for replicas that share it; `redis://host:6379/0` serves several
    nodes. `on_failure`: while the ledger cannot be reached, requests are refused (`closed`) or served without account,
    visibly (`open`). `timeout_s`: after so long it counts as not reached. `lease_s`: a router replica that was not
    heard of for so long is dead: what it held is settled by what experts counted, and released. `slice_tokens`: where
    the worst case of an answer is long, more is held by so much at most while it is generated. `keep_days`: of the
    journal.
    """

    SHORT = "url"

    url: str = Field(default=SQLITE, pattern=r"^(sqlite|rediss?://\S+|unix://\S+)$", repr=False)
    on_failure: Literal["closed", "open"] = "closed"
    timeout_s: float = Field(default=1.0, gt=0)
    lease_s: float = Field(default=15.0, ge=1)
    slice_tokens: int = Field(default=1024, ge=16)
    keep_days: int = Field(default=400, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {cls.SHORT: value} if isinstance(value, str) else value


class Concurrency(Spec):
    """How many calls of one expert a router replica has under way, found by the first tokens' delay; and its queue.

    `least`, `first` and `most`: bounds of the number, and where it begins. `tolerance`: so many times the undisturbed
    delay is no sign of overload. `queued_requests` and `queued_tokens`: bounds of what may wait.
    """

    least: int = Field(default=2, ge=1)
    first: int = Field(default=32, ge=1)
    most: int = Field(default=512, ge=1)
    tolerance: float = Field(default=2.0, ge=1)
    queued_requests: int = Field(default=256, ge=0)
    queued_tokens: int = Field(default=1_000_000, ge=0)

    def contradictions(self) -> Iterator[Wrong]:
        if not self.least <= self.first <= self.most:
            yield (), "least, first and most must not fall"
