"""The ways that `loadtest.newcomers` compares: which questions a new expert is labelled on, what is then predicted of
it, panels by diversity, and experts chosen by centroids or cards. Pure: arrays in, arrays out; chance is an argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Rows = NDArray[np.int64]
    Vectors = NDArray[np.float32]
    Draw = Callable[[Vectors, Sequence[str], int, np.random.Generator], Rows]

Key = tuple[str, ...]
LEAST, MOST = 0.01, 0.99  # no question is certain
ROUNDING = 1e-9  # sums of the same votes in another order differ by less


@dataclass
class Tally:
    """Means over replays of what each of N questions came to, by what was measured."""

    questions: int
    _sums: dict[Key, tuple[Values, Values]] = field(default_factory=dict)

    def add(self, key: Key, rows: Rows, values: Values) -> None:
        """`values` of the questions `rows`, none of which is there twice."""
        sums, times = self._sums.setdefault(key, (np.zeros(self.questions), np.zeros(self.questions)))
        sums[rows] += values
        times[rows] += 1

    def means(self) -> dict[Key, Values]:
        """[N] each, NaN where a question was never judged."""
        return {
            key: np.divide(sums, times, out=np.full(self.questions, np.nan), where=times > 0)
            for key, (sums, times) in self._sums.items()
        }


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What is predicted of E known experts on N questions, or what they came to.

    Attributes:
        p: [N, E] P(right), or outcomes; base: [E] their overall rates.
    """

    p: Values
    base: Values

    @property
    def common(self) -> Values:
        """[N], of the mean expert."""
        return np.asarray(self.p.mean(axis=1))

    @property
    def apart(self) -> Values:
        """[N, E] how much better than usual each is, beside the others."""
        return np.asarray(self.p - self.common[:, None] - (self.base - self.base.mean()))


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is known of a new expert: its outcomes [K], and those of the E known ones [K, E] on the same questions."""

    mine: Values
    others: Values

    def lead(self, strength: float) -> float:
        """How much better than the mean known expert it is, shrunken to not at all by `strength` more questions.

        It does not matter how hard the questions happened to be, as it does for a rate.
        """
        return float((self.mine - self.others.mean(axis=1)).sum() / (len(self.mine) + strength))


def chosen(scores: Values, right: Values) -> Values:
    """[N, E] each -> [N] whether whoever has the best score is right; `right` may have more columns."""
    return np.asarray(right[np.arange(len(right)), scores.argmax(axis=1)])


def bounded(p: Values) -> Values:
    return np.clip(p, LEAST, MOST)


def paired(labels: Labels, pool: Pool, strength: float) -> Values:
    """[N]: the mean known expert's P(right), and the newcomer's lead over it on the labelled questions."""
    return bounded(pool.common + labels.lead(strength))


def resembling(labels: Labels, pool: Pool, strength: float, seen: Values, penalty: float) -> Values:
    """[N]: as `paired`, and better where those are better whom the newcomer is like: a ridge regression on K outcomes.

    Args:
        seen: [K, E] `Pool.apart` of the known experts on the labelled questions.
    """
    lead = labels.lead(strength)
    wanted = labels.mine - labels.others.mean(axis=1) - lead
    weights = np.linalg.solve(seen.T @ seen + penalty * np.eye(seen.shape[1]), seen.T @ wanted)
    return bounded(pool.common + lead + pool.apart @ weights)


def at_random(vectors: Vectors, categories: Sequence[str], count: int, rng: np.random.Generator) -> Rows:
    """`count` of N questions by chance."""
    return rng.permutation(len(vectors))[:count]


def by_category(vectors: Vectors, categories: Sequence[str], count: int, rng: np.random.Generator) -> Rows:
    """One of each category by chance, then another one of each, and so on; categories in an order by chance."""
    names = sorted(set(categories))
    turn = dict(zip(names, rng.permutation(len(names)).tolist(), strict=True))
    taken: Counter[str] = Counter()
    keys = []
    for row in rng.permutation(len(categories)).tolist():
        taken[categories[row]] += 1
        keys.append((taken[categories[row]], turn[categories[row]], row))
    return np.array([row for _, _, row in sorted(keys)[:count]], dtype=np.int64)


def far_apart(vectors: Vectors, categories: Sequence[str], count: int, rng: np.random.Generator) -> Rows:
    """One by chance, then always the question that is least like all that were taken (Gonzalez 1985)."""
    rows = [int(rng.integers(len(vectors)))]
    nearest = vectors @ vectors[rows[0]]
    while len(rows) < min(count, len(vectors)):
        nearest[rows[-1]] = np.inf  # however unlike all others, it is taken once
        rows.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[rows[-1]])
    return np.array(rows, dtype=np.int64)


DRAWN: Mapping[str, Draw] = {"random": at_random, "by category": by_category, "far apart": far_apart}


def panel(scores: Values, correlations: Values, size: int, weight: float) -> Rows:
    """The best expert, then whoever has most score less `weight` times its mean correlation with those taken.

    Args:
        scores: [N, E]; correlations: [E, E], of the experts' outcomes.

    Returns:
        [N, size] experts, by score.
    """
    every = np.arange(len(scores))
    taken = np.zeros(scores.shape, dtype=np.bool_)
    for place in range(size):
        worth = scores - weight * (taken @ correlations) / max(place, 1)
        taken[every, np.where(taken, -np.inf, worth).argmax(axis=1)] = True
    return np.argsort(np.where(taken, -scores, np.inf), axis=1, kind="stable")[:, :size]


def voted(said: NDArray[np.str_], weights: Values) -> Rows:
    """Answers [N, P], the best expert's first, and the weight of each vote [N, P] -> whose answer wins [N].

    "" is no answer. The first of those with equal votes wins.
    """
    agree = (said[:, :, None] == said[:, None, :]) & (said != "")[:, None, :]
    votes = np.where(said == "", -np.inf, (agree * weights[:, None, :]).sum(axis=2))
    return np.asarray((votes >= votes.max(axis=1, keepdims=True) - ROUNDING).argmax(axis=1))


def best_trio(said: NDArray[np.str_], right: Values) -> list[int]:
    """The three of E experts whose majority was right most often; columns of [N, E], in which the best come first."""
    every, equal = np.arange(len(right)), np.ones((len(right), 3))
    trios = [list(trio) for trio in combinations(range(right.shape[1]), 3)]
    shares = [float(right[:, trio][every, voted(said[:, trio], equal)].mean()) for trio in trios]
    return trios[int(np.argmax(shares))]


def centroid_scores(
    known: Vectors, mine: NDArray[np.bool_], categories: Sequence[str], asked: Vectors
) -> tuple[Values, Values]:
    """How like E experts' own questions N others are: by the nearest of their centroids, and by the mean of all.

    RouterRetriever (arXiv 2409.02685): an expert has one centroid for each category, of its own questions there;
    whoever has none is like nothing. Cosines, [N, E] each.

    Args:
        known: [K, D] unit vectors; mine: [K, E] which of these questions are an expert's own.
    """
    labels = np.array(categories)
    nearest, average = (np.full((len(asked), mine.shape[1]), -1.0) for _ in range(2))
    for expert, own in enumerate(mine.T):
        sums = [known[own & (labels == name)].sum(axis=0) for name in np.unique(labels)]
        centroids = [total / np.linalg.norm(total) for total in sums if total.any()]
        if centroids:
            cosines = asked @ np.array(centroids).T
            nearest[:, expert], average[:, expert] = cosines.max(axis=1), cosines.mean(axis=1)
    return nearest, average


def card(leads: Mapping[str, float], size: int) -> str:
    """What an expert is good at, in words: where it leads the pool by most (Glider, arXiv 2410.07172)."""
    best = sorted(leads, key=lambda name: (-leads[name], name))[:size]
    return ", ".join(map(in_words, best))


def in_words(name: str) -> str:
    return name.replace("_", " ")


def likeness(vectors: Vectors, names: Vectors, temperature: float) -> Values:
    """Questions [N, D] and names [C, D] of categories -> weights [N, C] that sum to 1, the most for the likest."""
    cosines = (vectors @ names.T).astype(np.float64)
    found = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(found / found.sum(axis=1, keepdims=True))
