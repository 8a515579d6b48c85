"""More requests than can be served: does what can be served still get served?

    python -m loadtest.overload [--slots 32] [--answer-s 1.6] [--seconds 30] [--json OUT.json]

Open-loop Poisson arrivals through `symposium serve` at one recorded expert of so many slots; answers of log-normal
length (sigma 0.5), so long on the mean; a request is good if it is answered whole within three times that (goodput).
Up to its capacity for the peak, then 2 and 10 times as many, then half of it again: how soon all are served. Beside it
the same router without bounds, and clients that wait for whatever comes: an unbounded FIFO. Memory and CPU of the
router's process meanwhile; what a refusal costs; and one tenant that asks for a tenth of what there is, alone and
beside another one's flood.

The load, the balancer, the expert and the router may share the machine: where the processors are full, not the slots,
these are what is measured.

Wanted: goodput >= 0.95 of its peak at 2x and 10x, at least 10 times the FIFO's; flat memory; recovery within 5 s; a
refusal within 5 ms (p99) for a tenth of a served request's CPU; the quiet tenant's p99 moved by at most 20 %.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import aiohttp
import psutil
from rich.console import Console

from loadtest.open_loop import poisson, run
from loadtest.recorded_world import RecordedServer, recorded_experts, write_book
from loadtest.report import publish
from loadtest.server import REPOSITORY, Served, end_on_sigterm, serving

QUICKSTART = REPOSITORY / "configs" / "quickstart"
EXPERT, QUESTIONS = "sage", 500
TOKENS, MOST_TOKENS, SIGMA, TTFT_S = 40, 100, 0.5, 0.02  # an answer that alone takes too long would tell nothing
GOOD = 3  # times an answer's time
UP_TO_PEAK, OVER = (0.5, 0.8, 0.9, 1.0), (2.0, 10.0)
WINDOW_S = 1.0
QUIET, FLOOD = 0.1, 3.0  # of capacity, by the quiet tenant and by the other one
AT_ONCE_S = 0.005  # a refusal that comes later waited
TENANTS = ("quiet", "flood")
FLOODS = 2
FILL, REFUSALS = 40, 1000  # calls for each slot, more than the lane and its queue hold; that are counted
SETTLED_S, SILENT_S = 5.0, 600.0
UNBOUNDED = {"least": 100_000, "first": 100_000, "most": 100_000}
LIMIT = re.compile(rf'^symposium_calls_limit{{expert="{EXPERT}"}} (\S+)$', re.MULTILINE)
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expert:
    """So many answers at once, each of so many seconds on the mean."""

    slots: int
    answer_s: float

    @property
    def capacity_per_s(self) -> float:
        return self.slots / self.answer_s

    @property
    def good_s(self) -> float:
        return GOOD * self.answer_s

    def pace(self) -> JsonObject:
        """As recorded experts are told."""
        return {
            "ttft_s": TTFT_S,
            "tokens_per_s": (TOKENS - 1) / (self.answer_s - TTFT_S),
            "tokens_per_chunk": 4,
            "slots": self.slots,
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """One request. `at_s`: since the load began. `good`: answered whole in time."""

    at_s: float
    seconds: float
    outcome: str
    good: bool

    @property
    def refused(self) -> bool:
        return self.outcome not in ("whole", "deadline")


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load, and what it took of the router: CPU seconds, resident MiB at its end; and how many calls
    could be under way then.
    """

    seen: Sequence[Seen]
    seconds: float
    cpu_s: float
    rss_mib: float
    limit: int

    @property
    def goodput(self) -> float:
        return sum(one.good for one in self.seen) / self.seconds

    def json(self) -> JsonObject:
        refused = [one.seconds for one in self.seen if one.refused]
        second_half = [one for one in self.seen if one.at_s >= self.seconds / 2]
        return {
            "asked_per_s": round(len(self.seen) / self.seconds, 1),
            "goodput_per_s": round(self.goodput, 2),
            "goodput_per_s_second_half": round(sum(one.good for one in second_half) / (self.seconds / 2), 2),
            "outcomes": dict(Counter(one.outcome for one in self.seen)),
            "refused_ms_p50": round(quantile(refused, 0.5) * 1000, 2),
            "refused_ms_p99": round(quantile(refused, 0.99) * 1000, 2),
            "refused_late": round(sum(one > AT_ONCE_S for one in refused) / max(len(refused), 1), 4),
            "limit_at_end": self.limit,
            "router_cpu_s": round(self.cpu_s, 2),
            "router_rss_mib": round(self.rss_mib, 1),
        }


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[int(q * (len(ordered) - 1))] if ordered else 0.0


def question(number: int) -> str:
    return f"Question {number % QUESTIONS}: what is it?"


def book_rows() -> list[tuple[str, str, str, int]]:
    """TOKENS output tokens on the mean."""
    rng = random.Random(0)
    drawn = [rng.lognormvariate(0, SIGMA) for _ in range(QUESTIONS)]
    scale = TOKENS / fmean(drawn)
    tokens = [min(max(2, round(scale * one)), MOST_TOKENS) for one in drawn]
    return [(question(number), EXPERT, "word " * count, count) for number, count in enumerate(tokens)]


def key(tenant: str) -> str:
    return f"sk-{tenant}"


def configuration(server: RecordedServer, expert: Expert, *, bounded: bool) -> JsonObject:
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
            "concurrency": {"first": expert.slots} if bounded else UNBOUNDED,
        },
        "policies": {"auto": {}},
    }


class Clients:
    """All that ask, over one session."""

    def __init__(self, served: Served, server: RecordedServer, expert: Expert, session: aiohttp.ClientSession) -> None:
        self._url, self._session = served.url, session
        self.router = served.replica("symposium")
        self.server, self.expert = server, expert

    async def load(
        self, times: float, seconds: float, *, deadline: bool, tenant: str = TENANTS[0], seed: int = 0
    ) -> Load:
        """So many times what there is, for so long."""
        per_s = times * self.expert.capacity_per_s
        ats = poisson(round(per_s * seconds), per_s, seed)
        cpu_s, seen = cpu(self.router), list[Seen]()

        async def ask(number: int) -> None:
            seen.append(await self.ask(ats[number], question(seed * len(ats) + number), tenant, deadline=deadline))

        await run(ats, ask)
        cpu_s, rss_mib = cpu(self.router) - cpu_s, self.router.memory_info().rss / 2**20
        return Load(seen, ats[-1], cpu_s, rss_mib, await self._limit())

    async def _limit(self) -> int:
        async with self._session.get(f"{self._url}/metrics") as response:
            found = LIMIT.search(await response.text())
        assert found is not None
        return int(float(found[1]))

    async def ask(self, at_s: float, asked: str, tenant: str, *, deadline: bool) -> Seen:
        body = {"model": EXPERT, "messages": [{"role": "user", "content": asked}]}
        headers = {"authorization": f"Bearer {key(tenant)}"}
        if deadline:
            headers["x-symposium-deadline-ms"] = f"{self.expert.good_s * 1000:.0f}"
        began = time.monotonic()
        try:
            async with self._session.post(f"{self._url}/v1/chat/completions", json=body, headers=headers) as response:
                told = await response.json()
            outcome = told["error"]["code"] if "error" in told else told["symposium"].get("ended_early", "whole")
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome = type(error).__name__
        seconds = time.monotonic() - began
        return Seen(at_s, seconds, outcome, outcome == "whole" and seconds <= self.expert.good_s)


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
    await clients.load(0.5, 10 * clients.expert.answer_s, deadline=True)  # not counted: what is known of the expert
    idle_cpu_s = await idle(clients.router, seconds)
    loads: dict[float, Load] = {}
    for times in UP_TO_PEAK:
        loads[times] = await clients.load(times, seconds, deadline=True)
        console.print(f"{times:g} x", loads[times].json())
    peak = max(load.goodput for load in loads.values())

    def own_cpu_s(load: Load) -> float:
        return load.cpu_s - idle_cpu_s * load.seconds

    served_cpu_s = own_cpu_s(loads[1.0]) / len(loads[1.0].seen)
    report: JsonObject = {"peak_goodput_per_s": round(peak, 2), "served_cpu_ms": round(served_cpu_s * 1000, 2)}
    for times in OVER:
        over = loads[times] = await clients.load(times, seconds, deadline=True)
        after = await clients.load(0.5, 10, deadline=True)
        report[f"{times:g}x"] = {
            "of_peak": round(over.goodput / peak, 3),
            "recovered_s": recovered_s(after.seen, 10),
            "rss_after_mib": round(after.rss_mib, 1),
        }
        console.print(f"{times:g} x", over.json(), report[f"{times:g}x"])
    report["loads"] = {f"{times:g}": load.json() for times, load in loads.items()}
    report["flood"] = await flooded(clients, seconds, console)
    report["refused_at_a_full_expert"] = await refused(clients, console)
    return report


async def refused(clients: Clients, console: Console) -> JsonObject:
    """One after the other, by an expert that is as full as its lane allows and says nothing all the while."""
    fill = clients.expert.slots * FILL
    clients.server.behave({"*": clients.expert.pace() | {"ttft_s": SILENT_S}})

    async def ask(number: int) -> Seen:
        return await clients.ask(0.0, question(number), TENANTS[1], deadline=False)

    filling = [asyncio.create_task(ask(number)) for number in range(fill)]
    await asyncio.sleep(SETTLED_S)
    cpu_s, seen = cpu(clients.router), [await ask(number) for number in range(REFUSALS)]
    cpu_s = cpu(clients.router) - cpu_s
    for task in filling:
        task.cancel()
    await asyncio.gather(*filling, return_exceptions=True)
    took_ms = [one.seconds * 1000 for one in seen]
    report = {
        "outcomes": dict(Counter(one.outcome for one in seen)),
        "cpu_ms": round(cpu_s / REFUSALS * 1000, 2),
        "ms_p50": round(quantile(took_ms, 0.5), 2),
        "ms_p99": round(quantile(took_ms, 0.99), 2),
    }
    console.print("refused at a full expert", report)
    return report


async def idle(router: psutil.Process, seconds: float) -> float:
    """CPU seconds a second of the router while nobody asks."""
    before = cpu(router)
    await asyncio.sleep(seconds)
    return (cpu(router) - before) / seconds


async def flooded(clients: Clients, seconds: float, console: Console) -> JsonObject:
    """The quiet tenant alone, then beside the flood; as long as all else, by turns."""
    alone, beside = list[float](), list[float]()
    for seed in range(FLOODS):
        quiet = await clients.load(QUIET, seconds, deadline=False, seed=seed)
        alone += [one.seconds for one in quiet.seen]
        async with asyncio.TaskGroup() as group:
            group.create_task(clients.load(FLOOD, seconds, deadline=True, tenant=TENANTS[1], seed=seed))
            calm = group.create_task(clients.load(QUIET, seconds, deadline=False, seed=seed + FLOODS))
        beside += [one.seconds for one in calm.result().seen]
    report = {
        "requests": [len(alone), len(beside)],
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
        load = await clients.load(times, seconds, deadline=False)
        found[f"{times:g}x"] = load.json()
        console.print(f"unbounded, {times:g} x", load.json())
    return found


async def measured(
    served: Served, server: RecordedServer, expert: Expert, seconds: float, console: Console, *, is_bounded: bool
) -> JsonObject:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = Clients(served, server, expert, session)
        return await (bounded if is_bounded else unbounded)(clients, seconds, console)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slots", type=int, default=32, help="answers that the expert gives at once")
    parser.add_argument("--answer-s", type=float, default=1.6, help="seconds that each takes")
    parser.add_argument("--seconds", type=float, default=30, help="of each load")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    end_on_sigterm()
    console, expert = Console(stderr=True), Expert(options.slots, options.answer_s)
    report: JsonObject = {"slots": expert.slots, "answer_s": expert.answer_s, "good_s": expert.good_s}
    about = dict.fromkeys(("expert_version", "engine_version", "questions"), "recorded")
    profile = about | {"overall": {"right": 80, "asked": 100}, "output_tokens": 100 * TOKENS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_book(folder / "book.parquet", book_rows())
        (folder / "profiles.json").write_text(json.dumps({"format": 2, "experts": {EXPERT: profile}}))
        with recorded_experts(folder / "book.parquet", folder / "experts.log") as server:
            for way in (True, False):
                config = folder / "symposium.yaml"
                config.write_text(json.dumps(configuration(server, expert, bounded=way)))
                server.behave({"*": expert.pace()})
                with serving(config, folder / "serve.log") as served:
                    found = asyncio.run(measured(served, server, expert, options.seconds, console, is_bounded=way))
                report["bounded" if way else "unbounded_fifo"] = found
    publish(report, options.json)


if __name__ == "__main__":
    main()
