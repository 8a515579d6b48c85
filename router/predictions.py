"""How far P(right) holds on questions that it was not learned from: calibration, and what it says of its own error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.fit_report import expected_calibration_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_QUESTIONS = 15  # of a topic whose share of right answers says anything
TWO_SIDED_95 = 1.96  # standard deviations


class Predictions(NamedTuple):
    """Of `questions` and every expert: expected calibration error; Brier score, and that of each expert's mean rate on
    the very same questions; share of (expert, topic) pairs whose rate lies within 95 % intervals, None without any.
    """

    questions: int
    ece: float
    brier: float
    brier_of_means: float
    within_95: float | None


def judged(
    p: NDArray[np.float64], spread: NDArray[np.float64], right: NDArray[np.float64], topics: Sequence[str]
) -> Predictions:
    """Args: p, spread, right: [N, E], the chance, its standard deviation, what came; topics: [N]."""
    return Predictions(
        len(p),
        expected_calibration_error(p.ravel(), right.ravel() > 0.5),
        float(np.square(p - right).mean()),
        float(np.square(right.mean(axis=0) - right).mean()),
        _within(p, spread, right, np.array(topics)),
    )


def together(parts: Sequence[Predictions]) -> dict[str, float | None]:
    """One figure of each kind: means over questions."""
    found: dict[str, float | None] = {}
    for name in Predictions._fields[1:]:
        known = [(getattr(part, name), part.questions) for part in parts if getattr(part, name) is not None]
        total = sum(count for _, count in known)
        found[name] = sum(value * count for value, count in known) / total if known else None
    return found


def _within(
    p: NDArray[np.float64], spread: NDArray[np.float64], right: NDArray[np.float64], topics: NDArray[np.str_]
) -> float | None:
    """The error of a topic's mean P(right) is common to its questions; chance of single answers comes on top."""
    held: list[NDArray[np.bool_]] = []
    for topic in np.unique(topics):
        rows = topics == topic
        if rows.sum() >= LEAST_QUESTIONS:
            off = np.abs((right[rows] - p[rows]).mean(axis=0))
            chance = (p[rows] * (1 - p[rows])).mean(axis=0) / rows.sum()
            held.append(off <= TWO_SIDED_95 * np.sqrt(np.square(spread[rows]).mean(axis=0) + chance))
    return float(np.mean(held)) if held else None
