"""`symposium evaluate`: what it reads, shows and writes. What is read and judged is in `router/`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from deploy.show import err, fail, out, print_json
from deploy.teach import offline_embedder

if TYPE_CHECKING:
    from router.outcomes import Outcomes
    from router.splits import Split

FOLDS = 5
TABLE_CHARS = 110  # where nobody says how wide the screen is
# What costs are counted in, in a table's heading and under a picture.
COSTS = {
    "prices": ("USD / 1k", "USD"),
    "parameters": ("cost / 1k", "cost (billions of active parameters × tokens / 1e6)"),
    "calls": ("calls / 1k", "calls"),
}


def evaluate(  # noqa: PLR0913  # one argument for each option of the command
    *,
    questions: Annotated[Path, typer.Option(help="The questions (parquet).")],
    outcomes: Annotated[Path, typer.Option(help="How each model did on each question (parquet).")],
    models: Annotated[Path | None, typer.Option(help="Prices or sizes of the models (CSV).")] = None,
    pool: Annotated[str, typer.Option(help="Only these, as in m1,m2.", show_default="all with outcomes")] = "",
    train_ids: Annotated[
        Path | None, typer.Option(help="Question ids to learn from (text, JSON, CSV, parquet).")
    ] = None,
    test_ids: Annotated[Path | None, typer.Option(help="Question ids to be judged on.")] = None,
    folds: Annotated[
        int | None, typer.Option(help="Judge on each of so many parts, without id files.", show_default=str(FOLDS))
    ] = None,
    policies: Annotated[str, typer.Option(help="Only these, as in p1,p2.", show_default="all")] = "",
    seed: int = 0,
    where: Annotated[list[str] | None, typer.Option(help="Only rows with column=value; may be repeated.")] = None,
    embedder: Annotated[str, typer.Option(help="minilm, static, or a sentence-transformers model.")] = "minilm",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all figures to this file (JSON).")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw cost and quality into this file (PNG).")] = None,
    budgets: Annotated[
        Path | None, typer.Option(help="Also judge plans under budgets, and draw that into this file (PNG).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--as-json", help="Print JSON for programs.")] = False,
) -> None:
    """Judge routing policies on recorded outcomes of real models, without calling any."""
    from router.config import Embedder
    from router.diversity import mean_correlation
    from router.evaluate import POLICIES
    from router.evaluate import evaluate as run
    from router.evaluation import Embedded
    from router.evaluation_budgets import judge
    from router.evaluation_report import BEST_SINGLE, ORACLE, report
    from router.outcome_costs import read_models
    from router.outcomes import read
    from router.pictures import file_of, need_matplotlib

    try:
        if plot or budgets:
            need_matplotlib()  # before an hour's work rather than after it
        plot, budgets = (file_of(file) if file else None for file in (plot, budgets))
        chosen = _known(policies, POLICIES)
        asked, notes = read(questions, outcomes, models, _names(pool) or None, _filters(where or []))
        splits, more = _splits(asked, (train_ids, test_ids), folds, seed)
        _say((*notes, *more))
        with Progress(console=err) as bars:
            bar, step = bars.add_task("embedding", total=len(set(asked.texts))), bars.add_task("", total=None)
            model = offline_embedder(Embedder(model=embedder), lambda count: bars.advance(bar, count))
            embed, say = Embedded.of(asked.texts, model), lambda name: bars.update(step, description=name)
            known = read_models(models) if models else {}
            held = judge(asked, known, splits, embed, seed=seed, on_step=say) if budgets else None
            results, rows, p_right, others = run(
                asked,
                splits,
                embed,
                seed=seed,
                policies=chosen,
                on_step=say,
            )
        _say(others)
        figures = report(results, [asked.groups[row] for row in rows], BEST_SINGLE, ORACLE, seed)
        figures["notes"] = [*notes, *more, *others]
        figures["p_right"] = p_right
        figures["mean_correlation"] = round(mean_correlation(asked.right), 3)
        if held:
            figures["budgets"] = held
    except (ValueError, OSError) as error:
        fail(str(error))
    if as_json:
        print_json(figures)
    else:
        _show(figures, COSTS[asked.usd_from][0])
    try:  # shown before: an hour's work is not lost to a file that cannot be written
        _write(figures, json_file, plot, budgets, COSTS[asked.usd_from][1])
    except (ValueError, OSError) as error:
        fail(str(error))
    for file in filter(None, () if as_json else (json_file, plot, budgets)):
        out.print(f"written to {file}", markup=False, soft_wrap=True)


def _show(figures: dict[str, Any], heading: str) -> None:
    from router.evaluation_budgets import BOUNDS
    from router.evaluation_budgets import table as budgets_table
    from router.evaluation_report import table

    screen = out if out.is_terminal else Console(width=TABLE_CHARS)
    screen.print(table(figures, heading))
    screen.print(f"who is right correlates at {figures['mean_correlation']:.2f} (0: independently, 1: all alike)")
    screen.print(_of_p_right(figures["p_right"]))
    for bound in BOUNDS if "budgets" in figures else ():
        screen.print(budgets_table(figures["budgets"], bound))


def _write(figures: dict[str, Any], json_file: Path | None, plot: Path | None, budgets: Path | None, unit: str) -> None:
    """Raises ValueError or OSError where a file cannot be written."""
    from router.budgets_plot import plot as draw_budgets
    from router.evaluation_plot import plot as draw

    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if plot:
        draw(figures, plot, cost=unit)
    if budgets:
        draw_budgets(figures["budgets"], budgets)


def _of_p_right(held: Mapping[str, float | None]) -> str:
    within = held["within_95"]
    topics = "" if within is None else f", {within:.0%} of the topics' rates within its 95 % intervals"
    return (
        f"P(right) is off by {held['ece']:.3f} (calibration error); "
        f"Brier score {held['brier']:.3f}, of mean rates {held['brier_of_means']:.3f}{topics}"
    )


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        err.print(note, style="yellow", markup=False, soft_wrap=True)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _known(wanted: str, policies: Iterable[str]) -> list[str] | None:
    """The policies that are asked for; None for all. Raises ValueError for one that there is not."""
    from router.outcome_files import did_you_mean

    known, found = list(policies), _names(wanted)
    for name in found:
        if name not in known:
            raise ValueError(f"--policies: no policy '{name}'; {did_you_mean(name, known)}")
    return found or None


def _filters(where: list[str]) -> dict[str, str]:
    """Column -> value. Raises ValueError for what is no filter, and for a second one of the same column."""
    found: dict[str, str] = {}
    for text in where:
        column, equals, value = text.partition("=")
        if not (column and equals):
            raise ValueError(f"--where {text}: give column=value")
        if column in found:
            raise ValueError(f"--where {text}: '{column}' is filtered twice; give one value")
        found[column] = value
    return found


def _splits(
    outcomes: Outcomes, ids: tuple[Path | None, Path | None], k: int | None, seed: int
) -> tuple[list[Split], tuple[str, ...]]:
    """What is learnt from and judged on, and notes for a person.

    Args:
        ids: files with the ids to learn from and to be judged on; k: folds, where there are none.

    Raises:
        ValueError: only one of both files, or folds beside them; or what the files or folds say of themselves.
    """
    from router.splits import folds, read_ids, split_by_ids

    train, test = ids
    if train is None and test is None:
        return folds(outcomes, FOLDS if k is None else k, seed), ()
    if train is None or test is None:
        raise ValueError("--train-ids and --test-ids go together; give both, or --folds")
    if k is not None:
        raise ValueError("--folds: the id files already say what is judged on; give either")
    split, notes = split_by_ids(outcomes, read_ids(train), read_ids(test))
    return [split], notes
