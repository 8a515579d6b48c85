"""`symposium profile`: what it reads, shows and writes. What is asked and counted is in `router/`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from deploy.show import LOCAL, ConfigFile, Key, Url, err, fail, load_config, out, table

if TYPE_CHECKING:
    from router.calibration import Calibration
    from router.config import Config
    from router.journal import Journal
    from router.profile import Measured, Tally
    from router.profiles import Profile

SHOWN_CATEGORIES = 2  # of each expert; the file has all
INTERRUPTED = 130  # a shell's code for an end by Ctrl-C


def profile(
    config: ConfigFile,
    questions: Annotated[Path, typer.Option(help="Labelled questions with answers (JSONL or parquet).")],
    experts: Annotated[str, typer.Option(help="Only these, as in math,text.", show_default="all that answer")] = "",
    url: Url = LOCAL,
    api_key: Key = "",
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Requests under way, over all experts.")] = 32,
    max_tokens: Annotated[int, typer.Option(min=1, help="Room for each answer.")] = 64,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an unfinished run has kept.")] = False,
) -> None:
    """Measure experts on labelled questions through the running symposium; goes on where a run was cut off."""
    from router.calibration import Calibration
    from router.journal import open_journal, partial_path
    from router.profiles import Profiles
    from router.questions import read

    loaded = load_config(config)
    target = Path(loaded.routing.profiles)
    names = _chosen(loaded, experts)
    try:
        known = Profiles.load(target)
        calibration = Calibration(read(questions), max_tokens)
        with open_journal(partial_path(target), restart) as journal:
            measured = _measured(calibration, names, journal, (url, api_key, concurrency))
            if measured.profiles:
                known.updated(measured.profiles).save(target)
            if not measured.failed:
                journal.close_for(set(names))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"{url}: {error}. Is a symposium served there? (`symposium serve`, or --url)")
    except (ValueError, OSError) as error:
        fail(str(error))
    _print_result(measured, target)
    raise typer.Exit(1 if measured.failed else 0)


def _chosen(config: Config, wanted: str) -> list[str]:
    """The experts to ask: those that answer questions, or some of them."""
    able = [name for name, expert in config.experts.items() if expert.part == "answers"]
    names = list(dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip()))
    if unknown := [name for name in names if name not in able]:
        fail(f"--experts: no expert that answers questions: {', '.join(unknown)}; there are {', '.join(able)}")
    return names or able


def _measured(
    calibration: Calibration, names: list[str], journal: Journal, symposium: tuple[str, str, int]
) -> Measured:
    from router.profile import connect, measure

    async def run(show: Callable[[str, Tally], None]) -> Measured:
        async with connect(*symposium) as client:
            return await measure(client, calibration, names, journal, show, concurrency=symposium[2])

    try:
        with _bars(err) as show:
            return asyncio.run(run(show))
    except KeyboardInterrupt:
        err.print(f"stopped; the answers so far are in {journal.path}; the same command goes on", markup=False)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _bars(console: Console) -> Iterator[Callable[[str, Tally], None]]:
    """A bar for each expert: answers of all questions, and how many are right so far."""
    tasks: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[right]} right"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:

        def show(expert: str, tally: Tally) -> None:
            right = f"{tally.right} ({100 * tally.right / tally.asked:.0f} %)" if tally.asked else "0"
            if expert not in tasks:
                tasks[expert] = bars.add_task(expert, total=tally.total, completed=tally.asked, right=right)
                if tally.taken_over:
                    bars.print(f"{expert}: {tally.taken_over} of {tally.total} answers taken over from the last run")
            else:
                bars.update(tasks[expert], completed=tally.asked, right=right)

        yield show


def _print_result(measured: Measured, target: Path) -> None:
    if measured.profiles:
        rows = [_row(name, found) for name, found in measured.profiles.items()]
        out.print(table("", ["expert", "right / asked", "best at", "tokens", "version"], rows))
        engines = sorted({found.engine_version for found in measured.profiles.values()})
        out.print(f"engines: {', '.join(engines)}", markup=False, soft_wrap=True)
        out.print(f"written to {target}; restart to use it", markup=False, soft_wrap=True)
    for name, why in measured.failed.items():
        err.print(f"{name} was not measured: {why}", style="red", markup=False, soft_wrap=True)
    if measured.failed:
        err.print("the answers so far are kept; the same command goes on", markup=False)


def _row(name: str, found: Profile) -> tuple[str, ...]:
    rates = {category: count.right / count.asked for category, count in found.categories.items()}
    best = sorted(rates, key=lambda category: -rates[category])[:SHOWN_CATEGORIES]
    return (
        name,
        f"{found.overall.right}/{found.overall.asked}",
        ", ".join(f"{category} {rates[category]:.0%}" for category in best),
        f"{found.mean_output_tokens:.1f}",
        found.expert_version,
    )


def stale_profiles(config: Config) -> tuple[str, ...]:
    """Experts whose profile is of something else than what is configured now; said, too.

    A profile file that cannot be used is said as well, and is for `symposium serve` to refuse.
    """
    from experts.version import expert_versions
    from router.profiles import Profiles, stale

    try:
        known = Profiles.load(Path(config.routing.profiles))
        names = stale(known, expert_versions(config.experts, config.engines))
    except (ValueError, OSError) as error:
        err.print(str(error), style="yellow", markup=False, soft_wrap=True)
        return ()
    say_stale(names)
    return names


def say_stale(names: Sequence[str]) -> None:
    """Warns of profiles that are of something else than what is configured now."""
    if names:
        err.print(
            f"profiles of other versions than those configured now: {', '.join(names)}; they are used until "
            f"`symposium profile --experts {','.join(names)}` has measured anew",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
