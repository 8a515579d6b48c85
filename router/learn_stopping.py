"""Offline: votes on questions whose right answer is known -> when another answer is worth its price (`Stopping`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import logsumexp

from router.config import MAX_EXPERTS
from router.jury import LEAST_WEIGHT, Jury, log_odds, nobody_features, weighed
from router.learn_jury import NONE, Votes, learn_jury
from router.stopping import FEATURES, Outlook, Stopping, features

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRICES = (0.0, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1)
RIDGE = 5.0  # on standardised features: a few questions' worth


class Course(NamedTuple):
    """N votes after 1 … H answers: whether the first answer is right, [N, H], and the outlook, [N, H] each."""

    right: NDArray[np.bool_]
    outlook: Outlook


def learn_stopping(
    experts: tuple[str, ...], given: Votes, p: NDArray[np.float64], folds: NDArray[np.int64], seed: int = 0
) -> Stopping:
    """Args: p: P(right) [N, E], of parts that were fitted without the question; folds: [N]."""
    horizon = min(len(experts), MAX_EXPERTS)
    courses = []
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        jury = learn_jury(experts, given.only(train), p[train], seed)
        courses.append(course(jury, given.only(test), p[test], horizon))
    right = np.concatenate([c.right for c in courses])
    outlook = Outlook(*(np.concatenate(parts) for parts in zip(*(c.outlook for c in courses), strict=True)))
    weights = np.stack([_backwards(right, outlook, price) for price in PRICES])
    return Stopping(np.array(PRICES), weights)


def course(jury: Jury, given: Votes, p: NDArray[np.float64], horizon: int) -> Course:
    """Votes as they go when experts are asked one after the other, the most promising first."""
    count, every = len(p), np.arange(len(p))
    order = np.argsort(-p, axis=1, kind="stable")
    x = log_odds(p)
    weights = np.maximum(weighed(jury.bias, jury.slope, jury.shared, x), LEAST_WEIGHT)
    sums = np.zeros((count, max(1, int(given.codes.max()) + 1)))
    votes = np.zeros_like(sums)
    right, parts = [], []
    for turn in range(horizon):
        asked = order[:, turn]
        code = given.codes[every, asked]
        named = np.flatnonzero(code != NONE)
        sums[named, code[named]] += weights[named, asked[named]]
        votes[named, code[named]] += 1
        right.append(_first(sums, votes) == np.where(given.right == NONE, NONE - 1, given.right))
        parts.append(_outlook(jury, sums, votes, p[every[:, None], order[:, turn + 1 :]]))
    return Course(np.stack(right, axis=1), Outlook(*(np.stack(column, axis=1) for column in zip(*parts, strict=True))))


def _first(sums: NDArray[np.float64], votes: NDArray[np.float64]) -> NDArray[np.int64]:
    best = np.where(votes > 0, sums, -np.inf).argmax(axis=1)
    return np.where(votes.sum(axis=1) > 0, best, NONE)


def _outlook(jury: Jury, sums: NDArray[np.float64], votes: NDArray[np.float64], left: NDArray[np.float64]) -> Outlook:
    scores = np.where(votes > 0, sums, -np.inf)
    nobody = nobody_features((votes > 0).sum(axis=1).astype(float), votes.sum(axis=1)) @ jury.nobody
    total = logsumexp(np.column_stack([scores, nobody]), axis=1)
    ranked = np.sort(np.column_stack([scores, np.full((len(sums), 2), -np.inf)]), axis=1)[:, ::-1]
    weighed = np.sort(np.column_stack([sums, np.zeros((len(sums), 2))]), axis=1)[:, ::-1]
    empty = np.zeros(len(sums))
    return Outlook(
        first=np.exp(ranked[:, 0] - total),
        second=np.exp(ranked[:, 1] - total),
        nobody=np.exp(nobody - total),
        lead=weighed[:, 0] - weighed[:, 1],
        following=left[:, 0] if left.shape[1] else empty,
        left=left.mean(axis=1) if left.shape[1] else empty,
    )


def _backwards(right: NDArray[np.bool_], outlook: Outlook, price: float) -> NDArray[np.float64]:
    """Weights [H - 1 (at least 1), FEATURES] of one price."""
    horizon = right.shape[1]
    value = right[:, -1].astype(float)
    weights: list[NDArray[np.float64]] = []
    for turn in range(horizon - 2, -1, -1):
        known = features(Outlook(*(part[:, turn] for part in outlook)))
        weights.append(_regression(known, value - price - right[:, turn]))
        value = np.where(known @ weights[-1] > 0, value - price, right[:, turn])
    return np.stack(weights[::-1]) if weights else np.zeros((1, FEATURES))


def _regression(known: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ridge on standardised features, written out for the features as they are. The first one is constant."""
    mean, scale = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-9)
    scaled = (known - mean) / scale
    centred = gain - gain.mean()
    found = np.linalg.solve(scaled.T @ scaled + RIDGE * np.eye(FEATURES), scaled.T @ centred) / scale
    found[0] = gain.mean() - mean[1:] @ found[1:]
    return np.asarray(found)
