"""Stage 1 (Composition of Experts, arXiv 2412.01868): which category a question belongs to. Pure.

A calibrated linear classifier on the question's embedding. Unsure, or unlike anything known, means
`general`: the category that a strong base model serves. A linear classifier is sure far from its data too, so
likeness is measured by itself: by the nearest centroid of a known skill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from router.records import CategoryScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

GENERAL = "general"


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """Multinomial logistic regression with temperature scaling (Guo et al. 2017, arXiv 1706.04599).

    Attributes:
        labels: C category names.
        weights: [C, D]; bias: [C]; temperature: > 0, logits are divided by it.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: float

    def probabilities(self, vector: NDArray[np.float32]) -> NDArray[np.float64]:
        """Embedding [D] -> probabilities [C] that sum to 1."""
        logits = (self.weights @ vector + self.bias).astype(np.float64) / self.temperature
        odds = np.exp(logits - logits.max())
        return np.asarray(odds / odds.sum())


def classify(
    classifier: Classifier,
    vector: NDArray[np.float32],
    familiarity: float,
    familiar_from: float,
    min_confidence: float,
) -> CategoryScores:
    """Category probabilities, and the category acted on.

    Args:
        vector: the question's embedding [D], of length 1.
        familiarity: cosine to the nearest known skill (`Vocabulary.cosines`).
        familiar_from: the least of it that counts as familiar; `fit` sets it so that few known questions fall below.
        min_confidence: the best category must reach this probability, else `general`.
    """
    probabilities = classifier.probabilities(vector)
    best = int(probabilities.argmax())
    familiar = familiarity >= familiar_from
    confident = familiar and bool(probabilities[best] >= min_confidence)
    return CategoryScores(
        probabilities={label: float(p) for label, p in zip(classifier.labels, probabilities, strict=True)},
        category=classifier.labels[best] if confident else GENERAL,
        confident=confident,
        familiarity=familiarity,
        familiar=familiar,
    )
