"""What each expert's vote is worth, learned from how experts agreed on questions whose answer is known. Pure.

The posterior of an answer is a softmax over what its supporters' votes weigh together; one more outcome is that nobody
has named the right answer. Naive Bayes (`router/vote.py`) is the case in which votes are independent and P(right) is
all there is to know; here the weights are fitted together (conditional logit, maximum likelihood), so experts that err
together weigh less, and how hard the question is for everybody counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SURE = 0.98  # no P(right) counts as more certain than this, nor as less than its counterpart
LEAST_WEIGHT = 0.01  # agreement never speaks against an answer, however weak the expert
NOBODY_FEATURES = 4


def log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of probabilities that are bounded away from certainty."""
    bounded = np.clip(p, 1 - SURE, SURE)
    return np.asarray(np.log(bounded / (1 - bounded)))


def weighed(
    bias: NDArray[np.float64], slope: NDArray[np.float64], shared: float, x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What votes weigh: [N, E] or [E], of log-odds x of that shape."""
    return np.asarray(bias + slope * x + shared * x.mean(axis=-1, keepdims=True))


def nobody_features(named: NDArray[np.float64], heard: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, NOBODY_FEATURES] of how many different answers were named, and by how many experts, [N] each."""
    return np.stack([np.ones_like(named), named, heard, np.log1p(heard)], axis=1)


@dataclass(frozen=True, eq=False)
class Jury:
    """Weights of E experts: bias + slope * log-odds of P(right) + shared * the pool's mean log-odds.

    Attributes:
        bias, slope: [E].
        shared: what a question that is easy for all adds to each vote.
        nobody: [NOBODY_FEATURES], the log-odds that no answer named is right.
    """

    experts: tuple[str, ...]
    bias: NDArray[np.float64]
    slope: NDArray[np.float64]
    shared: float
    nobody: NDArray[np.float64]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.experts)}

    def weights(self, p_correct: Mapping[str, float]) -> dict[str, float]:
        """Expert -> what its vote weighs on a question, for those of this jury."""
        known = [name for name in p_correct if name in self._places]
        if not known:
            return {}
        places = [self._places[name] for name in known]
        x = log_odds(np.array([p_correct[name] for name in known]))
        found = weighed(self.bias[places], self.slope[places], self.shared, x)
        return dict(zip(known, found.tolist(), strict=True))

    def log_odds_nobody(self, named: int, heard: int) -> float:
        """How much weight an answer needs to be as probable as that none is right."""
        return float((nobody_features(np.array([float(named)]), np.array([float(heard)])) @ self.nobody)[0])
