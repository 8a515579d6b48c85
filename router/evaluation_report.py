"""How good policies are: accuracies with intervals, differences, costs, and curves of cost and quality. Pure.

Randomness comes from a seed. Must not know how a policy decides, or where outcomes come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

JsonObject = dict[str, Any]
Kind = Literal["baseline", "policy"]
Point = tuple[float, float]  # cost, quality

SINGLE_MODELS = "single models"  # the curve of the pool's members; its hull is RouterBench's Zero router
BEST_SINGLE, ORACLE = "best-single", "oracle"  # what the results that others are measured by are usually called
BLOCKS: tuple[tuple[Kind, str], ...] = (("baseline", "baselines"), ("policy", "policies"))
TAIL = 2.5  # percent on either side of a 95 % interval
CELLS_AT_ONCE = 2_000_000  # resamples × groups in one piece: about 40 MB
NO_WAY = 1e-12  # between the best single model and the oracle: rounding
NAME_CHARS = 36  # of a table that is 110 wide at most


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What one way of choosing came to on the N test questions, in their order.

    Attributes:
        right: [N] in [0, 1]; calls: [N] experts called; usd: [N] cost.
        curve: the curve that this is a point of; SINGLE_MODELS for "always this expert".
    """

    name: str
    kind: Kind
    right: Values
    calls: Values
    usd: Values
    curve: str | None = None


def report(
    results: Sequence[Result], groups: Sequence[str], best_single: str, oracle: str, seed: int, resamples: int = 2000
) -> JsonObject:
    """Everything that is published.

    Intervals are 95 % percentile bootstraps (Efron 1979) over groups, so that questions with one text count as one
    (the cluster bootstrap; the ordinary one where each group has one question). All results share the resamples:
    differences are paired.

    Args:
        groups: N, of the test questions (`Outcomes.groups`).
        best_single: the result that others are compared with; oracle: the one that is the most there is to reach.

    Returns:
        {"n_test", "pool", "policies": [{"name", "kind", "accuracy", "ci", "diff_best_single", "diff_ci", "mean_calls",
        "usd_per_1k", "gap_closed", "curve"?}], "curves": {name: {"aiq", "points"}}}. `pool` holds the names
        on the curve SINGLE_MODELS. `gap_closed` is 0 at the best single model and 1 at the oracle; None where these
        are equal. Points are {"name", "usd_per_1k", "accuracy"}, the cheapest first.

    Raises:
        ValueError: a name comes twice, or is not there; a result is not of N questions.
    """
    names = [result.name for result in results]
    _check(results, names, groups, (best_single, oracle))
    right = np.column_stack([result.right for result in results])
    accuracies, draws = right.mean(axis=0), bootstrap(right, groups, seed, resamples)
    base = names.index(best_single)
    ends, difference_ends = _ends(draws), _ends(draws - draws[:, [base]])
    way = float(accuracies[names.index(oracle)] - accuracies[base])
    policies = []
    for column, result in enumerate(results):
        difference = float(accuracies[column] - accuracies[base])
        row: JsonObject = {
            "name": result.name,
            "kind": result.kind,
            "accuracy": float(accuracies[column]),
            "ci": ends[column],
            "diff_best_single": difference,
            "diff_ci": difference_ends[column],
            "mean_calls": float(result.calls.mean()),
            "usd_per_1k": 1000 * float(result.usd.mean()),
            "gap_closed": difference / way if abs(way) > NO_WAY else None,
        }
        policies.append(row | ({"curve": result.curve} if result.curve else {}))
    return {
        "n_test": len(groups),
        "pool": [result.name for result in results if result.curve == SINGLE_MODELS],
        "policies": policies,
        "curves": _curves(policies),
    }


def bootstrap(values: Values, groups: Sequence[str], seed: int, resamples: int) -> Values:
    """[N, P] -> means [resamples, P]: each resample draws as many groups as there are, with replacement.

    A mean is a ratio of two sums, as groups differ in size. The sums are products of how often each group was drawn
    [B, G] with the groups' own sums [G, P]: exact in float32 for outcomes 0 and 1.
    """
    number: dict[str, int] = {}  # and not numpy's texts: each would take the room of the longest question
    group_of = np.array([number.setdefault(group, len(number)) for group in groups])
    size = len(number)
    sums = np.zeros((size, values.shape[1] + 1), dtype=np.float32)
    np.add.at(sums, group_of, np.column_stack([values, np.ones(len(values))]).astype(np.float32))
    random, found = np.random.default_rng(seed), []
    for count in _pieces(resamples, max(1, CELLS_AT_ONCE // size)):
        drawn = random.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
        totals = (times.astype(np.float32) @ sums).astype(np.float64)
        found.append(totals[:, :-1] / totals[:, -1:])
    return np.concatenate(found)


def hull(points: Sequence[Point]) -> list[Point]:
    """The non-decreasing convex hull (RouterBench, arXiv 2403.12031, section 3), from the cheapest point to the best.

    What lies on it can be had by choosing at random between the two points beside it; any other point costs no less
    for no better quality.
    """
    found: list[Point] = []
    for cost, quality in sorted(points, key=lambda p: (p[0], -p[1])):
        if found and quality <= found[-1][1]:
            continue
        while len(found) > 1 and _slope(found[-2], found[-1]) <= _slope(found[-1], (cost, quality)):
            found.pop()
        found.append((cost, quality))
    return found


def height(found: Sequence[Point], costs: Values) -> Values:
    """The quality that a hull offers at each cost [K].

    Beyond its ends it is extrapolated, as RouterBench does to compare curves over one range: who may spend more need
    not; who may spend less than the cheapest point leaves some questions unanswered, at no cost and no quality.
    """
    cheapest, quality = found[0]
    inside = np.asarray(np.interp(costs, [cost for cost, _ in found], [quality for _, quality in found]))
    return inside if cheapest == 0 else np.where(costs < cheapest, quality * costs / cheapest, inside)


def aiq(points: Sequence[Point], low: float, high: float) -> float:
    """Average Improvement in Quality (RouterBench, arXiv 2403.12031, section 3.3): the mean height over a cost range.

        AIQ = 1 / (high - low) · ∫ height(hull(points), c) dc, from low to high

    Curves are compared over one range, which here goes from the cheapest to the dearest point of all of them; `height`
    says what a curve is worth where it has no points. The integral is exact, as the height is linear in pieces. Where
    the range is a single cost, AIQ is the height there.
    """
    found = hull(points)
    if high <= low:
        return float(height(found, np.array([low]))[0])
    bends = np.array(sorted({low, high, *(cost for cost, _ in found if low < cost < high)}))
    return float(np.trapezoid(height(found, bends), bends) / (high - low))


def table(figures: Mapping[str, Any], cost: str = "USD / 1k") -> Table:
    """A report for a person: baselines, policies, and the AIQ of curves. At most 110 columns wide.

    Args:
        cost: what `usd_per_1k` is called, where it is no USD.
    """
    cells = [list(_cells(row)) for row in figures["policies"]]
    made = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False, title_justify="left")
    made.title = f"{figures['n_test']:,} test questions, {len(figures['pool'])} experts"
    made.add_column("", max_width=NAME_CHARS, overflow="fold")
    for heading in ("right, %\n(95 %)", "over best\nsingle", "calls", cost.replace(" / ", "\n/ "), "% of gap\nclosed"):
        made.add_column(heading, no_wrap=True, justify="right")  # on a narrow screen names wrap, not numbers
    for kind, heading in BLOCKS:
        members = [(row, found) for row, found in zip(figures["policies"], cells, strict=True) if row["kind"] == kind]
        if members:
            made.add_row(Text(heading, style="bold"))
        for row, found in members:
            made.add_row(Text(row["name"]), *found)
        made.add_section()
    if figures["curves"]:
        made.add_row(Text("curves", style="bold"), Text("AIQ, %", style="bold"))
        for name, curve in figures["curves"].items():
            made.add_row(Text(name), f"{100 * curve['aiq']:.1f}")
    return made


def _cells(row: Mapping[str, Any]) -> Iterator[str]:
    low, high = (100 * end for end in row["ci"])
    yield f"{100 * row['accuracy']:.1f} ({low:.1f}–{high:.1f})"
    low, high = (100 * end for end in row["diff_ci"])
    yield f"{100 * row['diff_best_single']:+.1f} ({low:+.1f}, {high:+.1f})"
    yield f"{row['mean_calls']:.2f}"
    yield _amount(row["usd_per_1k"])
    yield "" if row["gap_closed"] is None else f"{100 * row['gap_closed']:.1f}"


def _amount(value: float) -> str:
    """With three digits that count, or all of those before the point."""
    if value < 1e-5:
        return f"{value:.0g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def _curves(policies: Sequence[Mapping[str, Any]]) -> JsonObject:
    members: dict[str, list[Mapping[str, Any]]] = {}
    for row in policies:
        if "curve" in row:
            members.setdefault(row["curve"], []).append(row)
    costs = [row["usd_per_1k"] for rows in members.values() for row in rows]
    return {
        name: {
            "aiq": aiq([(row["usd_per_1k"], row["accuracy"]) for row in rows], min(costs), max(costs)),
            "points": [
                {key: row[key] for key in ("name", "usd_per_1k", "accuracy")}
                for row in sorted(rows, key=lambda row: (row["usd_per_1k"], row["accuracy"]))
            ],
        }
        for name, rows in members.items()
    }


def _check(results: Sequence[Result], names: Sequence[str], groups: Sequence[str], needed: Sequence[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two results are called '{twice}'")
    if absent := [name for name in needed if name not in names]:
        raise ValueError(f"no result is called '{absent[0]}'")
    for result in results:
        if not len(result.right) == len(result.calls) == len(result.usd) == len(groups) > 0:
            raise ValueError(f"'{result.name}' is not of the {len(groups)} test questions")


def _ends(draws: Values) -> list[list[float]]:
    """The middle 95 % of each column."""
    found: list[list[float]] = np.percentile(draws, [TAIL, 100 - TAIL], axis=0).T.tolist()
    return found


def _slope(left: Point, right: Point) -> float:
    return (right[1] - left[1]) / (right[0] - left[0])


def _pieces(total: int, at_most: int) -> Iterator[int]:
    while total > 0:
        yield min(total, at_most)
        total -= at_most
