"""The figures that say how good a fitted router is, as plain JSON. Pure; knows neither scikit-learn nor embedders.

Everything is computed from `Scored`: what a router said of questions whose wording it had not been fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experts.intervals import wilson
from router.classify import Classifier
from router.skills import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10
THRESHOLDS = np.arange(0, 20) / 20  # of the abstention curve, on confidence
DIGITS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What stage 1 said of N questions, and whether the nearest skill was right.

    Attributes:
        labels: C category names; probabilities: [N, C]; truth: [N], indices into labels.
        familiarity: [N], cosine to the nearest known skill; right_skill: [N], that one is among the question's.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]
    familiarity: NDArray[np.float64]
    right_skill: NDArray[np.bool_]

    @property
    def confidence(self) -> NDArray[np.float64]:
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.probabilities.argmax(axis=1) == self.truth)


def figures(scored: Scored, familiar_from: float, min_confidence: float) -> dict[str, Any]:
    """Accuracy, calibration, confusion and abstention of labelled questions."""
    known = np.eye(len(scored.labels))[scored.truth]
    likelihood = (scored.probabilities * known).sum(axis=1)
    return {
        "questions": len(scored.truth),
        "category_accuracy": share(scored.right),
        "category_ece": _round(expected_calibration_error(scored.confidence, scored.right)),
        "brier": _round(((scored.probabilities - known) ** 2).sum(axis=1).mean()),
        "log_loss": _round(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        "skill_accuracy": share(scored.right_skill),
        "abstained": abstained(scored.confidence, scored.familiarity, familiar_from, min_confidence),
        "abstention_curve": abstention_curve(scored.confidence, scored.right),
        "reliability": reliability(scored.confidence, scored.right),
        "confusion": {"labels": list(scored.labels), "counts": _confusion(scored).tolist()},
        "familiarity_percentiles": {
            str(p): _round(np.percentile(scored.familiarity, p)) for p in (1, 2, 3, 4, 5, 25, 50)
        },
    }


def share(hits: NDArray[np.bool_]) -> dict[str, Any]:
    """A share with its 95 % interval."""
    low, high = wilson(int(hits.sum()), len(hits))
    return {"value": _round(hits.mean()), "interval": [_round(low), _round(high)]}


def abstained(
    confidence: NDArray[np.float64], familiarity: NDArray[np.float64], familiar_from: float, min_confidence: float
) -> dict[str, Any]:
    """How many questions go to `general`, and why; one that is both counts as unfamiliar, as when it is explained."""
    unfamiliar = familiarity < familiar_from
    unsure = ~unfamiliar & (confidence < min_confidence)
    return {
        "questions": len(confidence),
        "share": share(unfamiliar | unsure),
        "unfamiliar": _round(unfamiliar.mean()),
        "unsure": _round(unsure.mean()),
    }


def familiar_from(
    confidence: NDArray[np.float64],
    familiarity: NDArray[np.float64],
    min_confidence: float,
    most: float,
    least: float,
) -> float:
    """The least familiarity that counts as familiar, from known questions [N] in wordings never seen.

    At most the share `most` of them is to abstain for either reason. Where being unsure uses that up by itself, the
    share `least` is still given to unfamiliarity: without it every foreign question would be taken for a known one.
    """
    sure = confidence >= min_confidence
    may_go = int(max(most * len(sure) - (~sure).sum(), least * len(sure)))
    candidates = np.sort(familiarity[sure]) if sure.any() else np.sort(familiarity)
    return float(candidates[min(may_go, len(candidates) - 1)])


def expected_calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mean gap between confidence and accuracy over `BINS` equal-width bins (Guo et al. 2017, eq. 3)."""
    bins = _bins(confidence)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(np.sum(gaps))


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    """The bins of a reliability diagram; null where a bin is empty."""
    bins = [_bins(confidence) == b for b in range(BINS)]
    return {
        "edges": [_round(edge) for edge in np.linspace(0, 1, BINS + 1)],
        "counts": [int(b.sum()) for b in bins],
        "confidence": [_round(confidence[b].mean()) if b.any() else None for b in bins],
        "accuracy": [_round(right[b].mean()) if b.any() else None for b in bins],
    }


def abstention_curve(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """For each threshold on confidence: the share that abstains, and the accuracy of the rest (null for no rest)."""
    points = []
    for threshold in THRESHOLDS:
        acts = confidence >= threshold
        accuracy = _round(right[acts].mean()) if acts.any() else None
        points.append({"threshold": _round(threshold), "abstained": _round((~acts).mean()), "accuracy": accuracy})
    return points


def most_confused(confusion: dict[str, Any], at_most: int = 5) -> list[tuple[str, str, int]]:
    """(true category, taken for, how often), most frequent first."""
    labels: Sequence[str] = confusion["labels"]
    pairs = [
        (labels[i], labels[j], count)
        for i, row in enumerate(confusion["counts"])
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[:2]))[:at_most]


def foreign(
    classifier: Classifier,
    vocabulary: Vocabulary,
    vectors: NDArray[np.float32],
    familiar_from: float,
    min_confidence: float,
) -> dict[str, Any]:
    """How many questions [N, D] about nothing that is known abstain."""
    confidence = np.array([classifier.probabilities(v).max() for v in vectors])
    return abstained(confidence, vocabulary.cosines(vectors).max(axis=1), familiar_from, min_confidence)


def _confusion(scored: Scored) -> NDArray[np.int64]:
    """Counts [C, C]: rows are true categories, columns the most probable ones."""
    counts = np.zeros((len(scored.labels), len(scored.labels)), dtype=np.int64)
    np.add.at(counts, (scored.truth, scored.probabilities.argmax(axis=1)), 1)
    return counts


def _bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def _round(value: Any) -> float:
    return round(float(value), DIGITS)
