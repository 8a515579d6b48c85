"""When another answer is not worth its price: the expected gain of asking on, learned from known answers. Pure.

Optimal stopping by regression (Longstaff and Schwartz 2001): from the last answer backwards, what going on gained on
calibration questions is regressed on what was known then. A posterior alone cannot tell: a question that nobody can
answer never gets sure, and asking more experts gains nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUTS = 6
FEATURES = 1 + INPUTS + INPUTS * (INPUTS + 1) // 2
_I, _J = np.triu_indices(INPUTS)


class Outlook(NamedTuple):
    """N votes that have begun, [N] each: posterior of the first and the second answer, and that none is right; how much
    more the first weighs than the second; P(right) of the expert that would be asked next, and mean of all left.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    nobody: NDArray[np.float64]
    lead: NDArray[np.float64]
    following: NDArray[np.float64]
    left: NDArray[np.float64]


def features(outlook: Outlook) -> NDArray[np.float64]:
    """[N, FEATURES]: one, the inputs, their products. The lead is squashed: beyond a few votes it makes no odds."""
    inputs = np.stack([*outlook[:3], np.tanh(outlook.lead / 2), *outlook[4:]], axis=1)
    return np.concatenate([np.ones((len(inputs), 1)), inputs, inputs[:, _I] * inputs[:, _J]], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Stopping:
    """Attributes:
    prices: [P] ascending, gains in P(right) that a call was to bring.
    weights: [P, H, FEATURES]; row h speaks for votes of h + 1 answers.
    """

    prices: NDArray[np.float64]
    weights: NDArray[np.float64]

    def gain(self, heard: int, outlook: Outlook, price: float) -> NDArray[np.float64]:
        """What going on is expected to add to P(right), less the price of the calls it takes: [N], at most 1.

        Args:
            heard: answers so far, at least 1.
            price: the least gain that is worth a call; of the prices learned for, the nearest is taken.
        """
        nearest = int(np.abs(self.prices - price).argmin())
        row = self.weights[nearest, min(heard, self.weights.shape[1]) - 1]
        beyond = max(0.0, price - float(self.prices[-1]))  # dearer than anything learned for: at least so much worse
        return np.asarray(np.clip(features(outlook) @ row, -1.0, 1.0) - beyond)
