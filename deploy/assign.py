"""`symposium assign`: which expert serves which category. It reads and prints; `router/assign.py` decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.measure import say_stale
from deploy.show import AsJson, ConfigFile, err, fail, load_config, out, print_json, table

if TYPE_CHECKING:
    from router.assignment import Assignment, Problem
    from router.config import Config
    from router.profiles import Profiles


def assign(
    config: ConfigFile,
    *,
    budget: Annotated[
        float | None,
        typer.Option(
            "--resident-b", min=0, help="Billions of parameters that may be resident, in place of the YAML's."
        ),
    ] = None,
    cost: Annotated[
        float | None, typer.Option("--cost-usd", min=0, help="What a query may cost on the mean, likewise.")
    ] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Also the best of every resident budget.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the best of every resident budget into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Choose the expert of each category from measured profiles, under the budgets of `routing.assignment`."""
    from router.assign import assign as solved
    from router.assign import pareto as front_of
    from router.assign_plot import plot as draw
    from router.assigned import problem_for
    from router.pictures import file_of, need_matplotlib
    from router.profiles import Profiles

    loaded = load_config(config)
    wanted = loaded.routing.assignment
    budget = wanted.resident_b if budget is None else budget
    cost = wanted.usd_per_query if cost is None else cost
    sized = not loaded.sizeless
    if not sized and (budget is not None or pareto or plot):
        fail(f"{config}: what is resident is not known without experts.*.parameters_b of {', '.join(loaded.sizeless)}")
    try:
        if plot:
            need_matplotlib()  # before solving rather than after it
            plot = file_of(plot)
        profiles = Profiles.load(Path(loaded.routing.profiles))
        _say_doubts(loaded, profiles)
        problem = problem_for(loaded, profiles)
        with err.status("solving"):
            found = solved(problem, max_size=budget, max_cost=cost)
            front = front_of(problem, max_cost=cost) if pareto or plot else ()
        if plot:
            draw(front, found, plot)
    except (ValueError, OSError) as error:
        fail(str(error))
    if as_json:
        shown = _json(problem, found, sized), [_json(problem, point, True) for point in front]
        print_json({"assignment": shown[0], "front": shown[1] if pareto else None})
        return
    _print_assignment(problem, profiles, found, sized)
    if pareto:
        _print_front(front)
    if plot:
        out.print(f"drawn to {plot}", markup=False, soft_wrap=True)


def _say_doubts(config: Config, profiles: Profiles) -> None:
    from experts.version import expert_versions
    from router.profiles import stale

    say_stale(stale(profiles, expert_versions(config.experts, config.engines)))
    if unmeasured := [name for name in config.answering if name not in profiles.experts]:
        what = f"never measured: {', '.join(unmeasured)}; taken to be as good as the others on the mean"
        err.print(what, style="yellow", markup=False, soft_wrap=True)


def _json(problem: Problem, found: Assignment, sized: bool) -> dict[str, Any]:
    return {
        "experts": dict(found.experts),
        "rates": {category: problem.rates[category][expert] for category, expert in found.experts.items()},
        "quality": found.quality,
        "resident_b": found.resident_size if sized else None,
        "cost_usd": found.mean_cost,
    }


def _print_assignment(problem: Problem, profiles: Profiles, found: Assignment, sized: bool) -> None:
    rows = []
    for category, expert in found.experts.items():
        profile = profiles.experts.get(expert)
        count = profile.categories.get(category) if profile else None
        measured = f"{count.right}/{count.asked}" if count else "–"
        rate, share = problem.rates[category][expert], problem.frequencies[category]
        rows.append((category, f"{share:.1%}", expert, f"{rate:.1%}", measured))
    out.print(table("", ["category", "of queries", "expert", "rate", "right / asked"], rows))
    resident = f", {found.resident_size:g} B parameters resident" if sized else ""
    said = f"{found.quality:.1%} right by {len(set(found.experts.values()))} experts{resident}"
    out.print(f"{said}, {found.mean_cost:.3g} USD a query", markup=False, soft_wrap=True)


def _print_front(front: Sequence[Assignment]) -> None:
    rows = [
        (
            f"{point.resident_size:g}",
            f"{point.quality:.1%}",
            f"{point.mean_cost:.3g}",
            ", ".join(dict.fromkeys(point.experts.values())),
        )
        for point in front
    ]
    out.print(table("the best of every resident budget", ["resident B", "right", "USD a query", "experts"], rows))
