"""What routing is compared with: choices that look at nothing, at one thing, or at what nobody can know.

Each gives an expert for each test question of a `World`, or several in the order in which they would be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.evaluation import World

NEIGHBOURS = 50
PRIOR = 20.0  # observations, as for shrunken rates


def by_true_category(world: World) -> NDArray[np.float64]:
    """Shrunken training rates in the label that the question has, and no router knows: [N, E]."""
    places = {name: place for place, name in enumerate(world.rates.categories)}
    rows = [places.get(category) for category in world.asked.categories]
    rates = world.rates.category_rates.T
    return np.stack([world.rates.overall_rates if row is None else rates[row] for row in rows])


def by_neighbours(world: World) -> NDArray[np.float64]:
    """Shrunken rates of the training questions that mean nearly the same: [N, E]."""
    known, asked = world.vectors
    count = min(NEIGHBOURS, len(known))
    near = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(known).kneighbors(asked, return_distance=False)
    right = world.known.right
    return np.asarray((right[near].sum(axis=1) + PRIOR * right.mean(axis=0)) / (count + PRIOR))


def by_regressions(world: World) -> NDArray[np.float64]:
    """One logistic regression on the embedding for each expert: [N, E]."""
    known, asked = world.vectors
    columns = []
    with threadpool_limits(1):  # as in `fit`
        for right in (world.known.right > 0.5).T:
            if right.all() or not right.any():
                columns.append(np.full(len(asked), float(right[0])))
            else:
                model = LogisticRegression(tol=1e-2).fit(known, right)
                columns.append(model.predict_proba(asked)[:, 1])
    return np.stack(columns, axis=1)


def at_random(world: World) -> NDArray[np.float64]:
    """[N, E] scores without meaning."""
    return np.random.default_rng(world.seed).random(world.asked.right.shape)


def by_overall(world: World) -> NDArray[np.float64]:
    """[N, E]: the same for every question."""
    return np.broadcast_to(world.known.right.mean(axis=0), world.asked.right.shape)


def majority(world: World, scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Whose answer a plain vote of the `count` best returns, ties by score: [N]."""
    answers = world.asked.answers
    assert answers is not None, "asked only where answers are recorded"
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    chosen = np.empty(len(order), dtype=np.int64)
    for row, panel in enumerate(order.tolist()):
        said = answers[row, panel].tolist()
        votes: dict[str, int] = {}
        for text in said:
            if text:
                votes[text] = votes.get(text, 0) + 1
        most = max(votes.values(), default=0)
        chosen[row] = panel[next((i for i, text in enumerate(said) if text and votes[text] == most), 0)]
    return chosen
