"""Money over HTTP: what a query may cost, what a tenant may, what is refused, and what the books say of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.api.journal import entries
from tests.api.world import SUM, World, ask, routing
from tests.support import NO_TLS, Recorded, eventually_equal, openai_client

KEYS = {name: f"sk-{name}" for name in ("rich", "poor", "tiny", "daily")}
SUM_NANOS = 4 * 1000 + 6 * 2000  # ant's answer: the recorded experts count a token for 4 bytes of a prompt
HELD_NANOS = SUM_NANOS + 1000  # the router, which does not know that, one for 3


def settings() -> dict[str, Any]:
    keys = [{"name": n, "tenant": n, "sha256": hashlib.sha256(k.encode()).hexdigest()} for n, k in KEYS.items()]
    return {
        "server": {"api_keys": keys, "limits": {"max_tokens": 4096, "max_body_bytes": 65_536}},
        "tenants": {
            "rich": {"budget": {"ceiling": {"max_cost_usd": 0.5}}},
            "poor": {"usd_per_month": 10 * HELD_NANOS / 1e9},
            "tiny": {"usd_per_month": SUM_NANOS / 1e9 * 0.5},
            "daily": {"usd_per_day": 1.0, "usd_per_month": 3 * HELD_NANOS / 1e9},
        },
    }


@pytest.fixture
def world(experts: Recorded, tmp_path: Path) -> Iterator[World]:
    with routing(tmp_path, experts, **settings()) as running:
        yield running


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEYS[name]}"}


def test_what_a_call_cost_is_in_the_response_the_journal_and_the_hosts_count(world: World, tmp_path: Path) -> None:
    """To the nanodollar."""
    answer = world.post(ask("solo", max_tokens=6), **bearer("rich"))
    told = answer.json()["symposium"]
    assert told["cost_usd"] == pytest.approx(SUM_NANOS / 1e9, rel=1e-5)
    assert answer.headers["x-symposium-cost-usd"] == f"{SUM_NANOS / 1e9:.6g}"
    booked = [("rich", "rich", "solo", SUM_NANOS)]
    eventually_equal(lambda: [(e.tenant, e.key, e.policy, e.charged) for e in entries(tmp_path)], booked)
    (entry,) = entries(tmp_path)
    usage = answer.json()["usage"]
    assert (entry.prompt_tokens, entry.output_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (entry.overrun, entry.estimated) == (0, False)


async def test_a_budget_that_pays_for_ten_serves_ten(world: World, tmp_path: Path) -> None:
    """However many ask at once, and however often their clients come again; nothing is left held."""
    http = openai.DefaultAsyncHttpxClient(verify=NO_TLS, trust_env=False, timeout=30)
    asking = openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key=KEYS["poor"], max_retries=2, http_client=http)
    async with http, asking as client:

        async def one() -> str:
            try:
                await client.chat.completions.create(
                    model="solo", messages=[{"role": "user", "content": SUM}], max_tokens=6
                )
            except openai.RateLimitError as error:
                return str(error.code)
            return "served"

        ended = Counter(await asyncio.gather(*(one() for _ in range(60))))
    assert ended["served"] == 10
    assert ended.keys() <= {"served", "insufficient_quota", "rate_limit_exceeded"}
    await asyncio.to_thread(eventually_equal, lambda: sum(e.charged for e in entries(tmp_path)), 10 * SUM_NANOS)
    assert world.metric("symposium_budget_held_usd", tenant="poor") == pytest.approx(0)


async def test_what_others_hold_may_be_free_again_and_what_would_have_done_is_said(world: World) -> None:
    """429 that may come again soon, with the cheapest and the fastest plan."""
    headers, body = bearer("poor"), ask("solo", max_tokens=6)
    answers = await asyncio.gather(*(asyncio.to_thread(world.post, body, **headers) for _ in range(30)))
    held = [answer for answer in answers if answer.json().get("error", {}).get("code") == "rate_limit_exceeded"]
    assert held
    for answer in held:
        error = answer.json()["error"]
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert "x-should-retry" not in answer.headers or answer.headers["x-should-retry"] == "true"
        assert (error["account"], error["held_usd"] > 0) == ("tenant/poor", True)
        assert error["cheapest"]["cost_usd"] == error["fastest"]["cost_usd"] == pytest.approx(SUM_NANOS / 1e9, rel=0.5)


def test_a_spent_budget_refuses_and_says_what_would_have_done(world: World) -> None:
    """429 that no client repeats: the account, how it stands, and the cheapest plan."""
    answer = world.post(ask("solo", max_tokens=6), **bearer("tiny"))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert (error["account"], error["settled_usd"]) == ("tenant/tiny", 0)
    assert error["cheapest"]["experts"] == ["bee"] or error["cheapest"]["experts"] == ["ant"]
    assert error["cheapest"]["cost_usd"] > error["limit_usd"]


def test_the_tighter_of_several_periods_holds(world: World) -> None:
    """A day's budget does not help where the month's is spent."""
    codes = [world.post(ask("solo", max_tokens=6), **bearer("daily")).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]


def test_a_vote_that_is_too_dear_becomes_less(world: World) -> None:
    """What is asked fits, and the step down is named everywhere."""
    free = world.post(ask("auto", max_tokens=6), **bearer("rich")).json()["symposium"]
    assert len(free["legs"]) == 3
    one = 1.5 * SUM_NANOS / 1e9
    body = ask("auto", max_tokens=6, symposium={"budget": {"max_cost_usd": one}, "explain": True})
    answer = world.post(body, **bearer("rich"))
    told = answer.json()["symposium"]
    assert len(told["legs"]) == 1
    assert told["degraded"] == answer.headers["x-symposium-degraded"] == told["plan"]["degraded"] == "one_expert"
    assert told["cost_usd"] <= one
    assert told["budget"]["max_cost_usd"] == pytest.approx(one, rel=1e-5)
    assert told["budget"]["from"]["nanos"] == "query"
    assert world.metric("symposium_degraded_total", policy="auto", rung="one_expert") == 1


def test_a_budget_below_any_answer_is_refused_before_anything_is_asked(world: World) -> None:
    """With the cheapest plan; nothing reaches an expert."""
    before = world.legs("started")
    answer = world.post(ask("auto", max_tokens=6), **bearer("rich"), **{"x-symposium-max-cost-usd": "1e-9"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert error["cheapest"]["cost_usd"] > 1e-9
    assert world.legs("started") == before


def test_who_helps_to_decide_is_paid_of_the_same_budget(world: World) -> None:
    """And not asked where it could take more than half of it; what all have generated keeps to the bound."""
    for tokens, helped in ((6, False), (2000, True)):
        body = ask("named", max_tokens=6, symposium={"budget": {"max_tokens": tokens}})
        answer = world.post(body, **bearer("rich")).json()
        legs = {leg["role"]: leg for leg in answer["symposium"]["legs"]}
        assert (legs["keywords"]["outcome"] == "answered") == helped
        assert answer["usage"]["completion_tokens"] <= tokens


def test_of_a_header_that_comes_twice_the_tighter_one_holds(world: World) -> None:
    """Whoever added the other one on the way."""
    twice = [(name, value) for name, value in bearer("rich").items()]
    twice += [("x-symposium-max-cost-usd", value) for value in ("0.1", "1e-9")]
    answer = world.http.post("/v1/chat/completions", json=ask("solo"), headers=twice)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")


def test_above_a_ceiling_is_a_mistake_that_names_whose(world: World) -> None:
    """The field, the level and its bound."""
    answer = world.post(ask(symposium={"budget": {"max_cost_usd": 0.6}}), **bearer("rich"))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "symposium.budget.max_cost_usd")
    assert "tenant" in error["message"]
    assert "0.5" in error["message"]


def test_absent_max_tokens_is_clamped_to_what_the_budget_allows(world: World) -> None:
    """The answer is cut there, and its cost stays within the budget, by the hosts' own count."""
    most = (5 * 1000 + 50 * 2000) / 1e9
    for field, value in (("max_cost_usd", most), ("max_tokens", 50)):
        answer = world.post(ask("talker", symposium={"budget": {field: value}, "explain": True}), **bearer("rich"))
        told = answer.json()["symposium"]
        assert (answer.json()["usage"]["completion_tokens"], told["plan"]["max_tokens"]) == (50, {"talker": 50})
        assert answer.json()["choices"][0]["finish_reason"] == "length"
        assert told["cost_usd"] <= most


def test_the_books_balance_when_clients_leave(world: World, tmp_path: Path) -> None:
    """Legs that are aborted are settled too; nothing stays held, and no tenant pays more than its budget."""
    with openai_client(world.url, KEYS["rich"]) as client:
        for _ in range(5):
            stream = client.chat.completions.create(
                model="slow1", messages=[{"role": "user", "content": SUM}], stream=True, max_tokens=50
            )
            next(iter(stream))
            stream.close()
    eventually_equal(lambda: len(entries(tmp_path)), 5)
    assert all(e.estimated and e.charged > 0 for e in entries(tmp_path))  # an expert elsewhere does not count for us
    eventually_equal(lambda: round(world.metric("symposium_budget_held_usd", tenant="rich"), 12), 0)
