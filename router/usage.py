"""What tenants used and what it cost: sums over the ledger's journal, by tenant, key, day, policy or expert. Pure.

Memory is bounded by how many sums there are, whatever the journal's length. Money is whole nanodollars throughout, and
printed as an exact decimal.
"""

from __future__ import annotations

import csv
import io
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Literal, get_args

from router.errors import BadRequest
from router.ledger import Entry
from router.money import NANOS

By = Literal["tenant", "key", "day", "policy", "expert"]
Format = Literal["json", "csv"]
MOST_OPEN = 20_000  # requests that are remembered, so that their calls count as one
MOST_DAYS = 400
_OF: Final[Mapping[By, Callable[[Entry], str]]] = {
    "tenant": lambda entry: entry.tenant,
    "key": lambda entry: entry.key,
    "day": lambda entry: _day(entry.at),
    "policy": lambda entry: entry.policy,
    "expert": lambda entry: entry.expert,
}


@dataclass(frozen=True, slots=True)
class Span:
    """Days in UTC, the last one included."""

    first: date
    last: date

    @property
    def since(self) -> float:
        return _midnight(self.first)

    @property
    def until(self) -> float:
        return _midnight(self.last) + 86_400


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sums, of whose entries; `tenant` None: everybody's."""

    span: Span
    by: By
    tenant: str | None
    form: Format


@dataclass(slots=True)
class Sum:
    """Money in nanodollars. `overrun`: used beyond what limits allowed, and charged to nobody. `estimated`: of what was
    charged, the part whose tokens nobody counted exactly.
    """

    requests: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    charged: int = 0
    overrun: int = 0
    estimated: int = 0

    def add(self, entry: Entry, *, new: bool) -> None:
        """`new`: it is the first call of its request here."""
        self.requests += new
        self.calls += 1
        self.prompt_tokens += entry.prompt_tokens
        self.output_tokens += entry.output_tokens
        self.charged += entry.charged
        self.overrun += entry.overrun
        self.estimated += entry.charged if entry.estimated else 0

    def json(self) -> dict[str, Any]:
        """Money as a decimal in a text: a number would be read as a float."""
        return {
            "requests": self.requests,
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "usd": exact(self.charged),
            "overrun_usd": exact(self.overrun),
            "estimated_share": round(self.estimated / self.charged, 4) if self.charged else 0.0,
        }


class Usage:
    """Sums of journal entries, which are given in the order of the journal.

    A request counts once in each sum that it has calls in, as long as fewer than MOST_OPEN others came between two of
    its calls.
    """

    def __init__(self, by: By) -> None:
        self._of = _OF[by]
        self._sums: dict[str, Sum] = {}
        self.total = Sum()
        self._open: OrderedDict[str, set[str]] = OrderedDict()  # request -> the sums that it counts in

    def add(self, entry: Entry) -> None:
        name = self._of(entry)
        counted = self._open.setdefault(entry.request_id, set())
        self._open.move_to_end(entry.request_id)
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        self.total.add(entry, new=not counted)
        self._sums.setdefault(name, Sum()).add(entry, new=name not in counted)
        counted.add(name)

    @property
    def rows(self) -> list[tuple[str, Sum]]:
        """By name."""
        return sorted(self._sums.items(), key=lambda row: row[0])


def wanted(asked: Mapping[str, str], today: date, tenant: str | None = None) -> Wanted:
    """What a query string asks for. Without `from` it is of the month up to today.

    Args:
        tenant: the only one that may be asked about; None: whichever is named, or all.

    Raises:
        BadRequest: with the parameter at fault.
    """
    known = {"from", "until", "by", "format"} | ({"tenant"} if tenant is None else set())
    for name in sorted(asked.keys() - known):
        raise BadRequest(f"Unknown parameter '{name}'.", code="unknown_parameter", param=name)
    last = _date(asked, "until", today)
    first = _date(asked, "from", last.replace(day=1))
    if not first <= last:
        raise BadRequest("'from' must not be after 'until'.", code="invalid_value", param="from")
    if (last - first).days >= MOST_DAYS:
        raise BadRequest(f"At most {MOST_DAYS} days can be summed at once.", code="invalid_value", param="from")
    by = _one_of(asked, "by", get_args(By), "day")
    form = _one_of(asked, "format", get_args(Format), "json")
    return Wanted(Span(first, last), by, asked.get("tenant", tenant), form)


def report(sums: Usage, of: Wanted) -> dict[str, Any]:
    """The whole of it, as JSON."""
    return {
        "object": "usage",
        "tenant": of.tenant,
        "from": of.span.first.isoformat(),
        "until": of.span.last.isoformat(),
        "by": of.by,
        "data": [{of.by: name, **found.json()} for name, found in sums.rows],
        "total": sums.total.json(),
    }


def table(sums: Usage, of: Wanted) -> str:
    """The rows as CSV, with a line that names the columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([of.by, *Sum().json()])
    writer.writerows([name, *found.json().values()] for name, found in sums.rows)
    return text.getvalue()


def exact(amount: int) -> str:
    """Nanodollars as US dollars: "0.0123", "12.00"; every digit there is, and at least two behind the point."""
    whole, rest = divmod(abs(amount), NANOS)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{digits}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _date(asked: Mapping[str, str], name: str, default: date) -> date:
    if name not in asked:
        return default
    try:
        return date.fromisoformat(asked[name])
    except ValueError as error:
        raise BadRequest(f"'{name}' must be a day: 2026-11-26.", code="invalid_value", param=name) from error


def _one_of(asked: Mapping[str, str], name: str, known: Iterable[Any], default: Any) -> Any:
    value = asked.get(name, default)
    if value not in known:
        raise BadRequest(f"'{name}' must be one of {', '.join(known)}.", code="invalid_value", param=name)
    return value
