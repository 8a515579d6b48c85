"""From replies to figures: accuracies with intervals, differences, calibration. Pure; randomness comes from a seed.

Intervals are percentile bootstraps (Efron 1979) over wordings, not over questions: questions of one wording are
right or wrong together. All figures of one report share their draws, so that differences are paired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.routing_records import Explained, Question, Reply

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

JsonObject = dict[str, Any]
Replies = Mapping[str, Sequence[Reply]]
BASELINE = "best-single"
CALIBRATED = "recruited-3"  # whose explanations tell of the classifier and of predicted correctness
SKILLS_BY = {"embedding": "recruited-3", "keywords": "keywords-3"}
DRAWS = 4000
BINS = 10
TAIL = 2.5  # percent on either side


@dataclass(frozen=True, slots=True)
class Resampling:
    """Draws of wordings with replacement.

    Attributes:
        group_of: [N] the wording of each question; times: [B, G] how often each draw holds each wording.
    """

    group_of: NDArray[np.intp]
    times: Values

    @classmethod
    def of(cls, groups: Sequence[str], seed: int, draws: int = DRAWS) -> Resampling:
        names, group_of = np.unique(np.asarray(groups), return_inverse=True)
        even = np.full(len(names), 1 / len(names))
        times = np.random.default_rng(seed).multinomial(len(names), even, size=draws)
        return cls(group_of, times.astype(np.float64))

    def means(self, values: Values) -> Values:
        """[N] -> the mean of each draw [B]."""
        size = self.times.shape[1]
        sums = np.bincount(self.group_of, values, size)
        return np.asarray((self.times @ sums) / (self.times @ np.bincount(self.group_of, minlength=size)))

    def interval(self, values: Values) -> list[float]:
        return between(self.means(values))


def between(drawn: Values) -> list[float]:
    """The middle 95 % of what was drawn."""
    return [_round(x) for x in np.nanpercentile(drawn, [TAIL, 100 - TAIL])]


def report(questions: Sequence[Question], experts: Replies, policies: Replies, seed: int) -> JsonObject:
    """Everything that is published. `experts` and `policies`: name -> replies in the order of the questions."""
    draws = Resampling.of([q.group for q in questions], seed)
    right = {name: rights(replies) for name, replies in experts.items()}
    oracle = np.max(list(right.values()), axis=0)
    explained = [r.explained for r in policies.get(CALIBRATED, ())]
    return {
        "questions": {
            "asked": len(questions),
            "wordings": int(draws.times.shape[1]),
            "skills": len({q.skill for q in questions}),
            "categories": len({q.category for q in questions}),
        },
        "policies": _policies(policies, oracle, draws, frozenset(experts)),
        "oracle": compared(oracle, _baseline(policies), draws),
        "best_by_hindsight": _hindsight(right, oracle, draws),
        "experts_skills": experts_skills(questions, right),
        "categories": classifier(questions, explained),
        "correctness": correctness(right, explained),
        "skills": {
            name: named(questions, [r.explained for r in policies[policy]])
            for name, policy in SKILLS_BY.items()
            if policy in policies
        },
        "failed": _failed({**experts, **policies}),
    }


def rights(replies: Sequence[Reply]) -> Values:
    """1 for a right reply, 0 for a wrong or missing one."""
    return np.array([r.right for r in replies], dtype=np.float64)


def compared(values: Values, baseline: Values | None, draws: Resampling) -> JsonObject:
    """Accuracy, and the paired difference to the baseline where there is one."""
    found = {"accuracy": _round(values.mean()), "interval": draws.interval(values)}
    if baseline is None:
        return found
    difference = values - baseline
    return found | {"difference": _round(difference.mean()), "difference_interval": draws.interval(difference)}


def gap_closed(values: Values, baseline: Values, oracle: Values, draws: Resampling) -> JsonObject:
    """How much of the way from the baseline to the oracle: 0 is the baseline, 1 the oracle. Empty without a way."""
    way = float(oracle.mean() - baseline.mean())
    if way <= 0:
        return {}
    ways = draws.means(oracle - baseline)
    gained = draws.means(values - baseline)
    shares = np.divide(gained, ways, out=np.full_like(ways, np.nan), where=ways > 0)
    return {"gap_closed": _round((values.mean() - baseline.mean()) / way), "gap_closed_interval": between(shares)}


def experts_skills(questions: Sequence[Question], right: Mapping[str, Values]) -> JsonObject:
    """Accuracy of each expert (row) in each skill (column; those of a category stand together)."""
    category_of = {q.skill: q.category for q in questions}
    categories = list(dict.fromkeys(category_of.values()))
    skills = sorted(category_of, key=lambda s: categories.index(category_of[s]))  # stable
    where = {s: np.array([q.skill == s for q in questions]) for s in skills}
    return {
        "skills": [{"skill": s, "category": category_of[s], "asked": int(where[s].sum())} for s in skills],
        "experts": list(right),
        "accuracy": [[_round(values[where[s]].mean()) for s in skills] for values in right.values()],
        "overall": [_round(values.mean()) for values in right.values()],
    }


def classifier(questions: Sequence[Question], explained: Sequence[Explained | None]) -> JsonObject | None:
    """Stage 1: how often the likeliest category is the true one, and whether it is as sure as it is right."""
    known = [(q, e) for q, e in zip(questions, explained, strict=False) if e is not None and e.category is not None]
    if not known:
        return None
    right = np.array([e.category == q.category for q, e in known], dtype=np.float64)
    acted = np.array([e.abstained is None for _, e in known])
    return {
        "classified": len(known),
        "accuracy": _round(right.mean()),
        "abstained": _round(1 - acted.mean()),
        "abstained_why": dict(Counter(e.abstained for _, e in known if e.abstained)),
        "accuracy_acted_on": _round(right[acted].mean()) if acted.any() else None,
        **reliability(np.array([e.confidence for _, e in known]), right),
    }


def correctness(right: Mapping[str, Values], explained: Sequence[Explained | None]) -> JsonObject | None:
    """Stage 2: predicted correctness against measured, over all pairs of a question and an expert."""
    pairs = [
        (p, right[expert][i])
        for i, e in enumerate(explained)
        if e is not None
        for expert, p in e.p_correct.items()
        if expert in right
    ]
    if not pairs:
        return None
    predicted, measured = np.array(pairs, dtype=np.float64).T
    base = float(measured.mean())
    return {
        "pairs": len(pairs),
        "base_rate": _round(base),
        "brier": _round(np.mean((predicted - measured) ** 2)),
        "brier_of_base_rate": _round(base * (1 - base)),
        **reliability(predicted, measured),
    }


def reliability(predicted: Values, measured: Values) -> JsonObject:
    """Expected calibration error (Naeini et al. 2015) over `BINS` bins of equal width, and those that hold anything."""
    index = np.minimum((predicted * BINS).astype(np.intp), BINS - 1)
    bins, error = [], 0.0
    for i in np.unique(index):
        inside = index == i
        said, was = float(predicted[inside].mean()), float(measured[inside].mean())
        error += float(inside.mean()) * abs(said - was)
        edges = {"from": _round(i / BINS), "to": _round((i + 1) / BINS)}
        bins.append({**edges, "count": int(inside.sum()), "predicted": _round(said), "measured": _round(was)})
    return {"ece": _round(error), "bins": bins}


def named(questions: Sequence[Question], explained: Sequence[Explained | None]) -> JsonObject:
    """How often the weightiest skill is the true one, and how often none was named.

    `found_by` shows how often keywords came too late and the embedding stepped in.
    """
    skills = [(q.skill, e.skill) for q, e in zip(questions, explained, strict=True) if e is not None]
    return {
        "explained": len(skills),
        "agreement": _round(sum(true == found for true, found in skills) / len(skills)) if skills else None,
        "found_by": dict(Counter(e.skills_from for e in explained if e is not None and e.skills_from)),
        "none_named": _round(sum(found is None for _, found in skills) / len(skills)) if skills else None,
    }


def _policies(policies: Replies, oracle: Values, draws: Resampling, experts: frozenset[str]) -> JsonObject:
    baseline = _baseline(policies)
    return {
        name: {
            **compared(rights(replies), baseline, draws),
            **(gap_closed(rights(replies), baseline, oracle, draws) if baseline is not None else {}),
            "experts_called": _mean([len(experts.intersection(r.explained.called)) for r in replies if r.explained]),
            "tokens_per_query": _mean([r.tokens for r in replies if r.failed is None]),
        }
        for name, replies in policies.items()
    }


def _baseline(policies: Replies) -> Values | None:
    return rights(policies[BASELINE]) if BASELINE in policies else None


def _hindsight(right: Mapping[str, Values], oracle: Values, draws: Resampling) -> JsonObject:
    """The expert that did best on these very questions: what choosing one expert could reach at most."""
    best = max(right, key=lambda name: float(right[name].mean()))
    missing = oracle - right[best]
    below = {"below_oracle": _round(missing.mean()), "below_oracle_interval": draws.interval(missing)}
    return {"expert": best, **compared(right[best], None, draws), **below}


def _failed(everyone: Replies) -> JsonObject:
    reasons = {name: Counter(r.failed for r in replies if r.failed) for name, replies in everyone.items()}
    return {
        "requests": sum(c.total() for c in reasons.values()),
        "of": sum(map(len, everyone.values())),
        "reasons": {name: dict(c) for name, c in reasons.items() if c},
    }


def _mean(values: Sequence[int]) -> float | None:
    return round(sum(values) / len(values), 2) if values else None


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), 4)
