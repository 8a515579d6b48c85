"""`symposium assign`: which expert serves which category. It reads, prints and draws; `router/assign.py` decides."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.util import find_spec
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
LOG_FROM = 10.0  # sizes that differ by more than this factor are drawn on a logarithmic axis
BLUE, ORANGE = "#0072B2", "#D55E00"  # of Okabe and Ito, told apart by colour-blind eyes


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
    from router.profiles import Profiles

    if plot and not plot.suffix:
        plot = plot.with_suffix(".png")  # as matplotlib would write it
    if plot and find_spec("matplotlib") is None:  # said before solving
        fail("--plot: pictures need matplotlib, a development tool: pip install 'symposium[dev]'")
    if sizes is None and (budget is not None or pareto or plot):
        fail("--sizes: needed to know what is resident; a CSV file with expert,parameters_b")
    loaded = load_config(config)
    try:
        profiles = Profiles.load(Path(loaded.routing.profiles))
        _say_doubts(loaded, profiles)
        pairs = _pairs("--force", force), _pairs("--forbid", forbid)
        problem = _problem(loaded, profiles, sizes, pairs, prompt_tokens)
        with err.status("solving"):
            found = solved(problem, max_size=budget, max_cost=cost)
            front = front_of(problem, max_cost=cost) if pareto or plot else ()
        if plot:
            _draw(plot, front, found)
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
    found: dict[str, float] = {}
    with file.open(encoding="utf-8-sig", newline="") as lines:  # spreadsheets write a byte order mark
        rows = csv.DictReader(lines)
        for row in rows:
            try:
                if None in row:  # more values than columns: a decimal comma
                    raise ValueError
                name, size = row["expert"].strip(), float(row["parameters_b"])
            except (KeyError, TypeError, ValueError, AttributeError):
                raise ValueError(f"{file}, line {rows.line_num}: not expert,parameters_b and two values") from None
            if name in found:
                raise ValueError(f"{file}, line {rows.line_num}: '{name}' is there twice")
            found[name] = size
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


def _draw(file: Path, front: Sequence[Assignment], chosen: Assignment) -> None:
    """A step for each budget from which on more is right."""
    from matplotlib.figure import Figure  # without pyplot: nothing global, no display
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    sizes, rights = [p.resident_size for p in front], [100 * p.quality for p in front]
    axes.step(sizes, rights, where="post", color=BLUE, marker="o", markersize=4, label="the best of each budget")
    axes.plot(chosen.resident_size, 100 * chosen.quality, "D", color=ORANGE, label="chosen")
    if sizes[0] > 0 and sizes[-1] > LOG_FROM * sizes[0]:
        axes.set_xscale("log", subs=[])
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("resident parameters (billions)")
    axes.set_ylabel("right answers (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
