"""Stage 2b: in which order the candidates are convened. Pure.

Ways to recruit, and baselines that every claim about them stands beside:

    predicted   by P(correct) of this question
    symbolic    sampled as in Symbolic-MoE (arXiv 2503.05641, section 3.3): skill score times competence, softmax
    category    by the measured rate in the question's category (Composition of Experts' map)
    assigned    whom the category is assigned to, under budgets (`router/assign.py`); then as by category
    overall     by the measured rate on everything: the best single expert, the fixed top k
    random      by chance

Chance is the question's own: it gives the same order on every replica, and to every turn of its conversation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from router.config import Recruitment
from router.rates import Rates
from router.records import Candidate

TEMPERATURE = 0.5  # Symbolic-MoE's


def ranked(
    candidates: Sequence[Candidate],
    method: Recruitment,
    rates: Rates,
    category: str,
    *,
    seed: str,
    usd_per_right: float | None = None,
    assigned: str | None = None,
) -> tuple[Candidate, ...]:
    """The candidates with their `score`, in the order they are to be convened in; the excluded ones last.

    Equal ones go by price, then by name.

    Args:
        category: the one acted on.
        seed: what breaks chance, the question that the route is by.
        usd_per_right: what a right answer is worth: sets prices against predicted correctness. None: they do not count.
        assigned: whom the category is assigned to, if anybody.
    """
    rng = Random(seed)  # drawn from in the order of the candidates, excluded or not
    if method == "symbolic":
        weights = symbolic_weights(candidates, rates)
        return _sampled(_scored(candidates, _softmax(weights, TEMPERATURE)), rng)
    if method == "predicted":
        scores = {c.expert: c.p_correct - price(c, usd_per_right) for c in candidates}
    elif method == "random":
        scores = {c.expert: rng.random() for c in candidates}
    else:
        within = None if method == "overall" else category
        ahead = assigned if method == "assigned" else None
        scores = {c.expert: rates.rate(c.expert, within) + (c.expert == ahead) for c in candidates}
    found = _scored(candidates, scores)
    return tuple(sorted(found, key=lambda c: (c.excluded is not None, -c.score, c.usd_per_query, c.expert)))


def price(candidate: Candidate, usd_per_right: float | None) -> float:
    """What asking an expert costs, in right answers; 0 where nobody says what one is worth."""
    return candidate.usd_per_query / usd_per_right if usd_per_right else 0.0


def symbolic_weights(candidates: Sequence[Candidate], rates: Rates) -> dict[str, float]:
    """Expert -> w = gamma * S for the candidates that are not excluded.

    S is the score of the question's skills: the number of their calibration questions answered right less those
    answered wrong, here of as many answers at the predicted, shrunken rate, so that luck on few questions counts
    little. Where nobody was measured on the skills, or none is known, the categories' questions take their place.
    gamma is the expert's share of the pool's right answers: the paper's share of net scores is negative for an expert
    that is wrong more often than right, and would reward it for skills it lacks.
    """
    level = "skill" if any(c.evidence == "skill" for c in candidates) else None
    right = rates.right
    pool_right = sum(right.get(c.expert, 0.0) for c in candidates)
    weights = {}
    for c in candidates:
        if c.excluded is not None:
            continue
        speaks = c.expert in right and level in (None, c.evidence)
        gamma = right[c.expert] / max(1.0, pool_right) if speaks else 0.0
        weights[c.expert] = gamma * c.observations * (2 * c.rate - 1)
    return weights


def _softmax(weights: Mapping[str, float], temperature: float) -> dict[str, float]:
    most = max(weights.values(), default=0.0)
    odds = {expert: math.exp((weight - most) / temperature) for expert, weight in weights.items()}
    total = math.fsum(odds.values())
    return {expert: odd / total for expert, odd in odds.items()}


def _scored(candidates: Sequence[Candidate], scores: Mapping[str, float]) -> list[Candidate]:
    return [replace(c, score=scores.get(c.expert, 0.0)) for c in candidates]


def _sampled(candidates: Sequence[Candidate], rng: Random) -> tuple[Candidate, ...]:
    """Drawn one after another without replacement, each time by the scores of those that are left.

    Sorting by u^(1/p) does just that (Efraimidis and Spirakis 2006, algorithm A); in logarithms, as p may be tiny.
    """
    keys = {c.expert: math.log(1.0 - rng.random()) / max(c.score, 1e-300) for c in candidates}
    return tuple(sorted(candidates, key=lambda c: (c.excluded is not None, -keys[c.expert], c.expert)))
