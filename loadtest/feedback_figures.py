"""What `loadtest.feedback` says of its replays: accuracies with intervals, and how soon one arm is as good as another.
Pure.

Intervals are Student's 95 % of the mean over seeds. A seed has its own split and its own chance, but the questions of
all seeds are the same, so other questions would scatter more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from loadtest.feedback_replay import BLOCK, Replay, Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

JsonObject = dict[str, Any]
WITHIN = 0.01  # of accuracy: as good as the right prior
LASTING = 2  # judgements in a row
FIRST = 1000  # outcomes in which learning costs most


def interval(values: Values) -> JsonObject:
    """Mean of S seeds and its 95 % interval, in per cent; one seed has none."""
    percent = 100 * np.asarray(values)
    mean = float(percent.mean())
    if len(percent) < 2:
        return {"mean": round(mean, 2), "interval": None}
    half = float(stats.t.ppf(0.975, len(percent) - 1) * percent.std(ddof=1) / np.sqrt(len(percent)))
    return {"mean": round(mean, 2), "interval": [round(mean - half, 2), round(mean + half, 2)]}


def outcomes_until(routed: Values, base: Values) -> int | None:
    """Outcomes until an arm is within `WITHIN` of another, `LASTING` judgements in a row; None: never.

    Args:
        routed, base: [B + 1] accuracies before each block and after the last.
    """
    near = routed >= base - WITHIN
    for place in range(len(near) - LASTING + 1):
        if near[place : place + LASTING].all():
            return place * BLOCK
    return None


def mean_until(routed: Values, base: Values) -> int | None:
    """Outcomes until the mean over seeds is within `WITHIN` for good. `routed`, `base`: [S, B + 1]."""
    apart = np.flatnonzero(routed.mean(axis=0) < base.mean(axis=0) - WITHIN)
    first = int(apart[-1]) + 1 if len(apart) else 0
    return first * BLOCK if first < routed.shape[1] else None


def arm(settings: Settings, found: Sequence[Replay], base: Sequence[Replay], marks: Sequence[int]) -> JsonObject:
    """One arm beside the one that begins with the right prior; seeds in the same order.

    Args:
        marks: outcomes after which the judgement is told.
    """
    routed, right = _stacked(found), _stacked(base)
    asked = np.array([one.asked for one in found])
    each = [outcomes_until(mine, theirs) for mine, theirs in zip(routed, right, strict=True)]
    reached = sorted(number for number in each if number is not None)
    whole = len(reached) > len(each) // 2
    return {
        **_told(settings),
        "asked": interval(asked.mean(axis=1)),
        "asked_first": interval(asked[:, : FIRST // BLOCK].mean(axis=1)),
        "routed": {str(mark): interval(routed[:, mark // BLOCK]) for mark in marks},
        "behind": interval(routed[:, -1] - right[:, -1]),
        "until_within": {
            "median": reached[len(each) // 2] if whole else None,
            "seeds": len(reached),
            "of": len(each),
            "mean_for_good": mean_until(routed, right),
        },
        "calibration_worth": {str(mark): _worth([r.worth[mark // BLOCK] for r in found]) for mark in marks},
        "curve": [round(100 * float(value), 2) for value in routed.mean(axis=0)],
    }


def attack(settings: Settings, found: Sequence[Replay]) -> JsonObject:
    """Before the lies, immediately after them, `FIRST` honest outcomes later (or at the end), and at the end."""
    assert settings.attack is not None, "an arm without an attack"
    struck = np.array([one.struck for one in found])
    routed = _stacked(found)
    later = min((settings.attack.at + FIRST) // BLOCK, routed.shape[1] - 1)
    return {
        **_told(settings),
        "at": settings.attack.at,
        "liars": settings.attack.liars,
        "named": settings.attack.named,
        "lies": settings.attack.outcomes,
        "blow": settings.attack.blow,
        "before": interval(struck[:, 0]),
        "after": interval(struck[:, 1]),
        "lost": interval(struck[:, 1] - struck[:, 0]),
        "later": interval(routed[:, later]),
        "end": interval(routed[:, -1]),
    }


def models(names: Sequence[str], right: NDArray[np.bool_]) -> Mapping[str, float]:
    """Model -> its accuracy on every question, the best first; and `oracle`: any of them right."""
    shares = dict(zip(names, right.mean(axis=0).tolist(), strict=True)) | {"oracle": float(right.any(axis=1).mean())}
    return {name: round(shares[name], 4) for name in sorted(shares, key=lambda name: -shares[name])}


def _told(settings: Settings) -> JsonObject:
    return {
        "prior": settings.prior,
        "learns": settings.learns,
        "doubts": settings.doubts,
        "explored": settings.explored,
        "sources": settings.sources,
        "per_source": settings.per_source,
    }


def _stacked(found: Sequence[Replay]) -> Values:
    return np.array([one.routed for one in found])


def _worth(values: Sequence[float]) -> float | None:
    """The median; None where calibration counts in full."""
    median = float(np.median(values))
    return median if np.isfinite(median) else None
