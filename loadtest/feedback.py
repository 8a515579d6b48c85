"""Learning from outcomes, replayed over recorded ones: is a wrong prior corrected, how soon, and what can liars do?

    python -m loadtest.feedback --questions Q.parquet --outcomes O.parquet [--models M ...] [--json OUT.json]

Profiles are counted on some questions; others come one by one from honest sources, go to the expert that the policy
`category` asks first (or, for a small share, to one drawn by chance), and the recorded outcome is fed back. Routing is
judged on the questions that are left. Priors: right; the best expert's profile exchanged with the worst one's; all
profiles in reversed order; none. Then liars: one source with 100,000 lies, ten among thirty sources, a thousand names
that nobody gave out; with the bound on each source, and without.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtest.feedback_figures import arm, attack, models
from loadtest.feedback_replay import BLOCK, Attack, Blow, Prior, Recorded, Replay, Settings, Split, read, replay, split
from loadtest.report import tell

NAMES = 1000  # that a source without a name of its own makes up
UNBOUNDED = 10**9  # observations: more than any source sends
MARKS = (0, 500, 1000, 2000, 4000)  # outcomes; and the end of the stream
JsonObject = dict[str, Any]


def arms(plain: Settings, explored: Sequence[float]) -> Iterator[Settings]:
    """Without learning; with every share of exploration; and the bound alone, calibration never doubted."""
    for prior in get_args(Prior)[:-1]:
        yield replace(plain, prior=prior, learns=False, explored=0.0)
    for share in explored:
        for prior in get_args(Prior):
            yield replace(plain, prior=prior, explored=share)
    for share in dict.fromkeys((explored[0], plain.explored)):
        for prior in get_args(Prior)[:-1]:
            yield replace(plain, prior=prior, explored=share, doubts=False)


def attacks(plain: Settings, lies: int, at: Sequence[int]) -> Iterator[Settings]:
    """One liar, bounded and not; a third of all sources; many names that nobody gave out."""
    unbounded = replace(plain, per_source=UNBOUNDED, doubts=False)
    for when in at:
        for blow in get_args(Blow):
            one, third = Attack(when, 1, lies, blow), Attack(when, plain.sources // 2, lies, blow)
            yield replace(plain, attack=one)
            yield replace(plain, attack=one, doubts=False)
            yield replace(unbounded, attack=one)
            yield replace(plain, attack=third)
            yield replace(plain, attack=third, doubts=False)
        yield replace(plain, attack=Attack(when, NAMES, lies, "crown", named=False))


class Replays:
    """Each settings' replays, made once: several arms are compared with the same one."""

    def __init__(self, recorded: Recorded, parts: Sequence[Split], seed: int, console: Console) -> None:
        self._recorded, self._parts, self._seed, self._console = recorded, parts, seed, console
        self._made: dict[Settings, list[Replay]] = {}

    def __getitem__(self, settings: Settings) -> list[Replay]:
        if settings not in self._made:
            seeds = enumerate(self._parts, self._seed)
            self._made[settings] = [replay(self._recorded, parts, settings, seed) for seed, parts in seeds]
            self._console.print(f"{len(self._made)}: {settings}", markup=False, soft_wrap=True)
        return self._made[settings]


def measure(recorded: Recorded, options: argparse.Namespace, console: Console) -> JsonObject:
    """Everything that is published.

    Raises:
        ValueError: too few questions.
    """
    seeds = range(options.seed, options.seed + options.seeds)
    count, stream = len(recorded), options.stream // BLOCK * BLOCK
    parts = [split(count, options.calibration, stream, seed) for seed in seeds]
    made = Replays(recorded, parts, options.seed, console)
    plain = Settings(sources=options.sources, per_source=options.per_source)
    marks = [mark for mark in MARKS if mark < stream] + [stream]
    strikes = (0, stream // 2 // BLOCK * BLOCK)
    return {
        "models": models(recorded.experts, recorded.whole),
        "questions": {"calibration": options.calibration, "stream": stream, "test": len(parts[0].test)},
        "seeds": list(seeds),
        "arms": [
            arm(settings, made[settings], made[replace(settings, prior="right")], marks)
            for settings in arms(plain, options.explored)
        ],
        "attacks": [attack(settings, made[settings]) for settings in attacks(plain, options.lies, strikes)],
    }


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The report for a person."""
    marks = list(figures["arms"][0]["routed"])
    table = _table(
        "prior", "calibration", "explored %", "asked %", *(f"after {m}" for m in marks), "behind", "within 1"
    )
    for row in figures["arms"]:
        until = row["until_within"]
        counts = "only" if not row["learns"] else "doubted" if row["doubts"] else "full"
        table.add_row(
            row["prior"],
            counts,
            f"{100 * row['explored']:g}",
            _mean(row["asked"]),
            *(_mean(row["routed"][mark]) for mark in marks),
            _spread(row["behind"]),
            f"{until['median'] if until['median'] is not None else 'never'} ({until['seeds']}/{until['of']})",
        )
    console.print(table)
    table = _table("liars", "at", "blow", "bound", "calibration", "before", "after", "lost", "later", "end")
    for row in figures["attacks"]:
        table.add_row(
            f"{row['liars']} {'named' if row['named'] else 'unknown'}",
            str(row["at"]),
            row["blow"],
            "none" if row["per_source"] == UNBOUNDED else str(row["per_source"]),
            "doubted" if row["doubts"] else "full",
            *(_mean(row[when]) for when in ("before", "after")),
            _spread(row["lost"]),
            *(_mean(row[when]) for when in ("later", "end")),
        )
    console.print(table)


def _table(*columns: str) -> Table:
    return Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _mean(figure: Mapping[str, Any]) -> str:
    return f"{figure['mean']:.1f}"


def _spread(figure: Mapping[str, Any]) -> str:
    if figure["interval"] is None:
        return f"{figure['mean']:+.1f}"
    half = (figure["interval"][1] - figure["interval"][0]) / 2
    return f"{figure['mean']:+.1f} ± {half:.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--questions", type=Path, required=True, metavar="PARQUET", help="question_id, question, category")
    add("--outcomes", type=Path, required=True, metavar="PARQUET", help="question_id, model, correct")
    add("--models", nargs="+", help="which; else all that have outcomes")
    add("--calibration", type=int, default=500, help="questions to count profiles on")
    add("--stream", type=int, default=6000, help=f"questions whose outcomes are fed back, in blocks of {BLOCK}")
    add("--sources", type=int, default=20, help="honest ones")
    add("--per-source", type=int, default=Settings().per_source, help="observations a source counts as, at most")
    add(
        "--explored",
        type=float,
        nargs="+",
        default=[0.0, 0.02, 0.05, 0.1],
        help="shares that go to an expert by chance",
    )
    add("--lies", type=int, default=100_000)
    add("--seeds", type=int, default=10, help="how many replays of each arm")
    add("--seed", type=int, default=0, help="the first of them")
    add("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    if min(options.calibration, options.sources, options.per_source, options.seeds, options.lies) < 1:
        parser.error("--calibration, --sources, --per-source, --seeds and --lies must be at least 1")
    if options.stream < 2 * BLOCK or not all(0 <= share <= 1 for share in options.explored):
        parser.error(f"--stream must be at least {2 * BLOCK}, and --explored from 0 to 1")
    return options


def main() -> None:
    options = _options()

    def measured(console: Console) -> JsonObject:
        return measure(read(options.questions, options.outcomes, options.models), options, console)

    tell(measured, show, options.json)


if __name__ == "__main__":
    main()
