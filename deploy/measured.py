"""What `symposium profile` shows: how far it is, and what it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from deploy.show import err, out, table

if TYPE_CHECKING:
    from rich.console import Console

    from router.asking import Tally
    from router.profile import Measured
    from router.profiles import Count, Profile

SHOWN_CATEGORIES = 2  # of each expert; the file has all


@contextmanager
def bars(console: Console, counted: str) -> Iterator[Callable[[str, Tally], None]]:
    """A bar for each expert: answers of all questions, and how many are right (or what else is `counted`) so far."""
    tasks: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[right]}} {counted}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as shown:

        def show(expert: str, tally: Tally) -> None:
            right = f"{tally.right} ({100 * tally.right / tally.asked:.0f} %)" if tally.asked else "0"
            if expert not in tasks:
                tasks[expert] = shown.add_task(expert, total=tally.total, completed=tally.asked, right=right)
                if tally.taken_over:
                    shown.print(f"{expert}: {tally.taken_over} of {tally.total} answers taken over from the last run")
            else:
                shown.update(tasks[expert], completed=tally.asked, right=right)

        yield show


def print_result(measured: Measured, target: Path, note: str) -> None:
    """Who is right how often, and who was not measured. `note`: what else there is to say of those that were."""
    if measured.profiles:
        best_first = sorted(measured.profiles.items(), key=lambda item: -_share(item[1].overall))
        rows = [_row(name, found) for name, found in best_first]
        out.print(table("", ["expert", "right / asked", "best at", "tokens", "version"], rows))
        if note:
            out.print(note, markup=False, soft_wrap=True)
        engines = sorted({found.engine_version for found in measured.profiles.values()})
        out.print(f"engines: {', '.join(engines)}", markup=False, soft_wrap=True)
        out.print(f"written to {target}; restart to use it", markup=False, soft_wrap=True)
    for name, why in measured.failed.items():
        err.print(f"{name} was not measured: {why}", style="red", markup=False, soft_wrap=True)
    if measured.failed:
        err.print("the answers so far are kept; the same command goes on", markup=False)


def _row(name: str, found: Profile) -> tuple[str, ...]:
    rates = {category: _share(count) for category, count in found.categories.items()}
    best = sorted(rates, key=lambda category: -rates[category])[:SHOWN_CATEGORIES]
    return (
        name,
        f"{found.overall.right}/{found.overall.asked} ({_share(found.overall):.0%})",
        ", ".join(f"{category} {rates[category]:.0%}" for category in best),
        f"{found.mean_output_tokens:.1f}",
        found.expert_version,
    )


def _share(count: Count) -> float:
    return count.right / count.asked
