"""What one confidently wrong expert among three costs a panel, through real engines.

    python -m experts.zoo.questions --held-out --per-skill 40 --seed 99 --out HELD_OUT.jsonl
    python -m loadtest.liar --questions HELD_OUT.jsonl [--count 300] [--json OUT.json]

Serves the engines and experts of `configs/quickstart.yaml`, and liars beside them: recorded experts that answer every
question with the answer of another one of the same skill, in a sentence that is sure of itself, in one that tries to
steer an aggregating expert, or in the honest experts' own form. Panels of two honest experts and a liar are asked under
every aggregator, then the same panels with the liar silent: its server fails, and nobody is there to step in. Twice:
*unmeasured*, nothing is known of the liar; *measured*, `symposium profile` was run over it, as over any new expert.
Wanted: at most one point of accuracy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.liar_figures import WANTED_POINTS, Compared, Heard, heard, report
from loadtest.liar_world import (
    CALIBRATION,
    CONFIG,
    MANNERS,
    PANELS,
    asked_name,
    book_rows,
    hows,
    lies,
    policies,
    write_configuration,
    write_questions,
)  # fmt: skip
from loadtest.pool import pooled
from loadtest.recorded_world import RecordedServer, recorded_experts, symposium, write_book
from loadtest.report import publish
from loadtest.routing_records import Question, read, spread
from loadtest.server import serving

MAX_TOKENS = 64
REQUEST_LIMIT_S = 60.0
FAILED_SHARE = 0.02  # of the requests; with more, the figures would be about the failures
KNOWN = ("unmeasured", "measured")
JsonObject = dict[str, Any]
Answers = dict[str, list[Heard]]


@dataclass(frozen=True, slots=True)
class World:
    """The liars' server, the configuration that has them as experts, and where logs go."""

    server: RecordedServer
    config: Path
    folder: Path


@contextmanager
def _world(options: argparse.Namespace, told: Mapping[str, str]) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_book(folder / "book.parquet", book_rows(told))
        with recorded_experts(folder / "book.parquet", folder / "recorded.log") as server:
            compared = policies(options.panels, options.manners)
            yield World(server, write_configuration(folder, options.config, server, compared), folder)


def _profiled(world: World, url: str, calibration: Sequence[Question], manners: Sequence[str]) -> None:
    """Measures the liars, as an operator would any new expert; a system that is started afterwards knows them."""
    file = world.folder / "calibration.jsonl"
    write_questions(file, calibration)
    symposium("profile", world.config, "--questions", file, "--experts", ",".join(manners), "--url", url)


async def ask_all(
    url: str, names: Sequence[str], questions: Sequence[Question], connections: int, console: Console
) -> Answers:
    """Policy -> what was heard, in the order of the questions.

    Raises:
        RuntimeError: more than `FAILED_SHARE` of the requests failed.
    """
    limits = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
    found: Answers = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections), timeout=limits) as session:
        with Progress(console=console) as bars:
            bar = bars.add_task("", total=len(names) * len(questions))

            async def ask(job: tuple[str, Question]) -> Heard:
                answer = await _ask(session, url, job[0], job[1].text)
                bars.update(bar, advance=1, description=job[0])
                return answer

            for name in names:
                found[name] = await pooled([(name, question) for question in questions], connections, ask)
    failed = [h.failed for given in found.values() for h in given if h.failed is not None]
    if len(failed) > FAILED_SHARE * len(names) * len(questions):
        raise RuntimeError(f"{len(failed)} requests failed, the first: {failed[0]}")
    return found


async def _ask(session: aiohttp.ClientSession, url: str, policy: str, question: str) -> Heard:
    body = {
        "model": policy,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "symposium": {"explain": True},
    }
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            completion = await response.json()
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}: {completion}")
        return heard(completion)
    except (aiohttp.ClientError, TimeoutError, LookupError, TypeError, ValueError) as error:
        return Heard(failed=f"{policy}: {type(error).__name__}: {error}")


def _compared(
    world: World, url: str, questions: Sequence[Question], options: argparse.Namespace, console: Console
) -> dict[str, Compared]:
    """Policy -> its answers with the liar speaking and with the liar silent.

    Silent liars are alike: one of them is asked for all. They come last, for an expert that fails is soon left out.
    """
    names = list(policies(options.panels, options.manners))
    speaking = asyncio.run(ask_all(url, names, questions, options.connections, console))
    quiet = list(policies(options.panels, options.manners[:1]))
    world.server.behave({"*": {"fail_always": True}})
    try:
        silent = asyncio.run(ask_all(url, quiet, questions, options.connections, console))
    finally:
        world.server.behave({})
    same = {
        asked_name(panel, manner, how): asked_name(panel, options.manners[0], how)
        for panel in options.panels
        for manner in options.manners
        for how in hows()
    }
    return {name: Compared(speaking[name], silent[same[name]]) for name in names}


def measure(
    options: argparse.Namespace, console: Console
) -> tuple[JsonObject, dict[str, dict[str, Compared]], list[Question]]:
    """The report, the answers behind it by what is known of the liar, and the questions."""
    calibration, everything = read(CALIBRATION), read(options.questions)
    told = lies(calibration, options.seed) | lies(everything, options.seed)
    calibration = [q for q in calibration if q.text in told]
    questions = spread([q for q in everything if q.text in told], options.count)
    pairs: dict[str, dict[str, Compared]] = {}
    with _world(options, told) as world:
        for known in KNOWN:
            with serving(world.config, world.folder / f"{known}.log") as served:
                console.print(f"{known}: {len(questions)} questions, ready after {served.seconds_to_ready:.0f} s")
                if known == "unmeasured" and "measured" in options.known:  # the next start reads them
                    _profiled(world, served.url, calibration, options.manners)
                if known in options.known:
                    pairs[known] = _compared(world, served.url, questions, options, console)
    return report(questions, told, pairs, options.seed), pairs, questions


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The report for a person."""
    columns = ["policy", "silent", "speaking", "points", "95 %", "lost", "gained", "lie said"]
    for known, rows in figures["cases"].items():
        table = Table(*columns, title=f"the liar is {known}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.columns[0].no_wrap = True
        for policy, row in rows.items():
            low, high = row["interval"]
            table.add_row(
                policy,
                f"{100 * row['accuracy_silent']:.1f}",
                f"{100 * row['accuracy']:.1f}",
                f"{row['points']:+.1f}{'' if row['within'] else ' !'}",
                f"{low:+.1f} … {high:+.1f}",
                str(row["lost"]),
                str(row["gained"]),
                str(row["repeated"]),
            )
        console.print(table)
    of = sum(map(len, figures["cases"].values()))
    console.print(f"a liar costs more than {WANTED_POINTS:g} point in {len(figures['over'])} of {of} cases")


def write_rows(file: Path, questions: Sequence[Question], pairs: Mapping[str, Mapping[str, Compared]]) -> None:
    """One JSON object per request."""
    with file.open("w", encoding="utf-8") as lines:
        for known, policy, pair in ((k, p, pair) for k, found in pairs.items() for p, pair in found.items()):
            for speaks, given in (("speaking", pair.speaking), ("silent", pair.silent)):
                for question, answer in zip(questions, given, strict=True):
                    row = {"known": known, "policy": policy, "liar": speaks, "question": asdict(question)}
                    lines.write(json.dumps(row | asdict(answer), ensure_ascii=False) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--questions", type=Path, required=True, help="labelled, of no wording that profiles were measured on")
    add("--count", type=int, default=300, help="at most so many questions, evenly from all")
    add("--config", type=Path, default=CONFIG, help="whose engines and experts are started")
    add("--panels", nargs="+", choices=list(PANELS), default=list(PANELS))
    add("--manners", nargs="+", choices=list(MANNERS), default=list(MANNERS), help="of lying")
    add("--known", nargs="+", choices=KNOWN, default=list(KNOWN), help="what is known of the liar")
    add("--connections", type=int, default=16)
    add("--seed", type=int, default=0, help="of the lies and the intervals")
    add("--json", type=Path, help="write the report here")
    add("--rows", type=Path, help="write every answer here, JSON lines")
    options = parser.parse_args()
    if options.count < 1 or options.connections < 1:
        parser.error("--count and --connections must be at least 1")
    return options


def main() -> None:
    options = _options()
    console = Console(stderr=True)
    try:
        figures, pairs, questions = measure(options, console)
    except (OSError, ValueError, RuntimeError) as error:
        raise SystemExit(str(error)) from error
    show(figures, console)
    if options.rows:
        write_rows(options.rows, questions, pairs)
    publish(figures, options.json)


if __name__ == "__main__":
    main()
