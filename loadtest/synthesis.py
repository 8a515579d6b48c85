"""What the system itself adds before the first word of a synthesised stream.

    python -m loadtest.synthesis [--requests 150] [--json OUT.json]

On the engines of `configs/quickstart.yaml`, over one connection: three experts are asked, and an aggregating expert
writes one answer of theirs. The client measures the time to the first word; the response says how long the slowest
expert took, how soon the aggregating expert said its first word, and the router's own time before it asked anybody.
What is left is the system's: HTTP to the client, reading the replies, writing the prompt, starting the call. Wanted:
at most 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import track

from loadtest.disconnects import CONFIG, POLICIES, quantiles
from loadtest.report import publish
from loadtest.routing import configuration
from loadtest.server import REPOSITORY, end_on_sigterm, serving

QUESTIONS = REPOSITORY / "configs" / "quickstart" / "questions.jsonl"
POLICY = "written"
WARM_UP = 10
MAX_TOKENS = 32
REQUEST_LIMIT_S = 60.0
WANTED_MS = 10.0
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Timed:
    """One synthesised stream, milliseconds. `experts_ms`: the slowest one's; `aggregator_ms`: to its first word."""

    first_word_ms: float
    router_ms: float
    experts_ms: float
    aggregator_ms: float

    @property
    def added_ms(self) -> float:
        return self.first_word_ms - self.router_ms - self.experts_ms - self.aggregator_ms


async def ask(session: aiohttp.ClientSession, url: str, question: str) -> Timed | None:
    """None where there was no synthesis.

    Raises:
        ValueError, LookupError: no stream of the expected form came.
    """
    body = {
        "model": POLICY,
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "symposium": {"explain": True},
    }
    began = time.perf_counter()
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        if response.status != 200:
            raise ValueError(f"HTTP {response.status}: {await response.text()}")
        router_ms = float(response.headers["x-symposium-overhead-ms"])
        first_s, last = await read(response.content, time.perf_counter)
    return timed(1000 * (first_s - began), router_ms, last)


async def read(lines: AsyncIterable[bytes], clock: Callable[[], float]) -> tuple[float, JsonObject]:
    """When the first word came, and what the last chunk says of the request."""
    first_s, told = None, None
    async for line in lines:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line.removeprefix(b"data: "))
        choices = chunk.get("choices") or [{}]
        if first_s is None and choices[0].get("delta", {}).get("content"):
            first_s = clock()
        told = chunk.get("symposium") or told
    if first_s is None or told is None:
        raise ValueError("the stream had no words, or did not explain itself")
    return first_s, told


def timed(first_word_ms: float, router_ms: float, told: Mapping[str, Any]) -> Timed | None:
    """The parts that the response accounts for; None where no aggregating expert wrote."""
    legs = [leg for leg in told["legs"] if leg["outcome"] == "answered"]
    experts = [1000 * leg["seconds"] for leg in legs if leg["role"] == "answer"]
    writers = [1000 * leg["first_token_s"] for leg in legs if leg["role"] == "aggregator"]
    return Timed(first_word_ms, router_ms, max(experts), writers[0]) if writers else None


async def measure(url: str, requests: int, console: Console) -> JsonObject:
    """`requests` streams, one after the other, over one connection."""
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    spread = rows[:: max(1, len(rows) // (requests + WARM_UP))]
    asked = list(itertools.islice(itertools.cycle(row["question"] for row in spread), requests + WARM_UP))
    found: list[Timed | None] = []
    limits = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1), timeout=limits) as session:
        for question in track(asked, "streams", console=console):
            found.append(await ask(session, url, question))
    return summary(found[WARM_UP:])


def summary(found: Sequence[Timed | None]) -> JsonObject:
    written = [one for one in found if one is not None]
    added = quantiles([one.added_ms for one in written])
    return {
        "requests": len(found),
        "synthesised": len(written),
        "added_ms": added,
        "added_within": sum(one.added_ms <= WANTED_MS for one in written),
        "first_word_ms": quantiles([one.first_word_ms for one in written]),
        "router_ms": quantiles([one.router_ms for one in written]),
        "slowest_expert_ms": quantiles([one.experts_ms for one in written]),
        "aggregator_first_word_ms": quantiles([one.aggregator_ms for one in written]),
    }


def show(report: Mapping[str, Any], console: Console) -> None:
    """The report for a person."""
    console.print(f"{report['synthesised']} of {report['requests']} streams were synthesised; milliseconds:")
    for name, row in report.items():
        if isinstance(row, dict):
            console.print(f"  {name[:-3]:28s} " + "  ".join(f"{q} {ms:7.1f}" for q, ms in row.items()))
    console.print(f"  added at most {WANTED_MS:g} ms in {report['added_within']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=150)
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    end_on_sigterm()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "synthesis.yaml"
        config.write_text(configuration(CONFIG, POLICIES), encoding="utf-8")
        with serving(config, Path(name) / "serve.log") as served:
            report = asyncio.run(measure(served.url, options.requests, console))
    show(report, console)
    publish(report, options.json)


if __name__ == "__main__":
    main()
