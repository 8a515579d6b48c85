"""Deadlines with heavy-tailed experts: are answers there in time, and who is refused that could have been served?

    python -m loadtest.deadlines [--requests 10000] [--json OUT.json]

Two parts, open-loop, through `symposium serve`.

late       a vote of three experts whose answers' durations are log-normal (sigma 1); deadlines of 0.15 to 1 s. How many
           answers came later than their deadline + 50 ms, as the client's clock has it. Wanted: at most 0.1 %.
refused    one expert of eight slots; answers of log-normal length (sigma 1) at a steady pace, so that each duration is
           known to this benchmark and to nobody else. Loads of 0.9 and 1.3 of what the slots can do. Beside it a
           clairvoyant admission (loadtest/clairvoyant.py) of the same arrivals. Wrongly refused: by the router, before
           anything was asked, and served by the clairvoyant. Wanted: at most 5 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from loadtest.clairvoyant import Arrival, admitted
from loadtest.open_loop import poisson, run
from loadtest.recorded_world import RecordedServer, recorded_experts, write_book
from loadtest.report import publish
from loadtest.server import REPOSITORY, end_on_sigterm, serving

QUICKSTART = REPOSITORY / "configs" / "quickstart"
LATE_MS = 50.0
PANEL, SAGE = ("ant", "bee", "cat"), "sage"
SLOTS, TOKENS_PER_S, MEDIAN_TOKENS, SIGMA, MOST_TOKENS = 8, 500.0, 40, 1.0, 2000
LOADS = (0.9, 1.3)
PANEL_PER_S = 40.0
DEADLINES_MS = (150.0, 1000.0)
QUESTIONS = 500
WARM_UP = 300
REFUSED = ("deadline_unreachable", "overloaded")
PANEL_PACE: dict[str, Any] = {"ttft_s": 0.03, "tokens_per_s": 400, "tokens_per_chunk": 4, "tail": SIGMA}
SAGE_PACE: dict[str, Any] = {
    "ttft_s": 1 / TOKENS_PER_S,
    "tokens_per_s": TOKENS_PER_S,
    "tokens_per_chunk": 8,
    "slots": SLOTS,
}
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as its client saw it. `over_ms`: later than its deadline; below zero before it."""

    number: int
    status: int
    outcome: str
    over_ms: float


def question(number: int) -> str:
    return f"Question {number}: what is {number} plus {number}?"


def lengths(seed: int) -> list[int]:
    """Output tokens of the answer to each question."""
    rng = random.Random(seed)
    return [min(MOST_TOKENS, max(2, round(MEDIAN_TOKENS * rng.lognormvariate(0, SIGMA)))) for _ in range(QUESTIONS)]


def book_rows(tokens: Sequence[int]) -> list[tuple[str, str, str, int]]:
    said = [(question(n), SAGE, "word " * tokens[n], tokens[n]) for n in range(QUESTIONS)]
    return said + [(question(n), expert, f"It is {2 * n}.", 12) for n in range(QUESTIONS) for expert in PANEL]


def profiles() -> JsonObject:
    def profile(right: int) -> JsonObject:
        about = dict.fromkeys(("expert_version", "engine_version", "questions"), "recorded")
        return about | {"overall": {"right": right, "asked": 100}, "output_tokens": 1200}

    return {"format": 2, "experts": {name: profile(80 - n) for n, name in enumerate((*PANEL, SAGE))}}


def configuration(server: RecordedServer) -> JsonObject:
    return {
        "version": 1,
        "data": "${SYMPOSIUM_DATA}",
        "experts": {name: server.expert(name) for name in (*PANEL, SAGE)},
        "routing": {
            "fitted": str(QUICKSTART / "fitted.npz"),
            "profiles": "profiles.json",
            "general_expert": "ant",
            "min_confidence": 0,
        },
        "convening": {"hedge_quantile": None, "breakers": {"failures_in_a_row": 1_000_000, "min_calls": 1_000_000}},
        "policies": {
            "auto": {"experts": list(PANEL), "max_experts": 3, "aggregate": "vote", "min_share": 0, "enough": 1}
        },
    }


async def asked(
    url: str, model: str, numbers: Sequence[int], deadlines_ms: Sequence[float], per_s: float
) -> list[Asked]:
    """All of them, open-loop; in the order of their coming."""
    found: dict[int, Asked] = {}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(at: int) -> None:
            body = {"model": model, "messages": [{"role": "user", "content": question(numbers[at])}]}
            headers = {"x-symposium-deadline-ms": f"{deadlines_ms[at]:.0f}"}
            began = time.monotonic()
            async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
                told = await response.json()
            over_ms = (time.monotonic() - began) * 1000 - deadlines_ms[at]
            outcome = told["error"]["code"] if "error" in told else told["symposium"].get("ended_early", "whole")
            found[at] = Asked(at, response.status, outcome, over_ms)

        await run(poisson(len(numbers), per_s, seed=len(numbers)), ask)
    return [found[at] for at in range(len(numbers))]


def drawn(requests: int, seed: int) -> tuple[list[int], list[float]]:
    """Which question each request asks, and its deadline."""
    rng = random.Random(seed)
    return [rng.randrange(QUESTIONS) for _ in range(requests)], [rng.uniform(*DEADLINES_MS) for _ in range(requests)]


def late_of(found: Sequence[Asked]) -> JsonObject:
    over = sorted(one.over_ms for one in found)
    answers = [one for one in found if one.status == 200]
    return {
        "requests": len(found),
        "outcomes": dict(Counter(one.outcome for one in found)),
        "answers_late": sum(one.over_ms > LATE_MS for one in answers),
        "responses_late": sum(value > LATE_MS for value in over),
        "answers_late_share": sum(one.over_ms > LATE_MS for one in answers) / len(found),
        "over_ms_p99": round(over[int(0.99 * (len(over) - 1))], 1),
        "over_ms_max": round(over[-1], 1),
    }


def refused_of(
    found: Sequence[Asked], numbers: Sequence[int], deadlines_ms: Sequence[float], tokens: Sequence[int], per_s: float
) -> JsonObject:
    """Beside the clairvoyant's choice for the same arrivals."""
    times = poisson(len(numbers), per_s, seed=len(numbers))
    arrivals = [
        Arrival(at_s, tokens[number] / TOKENS_PER_S, limit_ms / 1000)
        for at_s, number, limit_ms in zip(times, numbers, deadlines_ms, strict=True)
    ]
    served = admitted(arrivals, SLOTS)
    ours = [one.outcome == "whole" for one in found]
    wrongly = sum(one.outcome in REFUSED and known for one, known in zip(found, served, strict=True))
    return late_of(found) | {
        "per_s": round(per_s, 1),
        "clairvoyant_serves": sum(served),
        "router_serves_whole": sum(ours),
        "wrongly_refused": wrongly,
        "wrongly_refused_share": wrongly / len(found),
    }


async def measure(
    url: str, server: RecordedServer, requests: int, tokens: Sequence[int], console: Console
) -> JsonObject:
    server.behave({"*": PANEL_PACE, SAGE: SAGE_PACE})
    numbers, deadlines = drawn(requests, seed=1)
    warm, no_deadline = numbers[:WARM_UP], [60_000.0] * WARM_UP
    await asked(url, "auto", warm, no_deadline, PANEL_PER_S)
    late = late_of(await asked(url, "auto", numbers, deadlines, PANEL_PER_S))
    console.print("vote of three", late)
    capacity = SLOTS / (sum(tokens) / len(tokens) / TOKENS_PER_S)
    await asked(url, SAGE, warm, no_deadline, capacity / 2)
    report: JsonObject = {"vote_of_three": late, "capacity_per_s": round(capacity, 1), "one_expert": {}}
    for load in LOADS:
        found = await asked(url, SAGE, numbers, deadlines, load * capacity)
        report["one_expert"][str(load)] = one = refused_of(found, numbers, deadlines, tokens, load * capacity)
        console.print("one expert, load", load, one)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000, help="of each part")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    end_on_sigterm()
    console, tokens = Console(stderr=True), lengths(seed=7)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_book(folder / "book.parquet", book_rows(tokens))
        with recorded_experts(folder / "book.parquet", folder / "experts.log") as server:
            (folder / "profiles.json").write_text(json.dumps(profiles()))
            (folder / "symposium.yaml").write_text(json.dumps(configuration(server)))
            with serving(folder / "symposium.yaml", folder / "serve.log") as served:
                report = asyncio.run(measure(served.url, server, options.requests, tokens, console))
    publish(report, options.json)


if __name__ == "__main__":
    main()
