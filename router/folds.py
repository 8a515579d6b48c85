"""Offline: questions in folds, none of one wording, or text, in two of them. scikit-learn's; its warnings end here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

if TYPE_CHECKING:
    from numpy.typing import NDArray

Splits = list[tuple["NDArray[np.int64]", "NDArray[np.int64]"]]  # rows to learn from, rows to be judged on


def grouped_folds(strata: NDArray[np.str_] | NDArray[np.int64], groups: Sequence[str], k: int, seed: int) -> Splits:
    """Each row is judged once; strata are spread evenly as far as groups allow.

    Args:
        strata: [N]; groups: N, of which none is on both sides.
    """
    number = {group: place for place, group in enumerate(sorted(set(groups)))}
    numbered = np.array([number[group] for group in groups])  # NumPy's texts each take the room of the longest one
    folds = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # few questions of one kind are no obstacle: their folds are only less even
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return list(folds.split(strata, strata, numbered))


def frequent(labels: Sequence[str], k: int, otherwise: Sequence[str]) -> NDArray[np.str_]:
    """Labels of at least `k` rows as they are; rarer ones as `otherwise` says: strata that fill every fold."""
    names, which, counts = np.unique(np.array(labels), return_inverse=True, return_counts=True)
    return np.where(counts[which] >= k, names[which], np.array(otherwise))
