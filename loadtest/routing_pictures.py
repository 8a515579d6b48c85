"""Draws a report of `loadtest.routing`. The only file that knows matplotlib.

    python -m loadtest.routing_pictures OUT.json docs/pictures

Colours are Okabe and Ito's and cividis: both are told apart by colour-blind eyes.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PX = 1660  # twice the width that a page shows
PALETTE = 128  # colours of a file
BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#6E6E6E", "#009E73"
BASELINES = frozenset({"random-1", "random-3", "best-single", "fixed-3", "category-map"})
FONT_POINTS = 11
DODGE = 0.05  # experts; policies that call equally many stand this far apart
TOGETHER = 0.35  # experts; policies nearer than this are named in one column
ALIGN: dict[int, Literal["left", "right"]] = {1: "left", -1: "right"}
AT_ANCHOR: dict[str, Any] = {"va": "bottom", "rotation_mode": "anchor"}
LABEL_GAP = 0.042  # of the axis' height; labels closer than this would overlap


def need_matplotlib() -> None:
    """Raises SystemExit with the remedy where it is not installed."""
    if find_spec("matplotlib") is None:
        raise SystemExit("pictures need matplotlib, a development tool: pip install 'symposium[dev]'")


def draw(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes experts_skills.png, policies.png, and calibration.png where the report has something of it."""
    need_matplotlib()
    from matplotlib import rc_context

    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"experts_skills": experts_skills, "calibration": calibration, "policies": policies}
    if not (report["categories"] and report["correctness"]):
        del pictures["calibration"]
    files = []
    with rc_context({"font.size": FONT_POINTS, "axes.spines.top": False, "axes.spines.right": False}):
        for name, picture in pictures.items():
            files.append(folder / f"{name}.png")
            _save(picture(report), files[-1])
    return files


def _save(figure: Figure, file: Path) -> None:
    """With a palette: a third of the size."""
    from PIL import Image

    whole = BytesIO()
    figure.savefig(whole, dpi=WIDTH_PX / figure.get_figwidth())  # a bare Figure draws with Agg
    Image.open(whole).convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE).save(file, optimize=True)


def experts_skills(report: Mapping[str, Any]) -> Figure:
    """Heat map of accuracy: experts as rows; skills as columns, those of a category side by side."""
    found = report["experts_skills"]
    columns, experts = found["skills"], found["experts"]
    percent = 100 * np.array([[*row, all_] for row, all_ in zip(found["accuracy"], found["overall"], strict=True)])
    rows, wide = percent.shape
    figure = _figure(2 + 0.4 * wide, 3.4 + 0.36 * rows)
    axes = figure.subplots()
    axes.imshow(percent, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(percent):
        colour = "black" if value > 55 else "white"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=FONT_POINTS + 1)
    axes.set_yticks(range(rows), experts)
    labels = [*(c["skill"].replace("_", " ") for c in columns), "all skills"]
    axes.set_xticks(range(wide), labels, rotation=55, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, labelsize=FONT_POINTS + 3)
    axes.spines[:].set_visible(False)
    _categories(axes, [c["category"] for c in columns])
    figure.suptitle("right answers of each expert in each skill, %", fontsize=FONT_POINTS + 4)
    return figure


def _categories(axes: Axes, categories: Sequence[str]) -> None:
    """A white line between categories, and their names above."""
    start = 0
    for category, members in itertools.groupby(categories):
        end = start + len(list(members))
        axes.axvline(end - 0.5, color="white", linewidth=4)
        middle = (start + end - 1) / 2
        axes.text(middle, -0.7, category, ha="left", rotation=24, color=BLUE, fontsize=FONT_POINTS + 3, **AT_ANCHOR)
        start = end


def calibration(report: Mapping[str, Any]) -> Figure:
    """Stage 1 and stage 2: what was predicted against what came; on the diagonal a prediction means what it says."""
    figure = _figure(11, 5.6)
    grid = figure.subplots(2, 2, height_ratios=(3.2, 1), sharex=True)
    panels = (
        ("Category: confidence and accuracy", "accuracy", "confidence of the likeliest", "categories"),
        ("Experts: predicted and measured", "share of right answers", "predicted P(correct)", "correctness"),
    )
    for column, (title, measured, predicted, key) in enumerate(panels):
        found, (above, below) = report[key], grid[:, column]
        _reliability(above, found)
        above.set(title=title, ylabel=measured, xlim=(0, 1), ylim=(0, 1.03))
        above.title.set_fontsize(FONT_POINTS + 2)
        below.set(xlabel=predicted, ylabel="questions" if key == "categories" else "pairs")
        _counts(below, found["bins"])
    return figure


def _reliability(axes: Axes, found: Mapping[str, Any]) -> None:
    predicted, measured = ([b[key] for b in found["bins"]] for key in ("predicted", "measured"))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="calibrated")
    axes.plot(predicted, measured, color=BLUE, marker="o", markersize=7, linewidth=2, clip_on=False, label="measured")
    lines = [f"ECE {found['ece']:.3f}"] + ([f"Brier {found['brier']:.3f}"] if "brier" in found else [])
    axes.text(0.97, 0.06, "\n".join(lines), transform=axes.transAxes, ha="right", va="bottom")
    axes.legend(loc="upper left", frameon=False)
    axes.grid(alpha=0.25)


def _counts(axes: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    """How much each point above stands for."""
    middles = [(b["from"] + b["to"]) / 2 for b in bins]
    bars = axes.bar(middles, [b["count"] for b in bins], width=0.085, color=BLUE, alpha=0.75)
    axes.bar_label(bars, padding=2, fontsize=FONT_POINTS - 2)
    axes.margins(y=0.3)


def policies(report: Mapping[str, Any]) -> Figure:
    """Accuracy with intervals against experts called; the oracle and the best expert by hindsight as lines."""
    figure = _figure(11, 5.8)
    axes = figure.subplots()
    rows = [(n, r) for n, r in report["policies"].items() if r["experts_called"] is not None]
    places = _dodged([row["experts_called"] for _, row in rows])
    for (name, row), x in zip(rows, places, strict=True):
        y, (low, high) = 100 * row["accuracy"], (100 * bound for bound in row["interval"])
        look: dict[str, Any] = {"color": ORANGE, "marker": "s"} if name in BASELINES else {"color": BLUE, "marker": "o"}
        axes.errorbar(x, y, [[max(0, y - low)], [max(0, high - y)]], capsize=3, markersize=7, linewidth=1.6, **look)
    best = report["best_by_hindsight"]
    _level(axes, 100 * report["oracle"]["accuracy"], "oracle: any expert is right", GREEN)
    _level(axes, 100 * best["accuracy"], f"best expert by hindsight: {best['expert']}", GREY)
    axes.set(xlim=(min(places, default=1) - 0.75, max(places, default=1) + 0.75))
    axes.set_xticks(range(1, round(max(places, default=1)) + 1))
    axes.set(xlabel="experts called per question, mean (equal ones stand side by side)")
    axes.set(ylabel="right answers, % (95 % interval)")
    axes.grid(alpha=0.25)
    _legend(axes)
    _label(axes, [(x, 100 * row["accuracy"], name) for (name, row), x in zip(rows, places, strict=True)])
    return figure


def _level(axes: Axes, percent: float, text: str, colour: str) -> None:
    axes.axhline(percent, color=colour, linestyle="--", linewidth=1.4)
    where = axes.get_yaxis_transform()
    axes.text(0.5, percent, text, transform=where, ha="center", va="bottom", color=colour)


def _dodged(counts: Sequence[float]) -> list[float]:
    """The same numbers, those that are nearly equal side by side around where they are."""
    places = list(counts)
    for group in _near(counts, DODGE):
        middle = (len(group) - 1) / 2
        for place, i in enumerate(group):
            places[i] = counts[i] + (place - middle) * DODGE
    return places


def _near(counts: Sequence[float], distance: float) -> list[list[int]]:
    """Indices of numbers nearer than `distance` to their neighbour, in ascending groups."""
    groups: list[list[int]] = []
    for i in sorted(range(len(counts)), key=lambda i: counts[i]):
        if groups and counts[i] - counts[groups[-1][-1]] < distance:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _label(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Names beside each group of points, pushed apart, with a thin line to their point.

    The leftmost group has its names on its left, so that they meet no other point.
    """
    low, high = axes.get_ylim()
    for number, group in enumerate(_near([x for x, _, _ in points], TOGETHER)):
        members = sorted((points[i] for i in group), key=lambda p: p[1])
        heights = _apart([y for _, y, _ in members], LABEL_GAP * (high - low))
        xs = [x for x, _, _ in members]
        side, edge = (1, max(xs)) if number else (-1, min(xs))
        for (x, y, name), height in zip(members, heights, strict=True):
            colour = ORANGE if name in BASELINES else BLUE
            line = [x, edge + side * 0.05, edge + side * 0.12]
            axes.plot(line, [y, height, height], color=colour, linewidth=0.7, alpha=0.7)
            axes.text(line[-1] + side * 0.01, height, name, va="center", ha=ALIGN[side], color=colour)


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights, moved as little as one pass up and one shift down allow, at least `gap` apart."""
    found = list(heights)
    for i in range(1, len(found)):
        found[i] = max(found[i], found[i - 1] + gap)
    shift = (sum(found) - sum(heights)) / len(found)
    return [height - shift for height in found]


def _legend(axes: Axes) -> None:
    axes.plot([], [], color=ORANGE, marker="s", linestyle="none", label="baseline")
    axes.plot([], [], color=BLUE, marker="o", linestyle="none", label="recruited by the router")
    axes.legend(loc="lower center", frameon=False)


def _figure(width_in: float, height_in: float) -> Figure:
    """A figure without pyplot: nothing global, no display."""
    from matplotlib.figure import Figure as NewFigure

    return NewFigure(figsize=(width_in, height_in), layout="constrained")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("report", type=Path, help="what `loadtest.routing --json` wrote")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    draw(json.loads(options.report.read_text(encoding="utf-8")), options.folder)


if __name__ == "__main__":
    main()
