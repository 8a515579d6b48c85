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
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from rich.console import Console

from loadtest.overload_world import (
    TENANTS,
    Clients,
    Expert,
    Load,
    Seen,
    book_rows,
    configuration,
    profiles,
)
from loadtest.recorded_world import RecordedServer, recorded_experts, write_book
from loadtest.report import publish, quantile
from loadtest.server import Served, cpu_s_of, end_on_sigterm, serving

UP_TO_PEAK, OVER = (0.5, 0.8, 0.9, 1.0), (2.0, 10.0)
WINDOW_S = 1.0
QUIET, FLOOD = 0.1, 3.0  # of capacity, by the quiet tenant and by the other one
FLOODS = 4
FILL, REFUSALS = 40, 1000  # calls for each slot, more than the lane and its queue hold; that are counted
SETTLED_S, SILENT_S = 5.0, 600.0
JsonObject = dict[str, Any]


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
        return await clients.ask(0.0, number, TENANTS[1], deadline=False)

    filling = [asyncio.create_task(ask(number)) for number in range(fill)]
    await asyncio.sleep(SETTLED_S)
    cpu_s, seen = cpu_s_of(clients.router), [await ask(number) for number in range(REFUSALS)]
    cpu_s = cpu_s_of(clients.router) - cpu_s
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
    before = cpu_s_of(router)
    await asyncio.sleep(seconds)
    return (cpu_s_of(router) - before) / seconds


async def flooded(clients: Clients, seconds: float, console: Console) -> JsonObject:
    """The quiet tenant alone, then beside the flood, with the same questions at the same times; as long as all else, by
    turns. `added`: beside what an answer takes by itself.
    """
    alone, beside = list[Seen](), list[Seen]()
    for seed in range(FLOODS):
        alone += (await clients.load(QUIET, seconds, deadline=False, seed=seed)).seen
        async with asyncio.TaskGroup() as group:
            group.create_task(clients.load(FLOOD, seconds, deadline=True, tenant=TENANTS[1], seed=seed))
            calm = group.create_task(clients.load(QUIET, seconds, deadline=False, seed=seed))
        beside += calm.result().seen

    def ms(of: Sequence[Seen], q: float, *, added: bool = False) -> float:
        return round(quantile([one.added_s if added else one.seconds for one in of], q) * 1000, 1)

    report = {
        "outcomes": dict(Counter(one.outcome for one in (*alone, *beside))),
        "alone_ms_p50_p99": [ms(alone, 0.5), ms(alone, 0.99)],
        "beside_ms_p50_p99": [ms(beside, 0.5), ms(beside, 0.99)],
        "added_alone_ms_p50_p99": [ms(alone, 0.5, added=True), ms(alone, 0.99, added=True)],
        "added_beside_ms_p50_p99": [ms(beside, 0.5, added=True), ms(beside, 0.99, added=True)],
        "p99_ratio": round(ms(beside, 0.99) / ms(alone, 0.99), 3),
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
    parser.add_argument("--answer-s", type=float, default=1.6, help="seconds that each takes on the mean")
    parser.add_argument("--seconds", type=float, default=30, help="of each load")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    end_on_sigterm()
    console, expert = Console(stderr=True), Expert(options.slots, options.answer_s)
    report: JsonObject = {"slots": expert.slots, "answer_s": expert.answer_s, "good_s": expert.good_s}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_book(folder / "book.parquet", book_rows())
        (folder / "profiles.json").write_text(json.dumps(profiles()))
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
