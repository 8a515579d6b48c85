"""Buckets of requests and tokens a minute, over both ledgers: a file in the data folder, and a real Redis."""

from __future__ import annotations

import math

import pytest

from router.ledger import Ledger, Rate, Taken
from tests.conformance.ledgers import DAY_S, NOW, Ledgers

REQUESTS = Rate("key/ci", "requests", 6)
TOKENS = Rate("key/ci", "tokens", 6000)


@pytest.fixture
def ledger(ledgers: Ledgers) -> Ledger:
    return ledgers.open()


def only(taken: Taken) -> tuple[Rate, int, int]:
    """Its only bucket, with whole seconds."""
    (level,) = taken.levels
    assert level.reset_s == pytest.approx(round(level.reset_s))
    return level.rate, level.remaining, round(level.reset_s)


async def test_a_bucket_is_full_at_first_and_gives_what_it_has(ledger: Ledger) -> None:
    """As many at once as a minute allows, then none, with the time until there is one again."""
    for number in range(6):
        taken = await ledger.take([REQUESTS], [1], NOW)
        assert taken.retry_after_s is None
        assert taken.short is None
        assert only(taken) == (REQUESTS, 5 - number, 10 * (number + 1))
    refused = await ledger.take([REQUESTS], [1], NOW)
    assert refused.short == REQUESTS
    assert refused.retry_after_s == pytest.approx(10)
    assert only(refused) == (REQUESTS, 0, 60)


async def test_it_fills_evenly(ledger: Ledger) -> None:
    """Not by the minute: after a part of it there is that part, and never more than a minute's."""
    await ledger.take([REQUESTS], [6], NOW)
    early = await ledger.take([REQUESTS], [1], NOW + 9)
    assert early.retry_after_s == pytest.approx(1)
    assert (await ledger.take([REQUESTS], [1], NOW + 10)).retry_after_s is None
    assert (await ledger.take([REQUESTS], [3], NOW + 40)).levels[0].remaining == 0
    assert (await ledger.take([REQUESTS], [1], NOW + DAY_S)).levels[0].remaining == 5


async def test_all_buckets_give_or_none_does(ledger: Ledger) -> None:
    """The one that is waited for longest is named; what the others have stays."""
    await ledger.take([REQUESTS, TOKENS], [5, 5000], NOW)
    refused = await ledger.take([REQUESTS, TOKENS], [2, 3000], NOW)
    assert refused.short == TOKENS
    assert refused.retry_after_s == pytest.approx(20)
    assert [level.remaining for level in refused.levels] == [1, 1000]
    taken = await ledger.take([TOKENS, REQUESTS], [1000, 1], NOW)
    assert [(level.rate, level.remaining) for level in taken.levels] == [(TOKENS, 0), (REQUESTS, 0)]


async def test_what_no_bucket_holds_is_never_to_be_had(ledger: Ledger) -> None:
    """Waiting does not help: the time is infinite."""
    refused = await ledger.take([REQUESTS, TOKENS], [1, 6001], NOW)
    assert refused.short == TOKENS
    assert refused.retry_after_s == math.inf


async def test_corrections_are_taken_in_any_case(ledger: Ledger) -> None:
    """Below zero where more was used than was there, which is waited for; what was taken too much comes back."""
    taken = await ledger.take([TOKENS], [9000], NOW, force=True)
    assert only(taken) == (TOKENS, -3000, 90)
    refused = await ledger.take([TOKENS], [1], NOW)
    assert refused.retry_after_s == pytest.approx(30.01)
    assert (await ledger.take([TOKENS], [-4000], NOW, force=True)).levels[0].remaining == 1000
    assert (await ledger.take([TOKENS], [-90_000], NOW, force=True)).levels[0].remaining == 6000


async def test_replicas_share_them_whatever_their_clocks_say(ledgers: Ledgers, ledger: Ledger) -> None:
    """What one has taken another has not; a clock that is behind fills nothing a second time."""
    behind = ledgers.open()
    await ledger.take([REQUESTS], [6], NOW)
    await ledger.take([REQUESTS], [1], NOW + 10)
    for at in (NOW + 9, NOW, NOW - 3600, NOW + 10):
        refused = await behind.take([REQUESTS], [1], at)
        assert refused.retry_after_s == pytest.approx(10)
    assert (await behind.take([REQUESTS], [1], NOW + 20)).retry_after_s is None


async def test_an_operator_may_change_what_they_hold(ledger: Ledger) -> None:
    """A smaller one is full of less; a larger one fills from where it was."""
    await ledger.take([TOKENS], [0], NOW)
    smaller, larger = Rate("key/ci", "tokens", 60), Rate("key/ci", "tokens", 600)
    assert (await ledger.take([smaller], [20], NOW)).levels[0].remaining == 40
    assert (await ledger.take([larger], [0], NOW)).levels[0].remaining == 40
    assert (await ledger.take([larger], [0], NOW + 6)).levels[0].remaining == 100


async def test_large_rates_lose_nothing(ledger: Ledger) -> None:
    """Units are whole, and so is every sum of them, up to the last one."""
    large = Rate("tenant/acme", "tokens", 1_000_000_000)
    for number in range(1, 8):
        taken = await ledger.take([large], [1], NOW + number / 7e12)
        assert taken.levels[0].remaining == 1_000_000_000 - number
    assert (await ledger.take([large], [1_000_000_000 - 7], NOW)).levels[0].remaining == 0
