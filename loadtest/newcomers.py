"""What is new, on recorded outcomes: experts with few labelled questions, panels by diversity, centroids, cards.

    python -m loadtest.newcomers --questions Q.parquet --outcomes O.parquet [--pool M ...] [--where COLUMN=VALUE ...]

Half of the questions is learned from and half judges, both ways, for each seed.

newcomer   each expert in turn is new, with 0, 5, 10, 20, 50 or all questions labelled: squared error of its P(right),
           and whether the expert chosen, with it in the pool, is right. Ways: its counts alone; as the product serves
           it; its lead over the known experts on the same questions ("paired"); and like those of them, besides, whose
           outcomes or predictions resemble its own
panel      a vote of three, chosen by rate, or by rate less correlation: fixed ones, or others for each question
centroid   one expert by the nearest centroid of its questions (RouterRetriever), beside kNN and the product
card       each category in turn was never seen: one expert by a card of its best categories (Glider)
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtest.newcomers_figures import report
from loadtest.newcomers_replay import diversity, embedder, read, replays
from loadtest.report import tell

JsonObject = dict[str, Any]


def measure(options: argparse.Namespace, console: Console) -> JsonObject:
    """Everything that is published.

    Raises:
        ValueError: what is wrong with the files, or too few questions.
    """
    outcomes, notes = read(options.questions, options.outcomes, options.pool, dict(options.where))
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    seeds = range(options.seed, options.seed + options.seeds)
    embed = embedder(options.embedder)
    tally = replays(outcomes, embed, seeds, options.draws, options.least, console.print)
    return {
        "pool": dict(zip(outcomes.experts, outcomes.right.mean(axis=0).round(4).tolist(), strict=True)),
        "questions": len(outcomes),
        "mean_correlation": round(diversity(outcomes), 3),
        "seeds": list(seeds),
        "draws": options.draws,
        **report(tally.means(), outcomes.groups, options.seed),
    }


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The report for a person."""
    console.print(f"{figures['questions']:,} questions, mean correlation {figures['mean_correlation']}")
    for study in ("newcomer", "panel", "centroid", "card"):
        if rows := figures.get(study):
            console.print(_table(study, rows))


def _table(title: str, rows: list[JsonObject]) -> Table:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns, title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row.get(column, "")) for column in columns))
    return table


def _cell(value: str | float | JsonObject) -> str:
    if isinstance(value, dict):
        low, high = value["interval"]
        return f"{value['mean']:+.2f} ({low:+.2f} … {high:+.2f})"
    return value if isinstance(value, str) else f"{value:.2f}"


def _filter(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not (column and equals):
        raise argparse.ArgumentTypeError("give COLUMN=VALUE")
    return column, value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--questions", type=Path, required=True, metavar="PARQUET", help="question_id, question, category, options")
    add("--outcomes", type=Path, required=True, metavar="PARQUET", help="question_id, model, correct, pred")
    add("--pool", nargs="+", metavar="MODEL", help="else all that have outcomes")
    add("--where", nargs="+", type=_filter, default=[], metavar="COLUMN=VALUE", help="only these rows")
    add("--seeds", type=int, default=2, help="how many")
    add("--seed", type=int, default=0, help="the first of them")
    add("--draws", type=int, default=10, help="of labelled questions, for each newcomer and each half")
    add("--least", type=int, default=50, help="questions of a category that is left out")
    add("--embedder", default="minilm", help="minilm, static, or a sentence-transformers model")
    add("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    if min(options.seeds, options.draws, options.least) < 1:
        parser.error("--seeds, --draws and --least must be at least 1")
    return options


def main() -> None:
    options = _options()
    tell(lambda console: measure(options, console), show, options.json)


if __name__ == "__main__":
    main()
