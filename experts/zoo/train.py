"""The one command that makes the zoo: `python -m experts.zoo.train --out experts/zoo/weights`.

Owns: the command line, worker processes, the progress display. Must not know: how one expert is made.

Each expert is trained by one thread in a process of its own: the result then does not depend on the
machine's number of cores, and two processes on two cores beat two threads (which wait for each other at
every layer).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from queue import Empty, Queue

import torch
import transformers
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experts.zoo.card import Card
from experts.zoo.make import make
from experts.zoo.recipe import RECIPES, Recipe

POLL_S = 0.5
WEIGHTS = Path(__file__).parent / "weights"
Report = tuple[str, int, float]


def work(recipe: Recipe, out: Path, questions: int, reports: Queue[Report]) -> Card:
    """What a worker process does: makes one expert and reports each step as (name, step, loss)."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    transformers.utils.logging.disable_progress_bar()
    return make(recipe, out, questions, lambda step, loss: reports.put((recipe.name, step, loss)))


def drain(reports: Queue[Report]) -> Iterator[Report]:
    """The reports waiting now."""
    while True:
        try:
            yield reports.get_nowait()
        except Empty:
            return


def make_all(
    recipes: Sequence[Recipe],
    out: Path,
    questions: int,
    pool: Executor,
    reports: Queue[Report],
    progress: Progress,
) -> Iterator[Card]:
    """Makes experts in the pool and yields each card when done; adapters wait for a base among them."""
    bars = {r.name: progress.add_task(r.name, total=r.schedule.steps, loss=float("nan"), start=False) for r in recipes}
    has_base = any(r.kind == "base" for r in recipes)

    def submit(some: Iterable[Recipe]) -> set[Future[Card]]:
        return {pool.submit(work, recipe, out, questions, reports) for recipe in some}

    waiting = [r for r in recipes if r.kind == "lora" and has_base]
    running = submit(r for r in recipes if r not in waiting)
    while running:
        done, running = wait(running, POLL_S, FIRST_COMPLETED)
        for name, step, loss in drain(reports):
            progress.start_task(bars[name])
            progress.update(bars[name], completed=step + 1, loss=loss)
        for card in (future.result() for future in done):
            if card.kind == "base":
                running |= submit(waiting)
            yield card


def scaled(recipe: Recipe, factor: float) -> Recipe:
    """The recipe with `factor` times its steps, at least two."""
    return replace(recipe, schedule=replace(recipe.schedule, steps=max(2, round(recipe.schedule.steps * factor))))


def options_from(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    names = [r.name for r in RECIPES]
    parser = argparse.ArgumentParser(prog="python -m experts.zoo.train", description="Train the zoo of small experts.")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of the weights")
    parser.add_argument("--only", choices=names, action="append", help="train only this expert (may be repeated)")
    parser.add_argument("--steps-scale", type=float, default=1.0, help="multiply all training steps, for smoke tests")
    parser.add_argument("--questions", type=int, default=200, help="held-out questions a skill for the cards")
    parser.add_argument("--jobs", type=int, default=2, help="experts trained at the same time, one thread each")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = options_from(arguments)
    chosen = [scaled(r, options.steps_scale) for r in RECIPES if options.only is None or r.name in options.only]
    columns = (
        TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("loss {task.fields[loss]:.3f}"),
    )  # fmt: skip
    spawn = get_context("spawn")
    with (
        Progress(*columns, console=Console()) as progress,
        spawn.Manager() as manager,
        ProcessPoolExecutor(options.jobs, mp_context=spawn) as pool,
    ):
        for card in make_all(chosen, options.out, options.questions, pool, manager.Queue(), progress):
            scores = (f"{skill} {row['accuracy']:.0%}" for skill, row in card.accuracy.items())
            progress.print(f"{card.name}: " + ", ".join(scores))


if __name__ == "__main__":
    main()
