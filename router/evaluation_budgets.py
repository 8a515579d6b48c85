"""How often the answer is right under each bound on a query's cost, and on its time; figures and a table; offline.

Must not know how anything is planned, or replayed (`router/budget_trials.py`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from router.budget import Budget
from router.budget_trials import PLANNED, WAYS, Gained, Outcome, World, gained, judged, world
from router.evaluation import Embedded, trial
from router.evaluation_report import TAIL, bootstrap
from router.money import NANOS, nanos
from router.outcome_times import CLOCK, Costs, costs
from router.outlook import LATE, USUAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.embed import Embedder
    from router.outcome_costs import Model
    from router.outcomes import Outcomes

JsonObject = dict[str, Any]
Bound = Literal["cost", "deadline"]
Split = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
Job = tuple["Outcomes", Split, Embedded, int, Costs, "Mapping[Bound, Sequence[float]]"]
BOUNDS: tuple[Bound, ...] = ("cost", "deadline")
UNITS: Mapping[Bound, str] = {"cost": "USD", "deadline": "s"}
STEPS = 8  # of each bound
RESAMPLES = 2000
FAILED = ("refused", "late")
PANELS = (3, 4, 5)  # members, of panels by chance
Found = dict[tuple[Bound, float, str], list[Outcome]]


def judge(
    outcomes: Outcomes,
    models: Mapping[str, Model],
    splits: Sequence[Split],
    embed: Embedder,
    *,
    seed: int,
    on_step: Callable[[str], object],
) -> JsonObject:
    """All ways of WAYS under all bounds.

    Returns:
        {"n_test", "experts", "clock", "bounds": {"cost": [{"limit", "ways": {name: {"accuracy", "mean_calls",
        "usd_per_1k", "rungs": {rung: share}}}, "beside": the best of the others, "difference": planned less that one,
        "ci"}], "deadline": …}, "gain": {members: share}}. Limits in US dollars a query, and seconds; differences are
        paired, with 95 % intervals. `gain`: of what independent votes would add to the best member of a panel, how much
        is there (`router.quality.GAIN` is what plans go by).

    Raises:
        ValueError: prices, sizes, lengths or answers are not recorded of all; there is too little to learn from.
    """
    of = costs(outcomes, models, seed)
    limits: Mapping[Bound, Sequence[float]] = {bound: limits_of(of, bound) for bound in BOUNDS}
    embedded = Embedded.of(outcomes.texts, embed)
    jobs: list[Job] = [(outcomes, split, embedded, seed + n, of, limits) for n, split in enumerate(splits)]
    on_step(f"judging {len(jobs)} parts")
    found: Found = {}
    gains: list[Sequence[Gained]] = []
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        for part, gain in pool.map(_judged, jobs):
            gains.append(gain)
            for key, outcome in part.items():
                found.setdefault(key, []).extend(outcome)
    groups = [outcomes.groups[row] for _, test in splits for row in test.tolist()]
    return {
        "n_test": len(groups),
        "experts": list(outcomes.experts),
        "clock": asdict(CLOCK),
        "bounds": {
            bound: [
                _figures(bound, limit, {way: found[bound, limit, way] for way in WAYS}, groups, seed)
                for limit in limits[bound]
            ]
            for bound in BOUNDS
        },
        "gain": {str(size): _share(parts) for size, parts in zip(PANELS, zip(*gains, strict=True), strict=True)},
    }


def _share(parts: Sequence[Gained]) -> float:
    return sum(part.actual for part in parts) / sum(part.independent for part in parts)


def limits_of(of: Costs, bound: Bound) -> list[float]:
    """From where hardly anything fits to where everything does: US dollars, or seconds."""
    if bound == "cost":
        long = of.prompt_nanos + of.token_nanos * np.quantile(of.tokens, LATE, axis=0)
        low, high = np.quantile(long.min(axis=1), 0.05) / NANOS, np.median(long.sum(axis=1)) / NANOS
    else:
        lengths = np.quantile(of.tokens, [USUAL, LATE], axis=0)
        paces = np.array([CLOCK.pace(b, USUAL).tpot_s for b in of.params_b.tolist()])
        low, high = (paces * lengths[0]).min(), 2 * (paces * lengths[1]).max()
    return [float(f"{limit:.2g}") for limit in np.geomspace(low, high, STEPS).tolist()]


def budget_of(bound: Bound, limit: float) -> Budget:
    return Budget(nanos=nanos(limit)) if bound == "cost" else Budget(deadline_s=limit)


def _judged(job: Job) -> tuple[Found, Sequence[Gained]]:
    outcomes, split, embedded, seed, of, limits = job
    made: World = world(trial(outcomes, split, embedded, seed), split, of)
    found = {
        (bound, limit, name): list(judged(made, way, budget_of(bound, limit)))
        for bound in BOUNDS
        for limit in limits[bound]
        for name, way in WAYS.items()
    }
    return found, [gained(made, min(size, len(made.experts))) for size in PANELS]


def _figures(
    bound: Bound, limit: float, ways: Mapping[str, Sequence[Outcome]], groups: Sequence[str], seed: int
) -> JsonObject:
    """One limit."""
    told = {name: _told(outcomes) for name, outcomes in ways.items()}
    dearest = max(outcome.nanos for outcomes in ways.values() for outcome in outcomes)
    assert bound != "cost" or dearest <= nanos(limit), "no plan ever exceeds its budget"
    beside = max((name for name in ways if name != PLANNED), key=lambda name: told[name]["accuracy"])
    right = np.array([[outcome.right for outcome in ways[name]] for name in (PLANNED, beside)]).T
    draws = bootstrap(right, groups, seed, RESAMPLES)
    low, high = np.percentile(draws[:, 0] - draws[:, 1], [TAIL, 100 - TAIL]).tolist()
    difference = told[PLANNED]["accuracy"] - told[beside]["accuracy"]
    return {"limit": limit, "ways": told, "beside": beside, "difference": difference, "ci": [low, high]}


def _told(outcomes: Sequence[Outcome]) -> JsonObject:
    rungs = Counter(outcome.rung for outcome in outcomes)
    return {
        "accuracy": float(np.mean([outcome.right for outcome in outcomes])),
        "mean_calls": float(np.mean([outcome.calls for outcome in outcomes])),
        "usd_per_1k": 1000 * float(np.mean([outcome.nanos for outcome in outcomes])) / NANOS,
        "rungs": {rung: count / len(outcomes) for rung, count in sorted(rungs.items())},
    }


def table(figures: Mapping[str, Any], bound: Bound) -> Table:
    """For a person: right answers in % of each way under each limit, and what planning adds to the best other one."""
    names = list(WAYS)
    made = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False, title_justify="left")
    made.title = (
        f"right, % ({figures['n_test']:,} test questions) by {'cost' if bound == 'cost' else 'time'} of a query"
    )
    for heading in (UNITS[bound], *names, "planned over\nthe best other", "planned: calls", "no answer"):
        made.add_column(heading, no_wrap=True, justify="right")
    for row in figures["bounds"][bound]:
        planned, (low, high) = row["ways"][PLANNED], (100 * end for end in row["ci"])
        none = sum(planned["rungs"].get(rung, 0.0) for rung in FAILED)
        made.add_row(
            f"{row['limit']:g}",
            *(f"{100 * row['ways'][name]['accuracy']:.1f}" for name in names),
            f"{100 * row['difference']:+.1f} ({low:+.1f}, {high:+.1f})",
            f"{planned['mean_calls']:.1f}",
            f"{100 * none:.0f} %",
        )
    return made
