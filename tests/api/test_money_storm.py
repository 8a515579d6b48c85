"""Money in a storm: many requests of all kinds at once, clients that leave, experts that fail, budgets that end.

Whatever happens to a single request, the books must hold: as they stand at every moment, and against what clients were
told, what experts have counted and what each query might spend.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from experts.recorded_book import Behaviour
from router.ledger import Entry, Meter, Standing
from router.ledger_sqlite import SqliteLedger
from tests.api.world import BEHAVIOURS, JUDGE, KEY, KEY_ENV, NAMER, PATIENT, POLICIES, ROWS, World, ask, routing
from tests.support import PATIENCE_S, Recorded, recorded

REQUESTS = 300
AT_ONCE = 20
LIMIT_NANOS = 7_000_000  # less than they would take
BUDGETS_USD = {
    "wide": None,
    "broad": 3e-4,
    "mid": 1.2e-4,
    "tight": 2.2e-5,
    "scant": 8e-6,
}  # of each query, by the key that asks
MODELS = ("auto", "solo", "hurt", "limping", "named", "written", "hasty", "torn", "talker", "waves", "written", "hasty")
PANELS: dict[str, dict[str, Any]] = {
    "written": {"experts": ["ant", "cat"], "aggregate": "synthesize"},
    "hasty": {"experts": ["late", "ant", "bee"], "max_experts": 1},
    "waves": {"experts": ["cat", "dog", "mute", "ant", "bee"], "aggregate": "vote"},
}


@dataclass
class Heard:
    """What one client was told of one answer."""

    request_id: str
    budget_usd: float | None
    told: dict[str, Any]
    usage: dict[str, int]


@dataclass
class Storm:
    """All clients together."""

    world: World
    draw: random.Random
    ended: Counter[str] = field(default_factory=Counter)
    heard: list[Heard] = field(default_factory=list)

    async def client(self, http: httpx.AsyncClient) -> None:
        """One request; of four clients one leaves whenever it likes."""
        name, stream = self.draw.choice(list(BUDGETS_USD)), self.draw.random() < 0.5
        body = ask(self.draw.choice(MODELS), stream=stream)
        if stream:
            body["stream_options"] = {"include_usage": True}
        if self.draw.random() < 0.8:
            body["max_tokens"] = self.draw.choice([3, 6, 6, 40])
        patience_s = self.draw.uniform(0.0, 0.08) if self.draw.random() < 0.25 else 30.0
        try:
            async with asyncio.timeout(patience_s):
                answer = await http.post(
                    "/v1/chat/completions", json=body, headers={"authorization": f"Bearer sk-{name}"}
                )
        except TimeoutError:
            self.ended["left"] += 1
            return
        if answer.status_code != 200:
            error = answer.json()["error"]
            self.ended[error["code"]] += 1
            assert answer.headers["x-should-retry"] == ("false" if error["code"] == "insufficient_quota" else "true"), (
                error
            )
            return
        self.ended["served"] += 1
        last = _last(answer.text) if stream else answer.json()
        if "symposium" in last:  # a stream that broke ends with an error
            request_id = answer.headers["x-symposium-decision-id"]
            self.heard.append(Heard(request_id, BUDGETS_USD[name], last["symposium"], last["usage"]))


def _last(stream: str) -> dict[str, Any]:
    """The chunk before the end."""
    events = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    found: dict[str, Any] = json.loads(events[-2])
    return found


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path, Recorded]]:
    folder = tmp_path_factory.mktemp("storm")
    digests = {name: hashlib.sha256(f"sk-{name}".encode()).hexdigest() for name in BUDGETS_USD}
    keys = [
        {"name": name, "tenant": "acme", "sha256": digests[name], "budget": {"default": {"max_cost_usd": usd}}}
        for name, usd in BUDGETS_USD.items()
    ]
    slowly = {
        "ant": Behaviour(ttft_s=0.02, jitter=0.5),
        "bee": Behaviour(ttft_s=0.01),
        "cat": Behaviour(ttft_s=0.005, tokens_per_s=100),
        "talker": Behaviour(tokens_per_s=1000),
        "late": Behaviour(ttft_s=0.08),
        "torn": Behaviour(drop_after_tokens=2, tokens_per_s=100),
    }
    changed = {
        "server": {"api_keys": keys, "limits": {"max_tokens": 4096, "max_body_bytes": 65_536}},
        "tenants": {"acme": {"usd_per_month": LIMIT_NANOS / 1e9}},
        "policies": POLICIES | PANELS,
        "convening": PATIENT | {"hedge_quantile": 0.5, "hedge_share": 1, "max_chars": 40},
        "ledger": {"slice_tokens": 16},
    }
    with pytest.MonkeyPatch.context() as patch, recorded(ROWS, BEHAVIOURS | slowly, KEY) as experts:
        patch.setenv(KEY_ENV, KEY)
        with routing(folder, experts, **changed) as world:
            yield world, folder, experts


async def test_the_books_hold_in_a_storm(storm: tuple[World, Path, Recorded]) -> None:
    """Never more than the limit, nothing held at the end; what clients, experts and the journal say is the same; no
    query has cost more than it may.
    """
    world, folder, experts = storm
    clients, over = Storm(world, random.Random(5)), asyncio.Event()
    meter = Meter("tenant/acme", f"{datetime.now(UTC):%Y-%m}", LIMIT_NANOS)
    ledger = SqliteLedger(folder / "data")

    async def watch() -> None:
        while not over.is_set():
            (now,) = await ledger.standing([meter])
            assert now.settled + now.held <= LIMIT_NANOS
            await asyncio.sleep(0.003)

    try:
        watching, turns = asyncio.create_task(watch()), asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(base_url=world.url, timeout=30, trust_env=False) as http:

            async def one() -> None:
                async with turns:
                    await clients.client(http)

            await asyncio.gather(*(one() for _ in range(REQUESTS)))
        last = await _over(ledger, meter)
        over.set()
        await watching
        entries = [entry async for entry in ledger.journal(0, 1e11)]
    finally:
        await ledger.close()
    assert last.settled == sum(entry.charged for entry in entries)
    assert clients.ended.keys() >= {"served", "left", "insufficient_quota"}, clients.ended
    _queries_kept_to_their_budgets(entries)
    _clients_were_told_what_was_booked(clients.heard, entries)
    _experts_counted_no_more_than_was_booked(experts, entries)


async def _over(ledger: SqliteLedger, meter: Meter) -> Standing:
    """How the meter stands once nothing is held on it any more."""
    ends = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        (found,) = await ledger.standing([meter])
        if not found.held:
            return found
        assert asyncio.get_running_loop().time() < ends, f"{found.held} nanodollars stay held"
        await asyncio.sleep(0.01)


def _queries_kept_to_their_budgets(entries: list[Entry]) -> None:
    spent: dict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        assert entry.overrun == 0
        spent[entry.key, entry.request_id] += entry.charged
    for (key, request_id), nanos in spent.items():
        most = BUDGETS_USD[key]
        assert most is None or nanos <= most * 1e9 + 1e-6, request_id


def _clients_were_told_what_was_booked(heard: list[Heard], entries: list[Entry]) -> None:
    """Each leg with its tokens, whether they were counted, and the sum."""
    booked: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        booked[entry.request_id].append(entry)
    for answer in heard:
        mine = booked[answer.request_id]
        told = [leg for leg in answer.told["legs"] if leg["usage"]["total_tokens"]]
        legs = [(leg["expert"], leg["usage"]["prompt_tokens"], leg["usage"]["completion_tokens"]) for leg in told]
        assert sorted(legs) == sorted((e.expert, e.prompt_tokens, e.output_tokens) for e in mine), answer
        assert answer.told["cost_usd"] == pytest.approx(sum(e.charged for e in mine) / 1e9, rel=1e-5)
        assert answer.usage["completion_tokens"] == sum(e.output_tokens for e in mine)
        assert answer.budget_usd is None or answer.told["cost_usd"] <= answer.budget_usd


def _experts_counted_no_more_than_was_booked(experts: Recorded, entries: list[Entry]) -> None:
    """Of an expert elsewhere that was cut off the most that it may have made is booked; else just as much."""
    for expert in {entry.expert for entry in entries} | {"ant", "bee", "cat", JUDGE, NAMER}:
        mine = [entry for entry in entries if entry.expert == expert]
        made, paid = experts.counts(expert)["output_tokens"], sum(entry.output_tokens for entry in mine)
        assert made <= paid
        assert made == paid or any(entry.estimated for entry in mine)
