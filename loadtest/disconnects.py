"""Clients that leave at every moment of a request: do all experts' work end, and how soon?

    python -m loadtest.disconnects [--times 20] [--json OUT.json]

On the engines of `configs/quickstart.yaml`, with policies that ask one expert, convene three that vote, and have an
answer synthesised. Clients leave before the first byte, in the middle of a stream, while they wait for a whole answer,
while several experts are at work, and during the synthesis; each also with headers that steer Serve. Reported: how many
calls were under way and how many of them ended, and from the client's close to the end at the engine's host and in the
engine (p50, p99, max). Wanted: all of them, p99 within 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from loadtest.liveness import Probe
from loadtest.report import publish, quantile
from loadtest.routing import configuration
from loadtest.server import REPOSITORY, Served, end_on_sigterm, serving

CONFIG = REPOSITORY / "configs" / "quickstart.yaml"
ENGINES = ("/experts/specialists", "/experts/generalist")
EVERYONE: dict[str, Any] = {"max_experts": 3, "min_share": 0, "decided_at": None}
POLICIES: dict[str, dict[str, Any]] = {
    "auto": {},
    "one": {"max_experts": 1},
    "several": EVERYONE | {"aggregate": "vote"},
    "written": EVERYONE | {"aggregate": "synthesize"},
}
STEERING = {"x-request-disconnect-disabled": "?1", "x-request-timeout-seconds": "3600"}
QUESTION = "What is the capital of France?"  # of a category in which an aggregating expert has been measured to be good
MAX_TOKENS = 400
READ_TOKENS = 60  # where the aggregator has to read three of them in a context of 512
QUIET_S = 0.06  # after a close: who polls at once delays what is measured
ENDED_LIMIT_S = 5.0
WAIT_LIMIT_S = 20.0
WANTED_MS = 50.0
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a client leaves. `when`: `soon` or `later` after sending, after the first `words`, or while one `writes`."""

    policy: str
    stream: bool
    when: str

    @property
    def max_tokens(self) -> int:
        return READ_TOKENS if self.policy == "written" else MAX_TOKENS


MOMENTS = {
    "before the first byte": Moment("one", True, "soon"),
    "mid-stream": Moment("one", True, "words"),
    "whole answer": Moment("one", False, "later"),
    "fan-out, streamed": Moment("several", True, "later"),
    "fan-out, whole": Moment("several", False, "later"),
    "synthesis, streamed": Moment("written", True, "words"),
    "synthesis, whole": Moment("written", False, "writes"),
}
DELAYS_S = {"soon": (0.008, 0.03), "later": (0.08, 0.35)}


@dataclass(frozen=True, slots=True)
class Left:
    """What one disconnect led to. Milliseconds after the close, of the calls that were under way then."""

    under_way: int
    still_open: int
    host_ms: tuple[float, ...] = ()
    engine_ms: tuple[float, ...] = ()


class Hosts:
    """The legs of several engines together."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = probes

    async def legs(self, count: int = 50) -> dict[str, JsonObject]:
        found = await asyncio.gather(*(probe.legs(count) for probe in self._probes))
        return {leg_id: leg for legs in found for leg_id, leg in legs.items()}

    async def until_one_writes(self) -> None:
        """Waits until an aggregating expert is at work."""
        async with asyncio.timeout(WAIT_LIMIT_S):
            while not writing(await self.legs()):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.01)

    async def left(self, closed_at: float, known: set[str]) -> Left:
        """What has become of the legs that are not `known`; all of them are from now on."""
        end = time.monotonic() + ENDED_LIMIT_S
        while True:
            new = {i: leg for i, leg in (await self.legs()).items() if i not in known}
            if all(map(ended, new.values())) or time.monotonic() > end:
                known |= new.keys()
                return left(closed_at, new)
            await asyncio.sleep(0.02)


def writing(legs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an aggregating expert is at work; the router's name for its call says that it is one."""
    return any("-s-" in leg_id and leg["engine_running"] for leg_id, leg in legs.items())


def ended(leg: Mapping[str, Any]) -> bool:
    return not leg["http_open"] and leg["engine_running"] == 0


def left(closed_at: float, legs: Mapping[str, Mapping[str, Any]]) -> Left:
    """Of the legs of one request, those that ended after the client's close, or have not."""
    over = [
        leg for leg in legs.values() if ended(leg) and max(leg["http_ended_at"], leg["engine_ended_at"]) > closed_at
    ]
    still_open = sum(not ended(leg) for leg in legs.values())
    return Left(
        len(over) + still_open,
        still_open,
        tuple(1000 * (leg["http_ended_at"] - closed_at) for leg in over),
        tuple(1000 * (leg["engine_ended_at"] - closed_at) for leg in over if leg["engine_ended_at"]),
    )


def request(moment: Moment, headers: Mapping[str, str]) -> bytes:
    """The whole request as it goes over the wire; the engine is told to go on to the last token."""
    body = json.dumps(
        {
            "model": moment.policy,
            "messages": [{"role": "user", "content": QUESTION}],
            "stream": moment.stream,
            "max_tokens": moment.max_tokens,
            "ignore_eos": True,
        }
    ).encode()
    fields = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + body


async def leave(url: str, hosts: Hosts, moment: Moment, headers: Mapping[str, str], draw: random.Random) -> float:
    """Sends a request and closes the connection at the moment; Unix time of the close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    try:
        writer.write(request(moment, headers))
        await writer.drain()
        await _until(moment.when, reader, hosts, draw)
    finally:
        closed_at = time.time()
        writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return closed_at


async def _until(when: str, reader: asyncio.StreamReader, hosts: Hosts, draw: random.Random) -> None:
    if when == "writes":
        await hosts.until_one_writes()
    elif when == "words":
        await _words(reader, draw.randint(2, 8))  # the first event has no words yet
    else:
        await asyncio.sleep(draw.uniform(*DELAYS_S[when]))


async def _words(reader: asyncio.StreamReader, events: int) -> None:
    """Raises RuntimeError where the whole answer has come before so many events: nobody would be cut."""
    came = b""
    async with asyncio.timeout(WAIT_LIMIT_S):
        while came.count(b"data: ") < events:
            came += await reader.read(65_536)
            if b"[DONE]" in came or reader.at_eof():
                raise RuntimeError(f"no stream to leave: {came[-2000:]!r}")


@asynccontextmanager
async def hosts_of(served: Served) -> AsyncIterator[Hosts]:
    async with AsyncExitStack() as stack:
        yield Hosts([await stack.enter_async_context(Probe(served, path)) for path in ENGINES])


async def measure(served: Served, times: int, seed: int, console: Console) -> JsonObject:
    """Every moment with and without steering headers, `times` each, taking turns."""
    draw = random.Random(seed)
    cells = list(itertools.product(MOMENTS, ("plain", "steering")))
    found: dict[tuple[str, str], list[Left]] = {cell: [] for cell in cells}
    async with hosts_of(served) as hosts:
        known = set(await hosts.legs(1000))
        for name, kind in track(cells * times, "disconnects", console=console):
            headers = STEERING if kind == "steering" else {}
            closed_at = await leave(served.url, hosts, MOMENTS[name], headers, draw)
            await asyncio.sleep(QUIET_S)
            found[name, kind].append(await hosts.left(closed_at, known))
    everything = [one for many in found.values() for one in many]
    report = {"all": summary(everything) | {"slowest": slowest(found)}}
    return report | {f"{name}, {kind}": summary(many) for (name, kind), many in found.items()}


def summary(found: Sequence[Left]) -> JsonObject:
    host = [ms for one in found for ms in one.host_ms]
    engine = [ms for one in found for ms in one.engine_ms]
    calls, still_open = sum(one.under_way for one in found), sum(one.still_open for one in found)
    return {
        "disconnects": len(found),
        "with_a_call_under_way": sum(one.under_way > 0 for one in found),
        "calls_under_way": calls,
        "calls_ended": calls - still_open,
        "host_ms": quantiles(host),
        "engine_ms": quantiles(engine),
        "within": still_open == 0 and quantiles(host + engine).get("p99", 0.0) <= WANTED_MS,
    }


def slowest(found: Mapping[tuple[str, str], Sequence[Left]], count: int = 5) -> list[JsonObject]:
    """The slowest ends, with the round they were in: those of one round had something else in common."""
    ends: list[JsonObject] = [
        {"left": f"{name}, {kind}", "round": number, "host_ms": round(max(one.host_ms), 1)}
        for (name, kind), many in found.items()
        for number, one in enumerate(many)
        if one.host_ms
    ]
    return sorted(ends, key=lambda end: -end["host_ms"])[:count]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0} if values else {}
    return {name: round(quantile(values, q), 1) for name, q in at.items()}


def show(report: Mapping[str, Any], console: Console) -> None:
    """The report for a person."""
    table = Table(
        "left", "calls", "ended", "host, ms", "engine, ms", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for name, row in report.items():
        times = [
            " ".join(f"{row[side].get(q, 0):5.1f}" for q in ("p50", "p99", "max")) for side in ("host_ms", "engine_ms")
        ]
        table.add_row(
            name + ("" if row["within"] else " !"), str(row["calls_under_way"]), str(row["calls_ended"]), *times
        )
    console.print(f"{report['all']['disconnects']} disconnects; from the close to the end of a call: p50, p99, max")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="each moment, with and without steering headers")
    parser.add_argument("--seed", type=int, default=0, help="of the delays")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    end_on_sigterm()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "disconnects.yaml"
        config.write_text(configuration(CONFIG, POLICIES), encoding="utf-8")
        with serving(config, Path(name) / "serve.log") as served:
            report = asyncio.run(measure(served, options.times, options.seed, console))
    show(report, console)
    publish(report, options.json)


if __name__ == "__main__":
    main()
