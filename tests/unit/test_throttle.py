"""Rates over a real ledger: what a request draws, when nobody is asked, what is corrected behind requests' backs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from router import throttle
from router.caller import Account, Caller
from router.config import LedgerSettings
from router.errors import LedgerDown, RateLimited
from router.events import Event, Finished, LedgerLost, Outcome, Turned
from router.ledger import Ledger, Rate, Taken
from router.ledger_sqlite import SqliteLedger
from router.rate_limits import ANSWER_TOKENS
from router.records import Decision, Needs, Plan, Query, Reply, Ticket, Usage
from router.response import Response, unheard
from router.throttle import Throttle
from tests.support import becomes_equal

START = 1_000_000.0
ACME = Caller("ci", "acme", accounts=(Account("tenant/acme", None, None, 60, 6000), Account("key/ci", None, None, 2)))
TOKENS = Rate("tenant/acme", "tokens", 6000)


def query(max_tokens: int | None = 100, text: str = "") -> Query:
    return Query("req", "auto", text, {}, Needs(), (text,), max_tokens)


@dataclass
class Counting:
    """A real ledger, and how often it was asked to take something."""

    ledger: SqliteLedger
    taken: int = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.ledger, name)

    async def take(self, rates: Sequence[Rate], units: Sequence[int], now: float, *, force: bool = False) -> Taken:
        self.taken += not force
        return await self.ledger.take(rates, units, now, force=force)


@dataclass
class Scene:
    """A throttle at times of its own."""

    ledger: Counting
    seconds: float = START
    events: list[Event] = field(default_factory=list)

    def throttle(self, **settings: object) -> Throttle:
        ledger: Ledger = self.ledger  # type: ignore[assignment]  # the methods that it does not count are the ledger's
        return Throttle(
            ledger,
            LedgerSettings.model_validate(settings),
            clock=lambda: self.seconds,
            now=lambda: self.seconds,
            emit=self.events.append,
        )

    async def tokens(self) -> int:
        """What is left in the tenant's bucket of tokens."""
        taken = await self.ledger.ledger.take([TOKENS], [0], self.seconds, force=True)
        return taken.levels[0].remaining


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    ledger = SqliteLedger(tmp_path)
    yield Scene(Counting(ledger))
    await ledger.close()


def ended(request_id: str, prompt: int, output: int, outcome: Outcome = "answered") -> Finished:
    asked = query()
    response = Response(
        Decision(asked, Ticket("ci", 0.0), "1", "auto", Plan((("ada",),), "single", (), "one")), unheard
    )
    response.ended.append(("answer", Reply("ada", "leg", (), Usage(prompt, output), 0.0)))
    return Finished("auto", outcome, 200, 1.0, request_id, response=response)


async def test_who_has_no_rates_costs_no_question(scene: Scene) -> None:
    """No call of the ledger, no headers."""
    throttle = scene.throttle()
    throttle.check(Caller())
    assert await throttle.take(Caller(), "req", query()) == {}
    assert scene.ledger.taken == 0


async def test_a_request_draws_from_every_bucket_in_one_step(scene: Scene) -> None:
    """And is told how the tightest stand."""
    assert await scene.throttle().take(ACME, "req", query(text="x" * 30)) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5890",
        "x-ratelimit-reset-tokens": "1.1s",
    }
    assert scene.ledger.taken == 1


async def test_a_wrong_request_counts_and_takes_no_tokens(scene: Scene) -> None:
    """Whoever sends nothing but nonsense comes to an end, too."""
    throttle = scene.throttle()
    for left in ("1", "0"):
        found = await throttle.take(ACME, "req", None)
        assert (found["x-ratelimit-remaining-requests"], found["x-ratelimit-remaining-tokens"]) == (left, "6000")
    with pytest.raises(RateLimited):
        await throttle.take(ACME, "req", None)


async def test_a_bucket_that_is_short_is_known_until_it_fills(scene: Scene) -> None:
    """Refused with the time to wait; until then nobody asks the ledger, also not before the body is read."""
    throttle = scene.throttle()
    for _ in range(2):
        await throttle.take(ACME, "req", query())
    with pytest.raises(RateLimited) as caught:
        await throttle.take(ACME, "req", query())
    assert caught.value.headers()["retry-after"] == "30"
    assert "key 'ci': 2 requests per minute, 0 left" in caught.value.message
    asked = scene.ledger.taken
    scene.seconds += 10.5
    with pytest.raises(RateLimited) as caught:
        throttle.check(ACME)
    assert caught.value.headers()["retry-after"] == "20"  # 19.5
    assert caught.value.headers()["x-ratelimit-limit-requests"] == "2"
    with pytest.raises(RateLimited):
        await throttle.take(ACME, "req", query())
    assert scene.ledger.taken == asked
    scene.seconds += 19.6
    throttle.check(ACME)
    await throttle.take(ACME, "req", query())
    assert scene.ledger.taken == asked + 1
    assert scene.events == [Turned("acme", "", "rate_limit_exceeded", "requests")] * 3


async def test_a_small_request_passes_where_a_large_one_has_to_wait(scene: Scene) -> None:
    """What is known of a bucket of tokens is how much of it can be had when."""
    throttle, caller = scene.throttle(), replace(ACME, accounts=ACME.accounts[:1])
    await throttle.take(caller, "req", query(5000))
    with pytest.raises(RateLimited, match=r"6000 tokens per minute, 1000 left. Try again in 10s"):
        await throttle.take(caller, "req", query(2000))
    throttle.check(caller)
    with pytest.raises(RateLimited, match="Try again in 5s"):
        await throttle.take(caller, "req", query(1500))
    assert scene.ledger.taken == 2
    found = await throttle.take(caller, "req", query(900))
    assert found["x-ratelimit-remaining-tokens"] == "100"


async def test_what_no_bucket_ever_holds_is_refused_and_counts_as_a_request(scene: Scene) -> None:
    """And as turned away; it is told how the buckets stand, and no tokens are drawn."""
    with pytest.raises(RateLimited, match="too large") as caught:
        await scene.throttle().take(ACME, "req", query(6001))
    assert not caught.value.again
    assert int(caught.value.more_headers["x-ratelimit-remaining-requests"]) < 60
    assert caught.value.more_headers["x-ratelimit-remaining-tokens"] == "6000"
    assert scene.ledger.taken == 1
    assert scene.events == [Turned("acme", "", "rate_limit_exceeded", "tokens")]


async def test_what_was_used_in_truth_corrects_what_was_drawn(scene: Scene) -> None:
    """More or less than expected, of all experts together; once."""
    throttle = scene.throttle()
    for request_id, prompt, output in (("more", 200, 400), ("less", 10, 20)):
        await throttle.take(ACME, request_id, query())
        for _ in range(2):
            throttle.emit(ended(request_id, prompt, output))
        await throttle.stop(10.0)
    assert await scene.tokens() == 6000 - 600 - 30


async def test_a_request_that_came_to_nothing_gives_its_tokens_back(scene: Scene) -> None:
    """It stays a request."""
    throttle = scene.throttle()
    found = await throttle.take(ACME, "req", query(None))
    assert found["x-ratelimit-remaining-tokens"] == str(6000 - ANSWER_TOKENS)
    throttle.emit(Finished("", "refused", 503, 0.1, "req"))
    await throttle.stop(10.0)
    assert await scene.tokens() == 6000


async def test_who_leaves_early_gets_nothing_back(scene: Scene) -> None:
    """What its expert had generated by then is not known here; what is known beyond the estimate counts."""
    throttle = scene.throttle()
    for request_id, output in (("early", 0), ("late", 300)):
        await throttle.take(ACME, request_id, query())
        throttle.emit(ended(request_id, 0, output, "cancelled"))
        await throttle.stop(10.0)
    assert await scene.tokens() == 6000 - 100 - 300


async def test_tokens_that_come_back_end_the_waiting(scene: Scene) -> None:
    """The ledger is asked again as soon as there may be enough."""
    throttle, caller = scene.throttle(), replace(ACME, accounts=ACME.accounts[:1])
    await throttle.take(caller, "req", query(6000))
    with pytest.raises(RateLimited):
        await throttle.take(caller, "other", query(2000))
    throttle.emit(ended("req", 0, 10))
    await throttle.stop(10.0)
    assert (await throttle.take(caller, "other", query(2000)))["x-ratelimit-remaining-tokens"] == "3990"


async def test_corrections_of_many_requests_go_together(scene: Scene) -> None:
    """What is owed is a number for each bucket, however many requests have ended."""
    throttle, caller = scene.throttle(), replace(ACME, accounts=(Account("tenant/acme", None, None, None, 6000),))
    for number in range(50):
        await throttle.take(caller, f"req-{number}", query(10))
    for number in range(50):
        throttle.emit(ended(f"req-{number}", 0, 11))
    assert len(throttle._owed) == 1
    await becomes_equal(lambda: len(throttle._owed), 0)
    await throttle.stop(10.0)
    assert await scene.tokens() == 6000 - 50 * 11
    assert not throttle._drawn


@pytest.mark.parametrize("policy", ["open", "closed"])
async def test_where_the_ledger_is_away_the_operators_choice_holds(scene: Scene, policy: str) -> None:
    """Refused with 503, or served without rates; visibly in both cases, and corrections are dropped."""
    throttle = scene.throttle(on_failure=policy)
    await throttle.take(ACME, "before", query())
    await scene.ledger.ledger.close()
    if policy == "open":
        assert await throttle.take(ACME, "req", query()) == {}
    else:
        with pytest.raises(LedgerDown) as caught:
            await throttle.take(ACME, "req", query())
        assert (caught.value.status, caught.value.code) == (503, "ledger_down")
    throttle.emit(ended("before", 1, 1))
    await throttle.stop(10.0)
    assert scene.events == [LedgerLost("take", policy == "open")] * 2
    assert not throttle._owed


async def test_a_ledger_that_is_away_is_not_waited_for_by_every_request(scene: Scene) -> None:
    """One asks each second; the others are served, or refused, at once."""
    throttle = scene.throttle(on_failure="open")
    await scene.ledger.ledger.close()
    for _ in range(3):
        assert await throttle.take(ACME, "req", query()) == {}
    assert (scene.ledger.taken, len(scene.events)) == (1, 3)
    scene.seconds += 1
    assert await throttle.take(ACME, "req", query()) == {}
    assert scene.ledger.taken == 2


async def test_what_is_remembered_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over goes first; where all of it still holds, all goes: the ledger knows."""
    monkeypatch.setattr(throttle, "MOST_KNOWN", 2)
    door = scene.throttle()

    async def refuse(name: str, per_minute: int) -> None:
        caller = Caller(accounts=(Account(name, None, None, per_minute),))
        for _ in range(per_minute):
            await door.take(caller, "req", None)
        with pytest.raises(RateLimited):
            await door.take(caller, "req", None)

    await refuse("a", 2)
    await refuse("b", 1)
    scene.seconds += 31  # the first one's is over
    await refuse("c", 1)
    assert [rate.account for rate in door._short] == ["b", "c"]
    await refuse("d", 1)
    assert [rate.account for rate in door._short] == ["d"]
