"""What routing is compared with: choices that look at nothing, at one thing, or at what nobody can know.

Each gives scores of the experts for each test question of a `Trial`; `majority` asks several by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from router.classify import GENERAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.evaluation import Trial

NEIGHBOURS = 50


class Elected(NamedTuple):
    """Of N questions: whose answer is returned [N], and who was asked for it [N, asked], the best first."""

    chosen: NDArray[np.int64]
    asked: NDArray[np.int64]


def by_true_category(trial: Trial) -> NDArray[np.float64]:
    """Shrunken training rates in the label that the question has, and no router knows: [N, E].

    A category of which too little was learned is what it was learned as, `general`, else none.
    """
    known = set(trial.rates.categories)
    labels = [category if category in known else GENERAL for category in trial.asked.categories]
    rates = {label: [trial.rates.rate(expert, label) for expert in trial.asked.experts] for label in set(labels)}
    return np.array([rates[label] for label in labels])


def by_neighbours(trial: Trial) -> NDArray[np.float64]:
    """Rates of the training questions that mean nearly the same, shrunken as profiles are: [N, E]."""
    known, asked = trial.vectors
    count, prior = min(NEIGHBOURS, len(known)), trial.rates.strength
    near = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(known).kneighbors(asked, return_distance=False)
    right = trial.known.right
    return np.asarray((right[near].sum(axis=1) + prior * right.mean(axis=0)) / (count + prior))


def by_regressions(trial: Trial) -> NDArray[np.float64]:
    """One logistic regression on the embedding for each expert: [N, E]."""
    known, asked = trial.vectors
    columns = []
    with threadpool_limits(1):  # as in `fit`
        for right in trial.known.whole.T:
            if right.all() or not right.any():
                columns.append(np.full(len(asked), float(right[0])))
            else:
                model = LogisticRegression(tol=1e-2).fit(known, right)
                columns.append(model.predict_proba(asked)[:, 1])
    return np.stack(columns, axis=1)


def at_random(trial: Trial) -> NDArray[np.float64]:
    """[N, E] scores without meaning."""
    return np.random.default_rng(trial.seed).random(trial.asked.right.shape)


def by_overall(trial: Trial) -> NDArray[np.float64]:
    """[N, E]: the same for every question."""
    return np.broadcast_to(trial.known.right.mean(axis=0), trial.asked.right.shape)


def majority(trial: Trial, scores: NDArray[np.float64], count: int) -> Elected:
    """A plain vote of the `count` best, or of all where there are fewer; ties go by score."""
    answers = trial.asked.answers
    assert answers is not None, "asked only where answers are recorded"
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    said = np.take_along_axis(answers, order, axis=1)
    votes = ((said[:, :, None] == said[:, None, :]) & (said != "")[:, None, :]).sum(axis=2)
    votes[said == ""] = 0
    first = votes.argmax(axis=1)  # the best of those with most votes; where nobody says anything, the best of all
    return Elected(order[np.arange(len(order)), first], order)
