"""Whether routing is worth it, measured on labelled questions through the running system.

    python -m experts.zoo.questions --held-out --out HELD_OUT.jsonl
    python -m loadtest.routing --questions HELD_OUT.jsonl [--json OUT.json] [--pictures docs/pictures]

Starts the engines, experts and routing of `--config` with the policies of `loadtest/routing.yaml` (or goes to `--url`,
where those policies must be). Asks every expert every question, then every policy; compares the policies with one
another and with the oracle, who is right whenever any expert is. Of the system it knows what its replies say.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtest import routing_pictures
from loadtest.report import publish
from loadtest.routing_asking import ask_all, models
from loadtest.routing_figures import BASELINE, report
from loadtest.routing_records import Question, Reply, read, spread
from loadtest.server import REPOSITORY, serving

CONFIG = REPOSITORY / "configs" / "quickstart.yaml"
POLICIES = Path(__file__).with_suffix(".yaml")
KEY_ENV = "OPENAI_API_KEY"


def policies(file: Path = POLICIES) -> dict[str, Any]:
    """Name -> settings, as a configuration has them."""
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["policies"]
    return found


def configuration(config: Path, compared: Mapping[str, Any]) -> str:
    """The YAML of `config` with other policies, its paths absolute: it is read from another folder."""
    raw = yaml.safe_load(config.read_text(encoding="utf-8"))
    return yaml.safe_dump(_absolute(raw, config.resolve().parent) | {"policies": dict(compared)}, sort_keys=False)


def _absolute(value: Any, base: Path) -> Any:
    """What starts with a dot, or has a slash and is there, seen from the configuration's folder, is a path."""
    if isinstance(value, dict):
        return {key: _absolute(inner, base) for key, inner in value.items()}
    if isinstance(value, list):
        return [_absolute(inner, base) for inner in value]
    if isinstance(value, str) and (value.startswith(("./", "../")) or ("/" in value and (base / value).exists())):
        return str((base / value).resolve())
    return value


async def measure(
    url: str,
    questions: Sequence[Question],
    names: Sequence[str],
    *,
    experts: Sequence[str] | None = None,
    api_key: str = "",
    connections: int = 32,
    seed: int = 0,
    console: Console,
) -> tuple[dict[str, Any], dict[str, list[Reply]]]:
    """The report, and every reply behind it; of all experts that answer questions, where none are named.

    Raises:
        RuntimeError: no symposium at `url`, or not with these models, or more than a few requests failed.
    """
    offered = await models(url, api_key)
    experts = experts or offered.experts
    if missing := offered.missing([*experts, *names]):
        raise RuntimeError(f"{url} has no {', '.join(missing)}: add the policies of {POLICIES.name}, or name others")
    console.print(f"{len(questions)} questions to {len(experts)} experts and {len(names)} policies")
    replies = await ask_all(url, [*experts, *names], questions, api_key, connections, console)
    figures = report(questions, {n: replies[n] for n in experts}, {n: replies[n] for n in names}, seed)
    return {"config": offered.config, "seed": seed, **figures}, replies


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The report for a person."""
    columns = ["policy", "right", "95 %", "gained", "95 %", "gap", "experts", "tokens"]
    table = Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name, row in figures["policies"].items():
        table.add_row(name, *_row(row), _number(row["experts_called"]), _number(row["tokens_per_query"]))
    table.add_row("oracle", *_row(figures["oracle"]), "", "")
    asked, wordings = (figures["questions"][key] for key in ("asked", "wordings"))
    console.print(
        f"{asked} questions in {wordings} wordings: right answers, what is gained over {BASELINE}, and the part "
        f"of the gap from there to the oracle that it closes, all in %; experts called and tokens per question"
    )
    console.print(table)
    best = figures["best_by_hindsight"]
    console.print(
        f"best expert by hindsight: {best['expert']}, {_percent(best['accuracy'])} right, "
        f"{_percent(best['below_oracle'])} below the oracle"
    )
    for line in _lines(figures):
        console.print(line)


def _lines(figures: Mapping[str, Any]) -> Iterator[str]:
    if found := figures["categories"]:
        yield (
            f"category: {_percent(found['accuracy'])} right, {_percent(found['abstained'])} abstained, "
            f"ECE {found['ece']:.3f}"
        )
    if found := figures["correctness"]:
        yield (
            f"P(correct) over {found['pairs']} pairs: ECE {found['ece']:.3f}, Brier {found['brier']:.3f} "
            f"(base rate alone {found['brier_of_base_rate']:.3f})"
        )
    for name, found in figures["skills"].items():
        right, unnamed = _percent(found["agreement"]), _percent(found["none_named"])
        yield f"skills asked by {name}: {right} right, {unnamed} unnamed; found by {found['found_by']}"
    failed = figures["failed"]
    yield f"failed requests: {failed['requests']} of {failed['of']}"


def _row(row: Mapping[str, Any]) -> Iterator[str]:
    yield _points(row["accuracy"])
    yield _span(row["interval"])
    yield _points(row.get("difference"))
    yield _span(row.get("difference_interval"))
    yield _points(row.get("gap_closed"))


def _span(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{_points(interval[0])} … {_points(interval[1])}"


def _points(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.1f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.1f} %"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def write_rows(file: Path, questions: Sequence[Question], replies: Mapping[str, Sequence[Reply]]) -> None:
    """One JSON object per request."""
    with file.open("w", encoding="utf-8") as lines:
        for model, given in replies.items():
            for question, reply in zip(questions, given, strict=True):
                row = {"model": model, "question": asdict(question), "reply": asdict(reply)}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")


@contextmanager
def _system(options: argparse.Namespace) -> Iterator[str]:
    """The URL of the system under measurement."""
    if options.url:
        yield options.url.rstrip("/")
        return
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "routing.yaml"
        config.write_text(configuration(options.config, policies()), encoding="utf-8")
        with serving(config, Path(folder) / "serve.log") as served:
            yield served.url


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True, help="labelled questions, JSON lines")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--config", type=Path, default=CONFIG, help="whose engines, experts and routing are started")
    where.add_argument("--url", help="a running symposium instead")
    parser.add_argument("--api-key", default=os.environ.get(KEY_ENV, ""), help=f"else ${KEY_ENV}")
    parser.add_argument("--policies", nargs="+", default=list(policies()), help="which to ask; all of routing.yaml")
    parser.add_argument("--experts", nargs="+", help="which to ask; all that answer questions")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--limit", type=int, help="at most so many questions, evenly from all")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--rows", type=Path, help="write every reply here, JSON lines")
    parser.add_argument("--pictures", type=Path, help="draw the report into this folder")
    options = parser.parse_args()
    if options.connections < 1 or (options.limit is not None and options.limit < 1):
        parser.error("--connections and --limit must be at least 1")
    return options


def main() -> None:
    options = _options()
    if options.pictures:
        routing_pictures.need_matplotlib()  # said before an hour of asking, not after it
    console = Console(stderr=True)
    try:
        questions = spread(read(options.questions), options.limit)
        with _system(options) as url:
            figures, replies = asyncio.run(
                measure(
                    url,
                    questions,
                    options.policies,
                    experts=options.experts,
                    api_key=options.api_key,
                    connections=options.connections,
                    seed=options.seed,
                    console=console,
                )
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise SystemExit(str(error)) from error
    show(figures, console)
    if options.rows:
        write_rows(options.rows, questions, replies)
    publish(figures, options.json)
    if options.pictures:
        routing_pictures.draw(figures, options.pictures)


if __name__ == "__main__":
    main()
