"""The riskiest assumption, measured: a plain HTTP leg through Serve's HAProxy gives liveness, true abort and
exact accounting.

    python -m loadtest.liveness [--disconnects 200] [--json OUT.json]

One engine, a relaying router, fan-out of two. Clients leave in every way there is; then EngineCore is killed,
then the replica. Reported: from the client's close to the leg's end at the engine's host (p50, p99, max), to the
engine's running gauge at zero; tokens by our counts and by vLLM's counter; the longest wait on a dead engine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from rich.console import Console
from rich.progress import track

from loadtest.report import publish
from loadtest.server import Served, serving

CONFIG = Path(__file__).with_name("liveness.yaml")
APP = "expert-specialists"
ENGINE_PATH = "/experts/specialists"
STEERING: tuple[dict[str, str], ...] = ({}, {"x-request-disconnect-disabled": "?1"}, {"x-request-timeout-seconds": "1"})
SHAPES = (("fast", True), ("auto", True), ("fast", False), ("auto", False))  # (policy, streaming)
MOMENTS = ("before_first_byte", "middle")
BEFORE_S, MIDDLE_S = 0.06, 0.35
GAUGE_EVERY = 4
TOTAL_LIMIT_S = 20.0  # of liveness.yaml: no request may wait longer on a dead engine


@dataclass(frozen=True, slots=True)
class Case:
    policy: str
    stream: bool
    moment: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Left:
    """What one disconnect led to; milliseconds after the client's close. None: no leg had begun."""

    case: Case
    legs: int
    leg_closed_ms: float | None
    engine_done_ms: float | None
    gauge_zero_ms: float | None


class Probe:
    """Reads an engine's own figures over the internal listener; of these benchmarks' only one, or of one of several."""

    def __init__(self, served: Served, engine_path: str = ENGINE_PATH) -> None:
        self._base = served.internal_url + engine_path
        self._client = httpx.AsyncClient(headers=served.internal_headers, timeout=10)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def legs(self, count: int = 50) -> dict[str, dict[str, Any]]:
        response = await self._client.get(f"{self._base}/internal/legs/", params={"count": count})
        legs: dict[str, dict[str, Any]] = response.raise_for_status().json()
        return {k: v for k, v in legs.items() if k.startswith("req_")}

    async def metric(self, name: str) -> float:
        text = (await self._client.get(f"{self._base}/metrics")).raise_for_status().text
        values = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(name + "{")]
        return sum(map(float, values))

    async def settled(self, known: set[str], limit_s: float = 5.0) -> dict[str, dict[str, Any]]:
        """Legs that are not in `known`, once all of them are over."""
        end = time.monotonic() + limit_s
        while True:
            new = {k: v for k, v in (await self.legs()).items() if k not in known}
            if all(not v["http_open"] and v["engine_running"] == 0 for v in new.values()):
                return new
            if time.monotonic() > end:
                raise RuntimeError(f"legs still running {limit_s:g} s after the client left: {new}")
            await asyncio.sleep(0.01)


async def disconnects(served: Served, count: int, console: Console) -> dict[str, Any]:
    """Runs `count` disconnects over all cases, one after the other, and sums up."""
    async with Probe(served) as probe:
        tokens_before = await probe.metric("vllm:generation_tokens_total")
        settled_before = await _router_tokens(served)
        left, ours = await _disconnect_all(served, probe, count, console)
        theirs = await probe.metric("vllm:generation_tokens_total") - tokens_before
        await asyncio.sleep(1.0)  # the router asks the host for what each cut leg used
        settled = await _router_tokens(served) - settled_before
    return _summary(left) | {"tokens": {"vllm_counter": theirs, "host_ledger": ours, "router_settled": settled}}


async def _disconnect_all(served: Served, probe: Probe, count: int, console: Console) -> tuple[list[Left], int]:
    """What each disconnect led to, and the output tokens of all their legs by the host's count."""
    cases = [
        Case(policy, stream, moment, headers)
        for (policy, stream), moment, headers in itertools.product(SHAPES, MOMENTS, STEERING)
    ]
    known, left, tokens = set(await probe.legs(1000)), [], 0
    for number in track(range(count), "disconnects", console=console):
        case = cases[number % len(cases)]
        closed_at = await _leave(served, case)
        gauge_ms = await _gauge_zero_ms(probe, closed_at) if number % GAUGE_EVERY == 0 else None
        legs = await probe.settled(known)
        known |= legs.keys()
        tokens += sum(leg["output_tokens"] for leg in legs.values())
        left.append(Left(case, len(legs), *_after(closed_at, legs), gauge_ms))
    return left, tokens


def _after(closed_at: float, legs: dict[str, dict[str, Any]]) -> tuple[float | None, float | None]:
    if not legs:
        return None, None
    http = max(leg["http_ended_at"] for leg in legs.values()) - closed_at
    engine = max(leg["engine_ended_at"] for leg in legs.values()) - closed_at
    return http * 1000, engine * 1000


async def _leave(served: Served, case: Case) -> float:
    """Sends a request and closes the connection at the case's moment; Unix time of the close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(served.url).port)
    writer.write(_request(case))
    await writer.drain()
    if case.moment == "before_first_byte":
        await asyncio.sleep(BEFORE_S)
    elif case.stream and case.policy == "fast":
        for _ in range(3):
            await asyncio.wait_for(reader.readuntil(b"data: "), 10)
    else:
        await asyncio.sleep(MIDDLE_S)
    closed_at = time.time()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return closed_at


def _request(case: Case) -> bytes:
    body = json.dumps(_body(case.policy, case.stream)).encode()
    extra = "".join(f"{k}: {v}\r\n" for k, v in case.headers.items())
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"{extra}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _body(policy: str, stream: bool) -> dict[str, Any]:
    return {
        "model": policy,
        "messages": [{"role": "user", "content": "What is 17 plus 25?"}],
        "stream": stream,
        "max_tokens": 400,
        "ignore_eos": True,
    }


async def _gauge_zero_ms(probe: Probe, closed_at: float) -> float:
    while await probe.metric("vllm:num_requests_running") > 0:
        if time.time() - closed_at > 10:
            raise RuntimeError("the running gauge did not fall within 10 s")
    return (time.time() - closed_at) * 1000


async def _router_tokens(served: Served) -> float:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{served.url}/metrics")).text
    lines = [x for x in text.splitlines() if x.startswith("symposium_tokens_total") and 'kind="output"' in x]
    return sum(float(x.rsplit(" ", 1)[1]) for x in lines)


def _summary(left: Sequence[Left]) -> dict[str, Any]:
    return {
        "disconnects": len(left),
        "with_a_leg_under_way": sum(1 for x in left if x.legs),
        "legs": sum(x.legs for x in left),
        "leg_closed_ms": _quantiles([x.leg_closed_ms for x in left]),
        "engine_done_ms": _quantiles([x.engine_done_ms for x in left]),
        "gauge_zero_ms": _quantiles([x.gauge_zero_ms for x in left]),
        "slowest": [asdict(x) for x in sorted(left, key=lambda x: -(x.leg_closed_ms or 0))[:3]],
    }


def _quantiles(values: Sequence[float | None]) -> dict[str, float]:
    known = sorted(v for v in values if v is not None)
    if not known:
        return {}
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(known[min(len(known) - 1, int(q * len(known)))], 1) for name, q in at.items()}


async def after_kill(served: Served, kind: str, console: Console) -> dict[str, Any]:
    """Kills the engine process or the replica under load; how each request ended and when service was back."""
    victim = served.engine_core() if kind == "engine_core" else served.replica(APP)
    async with httpx.AsyncClient(base_url=served.url, timeout=120) as client:
        under_way = [asyncio.create_task(_timed(client, p, s)) for p, s in SHAPES for _ in range(2)]
        await asyncio.sleep(MIDDLE_S)
        console.print(f"killing {kind} (pid {victim.pid})")
        killed_at = time.monotonic()
        victim.send_signal(signal.SIGKILL)
        ended = await asyncio.gather(*under_way)
        later: list[tuple[str, float]] = []
        while not later or later[-1][0] != "200":
            later.append(await _timed(client, "auto", False))
            await asyncio.sleep(0.25)
            if time.monotonic() - killed_at > 300:
                raise RuntimeError(f"no answer 300 s after {kind} was killed: {later[-3:]}")
    return {
        "under_way": sorted({outcome for outcome, _ in ended}),
        "under_way_longest_s": round(max(s for _, s in ended), 2),
        "later": sorted({outcome for outcome, _ in later}),
        "later_longest_s": round(max(s for _, s in later), 2),
        "recovered_after_s": round(time.monotonic() - killed_at, 1),
        "within_limit": max(s for _, s in [*ended, *later]) <= TOTAL_LIMIT_S + 1,
    }


async def _timed(client: httpx.AsyncClient, policy: str, stream: bool) -> tuple[str, float]:
    began = time.monotonic()
    try:
        response = await client.post("/v1/chat/completions", json=_body(policy, stream))
        broken = stream and b'"error"' in response.content
        outcome = "error event" if broken else str(response.status_code)
    except httpx.HTTPError as error:
        outcome = type(error).__name__
    return outcome, time.monotonic() - began


async def measure(served: Served, count: int, console: Console) -> dict[str, Any]:
    report = await disconnects(served, count, console)
    report["engine_core_killed"] = await after_kill(served, "engine_core", console)
    report["replica_killed"] = await after_kill(served, "replica", console)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--disconnects", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, serving(CONFIG, Path(folder) / "serve.log") as served:
        report = asyncio.run(measure(served, options.disconnects, console))
    publish(report, options.json)


if __name__ == "__main__":
    main()
