"""Panels of recorded models: votes, early stopping and waves through the running system, against the same worked out
offline from recorded letters.

    python -m loadtest.panels --questions Q.parquet --outcomes O.parquet --answers A.parquet [--json OUT.json]

Starts the models as recorded experts and a symposium over them, fits and profiles it on some questions, and asks others
under every policy: the best expert alone, a vote of all heard to the end, one that stops when it is decided, in waves,
and the plain majority. What each question should come to is worked out from the recorded letters and the predicted
correctness that the server explains; accuracies must not differ by more than 0.2 points. Some texts do not say their
recorded letter (they were cut, or go on to others): a question is *clear* where the last letter that each text marks is
the recorded one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtest.panels_data import Files, Item, Panel, book_rows, configuration, policies, read, write_labelled
from loadtest.panels_figures import Heard, compare, disagreements, heard, report, rule
from loadtest.pool import pooled
from loadtest.recorded_world import (
    AT_ONCE,
    RecordedServer,
    recorded_experts,
    symposium,
    write_book,
)
from loadtest.report import publish
from loadtest.server import end_on_sigterm, serving

REQUEST_LIMIT_S = 300.0
MAX_TOKENS = 16_384  # no recorded answer is longer
DECIDED_AT = 0.98  # the configuration's own default
JsonObject = dict[str, Any]


@contextmanager
def _served(panel: Panel, folder: Path, options: argparse.Namespace, console: Console) -> Iterator[str]:
    """The URL of a symposium that was fitted and profiled on the training questions; paced, if so, from then on."""
    book, labelled, config = folder / "book.parquet", folder / "training.jsonl", folder / "panels.yaml"
    write_book(book, book_rows(panel))
    write_labelled(labelled, panel.training)
    with recorded_experts(book, folder / "recorded.log") as server:
        wanted = configuration(panel, server, policies(len(panel.models)), options.alternatives)
        config.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
        symposium("fit", config, "--questions", labelled)
        with serving(config, folder / "profiling.log") as served:
            console.print(f"profiling on {len(panel.training)} questions")
            asking = ("--url", served.url, "--max-tokens", str(MAX_TOKENS), "--concurrency", str(options.connections))
            console.print(symposium("profile", config, "--questions", labelled, *asking), markup=False)
        with serving(config, folder / "serve.log") as served:
            _pace(server, options.tokens_per_s)
            yield served.url


def _pace(server: RecordedServer, tokens_per_s: float | None) -> None:
    if tokens_per_s is not None:
        server.behave({"*": {"tokens_per_s": tokens_per_s, "tokens_per_chunk": AT_ONCE}})


async def ask_all(
    url: str, items: Sequence[Item], names: Sequence[str], connections: int, console: Console
) -> tuple[dict[str, list[Heard]], dict[str, float]]:
    """Policy -> its answers in the order of the questions; and how many seconds all of them took.

    Raises:
        RuntimeError: a request failed; the figures would not be about the same questions any more.
    """
    found, took_s = {}, {}
    limits = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections), timeout=limits) as session:
        for name in names:

            async def ask(item: Item, policy: str = name) -> Heard:
                return await _ask(session, url, policy, item.text)

            began = time.monotonic()
            found[name] = await pooled(items, connections, ask)
            took_s[name] = round(time.monotonic() - began, 2)
            console.print(f"{name}: {len(items)} questions in {took_s[name]:.1f} s")
    return found, took_s


async def _ask(session: aiohttp.ClientSession, url: str, policy: str, question: str) -> Heard:
    body = {
        "model": policy,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "symposium": {"explain": True},
    }
    began = time.monotonic()
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            completion = await response.json()
            if response.status != 200:
                raise RuntimeError(f"{policy}: HTTP {response.status}: {completion}")
        return heard(completion, time.monotonic() - began)
    except (aiohttp.ClientError, TimeoutError, LookupError, TypeError, ValueError) as error:
        raise RuntimeError(f"{policy}: {type(error).__name__}: {error} for {question[:80]!r}") from error


def measure(panel: Panel, options: argparse.Namespace, console: Console) -> tuple[JsonObject, list[JsonObject]]:
    """The report, and the questions on which the served letter is not the one worked out."""
    size = len(panel.models)
    names = options.policies or list(policies(size))
    with tempfile.TemporaryDirectory() as folder, _served(panel, Path(folder), options, console) as url:
        answers, took_s = asyncio.run(ask_all(url, panel.test, names, options.connections, console))
    rules = {name: rule(policies(size)[name], size, options.alternatives, DECIDED_AT) for name in names}
    compared = {name: compare(panel, answers[name], rules[name]) for name in names}
    settings = {
        "seed": options.seed,
        "connections": options.connections,
        "alternatives": options.alternatives,
        "tokens_per_s": options.tokens_per_s,
        "wall_s": took_s,
    }
    return report(panel, compared, options.seed, options.tokens_per_s) | {"settings": settings}, disagreements(compared)


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The report for a person."""
    columns = ["policy", "right %", "offline", "points", "letters ≠", "clear ≠", "calls", "heard", "tokens", "p50 s"]
    table = Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name, row in figures["policies"].items():
        table.add_row(
            name,
            f"{100 * row['accuracy']:.2f}",
            f"{100 * row['accuracy_offline']:.2f}",
            f"{row['difference_points']:+.2f}{'' if row['within'] else ' !'}",
            str(row["letters_differ"]),
            f"{row['clear'].get('letters_differ', 0)}/{row['clear']['questions']}",
            f"{row['calls_per_question']:.2f}",
            f"{row['heard_per_question']:.2f}",
            f"{row['generated_tokens_per_question'] or row['output_tokens_per_question']:.0f}",
            f"{row['seconds']['p50']:.3f}",
        )
    console.print(table)
    for name, row in figures["early_against_all"].items():
        low, high = row["interval"]
        console.print(
            f"{name} over all heard: {row['points']:+.2f} points ({low:+.2f} … {high:+.2f}); right alone "
            f"{row['only_this_right']} : {row['only_all_right']}"
        )
    models = ", ".join(f"{name} {100 * right:.1f}" for name, right in figures["models"].items())
    console.print(f"models alone: {models}; any of them: {100 * figures['oracle']:.1f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add(
        "--questions",
        type=Path,
        required=True,
        metavar="PARQUET",
        help="question_id, category, question, options, gold",
    )
    add("--outcomes", type=Path, required=True, metavar="PARQUET", help="question_id, model, pred")
    add("--answers", type=Path, required=True, metavar="PARQUET", help="question_id, model, answer_text, out_tokens")
    add("--models", nargs="+", help="which; else the best --size of those that answered everything")
    add("--size", type=int, default=8)
    add("--asked", type=int, default=1000, help="questions under every policy")
    add("--training", type=int, default=1500, help="questions to fit and profile on")
    add("--policies", nargs="+", choices=list(policies(3)), help="all, if not named")
    add("--connections", type=int, default=16)
    add("--alternatives", type=float, default=2.0, help="convening.alternatives")
    add("--tokens-per-s", type=float, help="pace of every model; without it answers come at once")
    add("--seed", type=int, default=0, help="of the split and the intervals")
    add("--json", type=Path, help="write the report here")
    add("--debug", type=Path, help="write the questions on which server and offline differ here, JSON lines")
    options = parser.parse_args()
    if min(options.size, options.asked, options.training, options.connections) < 1:
        parser.error("--size, --asked, --training and --connections must be at least 1")
    return options


def main() -> None:
    options = _options()
    end_on_sigterm()
    console = Console(stderr=True)
    try:
        files = Files(options.questions, options.outcomes, options.answers)
        sizes = options.training, options.asked
        size = len(options.models) if options.models else options.size
        panel = read(files, options.models, size, sizes, options.seed)
        console.print(f"{len(panel.test)} questions to {', '.join(panel.models)}")
        figures, differing = measure(panel, options, console)
    except (OSError, ValueError, RuntimeError) as error:
        raise SystemExit(str(error)) from error
    show(figures, console)
    if options.debug:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in differing)
        options.debug.write_text("".join(lines), encoding="utf-8")
    publish(figures, options.json)


if __name__ == "__main__":
    main()
