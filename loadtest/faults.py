"""One bad expert among good ones: what it costs clients, how many calls are wasted on it, when it is left out, and
when it is asked again.

    python -m loadtest.faults [--requests 400] [--connections 8] [--json OUT.json]

Serves five recorded experts, of which the most trusted goes bad: always failing, 50 times slower than the others,
silent in the middle, sending what is no JSON, sending 50 MiB of it. Each is asked under load alone, alone and streamed,
and in a vote of three; then its fault ends. Wanted: at most 1.2 calls for each that was planned, no request past its
limits, and a breaker that opens and closes by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtest.faults_figures import Asked, Cell, Counts, Opened, figures, grown, metric
from loadtest.faults_world import (
    BAD,
    BREAKERS,
    FAULTS,
    LIMIT_S,
    LIMITS,
    MODES,
    SEATS,
    behaviours,
    book_rows,
    configuration,
    profiles,
    questions,
    said,
)
from loadtest.pool import pooled
from loadtest.recorded_world import RecordedServer, recorded_experts, write_book
from loadtest.report import publish
from loadtest.server import end_on_sigterm, serving

POLL_S = 0.1
REQUEST_LIMIT_S = 4 * LIMIT_S  # of the client: beyond what the server may take, so that its own limits show
USUAL_REQUESTS = 60
RECOVERY_LIMIT_S = 60.0
RECOVERY_PAUSE_S = 0.05
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """A symposium over recorded experts, and a client of both."""

    url: str
    server: RecordedServer
    session: aiohttp.ClientSession
    questions: Sequence[tuple[str, str]]

    async def counts(self) -> Counts:
        return await asyncio.to_thread(self.server.counts)

    async def behave(self, fault: str | None) -> None:
        await asyncio.to_thread(self.server.behave, behaviours(fault))

    async def metrics(self) -> str:
        async with self.session.get(f"{self.url}/metrics") as response:
            return await response.text()

    async def ask(self, mode: str, question: str, answer: str) -> Asked:
        """One request; whatever goes wrong is its outcome."""
        policy, stream = MODES[mode]
        body = {"model": policy, "messages": [{"role": "user", "content": question}], "stream": stream}
        began = time.monotonic()
        try:
            async with self.session.post(f"{self.url}/v1/chat/completions", json=body) as response:
                raw = await response.read()
                outcome = verdict(response.status, raw, stream, said(answer))
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome = type(error).__name__
        return Asked(outcome, time.monotonic() - began)

    async def load(self, mode: str, requests: int, connections: int) -> list[Asked]:
        async def one(pair: tuple[str, str]) -> Asked:
            return await self.ask(mode, *pair)

        jobs = list(itertools.islice(itertools.cycle(self.questions), requests))
        return await pooled(jobs, connections, one)


def verdict(status: int, raw: bytes, stream: bool, wanted: str) -> str:
    """What a client would say of a response: "answered", or why not."""
    if status != 200:
        return f"HTTP {status}"
    try:
        text = streamed_text(raw) if stream else json.loads(raw)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        return f"broken: {error}" if stream else f"broken: {type(error).__name__}"
    return "answered" if text == wanted else "another text"


def streamed_text(raw: bytes) -> str:
    """Raises ValueError for a stream with an error event, or without an end."""
    events = [e.removeprefix("data: ") for e in raw.decode().split("\n\n") if e.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        last = json.loads(events[-1]) if events else {}
        raise ValueError("error event" if "error" in last else "no end")
    chunks = [json.loads(event) for event in events[:-1]]
    if any("error" in chunk for chunk in chunks):
        raise ValueError("error event")
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))


async def one_cell(world: World, fault: str, mode: str, requests: int, connections: int) -> Cell:
    """The usual state, then the fault under load, then its end."""
    usual = await world.load(mode, USUAL_REQUESTS, connections)
    before, legs = await world.counts(), metric(await world.metrics(), "symposium_legs_total")
    await world.behave(fault)
    began = time.monotonic()
    watching = asyncio.create_task(_opened(world, began, before))
    try:
        asked = await world.load(mode, requests, connections)
        took_s = time.monotonic() - began
        await asyncio.sleep(2 * POLL_S)  # a breaker that the last request opened is still seen
    finally:
        watching.cancel()
    opened = (await asyncio.gather(watching, return_exceptions=True))[0]
    router_legs = metric(await world.metrics(), "symposium_legs_total") - legs
    after = await world.counts()
    recovered_s = await _recovered(world, mode)
    seen = opened if isinstance(opened, Opened) else None
    return Cell(fault, mode, SEATS[MODES[mode][0]], usual, asked, before, after, router_legs, took_s, seen, recovered_s)


async def _opened(world: World, began: float, before: Counts) -> Opened:
    """Waits until the bad expert's breaker is open."""
    while metric(await world.metrics(), "symposium_breaker_state", expert=BAD, state="open") < 1:  # noqa: ASYNC110  # another process
        await asyncio.sleep(POLL_S)
    return Opened(time.monotonic() - began, grown(before, await world.counts(), "started", BAD))


async def _recovered(world: World, mode: str) -> float | None:
    """Ends the fault and asks on until the bad expert has answered and its breaker is closed; None: it never did."""
    finished = (await world.counts())[BAD]["finished"]
    await world.behave(None)
    began, answered_s = time.monotonic(), None
    for pair in itertools.cycle(world.questions):
        if time.monotonic() - began > RECOVERY_LIMIT_S:
            return None
        await world.ask(mode, *pair)
        if answered_s is None and (await world.counts())[BAD]["finished"] > finished:
            answered_s = time.monotonic() - began
        closed = metric(await world.metrics(), "symposium_breaker_state", expert=BAD, state="closed") == 1
        if answered_s is not None and closed:
            return answered_s
        await asyncio.sleep(RECOVERY_PAUSE_S)
    return None


async def measure(url: str, server: RecordedServer, options: argparse.Namespace, console: Console) -> JsonObject:
    """Fault -> way of asking -> figures."""
    report: JsonObject = {}
    limits = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limits) as session:
        world = World(url, server, session, questions())
        await world.behave(None)
        for fault, mode in itertools.product(options.faults, options.modes):
            console.print(f"{fault} / {mode}")
            cell = await one_cell(world, fault, mode, options.requests, options.connections)
            report.setdefault(fault, {})[mode] = found = figures(cell)
            console.print(f"  {found}", markup=False, soft_wrap=True)
    return report


@contextmanager
def system() -> Iterator[tuple[str, RecordedServer]]:
    """A symposium over the recorded experts: its URL, and they."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_book(folder / "book.parquet", book_rows(questions()))
        (folder / "profiles.json").write_text(json.dumps(profiles()), encoding="utf-8")
        with recorded_experts(folder / "book.parquet", folder / "recorded.log") as server:
            config = folder / "faults.yaml"
            config.write_text(yaml.safe_dump(configuration(server), sort_keys=False), encoding="utf-8")
            with serving(config, folder / "serve.log") as served:
                yield served.url, server


def show(report: Mapping[str, Any], console: Console) -> None:
    """The report for a person."""
    columns = ["fault", "asked", "answered", "calls", "of bad", "out after", "p50", "longest", "back after"]
    table = Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for fault, mode, row in ((f, m, r) for f, modes in report.items() for m, r in modes.items()):
        opened, back = row["breaker_open_after_s"], row["asked_again_after_s"]
        table.add_row(
            fault,
            mode,
            f"{100 * row['answered']:.1f} %",
            f"{row['calls_per_planned']:.3f}{'' if row['calls_within'] else ' !'}",
            str(row["calls_of_bad"]),
            "never" if opened is None else f"{opened:.1f} s",
            f"{row['p50_s']:.2f} s",
            f"{row['longest_s']:.1f} s{'' if row['within_limit'] else ' !'}",
            "never" if back is None else f"{back:.1f} s",
        )
    console.print("calls: made, for each that was planned; out: its breaker opened; back: asked again after the end")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=400, help="under each fault and way of asking")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    if min(options.requests, options.connections) < 1:
        parser.error("--requests and --connections must be at least 1")
    end_on_sigterm()
    console = Console(stderr=True)
    try:
        with system() as (url, server):
            found = asyncio.run(measure(url, server, options, console))
    except (OSError, RuntimeError) as error:
        raise SystemExit(str(error)) from error
    show(found, console)
    settings = {"requests": options.requests, "connections": options.connections, "limit_s": LIMIT_S}
    publish({"settings": settings | {"limits": LIMITS, "breakers": BREAKERS}, "faults": found}, options.json)


if __name__ == "__main__":
    main()
