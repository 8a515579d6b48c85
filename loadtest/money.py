"""A budget that pays for ten requests, and two hundred that come at once: who is served, and what do the books say?

    python -m loadtest.money [--ledger sqlite|redis|both] [--repetitions 20] [--requests 200] [--json OUT.json]

Two router replicas on one ledger (SQLite, or a Redis of its own), recorded experts elsewhere; each request convenes
three, one of whom always fails and is replaced, and clients repeat what they are told to repeat. A tenant for each
repetition. Then the same with clients that leave at random moments.

Wanted: ten served and all others refused, every time; settled + held within the budget whenever anybody looks; and at
the end the journal, the tokens that the experts counted, and the costs that the clients were told agree.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from loadtest.money_world import (
    BEHAVIOURS,
    CALL_NANOS,
    EXPERTS,
    OUTPUT_TOKENS,
    PAID,
    QUESTION,
    REQUEST_NANOS,
    book_rows,
    configuration,
    key,
    profiles,
    tenants,
)
from loadtest.recorded_world import RecordedServer, recorded_experts, write_book
from loadtest.redis_server import redis_server
from loadtest.report import publish
from loadtest.server import Served, end_on_sigterm, serving

RETRIES = 2  # of a client, where it is told to come again
LOOK_S = 0.02
SETTLED_LIMIT_S = 20.0
JsonObject = dict[str, Any]


@dataclass
class Heard:
    """What the clients of one tenant have seen. `nanos`: of the answers that came whole."""

    ended: Counter[str] = field(default_factory=Counter)
    nanos: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """A running symposium, its admin side, and the experts behind it."""

    served: Served
    admin: str
    token: str
    experts: RecordedServer
    session: aiohttp.ClientSession

    async def asked(self, path: str, **query: str) -> Any:
        """Of the admin side."""
        headers = {"authorization": f"Bearer {self.token}"}
        async with self.session.get(f"{self.admin}/admin{path}", params=query, headers=headers) as response:
            response.raise_for_status()
            return await response.json()

    async def standing(self, tenant: str) -> tuple[int, int, int]:
        """(limit, settled, held), nanodollars."""
        rows = (await self.asked("/v1/tenants"))["data"]
        row = next(row for row in rows if row["tenant"] == tenant)
        limit, settled, held = (round(row[name] * 1e9) for name in ("limit_usd", "settled_usd", "held_usd"))
        return limit, settled, held

    async def usage(self, tenant: str) -> JsonObject:
        """The sums of the tenant's journal."""
        rows = (await self.asked("/v1/usage", tenant=tenant, by="tenant", format="json"))["data"]
        return dict(rows[0]) if rows else {"calls": 0, "usd": "0", "output_tokens": 0}

    async def ask(self, tenant: str, heard: Heard, leaves_after_s: float | None) -> None:
        """One client, with the official client's manners."""
        body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": OUTPUT_TOKENS}
        headers = {"authorization": f"Bearer {key(tenant)}"}
        limit = aiohttp.ClientTimeout(total=leaves_after_s or 60)
        for turn in range(RETRIES + 1):
            try:
                async with self.session.post(
                    f"{self.served.url}/v1/chat/completions", json=body, headers=headers, timeout=limit
                ) as response:
                    found = await response.json()
                    if response.status == 200:
                        heard.ended["served"] += 1
                        heard.nanos += round(found["symposium"]["cost_usd"] * 1e9)
                        return
                    again = response.headers.get("x-should-retry") == "true"
                    code, wait_s = found["error"]["code"], float(response.headers.get("retry-after", 1))
            except TimeoutError:
                heard.ended["left"] += 1
                return
            if not again or turn == RETRIES:
                heard.ended[code] += 1
                return
            await asyncio.sleep(wait_s * random.uniform(0.5, 1))


async def one(world: World, tenant: str, requests: int, *, leaving: bool) -> JsonObject:
    """All requests of one tenant at once, the ledger being looked at all the while."""
    before = await asyncio.to_thread(world.experts.counts)
    heard, worst = Heard(), 0
    ends = [random.uniform(0.01, 0.6) if leaving and random.random() < 0.5 else None for _ in range(requests)]

    async def watching() -> int:
        most = 0
        while True:
            _, settled, held = await world.standing(tenant)
            most = max(most, settled + held)
            looks.append(1)
            if done.is_set():
                return most
            await asyncio.sleep(LOOK_S)

    looks: list[int] = []
    done = asyncio.Event()
    watch = asyncio.create_task(watching())
    await asyncio.gather(*(world.ask(tenant, heard, end) for end in ends))
    limit, settled, held = await settled_of(world, tenant)
    done.set()
    worst = await watch
    after = await asyncio.to_thread(world.experts.counts)
    generated = sum(after[name]["output_tokens"] - before[name]["output_tokens"] for name in EXPERTS)
    usage = await world.usage(tenant)
    return {
        "tenant": tenant,
        **heard.ended,
        "limit": limit,
        "settled": settled,
        "held": held,
        "most_settled_and_held": worst,
        "looks": len(looks),
        "journal": round(float(usage["usd"]) * 1e9),
        "journal_output_tokens": int(usage["output_tokens"]),
        "experts_output_tokens": generated,
        "clients": heard.nanos,
    }


async def settled_of(world: World, tenant: str) -> tuple[int, int, int]:
    """How the tenant stands once nothing is held any more."""
    for _ in range(int(SETTLED_LIMIT_S / LOOK_S)):
        found = await world.standing(tenant)
        if found[2] == 0:
            return found
        await asyncio.sleep(LOOK_S)
    return await world.standing(tenant)


def verdict(row: JsonObject, requests: int, *, leaving: bool) -> list[str]:
    """What is not as it must be."""
    wrong = []
    if row["most_settled_and_held"] > row["limit"] or row["settled"] > row["limit"]:
        wrong.append("over the budget")
    if row["held"]:
        wrong.append("something stays held")
    if row["journal"] != row["settled"]:
        wrong.append("the journal has another sum")
    if leaving:
        if row["journal_output_tokens"] < row["experts_output_tokens"] or row["clients"] > row["settled"]:
            wrong.append("less is booked than was used")
        return wrong
    if (row.get("served", 0), sum(row.get(code, 0) for code in REFUSED)) != (PAID, requests - PAID):
        wrong.append(f"not {PAID} were served")
    if not row["journal_output_tokens"] == row["experts_output_tokens"] == row["clients"] // CALL_NANOS * OUTPUT_TOKENS:
        wrong.append("journal, experts and clients do not agree")
    if row["clients"] != row["settled"]:
        wrong.append("clients were told another sum")
    return wrong


REFUSED = ("insufficient_quota", "rate_limit_exceeded")


async def measure(
    served: Served, experts: RecordedServer, repetitions: int, requests: int, console: Console
) -> JsonObject:
    door = json.loads((served.data / "admin.json").read_text())
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        world = World(served, door["url"], door["token"], experts, session)
        rows = []
        for name in tenants(repetitions):
            leaving = name.startswith("leave")
            row = await one(world, name, requests, leaving=leaving)
            row["wrong"] = verdict(row, requests, leaving=leaving)
            rows.append(row)
            console.print(f"{name}: {row}")
    looks = sum(row["looks"] for row in rows)
    return {
        "repetitions": repetitions,
        "requests": requests,
        "as_wanted": sum(not row["wrong"] for row in rows),
        "of": len(rows),
        "looks": looks,
        "most_of_budget": max(row["most_settled_and_held"] / row["limit"] for row in rows),
        "request_usd": REQUEST_NANOS / 1e9,
        "rows": rows,
    }


@contextmanager
def ledger_url(kind: str) -> Iterator[str]:
    """`sqlite`, or where a Redis of one's own is."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder, ExitStack() as stack:
        yield stack.enter_context(redis_server(Path(folder))) if kind == "redis" else kind


def run(kind: str, repetitions: int, requests: int, console: Console) -> JsonObject:
    with tempfile.TemporaryDirectory() as name, ledger_url(kind) as url:
        folder = Path(name)
        write_book(folder / "book.parquet", book_rows())
        with recorded_experts(folder / "book.parquet", folder / "experts.log") as experts:
            experts.behave(BEHAVIOURS)
            (folder / "profiles.json").write_text(json.dumps(profiles()))
            config = folder / "symposium.yaml"
            config.write_text(json.dumps(configuration(experts, url, tenants(repetitions))))
            with serving(config, folder / "serve.log") as served:
                return asyncio.run(measure(served, experts, repetitions, requests, console))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ledger", choices=["sqlite", "redis", "both"], default="both")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    end_on_sigterm()
    console = Console(stderr=True)
    kinds = ["sqlite", "redis"] if options.ledger == "both" else [options.ledger]
    publish({kind: run(kind, options.repetitions, options.requests, console) for kind in kinds}, options.json)


if __name__ == "__main__":
    main()
