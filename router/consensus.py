"""Open-ended responses: the one closest to the others (minimum Bayes risk, the risk being 1 - cosine). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from router.records import Answer, Ballot, Reply

if TYPE_CHECKING:
    from numpy.typing import NDArray


def closest(replies: Sequence[Reply], vectors: NDArray[np.float32], p_correct: Mapping[str, float]) -> Answer:
    """The reply of least expected distance to a right one, where each reply counts as right by its expert's P(correct).

    Blank replies are chosen only when all are. Ties go to the more trusted.

    Args:
        replies: at least one.
        vectors: [N, D], unit rows, one for each reply.
    """
    trust = np.array([p_correct.get(reply.expert, 0.0) for reply in replies])
    said = np.array([bool(reply.text.strip()) for reply in replies])
    counts = np.where(said, np.maximum(trust, 0.01), 0.0) if said.any() else np.ones(len(replies))
    distances = 1.0 - np.clip(vectors.astype(np.float64) @ vectors.astype(np.float64).T, -1.0, 1.0)
    np.fill_diagonal(distances, 0.0)
    risk = distances @ (counts / counts.sum())
    order = sorted(
        range(len(replies)),
        key=lambda i: (bool(said.any()) and not said[i], round(float(risk[i]), 6), -trust[i], replies[i].expert),
    )
    best = replies[order[0]]
    ballot = Ballot(
        answers=tuple((f"response {n}", (replies[i].expert,)) for n, i in enumerate(order, 1)),
        share=1 / len(replies),
        spread=float(risk[order[0]]) if len(replies) > 1 else None,
    )
    return Answer(best.expert, best.choices, ballot, best.extra)
