"""Draws a report of `router.evaluation_report`: right answers against cost.

Colours are never the only difference between marks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from router.evaluation_report import ORACLE, SINGLE_MODELS, height, hull
from router.pictures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    YELLOW,
    blank,
    logarithmic,
    need_matplotlib,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Row = Mapping[str, Any]
    Pixels = NDArray[np.float64]  # x, y
    Boxes = NDArray[np.float64]  # [K, 4]: left, bottom, right, top, in pixels

WIDTH_IN, HEIGHT_IN, DPI = 12.0, 8.0, 130
FONT_POINTS, SMALL_POINTS = 10, 8
CURVE_COLOURS = (PINK, SKY, YELLOW, BLACK)  # with the marks there are twenty looks
CURVE_MARKS = "^vDPX"
LOG_FROM = 30  # dearest over cheapest: more, and the cheap half would be a heap
STEPS = 200  # of a curve: what is straight in cost is bent where the axis is logarithmic
RINGS_POINTS = (7, 14, 24, 36, 50)  # how far a name may stand from its mark
DIRECTIONS = ((1, 0), (-1, 0), (1, 0.7), (-1, 0.7), (1, -0.7), (-1, -0.7), (0, 1), (0, -1))
MARK_POINTS = 4  # half a mark's width
OUTSIDE = 1e6  # square pixels: a name beyond the axes is worse than one on others
LEADER_FROM_POINTS = 10  # a name further away than this is tied to its mark by a line


def plot(figures: Row, file: Path, *, oracle: str = ORACLE, cost: str = "USD") -> None:
    """Writes `picture` in the format that the file's name ends in.

    Raises:
        ValueError: matplotlib is not installed, or knows no such format.
        OSError: the file cannot be written.
    """
    need_matplotlib()
    save(picture(figures, oracle, cost), file)


def picture(figures: Row, oracle: str, cost: str) -> Figure:
    """A report as points and curves over cost.

    Args:
        oracle: the result that is drawn as the limit, not as a point.
        cost: what `usd_per_1k` counts, where it is no USD.
    """
    made, axes = blank(WIDTH_IN, HEIGHT_IN, DPI)
    rows = [row for row in figures["policies"] if row["name"] != oracle]
    costs = [row["usd_per_1k"] for row in rows]
    if max(costs, default=0) > LOG_FROM * min(costs, default=0) > 0:
        logarithmic(axes)
    labels = [*_marks(axes, rows), *_single_models(axes, rows)]
    _curves(axes, figures["curves"])
    _limit(axes, [row for row in figures["policies"] if row["name"] == oracle])
    axes.set_xlabel(f"{cost} per 1,000 queries", fontsize=FONT_POINTS)
    axes.set_ylabel("right answers, % (bars: 95 % intervals)", fontsize=FONT_POINTS)
    title = f"{figures['n_test']:,} test questions: the higher and further left, the better"
    axes.set_title(title, loc="left", fontsize=FONT_POINTS + 2)
    axes.tick_params(labelsize=FONT_POINTS)
    axes.grid(alpha=0.25)
    axes.margins(x=0.06, y=0.06)
    made.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=FONT_POINTS)
    made.draw_without_rendering()  # the layout must stand before names find their places
    _place(axes, labels, figures["curves"])
    return made


@dataclass(frozen=True, slots=True)
class _Label:
    """A name beside a point, in data coordinates; `ends` are those of its interval."""

    text: str
    x: float
    y: float
    ends: tuple[float, float]
    colour: str
    points: float


def _marks(axes: Axes, rows: Sequence[Row]) -> Iterator[_Label]:
    """Baselines and policies that are on no curve, with their intervals."""
    looks: dict[str, dict[str, Any]] = {
        "baseline": {"color": ORANGE, "marker": "s"},
        "policy": {"color": BLUE, "marker": "o"},
    }
    for row in rows:
        if "curve" not in row:
            x, y = row["usd_per_1k"], 100 * row["accuracy"]
            low, high = (100 * end for end in row["ci"])
            bars = [[max(0, y - low)], [max(0, high - y)]]
            axes.errorbar(x, y, bars, capsize=3, markersize=7, linewidth=1.5, zorder=4, **looks[row["kind"]])
            yield _Label(row["name"], x, y, (low, high), looks[row["kind"]]["color"], FONT_POINTS)
    for kind, look in looks.items():
        if any("curve" not in row and row["kind"] == kind for row in rows):
            axes.plot([], [], linestyle="none", label=kind, **look)


def _single_models(axes: Axes, rows: Sequence[Row]) -> Iterator[_Label]:
    singles = [row for row in rows if row.get("curve") == SINGLE_MODELS]
    for row in singles:
        x, y = row["usd_per_1k"], 100 * row["accuracy"]
        axes.plot(x, y, marker="o", markersize=5, color=GREY, linestyle="none", zorder=3)
        yield _Label(row["name"], x, y, (y, y), GREY, SMALL_POINTS)


def _limit(axes: Axes, rows: Sequence[Row]) -> None:
    for row in rows:
        text = _plain(f"{row['name']}: {100 * row['accuracy']:.1f} %, the most there is to reach")
        axes.axhline(100 * row["accuracy"], color=GREEN, linestyle="--", linewidth=1.4, label=text)


def _curves(axes: Axes, curves: Mapping[str, Row]) -> None:
    """Each curve's points, and the hull that its AIQ is the mean height of."""
    looks = zip(itertools.cycle(CURVE_COLOURS), itertools.cycle(CURVE_MARKS), strict=False)
    for name, curve in curves.items():
        points = [(point["usd_per_1k"], point["accuracy"]) for point in curve["points"]]
        found = hull(points)
        low, high = found[0][0], found[-1][0]
        spaced = np.geomspace if axes.get_xscale() == "log" else np.linspace
        costs = spaced(low, high, STEPS) if high > low else np.array([low])
        text = _plain(f"{name}, AIQ {100 * curve['aiq']:.1f} %")
        if name == SINGLE_MODELS:
            axes.plot(costs, 100 * height(found, costs), color=GREY, linestyle=":", linewidth=1.5, label=text)
            continue
        colour, mark = next(looks)
        axes.plot(costs, 100 * height(found, costs), color=colour, linewidth=1.8, zorder=2)
        axes.plot(*np.array([(c, 100 * q) for c, q in points]).T, color=colour, marker=mark, markersize=5, ls="none")
        axes.plot([], [], color=colour, marker=mark, linewidth=1.8, label=text)


def _place(axes: Axes, labels: Sequence[_Label], curves: Mapping[str, Row]) -> None:
    """Writes each name where it covers no mark and no other name, the nearer the better; else where it covers least."""
    scale = axes.figure.dpi / 72  # pixels per point
    centres = axes.transData.transform([(label.x, label.y) for label in labels] or np.empty((0, 2)))
    taken = np.vstack([_marked(axes, label.x, label.ends, scale) for label in labels] or [np.empty((0, 4))])
    for curve in curves.values():
        points = [(point["usd_per_1k"], 100 * point["accuracy"]) for point in curve["points"]]
        taken = np.vstack([taken, *(_marked(axes, x, (y, y), scale) for x, y in points)])
    inside = axes.get_window_extent()
    for label, centre in zip(labels, centres, strict=True):
        note = axes.annotate(
            label.text,
            (label.x, label.y),
            (0, 0),
            textcoords="offset points",
            ha="left",
            va="bottom",
            parse_math=False,  # a name may hold a dollar sign
            color=label.colour,
            fontsize=label.points,
        )
        note.set_in_layout(False)  # or saving would move the axes under the names
        boxes = _boxes(centre, np.array(note.get_window_extent().size), scale)
        outside = (boxes[:, :2] < inside.min).any(axis=1) | (boxes[:, 2:] > inside.max).any(axis=1)
        box = boxes[int(np.argmin(_covered(boxes, taken) + OUTSIDE * outside))]  # of equals the first, thus the nearest
        taken = np.vstack([taken, box])
        note.xyann = tuple((box[:2] - centre) / scale)
        _tie(axes, label, (np.clip(centre, box[:2], box[2:]) - centre) / scale)


def _marked(axes: Axes, x: float, ends: tuple[float, float], scale: float) -> Boxes:
    """The place [1, 4] of a mark with its bar."""
    low, high = axes.transData.transform([(x, end) for end in ends])
    return np.hstack([low - MARK_POINTS * scale, high + MARK_POINTS * scale])[None]


def _boxes(centre: Pixels, size: Pixels, scale: float) -> Boxes:
    """Where a name of this size may stand around its mark, the nearest places first."""
    ways = np.tile(np.array(DIRECTIONS), (len(RINGS_POINTS), 1))
    anchors = centre + ways * np.repeat(RINGS_POINTS, len(DIRECTIONS))[:, None] * scale
    beside = ways[:, 0] != 0
    left = anchors[:, 0] + (np.sign(ways[:, 0]) - 1) / 2 * size[0]
    bottom = anchors[:, 1] + np.where(beside, -0.5, (np.sign(ways[:, 1]) - 1) / 2) * size[1]
    return np.column_stack([left, bottom, left + size[0], bottom + size[1]])


def _covered(boxes: Boxes, taken: Boxes) -> NDArray[np.float64]:
    """How much [K] of each box lies on others, in square pixels."""
    low = np.maximum(boxes[:, None, :2], taken[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], taken[None, :, 2:])
    return np.asarray(np.maximum(high - low, 0).prod(axis=2).sum(axis=1))


def _tie(axes: Axes, label: _Label, offset: Pixels) -> None:
    """A thin line from a mark to a name that stands apart. `offset` is the name's nearest corner, in points."""
    if np.hypot(*offset) > LEADER_FROM_POINTS:
        line = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
        where = (float(offset[0]), float(offset[1]))
        axes.annotate("", (label.x, label.y), where, textcoords="offset points", arrowprops=line).set_in_layout(False)


def _plain(text: str) -> str:
    """As it is in a legend, where dollar signs would make a formula."""
    return text.replace("$", r"\$")
