"""What the quickstart costs: time to ready, memory, the router's own work, and how batching cheapens it.

    python -m loadtest.overhead [--queries 300] [--rounds 3] [--json OUT.json]

Starts `configs/quickstart.yaml` with its real engines. At one and at 32 connections, interleaved: the router's own
time from admission to dispatch (as it reports it in `x-symposium-overhead-ms`) and the CPU time of the router's
process per query (user and system, from the process table).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from rich.console import Console

from loadtest.report import publish
from loadtest.server import REPOSITORY, Served, cpu_s_of, serving

CONFIG = REPOSITORY / "configs" / "quickstart.yaml"
QUESTIONS = REPOSITORY / "configs" / "quickstart" / "questions.jsonl"
CONNECTIONS = (1, 32)
WARM_UP = 64
ROUTER_APP = "symposium"


@dataclass(frozen=True, slots=True)
class Round:
    connections: int
    queries: int
    overhead_ms: list[float]
    router_cpu_ms_per_query: float
    queries_per_s: float


async def one_round(served: Served, router: psutil.Process, questions: list[str], connections: int) -> Round:
    """Every question once, over `connections` connections that each wait for their answer before the next."""
    left = iter(questions)
    overheads: list[float] = []
    before, began = cpu_s_of(router), asyncio.get_running_loop().time()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:

        async def worker() -> None:
            for question in left:
                overheads.append(await _ask(session, served.url, question))

        await asyncio.gather(*(worker() for _ in range(connections)))
    seconds = asyncio.get_running_loop().time() - began
    cpu_ms = (cpu_s_of(router) - before) * 1000 / len(questions)
    return Round(connections, len(questions), overheads, cpu_ms, len(questions) / seconds)


async def _ask(session: aiohttp.ClientSession, url: str, question: str) -> float:
    body = {"model": "fast", "messages": [{"role": "user", "content": question}], "max_tokens": 4}
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        answer = await response.json()
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {answer}")
        return float(response.headers["x-symposium-overhead-ms"])


async def measure(served: Served, queries: int, rounds: int, console: Console) -> dict[str, Any]:
    lines = QUESTIONS.read_text(encoding="utf-8").splitlines()
    questions = iter([json.loads(line)["question"] for line in lines])  # each once: vectors are remembered
    if WARM_UP + queries * rounds * len(CONNECTIONS) > len(lines):
        raise ValueError(f"there are {len(lines)} different questions: ask fewer, or in fewer rounds")
    router = served.replica(ROUTER_APP)
    await one_round(served, router, list(itertools.islice(questions, WARM_UP)), 8)  # not counted
    found: list[Round] = []
    for _ in range(rounds):
        for connections in CONNECTIONS:
            found.append(await one_round(served, router, list(itertools.islice(questions, queries)), connections))
            console.print(
                f"{connections:3d} connections: overhead p50 {statistics.median(found[-1].overhead_ms):6.2f} ms, "
                f"router CPU {found[-1].router_cpu_ms_per_query:5.2f} ms a query, {found[-1].queries_per_s:5.0f} q/s"
            )
    return {str(c): _summary([r for r in found if r.connections == c]) for c in CONNECTIONS}


def _summary(rounds: list[Round]) -> dict[str, float]:
    overheads = sorted(itertools.chain.from_iterable(r.overhead_ms for r in rounds))
    return {
        "queries": sum(r.queries for r in rounds),
        "overhead_p50_ms": round(statistics.median(overheads), 2),
        "overhead_p99_ms": round(overheads[int(0.99 * (len(overheads) - 1))], 2),
        "router_cpu_ms_per_query": round(statistics.median(r.router_cpu_ms_per_query for r in rounds), 3),
        "queries_per_s": round(statistics.median(r.queries_per_s for r in rounds), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--queries", type=int, default=300, help="per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, serving(CONFIG, Path(folder) / "serve.log") as served:
        connections = asyncio.run(measure(served, options.queries, options.rounds, console))
        one, many = (connections[str(c)]["router_cpu_ms_per_query"] for c in CONNECTIONS)
        report = {
            "ready_s": round(served.seconds_to_ready, 1),
            "pss_gib": round(served.pss_bytes() / 2**30, 2),
            "connections": connections,
            "cpu_ratio_32_to_1": round(many / one, 3),
        }
    publish(report, options.json)


if __name__ == "__main__":
    main()
