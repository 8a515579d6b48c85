"""Figures by hand: what a report says of known results, and that its intervals are what they claim to be."""

from __future__ import annotations

import json
from io import StringIO
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import bootstrap as scipy_bootstrap

from router.evaluation_report import SINGLE_MODELS, Point, Result, aiq, bootstrap, height, hull, report, table

POINTS = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), min_size=1, max_size=12)


def result(name: str, *right: float, **fields: Any) -> Result:
    """One call and a thousandth of a dollar for each question, unless said otherwise."""
    known: dict[str, Any] = {"kind": "policy", "calls": np.ones(len(right)), "usd": np.full(len(right), 0.001)}
    return Result(name=name, right=np.array(right, dtype=np.float64), **(known | fields))


def usd(amount: float, count: int = 4) -> dict[str, Any]:
    return {"usd": np.full(count, amount / 1000)}


SINGLES = (
    result("ada", 1, 0, 0, 0, kind="baseline", curve=SINGLE_MODELS, **usd(1)),
    result("bob", 1, 1, 0, 0, kind="baseline", curve=SINGLE_MODELS, **usd(5)),
)
FOUR = [
    *SINGLES,
    result("best-single", 1, 1, 0, 0, kind="baseline", **usd(5)),
    result("oracle", 1, 1, 1, 1, kind="baseline", **usd(1)),
    result("mine", 1, 1, 1, 0, calls=np.array([1, 2, 3, 4.0]), usd=np.array([0, 1, 2, 3]) / 1000),
]


def figures(results: list[Result] | None = None, seed: int = 0, groups: str = "abcd") -> dict[str, Any]:
    return report(results or FOUR, groups, "best-single", "oracle", seed, resamples=200)


def rows(found: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in found["policies"]}


def test_the_figures_of_four_questions() -> None:
    """Shares, paired differences, means, and half of the way from the best single model to the oracle."""
    found = figures()
    assert found.keys() == {"n_test", "pool", "policies", "curves"}
    assert (found["n_test"], found["pool"]) == (4, ["ada", "bob"])
    mine = rows(found)["mine"]
    assert mine.keys() == {
        "name", "kind", "accuracy", "ci", "diff_best_single", "diff_ci", "mean_calls", "usd_per_1k", "gap_closed",
    }  # fmt: skip
    assert (mine["kind"], mine["accuracy"], mine["diff_best_single"]) == ("policy", 0.75, 0.25)
    assert (mine["mean_calls"], mine["usd_per_1k"], mine["gap_closed"]) == (2.5, pytest.approx(1.5), 0.5)
    assert mine["ci"][0] <= 0.75 <= mine["ci"][1]
    best = rows(found)["best-single"]
    assert (best["diff_best_single"], best["diff_ci"], best["gap_closed"]) == (0, [0, 0], 0)
    assert rows(found)["oracle"]["gap_closed"] == 1
    assert rows(found)["ada"]["curve"] == SINGLE_MODELS
    assert rows(found)["ada"]["gap_closed"] == -0.5


def test_a_report_is_json() -> None:
    """Plain numbers, nothing of numpy."""
    assert json.loads(json.dumps(figures())) == figures()


def test_one_seed_gives_one_report() -> None:
    """Another seed moves intervals and nothing else."""
    first, again = figures(seed=5), figures(seed=5)
    many = [result("best-single", *([1, 0] * 50)), result("oracle", *([1, 1, 1, 0] * 25))]
    names = "".join(map(chr, range(100, 200)))
    other = [figures(many, seed, names)["policies"][0] for seed in (5, 6)]
    assert first == again
    assert other[0]["accuracy"] == other[1]["accuracy"]
    assert other[0]["ci"] != other[1]["ci"]


def test_no_gap_is_closed_where_there_is_none() -> None:
    """A best single model as good as the oracle: no figure, no division by zero; in the table nothing."""
    found = figures([result("best-single", 1, 0, 1, 1), result("oracle", 1, 1, 1, 0), result("mine", 1, 1, 1, 1)])
    assert [row["gap_closed"] for row in found["policies"]] == [None] * 3
    assert "None" not in printed(found)


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([*FOUR, FOUR[0]], "two results are called 'ada'"),
        (FOUR[:3], "no result is called 'oracle'"),
        ([*FOUR, result("short", 1, 0)], "'short' is not of the 4 test questions"),
        ([*FOUR, result("odd", 1, 0, 1, 0, calls=np.ones(3))], "'odd' is not of the 4 test questions"),
    ],
)
def test_results_that_do_not_fit_together_are_refused(results: list[Result], words: str) -> None:
    """Each by its name."""
    with pytest.raises(ValueError, match=words):
        figures(results)


def test_the_interval_is_the_one_that_scipy_draws() -> None:
    """Where every question is its own group: the percentile bootstrap of a mean."""
    right = (np.arange(400) % 3 == 0).astype(np.float64)
    draws = bootstrap(right[:, None], [str(n) for n in range(400)], 0, 4000)
    theirs = scipy_bootstrap((right,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1))
    assert np.percentile(draws, [2.5, 97.5]) == pytest.approx(list(theirs.confidence_interval), abs=0.004)
    assert draws.std() == pytest.approx(np.sqrt(right.var() / 400), rel=0.05), "the standard error of a share"


def test_groups_are_drawn_whole() -> None:
    """Ten copies of every question leave the interval as wide as it was; a larger group weighs more."""
    right = (np.arange(60) % 2).astype(np.float64)[:, None]
    names = [str(n) for n in range(60)]
    once, tenfold = bootstrap(right, names, 0, 500), bootstrap(np.tile(right, (10, 1)), names * 10, 0, 500)
    assert once == pytest.approx(tenfold)
    # Two groups, of one right and of three wrong questions: drawn together they are 1 of 4, alone 1 or 0.
    uneven = bootstrap(np.array([[1.0], [0], [0], [0]]), ["a", "b", "b", "b"], 0, 4000)
    values, counts = np.unique(uneven, return_counts=True)
    assert values.tolist() == [0, 0.25, 1]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_pieces_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by drawing a few resamples at a time; the sum is the same number of them."""
    right = np.random.default_rng(0).random((30, 3))
    names = [str(n) for n in range(30)]
    whole = bootstrap(right, names, 0, 100)
    monkeypatch.setattr("router.evaluation_report.CELLS_AT_ONCE", 70)
    assert bootstrap(right, names, 0, 100) == pytest.approx(whole)
    monkeypatch.setattr("router.evaluation_report.CELLS_AT_ONCE", 1)
    assert bootstrap(right, names, 0, 7).shape == (7, 3)


def test_a_paired_difference_is_surer_than_two_shares() -> None:
    """Two policies that differ on few questions: their difference is known better than either."""
    base = (np.arange(200) % 2).astype(np.float64)
    better = base.copy()
    better[:20] = 1
    results = [result("best-single", *base), result("oracle", *np.ones(200)), result("mine", *better)]
    found = rows(report(results, [str(n) for n in range(200)], "best-single", "oracle", 0))["mine"]
    width = found["ci"][1] - found["ci"][0]
    paired = found["diff_ci"][1] - found["diff_ci"][0]
    unpaired = np.sqrt(2) * width
    assert paired < unpaired / 2
    assert found["diff_ci"][0] > 0, "and so it is seen to be better, where two intervals overlap"
    expected = 2 * 1.96 * (better - base).std() / np.sqrt(200)
    assert paired == pytest.approx(expected, rel=0.1)


def test_the_hull_of_known_points() -> None:
    """What is dearer and no better is off it, and what lies under a line between two others."""
    points = [(3, 0.5), (1, 0.2), (2, 0.6), (4, 0.65), (6, 0.8), (7, 0.8), (1, 0.1)]
    assert hull(points) == [(1, 0.2), (2, 0.6), (6, 0.8)]
    assert hull([(2, 0.5)]) == [(2, 0.5)]
    assert hull([(1, 0.9), (2, 0.5)]) == [(1, 0.9)]
    assert hull([(0, 1), (1, 2), (2, 3)]) == [(0, 1), (2, 3)], "of points on one line the ends are enough"


def test_aiq_of_two_curves_by_hand() -> None:
    """The mean height of the hull; beyond its ends a curve is level, or falls to nothing at no cost."""
    curve: list[Point] = [(2, 0.4), (4, 0.8), (3, 0.1)]
    assert aiq(curve, 2, 4) == pytest.approx(0.6), "a trapezium"
    assert aiq(curve, 2, 6) == pytest.approx((2 * 0.6 + 2 * 0.8) / 4), "and level ground"
    assert aiq(curve, 1, 4) == pytest.approx((0.3 + 2 * 0.6) / 3), "from half of the cheapest point's cost on"
    assert aiq(curve, 2.5, 3.5) == pytest.approx(0.6), "a part of it"
    assert aiq(curve, 3, 3) == pytest.approx(0.6), "one cost is its height"
    assert aiq([(0, 0.5)], 0, 2) == 0.5, "what costs nothing is level everywhere"
    assert height([(2, 0.4), (4, 0.8)], np.array([0, 1, 2, 3, 5])) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


@given(POINTS, POINTS)
def test_a_hull_covers_its_points_and_more_points_never_lower_it(points: list[Point], more: list[Point]) -> None:
    """Never falling, ever less steep, made of the points themselves; AIQ only grows with what can be chosen."""
    found = hull(points)
    assert set(found) <= set(points)
    assert all(height(found, np.array([cost]))[0] >= quality - 1e-9 for cost, quality in points)
    slopes = [(q1 - q0) / (c1 - c0) for (c0, q0), (c1, q1) in pairwise(found)]
    assert all(slope > 0 for slope in slopes)
    assert slopes == sorted(slopes, reverse=True)
    low, high = min(c for c, _ in points), max(c for c, _ in points)
    inside = [(cost, quality) for cost, quality in more if cost >= low]
    assert aiq([*points, *inside], low, high) >= aiq(points, low, high) - 1e-9
    assert min(q for _, q in found) - 1e-9 <= aiq(points, low, high) <= max(q for _, q in points) + 1e-9


def test_curves_are_compared_over_one_range() -> None:
    """From the cheapest to the dearest point of all; the single models' is the Zero router's."""
    ends = [
        result("cheap", 1, 1, 0, 0, curve="swept", **usd(2)),
        result("dear", 1, 1, 1, 0, curve="swept", **usd(9)),
        result("dull", 1, 0, 0, 0, curve="swept", **usd(3)),
    ]
    found = figures([*FOUR, *ends])["curves"]
    assert found.keys() == {SINGLE_MODELS, "swept"}
    assert [point["name"] for point in found["swept"]["points"]] == ["cheap", "dull", "dear"]
    assert found[SINGLE_MODELS]["points"] == [
        {"name": "ada", "usd_per_1k": pytest.approx(1), "accuracy": 0.25},
        {"name": "bob", "usd_per_1k": pytest.approx(5), "accuracy": 0.5},
    ]
    assert found[SINGLE_MODELS]["aiq"] == pytest.approx((4 * 0.375 + 4 * 0.5) / 8)
    assert found["swept"]["aiq"] == pytest.approx((1 * 0.375 + 7 * 0.625) / 8)
    assert figures(FOUR[2:])["curves"] == {}, "without curves there is none"


def printed(found: dict[str, Any], width: int = 200, **options: Any) -> str:
    said = StringIO()
    Console(width=width, file=said).print(table(found, **options))
    return said.getvalue()


def test_a_table_for_a_person() -> None:
    """Baselines, policies and curves in blocks; percent with one decimal, costs with three digits."""
    lines = [line.split() for line in printed(figures()).splitlines()]
    heads = [line[0] for line in lines if line in (["baselines"], ["policies"]) or line[:1] == ["curves"]]
    assert heads == ["baselines", "policies", "curves"]
    row = next(line for line in lines if line[:1] == ["mine"])
    assert row[1] == "75.0"
    assert row[3] == "+25.0"
    assert row[-3:] == ["2.50", "1.50", "50.0"]
    assert ["single", "models", "43.8"] not in lines
    assert ["single", "models", "37.5"] in lines
    assert ["cost", "closed"] not in lines
    assert "cost" in printed(figures(), cost="cost / 1k")


def test_a_block_without_members_has_no_heading() -> None:
    """Baselines alone, without curves."""
    text = printed(figures([result("best-single", 1, 0, 1, 0), result("oracle", 1, 1, 1, 1)]))
    assert "policies" in text
    assert "baselines" not in text
    assert "curves" not in text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (0.00001234, "0.0000123"), (0.0823, "0.0823"), (1, "1.00"), (99.96, "100.0"), (1234567.8, "1,234,568")],
)
def test_costs_are_shown_with_three_digits_that_count(amount: float, text: str) -> None:
    """Between a millionth of a cent and millions."""
    shown = printed(figures([result("best-single", 1, 0, 1, 0, **usd(amount)), result("oracle", 1, 1, 1, 1)]))
    assert text in next(line for line in shown.splitlines() if "best-single" in line).split()


def test_names_of_any_length_and_spelling_fit_the_table() -> None:
    """At most 110 columns; brackets are no markup; on a narrow screen names wrap and numbers stay whole."""
    name = "a/very-long_name:of[bold]a-model-" * 4
    found = figures([*FOUR, result(name + "[red]x", 1, 1, 1, 1, calls=np.full(4, 34.0), **usd(1e6))])
    assert max(map(len, printed(found).splitlines())) <= 110
    assert "[bold]" in "".join(printed(found).split())
    assert "[red]x" in "".join(printed(found).split())
    narrow = printed(found, 80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert all(number in narrow for number in ("1,000,000", "34.00", "100.0 (100.0–100.0)"))
