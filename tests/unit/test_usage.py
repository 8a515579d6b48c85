"""Sums over the journal: what is asked for, what counts once, money to its last digit."""

from __future__ import annotations

import asyncio
import csv
from datetime import UTC, date, datetime
from typing import Any

import pytest

from router.api.usage import MOST_WAITING, Sums
from router.errors import BadRequest, Overloaded
from router.ledger import Entry
from router.usage import MOST_OPEN, Sum, Usage, exact, report, table, wanted

TODAY = date(2026, 11, 26)
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()


def entry(number: int, request: str, **fields: Any) -> Entry:
    usual: dict[str, Any] = {
        "at": NOON, "tenant": "acme", "key": "ci", "policy": "auto", "expert": "ada", "prompt_tokens": 10,
        "output_tokens": 5, "held": 200, "charged": 100, "overrun": 0, "estimated": False,
    }  # fmt: skip
    return Entry(number=number, request_id=request, leg_id=f"{request}-{number}", **usual | fields)


def summed(by: Any, *entries: Entry) -> Usage:
    sums = Usage(by)
    for each in entries:
        sums.add(each)
    return sums


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("tenant", ["acme", "blue"]),
        ("key", ["ci", "web"]),
        ("day", ["2026-11-26", "2026-11-27"]),
        ("policy", ["auto", "solo"]),
        ("expert", ["ada", "bob"]),
    ],
)
def test_entries_are_summed_by_what_is_asked(by: str, names: list[str]) -> None:
    """Rows by name; days are UTC's."""
    other = entry(2, "b", at=NOON + 43_200, tenant="blue", key="web", policy="solo", expert="bob", charged=7)
    sums = summed(by, other, entry(1, "a"))
    assert [(name, found.charged) for name, found in sums.rows] == list(zip(names, (100, 7), strict=True))
    assert (sums.total.charged, sums.total.requests) == (107, 2)


def test_a_request_counts_once_however_many_calls_it_has() -> None:
    """In each sum that it has calls in, and in the total."""
    sums = summed(
        "expert", entry(1, "a"), entry(2, "b"), entry(3, "a", expert="bob"), entry(4, "a"), entry(5, "b", expert="bob")
    )
    assert [(name, s.requests, s.calls) for name, s in sums.rows] == [("ada", 2, 3), ("bob", 2, 2)]
    assert (sums.total.requests, sums.total.calls) == (2, 5)


def test_memory_is_bounded() -> None:
    """Requests are forgotten, the longest unseen first; those that are still being settled are not."""
    sums = Usage("tenant")
    for number in range(MOST_OPEN + 10):
        sums.add(entry(number, f"r{number}"))
        sums.add(entry(number, "long"))
    assert sums.total.requests == MOST_OPEN + 11
    assert len(sums._open) == MOST_OPEN


def test_what_was_estimated_is_a_share_of_the_money() -> None:
    """And what limits did not allow stands beside what was charged."""
    sums = summed("tenant", entry(1, "a", charged=300), entry(2, "a", charged=100, overrun=9, estimated=True))
    assert sums.total.json() == {
        "requests": 1,
        "calls": 2,
        "prompt_tokens": 20,
        "output_tokens": 10,
        "usd": "0.0000004",
        "overrun_usd": "0.000000009",
        "estimated_share": 0.25,
    }


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (12_300_000, "0.0123"),
        (12_000_000_000, "12.00"),
        (9_007_199_254_740_993_000_000_001, "9007199254740993.000000001"),  # no float holds that
        (-1_500_000_000, "-1.50"),
    ],
)
def test_money_is_printed_exactly(amount: int, text: str) -> None:
    """Every digit there is, and no other."""
    assert exact(amount) == text


def test_without_words_it_is_this_month_by_day() -> None:
    """From its first day up to today, the whole of it."""
    found = wanted({}, TODAY)
    assert (found.span.first, found.span.last, found.by, found.tenant, found.form) == (
        date(2026, 11, 1),
        TODAY,
        "day",
        None,
        "json",
    )
    assert found.span.until - found.span.since == 26 * 86_400
    assert datetime.fromtimestamp(found.span.since, UTC) == datetime(2026, 11, 1, tzinfo=UTC)


def test_every_wish_is_taken() -> None:
    """Days, sums, form, tenant."""
    asked = {"from": "2026-02-01", "until": "2026-02-28", "by": "key", "format": "csv", "tenant": "acme"}
    found = wanted(asked, TODAY)
    assert (found.span.first, found.span.last) == (date(2026, 2, 1), date(2026, 2, 28))
    assert (found.by, found.form, found.tenant) == ("key", "csv", "acme")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"from": "yesterday"}, "from"),
        ({"until": "2026-02-30"}, "until"),
        ({"from": "2026-11-27"}, "from"),
        ({"from": "2024-01-01"}, "from"),
        ({"by": "hour"}, "by"),
        ({"format": "xml"}, "format"),
        ({"til": "2026-01-01"}, "til"),
    ],
)
def test_what_cannot_be_is_named(asked: dict[str, str], param: str) -> None:
    """400 with the parameter at fault."""
    with pytest.raises(BadRequest) as caught:
        wanted(asked, TODAY)
    assert caught.value.param == param


def test_a_tenant_cannot_ask_about_others() -> None:
    """Its own name is not to be given, and no other one is taken."""
    assert wanted({}, TODAY, tenant="acme").tenant == "acme"
    with pytest.raises(BadRequest):
        wanted({"tenant": "blue"}, TODAY, tenant="acme")


def test_the_last_day_of_all_has_an_end() -> None:
    """No date breaks the sums."""
    assert wanted({"from": "9999-12-31", "until": "9999-12-31"}, TODAY).span.until > 0
    assert wanted({"from": "0001-01-01", "until": "0001-01-02"}, TODAY).span.since < 0


def test_json_and_csv_say_the_same() -> None:
    """CSV has a line of names, then the rows; JSON the span and the total besides."""
    of = wanted({"by": "expert"}, TODAY)
    sums = summed("expert", entry(1, "a"), entry(2, "b", expert="bob", estimated=True))
    told = report(sums, of)
    assert (told["from"], told["until"], told["by"], told["total"]) == (
        "2026-11-01",
        "2026-11-26",
        "expert",
        sums.total.json(),
    )
    rows = list(csv.DictReader(table(sums, of).splitlines()))
    assert rows == [{name: str(value) for name, value in row.items()} for row in told["data"]]
    assert table(Usage("day"), wanted({}, TODAY)).splitlines() == [",".join(["day", *Sum().json()])]


async def test_so_many_wait_for_their_report_and_no_more() -> None:
    """One is summed at a time; a journal that is never through stands for a long one."""

    class Endless:
        async def journal(self, since: float, until: float, *, tenant: str | None, after: int = 0) -> Any:
            await asyncio.Event().wait()
            yield

    sums = Sums(Endless())  # type: ignore[arg-type]  # only its journal is read
    waiting = [asyncio.create_task(sums.answer(wanted({}, TODAY))) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await sums.answer(wanted({}, TODAY))
    assert caught.value.status == 429
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert sums._waiting == 0
