"""Stage 2b: in which order the candidates are convened. Pure.

Two ways to recruit, and three baselines that every claim about them stands beside:

    predicted   by P(correct) of this question
    symbolic    sampled as in Symbolic-MoE (arXiv 2503.05641, section 3.3): skill score times competence, softmax
    category    by the measured rate in the question's category (Composition of Experts' map)
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
from router.profiles import Profile, Profiles
from router.records import Candidate
from router.recruit import pool_mean

TEMPERATURE = 0.5  # Symbolic-MoE's


def ranked(
    candidates: Sequence[Candidate],
    method: Recruitment,
    profiles: Profiles,
    category: str,
    *,
    strength: float,
    seed: str,
) -> tuple[Candidate, ...]:
    """The candidates with their `score`, in the order they are to be convened in; the excluded ones last.

    Equal ones go by price, then by name.

    Args:
        category: the one acted on.
        strength: observations that the prior of a shrunken rate counts as.
        seed: what breaks chance, the question that the route is by.
    """
    rng = Random(seed)  # drawn from in the order of the candidates, excluded or not
    if method == "symbolic":
        weights = symbolic_weights(candidates, profiles)
        return _sampled(_scored(candidates, _softmax(weights, TEMPERATURE)), rng)
    if method == "predicted":
        scores = {c.expert: c.p_correct for c in candidates}
    elif method == "random":
        scores = {c.expert: rng.random() for c in candidates}
    else:
        mean, within = pool_mean(profiles), category if method == "category" else None
        scores = {c.expert: _rate(profiles.experts.get(c.expert), within, mean, strength) for c in candidates}
    found = _scored(candidates, scores)
    return tuple(sorted(found, key=lambda c: (c.excluded is not None, -c.score, c.usd_per_query, c.expert)))


def symbolic_weights(candidates: Sequence[Candidate], profiles: Profiles) -> dict[str, float]:
    """Expert -> w = gamma * S for the candidates that are not excluded.

    S is the score of the question's skills: the number of their calibration questions answered right less those
    answered wrong, here of as many answers at the predicted, shrunken rate, so that luck on few questions counts
    little. Where nobody was measured on the skills, or none is known, the categories' questions take their place.
    gamma is the expert's share of the pool's right answers: the paper's share of net scores is negative for an expert
    that is wrong more often than right, and would reward it for skills it lacks.
    """
    level = "skill" if any(c.evidence == "skill" for c in candidates) else None
    pool_right = sum(profiles.experts[c.expert].overall.right for c in candidates if c.expert in profiles.experts)
    weights = {}
    for c in candidates:
        if c.excluded is not None:
            continue
        speaks = c.expert in profiles.experts and level in (None, c.evidence)
        gamma = profiles.experts[c.expert].overall.right / max(1, pool_right) if speaks else 0.0
        weights[c.expert] = gamma * c.observations * (2 * c.p_correct - 1)
    return weights


def _rate(profile: Profile | None, category: str | None, mean: float, strength: float) -> float:
    """The shrunken rate in a category, or overall where there is no category or no count of it."""
    if profile is None:
        return mean
    overall = profile.overall.rate(mean, strength)
    count = profile.categories.get(category) if category is not None else None
    return count.rate(overall, strength) if count else overall


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
