"""The picture of a report: what is drawn where, and that names can be read."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imread

from router.evaluation_plot import DPI, HEIGHT_IN, WIDTH_IN, picture, plot
from router.evaluation_report import SINGLE_MODELS, Result, report
from router.pictures import need_matplotlib


def results(dearest: float = 9.0, names: tuple[str, ...] = ("ada", "bob", "cat")) -> list[Result]:
    """Three single models, two curves of three points, a baseline, two policies and the oracle, on 60 questions."""
    random = np.random.default_rng(0)

    def one(name: str, share: float, usd_per_1k: float, kind: Any = "policy", curve: str | None = None) -> Result:
        usd = np.full(60, usd_per_1k / 1000)
        return Result(name, kind, (random.random(60) < share).astype(float), np.ones(60), usd, curve)

    return [
        *(
            one(name, 0.3 + 0.4 * n / len(names), 1 + n / len(names), "baseline", SINGLE_MODELS)
            for n, name in enumerate(names)
        ),
        *(
            one(f"{curve}-{n}", 0.4 + n / 10, 1 + n, "policy", curve)
            for curve in ("swept", "in $ and $")
            for n in range(3)
        ),
        one("best-single", 0.5, 3, "baseline"),
        one("mine", 0.6, dearest),
        one("yours", 0.62, dearest),
        one("oracle", 0.95, 1, "baseline"),
    ]


def figures(*found: Result) -> dict[str, Any]:
    return report(found or results(), [str(n) for n in range(60)], "best-single", "oracle", 0, 100)


def drawn(found: dict[str, Any], cost: str = "USD") -> tuple[Figure, Axes]:
    made = picture(found, "oracle", cost)
    return made, made.axes[0]


def legend(made: Figure) -> list[str]:
    return [text.get_text() for text in made.legends[0].get_texts()]


def names(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_text()]


def test_a_file_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    """A PNG of the size that was meant, with something on it; folders are made."""
    file = tmp_path / "deep" / "down.png"
    plot(figures(), file)
    pixels = imread(file)
    assert pixels.shape[:2] == (int(HEIGHT_IN * DPI), int(WIDTH_IN * DPI))
    assert pixels.std() > 0.05


def test_everything_is_named_and_in_percent() -> None:
    """Single models and policies beside their marks; curves with their AIQ and the oracle in the legend."""
    found = figures()
    made, axes = drawn(found, "credits")
    assert sorted(names(axes)) == ["ada", "best-single", "bob", "cat", "mine", "yours"]
    aiq = {name: f"{100 * curve['aiq']:.1f}" for name, curve in found["curves"].items()}
    assert legend(made) == [
        "baseline",
        "policy",
        f"single models, AIQ {aiq[SINGLE_MODELS]} %",
        f"swept, AIQ {aiq['swept']} %",
        rf"in \$ and \$, AIQ {aiq['in $ and $']} %",
        f"oracle: {100 * found['policies'][-1]['accuracy']:.1f} %, the most there is to reach",
    ]
    assert axes.get_xlabel() == "credits per 1,000 queries"
    assert "right answers, %" in axes.get_ylabel()
    assert "60 test questions" in axes.get_title(loc="left")


def test_marks_stand_at_their_cost_and_share() -> None:
    """Bars are the intervals of the report, and the oracle is a level line."""
    found = figures()
    _, axes = drawn(found)
    row = {row["name"]: row for row in found["policies"]}
    points = [tuple(point) for line in axes.lines for point in np.asarray(line.get_xydata()).tolist()]
    for name in ("ada", "mine", "best-single", "swept-1"):
        assert pytest.approx((row[name]["usd_per_1k"], 100 * row[name]["accuracy"])) in points
    bars = [bar.get_segments()[0][:, 1].tolist() for bar in axes.collections if isinstance(bar, LineCollection)]
    assert pytest.approx([100 * end for end in row["mine"]["ci"]]) in bars
    level = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [np.asarray(line.get_ydata()).tolist() for line in level] == [[100 * row["oracle"]["accuracy"]] * 2]


@pytest.mark.parametrize(("dearest", "scale"), [(29.0, "linear"), (31.0, "log")])
def test_the_axis_is_logarithmic_where_costs_differ_much(dearest: float, scale: str) -> None:
    """More than thirtyfold; its numbers are written out."""
    _, axes = drawn(figures(*results(dearest)))
    assert axes.get_xscale() == scale
    if scale == "log":
        assert {"1", "2", "5", "10"} <= {tick.get_text() for tick in axes.get_xticklabels()}


def test_what_costs_nothing_is_drawn_too() -> None:
    """There is no logarithm of nothing."""
    free = Result("free", "policy", np.zeros(60), np.zeros(60), np.zeros(60))
    _, axes = drawn(figures(*results(500), free))
    assert axes.get_xscale() == "linear"
    assert "free" in names(axes)


def test_without_curves_and_policies_a_picture_is_drawn_all_the_same() -> None:
    """Two baselines are the least that a report holds."""
    made, axes = drawn(figures(*[r for r in results() if r.name in ("best-single", "oracle")]))
    assert names(axes) == ["best-single"]
    assert legend(made)[0] == "baseline"


def test_names_cover_neither_each_other_nor_the_edge() -> None:
    """Thirty models in a heap: each name is whole, by itself, and no formula."""
    many = tuple(f"a-model-of-$many-{n}" for n in range(30))
    made, axes = drawn(figures(*results(names=many)))
    made.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == 33
    inside = axes.get_window_extent()
    assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 and inside.y0 <= b.y0 and b.y1 <= inside.y1 for b in boxes)
    shared = [(a, b) for a, b in itertools.combinations(boxes, 2) if a.padded(-1).overlaps(b.padded(-1))]
    assert shared == []


def test_nothing_of_matplotlib_is_changed_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pyplot, which keeps figures and a backend for the whole process."""
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    plot(figures(), tmp_path / "x.png")
    assert "matplotlib.pyplot" not in sys.modules


def test_the_remedy_is_said_where_matplotlib_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no part of what a router needs."""
    need_matplotlib()
    monkeypatch.setattr("router.pictures.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="matplotlib, which is not installed: pip install matplotlib"):
        plot(figures(), tmp_path / "x.png")


def test_a_format_that_there_is_not_is_a_mistake(tmp_path: Path) -> None:
    """Named with those that there are."""
    with pytest.raises(ValueError, match=r"Format 'doc' is not supported \(supported formats: .*png"):
        plot(figures(), tmp_path / "x.doc")
