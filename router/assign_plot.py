"""Draws what `router.assign` found: the rate of right answers over what is resident."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from router.assignment import Assignment
from router.pictures import BLUE, ORANGE, blank, logarithmic, need_matplotlib, save

LOG_FROM = 10.0  # the largest size over the smallest: more, and the small half would be a heap


def plot(front: Sequence[Assignment], chosen: Assignment, file: Path) -> None:
    """A step for each resident budget from which on more is right, and the assignment that was chosen.

    Args:
        front: of `router.assign.pareto`, in billions of parameters; the smallest first.

    Raises:
        ValueError: matplotlib is not installed, or knows no format that the file's name ends in.
        OSError: the file cannot be written.
    """
    need_matplotlib()
    made, axes = blank(8, 4.5, 150)
    sizes, rights = [p.resident_size for p in front], [100 * p.quality for p in front]
    axes.step(sizes, rights, where="post", color=BLUE, marker="o", markersize=4, label="the best of each budget")
    axes.plot(chosen.resident_size, 100 * chosen.quality, "D", color=ORANGE, label="chosen")
    if sizes[0] > 0 and sizes[-1] > LOG_FROM * sizes[0]:
        logarithmic(axes)
    axes.set_xlabel("resident parameters (billions)")
    axes.set_ylabel("right answers (%)")
    axes.legend(loc="lower right", frameon=False)
    save(made, file)
