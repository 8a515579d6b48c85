"""Offline: who named which answer to questions whose right answer is known -> what votes are worth (`Jury`).

Maximum likelihood of a conditional logit, convex, with ridge penalties that draw experts' own terms together where
there is little evidence. Each question is seen with everybody's answer and with those of its first few, in the order in
which they would be asked: a vote that has just begun must be as well calibrated as one that is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from router.jury import NOBODY_FEATURES, Jury, log_odds, nobody_features, weighed

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONE = -1  # the code of an expert that named no answer, or is not heard
BIAS_PENALTY, SLOPE_PENALTY, SHARED_PENALTY = 3.0, 10.0, 0.1  # the likelihood is a sum over questions, not a mean
LEAST_SPREAD = 0.1  # of log-odds: what hardly differs is not blown up
PREFIXES = 2  # random prefixes of each question beside all of its answers


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """Who named what: `codes` [N, E], numbers of the answers of a question from 0 (NONE: no answer), and `right` [N],
    the code of the right one, NONE where nobody named it.
    """

    codes: NDArray[np.int64]
    right: NDArray[np.int64]

    def only(self, rows: NDArray[np.int64]) -> Votes:
        return Votes(self.codes[rows], self.right[rows])

    def heard(self, mask: NDArray[np.bool_]) -> Votes:
        """Only the votes where `mask` [N, E] is true."""
        codes = np.where(mask, self.codes, NONE)
        named = ((codes == self.right[:, None]) & (codes != NONE)).any(axis=1)
        return Votes(codes, np.where(named, self.right, NONE))


def votes(answers: NDArray[np.str_], right: NDArray[np.float64]) -> Votes:
    """Args: answers: [N, E], "" where none; right: [N, E], above one half where the expert's answer was right."""
    codes = np.full(answers.shape, NONE)
    of_right = np.full(len(answers), NONE)
    for row, said in enumerate(answers.tolist()):
        known: dict[str, int] = {}
        codes[row] = [known.setdefault(text, len(known)) if text else NONE for text in said]
        if (good := np.flatnonzero((right[row] > 0.5) & (codes[row] != NONE))).size:
            of_right[row] = codes[row][good[0]]
    return Votes(codes, of_right)


def learn_jury(experts: tuple[str, ...], given: Votes, p: NDArray[np.float64], seed: int = 0) -> Jury:
    """Args: p: P(right) [N, E], of parts that were fitted without the question."""
    order = np.argsort(-p, axis=1, kind="stable")
    turn = np.argsort(order, axis=1, kind="stable")
    rng = np.random.default_rng(seed)
    sizes = [np.full(len(p), p.shape[1]), *(rng.integers(1, p.shape[1] + 1, len(p)) for _ in range(PREFIXES))]
    seen = [given.heard(turn < size[:, None]) for size in sizes]
    everything = Votes(np.concatenate([s.codes for s in seen]), np.concatenate([s.right for s in seen]))
    return _fitted(experts, everything, np.concatenate([log_odds(p)] * len(sizes)), 1 / len(sizes))


def _fitted(experts: tuple[str, ...], seen: Votes, x: NDArray[np.float64], share: float) -> Jury:
    """`share`: what each of the rows counts, so that a question counts once however often it is seen."""
    size = len(experts)
    problem = _Likelihood(seen, x, share)
    start = np.concatenate([np.ones(size), np.zeros(size + 2 + NOBODY_FEATURES)])
    basis = problem.basis()

    def along(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        loss, gradient = problem(basis @ at)
        return loss, basis.T @ gradient

    begin = np.linalg.solve(basis, start)
    found = basis @ minimize(along, begin, jac=True, method="L-BFGS-B", options={"maxiter": 300, "ftol": 1e-7}).x
    bias, slope, (common, shared), nobody = np.split(found, [size, 2 * size, 2 * size + 2])
    return Jury(experts, bias, slope + common, float(shared), nobody)


class _Likelihood:
    """Minus the penalised log-likelihood and its gradient, of [bias E, own slope E, common slope, shared, nobody]."""

    def __init__(self, seen: Votes, x: NDArray[np.float64], share: float) -> None:
        self._x, self._mean, self._share = x, x.mean(axis=1), share
        self._voted = seen.codes != NONE
        rows, self._columns = np.nonzero(self._voted)
        self._rows = rows
        self._width = max(1, int(seen.codes.max()) + 1)
        self._flat = rows * self._width + seen.codes[self._voted]
        heard = np.bincount(self._flat, minlength=len(x) * self._width).reshape(len(x), self._width)
        self._unnamed = heard == 0
        self._features = nobody_features((heard > 0).sum(axis=1).astype(float), heard.sum(axis=1).astype(float))
        self._wanted = np.where(seen.right == NONE, self._width, seen.right)

    def basis(self) -> NDArray[np.float64]:
        """Directions to look along in which one step changes as much as another: a quarter of the steps are needed.

        Each expert's log-odds have mean 0 and spread 1 there, and what is counted of answers is uncorrelated.
        """
        size, count = self._x.shape[1], len(self._features)
        heard = np.maximum(self._voted.sum(axis=0), 1)
        mean = np.where(self._voted, self._x, 0.0).sum(axis=0) / heard
        square = np.where(self._voted, self._x - mean, 0.0) ** 2
        spread = np.maximum(np.sqrt(square.sum(axis=0) / heard), LEAST_SPREAD)
        found = np.eye(2 * size + 2 + NOBODY_FEATURES)
        bias, own = np.arange(size), np.arange(size, 2 * size)
        found[bias, own], found[own, own] = -mean / spread, 1 / spread
        found[:size, 2 * size], found[:size, 2 * size + 1] = -mean, -self._mean.mean()
        values, axes = np.linalg.eigh(self._features.T @ self._features / count)
        found[2 * size + 2 :, 2 * size + 2 :] = axes / np.sqrt(np.maximum(values, LEAST_SPREAD**4))
        return found

    def __call__(self, at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        size, every = self._x.shape[1], np.arange(len(self._x))
        bias, own, (common, shared), nobody = np.split(at, [size, 2 * size, 2 * size + 2])
        weights = weighed(bias, own + common, shared, self._x)
        sums = np.bincount(self._flat, weights[self._voted], len(every) * self._width).reshape(len(every), -1)
        scores = np.column_stack([np.where(self._unnamed, -np.inf, sums), self._features @ nobody])
        scores -= scores.max(axis=1, keepdims=True)
        odds = np.exp(scores)  # used twice, which scipy's logsumexp does not allow
        total = odds.sum(axis=1)
        loss = self._share * (np.log(total) - scores[every, self._wanted]).sum()
        excess = odds / total[:, None]
        excess[every, self._wanted] -= 1
        pull = np.zeros_like(self._x)
        pull[self._voted] = excess[:, :-1].ravel()[self._flat]
        by_x = (pull * self._x).sum(axis=0)
        apart = bias - bias.mean()
        gradient = self._share * np.concatenate(
            [
                pull.sum(axis=0),
                by_x,
                [by_x.sum(), (pull.sum(axis=1) * self._mean).sum()],
                self._features.T @ excess[:, -1],
            ]
        )
        gradient[:size] += 2 * BIAS_PENALTY * apart
        gradient[size : 2 * size] += 2 * SLOPE_PENALTY * own
        gradient[2 * size : 2 * size + 2] += 2 * SHARED_PENALTY * at[2 * size : 2 * size + 2]
        penalty = BIAS_PENALTY * (apart @ apart) + SLOPE_PENALTY * (own @ own)
        penalty += SHARED_PENALTY * (common**2 + shared**2)
        return float(loss + penalty), gradient
