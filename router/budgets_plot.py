"""Draws how often answers are right under bounds on cost and on time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.budget_trials import PLANNED, WAYS
from router.pictures import BLUE, GREEN, GREY, ORANGE, PINK, YELLOW, blank, logarithmic, need_matplotlib, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, HEIGHT_IN, DPI = 11.0, 4.6, 130
LOOKS = ((BLUE, "o"), (ORANGE, "s"), (YELLOW, "^"), (PINK, "v"), (GREY, "x"), (GREEN, "D"))
LABELS = {"cost": "most that a query may cost, US dollars", "deadline": "most that a query may take, seconds"}


def plot(figures: Mapping[str, Any], file: Path) -> None:
    """Two panes, of `router.evaluation_budgets.judge`.

    Raises:
        ValueError: matplotlib is not installed, or knows no format that the file's name ends in.
        OSError: the file cannot be written.
    """
    need_matplotlib()
    made, first = blank(WIDTH_IN, HEIGHT_IN, DPI)
    first.remove()
    left, right = made.subplots(1, 2, sharey=True)
    for axes, bound in ((left, "cost"), (right, "deadline")):
        _pane(axes, figures["bounds"][bound], LABELS[bound])
    left.set_ylabel(f"right answers, % of {figures['n_test']:,} questions")
    left.legend(loc="lower right", frameon=False)
    save(made, file)


def _pane(axes: Axes, rows: list[Mapping[str, Any]], label: str) -> None:
    limits = [row["limit"] for row in rows]
    for name, (colour, mark) in zip(WAYS, LOOKS, strict=False):
        accuracy = [100 * row["ways"][name]["accuracy"] for row in rows]
        width, front = (2.4, 3) if name == PLANNED else (1.2, 2)
        axes.plot(limits, accuracy, color=colour, marker=mark, linewidth=width, markersize=5, zorder=front, label=name)
    logarithmic(axes)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
