"""How differently a pool's experts err: correlations of who is right. Pure.

Experts that are right and wrong together add little to each other's votes, whatever their rates are (black-box
diversity of Leveraging Open Knowledge, arXiv 2408.15915).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def correlations(right: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, E] outcomes in [0, 1] -> [E, E] Pearson's correlations; of outcomes 0 and 1 they are phi coefficients.

    Whoever is always right, or never, goes with nobody: 0.
    """
    apart = right - right.mean(axis=0)
    spread = np.sqrt(np.square(apart).sum(axis=0))
    units = np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 0)
    return np.asarray(units.T @ units)


def mean_correlation(right: NDArray[np.float64]) -> float:
    """Of all pairs of the E experts of outcomes [N, E]; 0 where there is no pair."""
    found = correlations(right)
    pairs = found[np.triu_indices(len(found), 1)]
    return float(pairs.mean()) if len(pairs) else 0.0
