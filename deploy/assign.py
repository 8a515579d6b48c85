"""`symposium assign`: which expert serves which category. It reads and prints; `router/assign.py` decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.measure import say_stale
from deploy.show import AsJson, ConfigFile, err, fail, load_config, out, print_json, table

if TYPE_CHECKING:
    from router.assign import Assignment, Problem
    from router.config import Config
    from router.profiles import Profiles

PROMPT_TOKENS = 256


def assign(  # noqa: PLR0913  # one argument for each option of the command
    config: ConfigFile,
    *,
    sizes: Annotated[
        Path | None, typer.Option(help="What experts hold resident: a CSV file with expert,parameters_b.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--resident-b", help="Billions of parameters that may be resident.")
    ] = None,
    cost: Annotated[float | None, typer.Option("--cost-usd", help="What a query may cost on the mean.")] = None,
    force: Annotated[
        list[str] | None, typer.Option(help="category=expert that has to be; may be given several times.")
    ] = None,
    forbid: Annotated[list[str] | None, typer.Option(help="category=expert that must not be; likewise.")] = None,
    prompt_tokens: Annotated[int, typer.Option(min=0, help="Of a query, for what it costs.")] = PROMPT_TOKENS,
    pareto: Annotated[bool, typer.Option("--pareto", help="Also the best of every resident budget.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the best of every resident budget into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Choose the expert of each category from measured profiles, under budgets."""
    from router.assign import assign as solved
    from router.assign import pareto as front_of
    from router.assign_plot import plot as draw
    from router.pictures import file_of, need_matplotlib
    from router.profiles import Profiles

    if sizes is None and (budget is not None or pareto or plot):
        fail("--sizes: needed to know what is resident; a CSV file with expert,parameters_b")
    loaded = load_config(config)
    try:
        if plot:
            need_matplotlib()  # before solving rather than after it
            plot = file_of(plot)
        profiles = Profiles.load(Path(loaded.routing.profiles))
        _say_doubts(loaded, profiles)
        pairs = _pairs("--force", force), _pairs("--forbid", forbid)
        problem = _problem(loaded, profiles, sizes, pairs, prompt_tokens)
        with err.status("solving"):
            found = solved(problem, max_size=budget, max_cost=cost)
            front = front_of(problem, max_cost=cost) if pareto or plot else ()
        if plot:
            draw(front, found, plot)
    except (ValueError, OSError) as error:
        fail(str(error))
    if as_json:
        shown = _json(problem, found, bool(sizes)), [_json(problem, point, True) for point in front]
        print_json({"assignment": shown[0], "front": shown[1] if pareto else None})
        return
    _print_assignment(problem, profiles, found, bool(sizes))
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


def _problem(
    config: Config,
    profiles: Profiles,
    sizes: Path | None,
    pairs: tuple[list[tuple[str, str]], list[tuple[str, str]]],
    prompt_tokens: int,
) -> Problem:
    """The experts that answer, at their own prices; without a file of sizes nobody weighs anything."""
    from router.assign import problem_of
    from router.profiles import UNMEASURED_OUTPUT_TOKENS

    costs = {}
    for name in config.answering:
        profile, price = profiles.experts.get(name), config.experts[name].price
        output_tokens = profile.mean_output_tokens if profile else UNMEASURED_OUTPUT_TOKENS
        costs[name] = price.usd(prompt_tokens, 0) + output_tokens * price.usd(0, 1)
    resident = _sizes(sizes, config.answering) if sizes else dict.fromkeys(config.answering, 0.0)
    return problem_of(
        profiles,
        config.answering,
        resident,
        costs,
        config.routing.prior_strength,
        forced=pairs[0],
        forbidden=pairs[1],
    )


def _sizes(file: Path, experts: Sequence[str]) -> dict[str, float]:
    """Expert -> billions of parameters. Raises ValueError: a line that is none, or an expert that has none."""
    from router.outcome_files import csv_number, csv_rows

    found: dict[str, float] = {}
    for line, row in csv_rows(file, "expert", "parameters_b"):
        if (name := row["expert"]) in found:
            raise ValueError(f"{file}:{line}: '{name}' comes twice; keep one of its rows")
        found[name] = csv_number(file, line, "parameters_b", row["parameters_b"], "give billions of parameters")
    if missing := [name for name in experts if name not in found]:
        raise ValueError(f"{file}: no parameters_b of {', '.join(missing)}")
    return {name: found[name] for name in experts}


def _pairs(option: str, given: Sequence[str] | None) -> list[tuple[str, str]]:
    pairs = [text.rpartition("=") for text in given or ()]
    if odd := [expert for category, _, expert in pairs if not (category and expert)]:
        raise ValueError(f"{option}: category=expert, not '{odd[0]}'")
    return [(category, expert) for category, _, expert in pairs]


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
