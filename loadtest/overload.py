"""More requests than can be served: does what can be served still get served?

    python -m loadtest.overload [--seconds 20] [--json OUT.json]

Open-loop Poisson arrivals through `symposium serve` at one recorded expert of eight slots, 0.2 s each; a request is
good if it is answered whole within a second (goodput). Up to its capacity for the peak, then 2 and 10 times as many,
then half of it again: how soon all are served. Beside it the same router without bounds, and clients that wait for
whatever comes: an unbounded FIFO. Memory and CPU of the router's process meanwhile; what a refusal costs; and one
tenant that asks seldom, alone and beside another one's flood.

Wanted: goodput >= 0.95 of its peak at 2x and 10x, at least 10 times the FIFO's; flat memory; recovery within 5 s; a
refusal within 5 ms (p99) for a tenth of a served request's CPU; the quiet tenant's p99 moved by at most 20 %.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from rich.console import Console

from loadtest.open_loop import poisson, run
from loadtest.recorded_world import RecordedServer, recorded_experts, write_book
from loadtest.report import publish
from loadtest.server import REPOSITORY, Served, end_on_sigterm, serving

QUICKSTART = REPOSITORY / "configs" / "quickstart"
EXPERT, QUESTION = "sage", "What is two plus two?"
SLOTS, ANSWER_S, TOKENS = 8, 0.2, 10
CAPACITY_PER_S = SLOTS / ANSWER_S
PACE: dict[str, Any] = {"ttft_s": 0.02, "tokens_per_s": (TOKENS - 1) / (ANSWER_S - 0.02), "slots": SLOTS, "jitter": 0.2}
GOOD_S = 1.0
UP_TO_PEAK, OVER = (0.5, 0.8, 0.9, 1.0), (2.0, 10.0)
WINDOW_S = 1.0
QUIET_PER_S, FLOOD = 4.0, 3.0  # requests a second of the quiet tenant; of capacity, by the other one
TENANTS = ("quiet", "flood")
UNBOUNDED = {"least": 100_000, "first": 100_000, "most": 100_000}
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request. `at_s`: since the load began."""

    at_s: float
    seconds: float
    outcome: str

    @property
    def good(self) -> bool:
        return self.outcome == "whole" and self.seconds <= GOOD_S


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load, and what it took of the router: CPU seconds, resident MiB at its end."""

    seen: Sequence[Seen]
    seconds: float
    cpu_s: float
    rss_mib: float

    @property
    def goodput(self) -> float:
        return sum(one.good for one in self.seen) / self.seconds

    def json(self) -> JsonObject:
        refused = [one.seconds * 1000 for one in self.seen if one.outcome not in ("whole", "deadline")]
        return {
            "asked_per_s": round(len(self.seen) / self.seconds, 1),
            "goodput_per_s": round(self.goodput, 2),
            "outcomes": dict(Counter(one.outcome for one in self.seen)),
            "refused_ms_p50": round(quantile(refused, 0.5), 2),
            "refused_ms_p99": round(quantile(refused, 0.99), 2),
            "router_cpu_s": round(self.cpu_s, 2),
            "router_rss_mib": round(self.rss_mib, 1),
        }


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[int(q * (len(ordered) - 1))] if ordered else 0.0


def key(tenant: str) -> str:
    return f"sk-{tenant}"


def configuration(server: RecordedServer, *, bounded: bool) -> JsonObject:
    keys = [{"name": t, "tenant": t, "sha256": hashlib.sha256(key(t).encode()).hexdigest()} for t in TENANTS]
    return {
        "version": 1,
        "data": "${SYMPOSIUM_DATA}",
        "server": {"api_keys": keys, "limits": {"max_in_flight": 2048}},
        "tenants": {tenant: {} for tenant in TENANTS},
        "experts": {EXPERT: server.expert(EXPERT)},
        "routing": {
            "fitted": str(QUICKSTART / "fitted.npz"),
            "profiles": "profiles.json",
            "general_expert": EXPERT,
            "min_confidence": 0,
        },
        "convening": {
            "hedge_quantile": None,
            "breakers": {"failures_in_a_row": 1_000_000, "min_calls": 1_000_000},
            "concurrency": {"first": SLOTS} if bounded else UNBOUNDED,
        },
        "policies": {"auto": {}},
    }


class Clients:
    """All that ask, over one session."""

    def __init__(self, served: Served, session: aiohttp.ClientSession) -> None:
        self._url, self._session = served.url, session
        self._router = served.replica("symposium")

    async def load(
        self, per_s: float, seconds: float, *, deadline: bool, tenant: str = TENANTS[0], seed: int = 0
    ) -> Load:
        """So many requests a second for so long."""
        times = poisson(round(per_s * seconds), per_s, seed)
        cpu_s, seen, began = cpu(self._router), list[Seen](), time.monotonic()

        async def ask(at: int) -> None:
            seen.append(await self._ask(times[at], tenant, deadline=deadline))

        await run(times, ask)
        took_s = max(seconds, time.monotonic() - began) if deadline else seconds
        return Load(seen, took_s, cpu(self._router) - cpu_s, self._router.memory_info().rss / 2**20)

    async def _ask(self, at_s: float, tenant: str, *, deadline: bool) -> Seen:
        body = {"model": EXPERT, "messages": [{"role": "user", "content": QUESTION}]}
        headers = {"authorization": f"Bearer {key(tenant)}"}
        if deadline:
            headers["x-symposium-deadline-ms"] = f"{GOOD_S * 1000:.0f}"
        began = time.monotonic()
        try:
            async with self._session.post(f"{self._url}/v1/chat/completions", json=body, headers=headers) as response:
                told = await response.json()
            outcome = told["error"]["code"] if "error" in told else told["symposium"].get("ended_early", "whole")
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome = type(error).__name__
        return Seen(at_s, time.monotonic() - began, outcome)


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def recovered_s(seen: Sequence[Seen], seconds: float) -> float | None:
    """After which window on every request was good."""
    windows = int(seconds / WINDOW_S)
    bad = [int(one.at_s / WINDOW_S) for one in seen if not one.good]
    last = max(bad, default=-1) + 1
    return None if last >= windows else last * WINDOW_S


async def bounded(clients: Clients, seconds: float, console: Console) -> JsonObject:
    await clients.load(CAPACITY_PER_S / 2, 10, deadline=True)  # not counted: what is known of the expert
    loads: dict[float, Load] = {}
    for times in UP_TO_PEAK:
        loads[times] = await clients.load(times * CAPACITY_PER_S, seconds, deadline=True)
        console.print(f"{times:g} x", loads[times].json())
    peak = max(load.goodput for load in loads.values())
    served_cpu_s = loads[0.5].cpu_s / len(loads[0.5].seen)
    report: JsonObject = {"peak_goodput_per_s": round(peak, 2), "served_cpu_ms": round(served_cpu_s * 1000, 2)}
    for times in OVER:
        over = await clients.load(times * CAPACITY_PER_S, seconds, deadline=True)
        after = await clients.load(CAPACITY_PER_S / 2, 10, deadline=True)
        loads[times] = over
        refused = [one for one in over.seen if one.outcome not in ("whole", "deadline")]
        refused_cpu_s = (over.cpu_s - served_cpu_s * (len(over.seen) - len(refused))) / max(len(refused), 1)
        report[f"{times:g}x"] = {
            "of_peak": round(over.goodput / peak, 3),
            "recovered_s": recovered_s(after.seen, 10),
            "refused_cpu_ms": round(refused_cpu_s * 1000, 2),
            "rss_after_mib": round(after.rss_mib, 1),
        }
        console.print(f"{times:g} x", over.json(), report[f"{times:g}x"])
    report["loads"] = {f"{times:g}": load.json() for times, load in loads.items()}
    return report | {"flood": await flooded(clients, seconds, console)}


async def flooded(clients: Clients, seconds: float, console: Console) -> JsonObject:
    """The quiet tenant alone, then beside the flood; twice each, by turns."""
    alone, beside = list[float](), list[float]()
    for seed in (1, 2):
        quiet = await clients.load(QUIET_PER_S, seconds, deadline=False, seed=seed)
        alone += [one.seconds for one in quiet.seen]
        async with asyncio.TaskGroup() as group:
            flood = FLOOD * CAPACITY_PER_S
            group.create_task(clients.load(flood, seconds, deadline=True, tenant=TENANTS[1], seed=seed))
            calm = group.create_task(clients.load(QUIET_PER_S, seconds, deadline=False, seed=seed + 10))
        beside += [one.seconds for one in calm.result().seen]
    report = {
        "alone_ms_p50": round(quantile(alone, 0.5) * 1000, 1),
        "alone_ms_p99": round(quantile(alone, 0.99) * 1000, 1),
        "beside_ms_p50": round(quantile(beside, 0.5) * 1000, 1),
        "beside_ms_p99": round(quantile(beside, 0.99) * 1000, 1),
        "p99_ratio": round(quantile(beside, 0.99) / quantile(alone, 0.99), 3),
    }
    console.print("flood", report)
    return report


async def unbounded(clients: Clients, seconds: float, console: Console) -> JsonObject:
    """Clients wait for their answers, however late."""
    found: JsonObject = {}
    for times in (1.0, 2.0):
        load = await clients.load(times * CAPACITY_PER_S, seconds, deadline=False)
        found[f"{times:g}x"] = load.json()
        console.print(f"unbounded, {times:g} x", load.json())
    return found


async def measured(served: Served, seconds: float, console: Console, *, is_bounded: bool) -> JsonObject:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = Clients(served, session)
        return await (bounded if is_bounded else unbounded)(clients, seconds, console)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of each load")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    end_on_sigterm()
    console, report = Console(stderr=True), JsonObject()
    about = dict.fromkeys(("expert_version", "engine_version", "questions"), "recorded")
    profile = about | {"overall": {"right": 80, "asked": 100}, "output_tokens": 100 * TOKENS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_book(folder / "book.parquet", [(QUESTION, EXPERT, "It is four. " * 3, TOKENS)])
        (folder / "profiles.json").write_text(json.dumps({"format": 2, "experts": {EXPERT: profile}}))
        with recorded_experts(folder / "book.parquet", folder / "experts.log") as server:
            server.behave({"*": PACE})
            for way in (True, False):
                config = folder / "symposium.yaml"
                config.write_text(json.dumps(configuration(server, bounded=way)))
                with serving(config, folder / "serve.log") as served:
                    found = asyncio.run(measured(served, options.seconds, console, is_bounded=way))
                report["bounded" if way else "unbounded_fifo"] = found
    publish(report, options.json)


if __name__ == "__main__":
    main()
