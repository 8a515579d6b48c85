"""A decision and its outcome as JSON: what every response says of its legs, and what `"symposium": {"explain": true}`
adds. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set

from router.budget import Budget, Fit
from router.eligible import NOT_ALLOWED
from router.money import usd
from router.records import (
    Ballot,
    Candidate,
    CategoryScores,
    Cut,
    Decision,
    EndedLeg,
    Failure,
    JsonObject,
    Reply,
    Role,
    Usage,
)  # fmt: skip
from router.response import Response

SHOWN_CHARS = 200  # of what an expert said on the way to a decision


def decision_json(decision: Decision, asked: Set[str] = frozenset()) -> JsonObject:
    """What was known and decided, with the experts that were `asked` in the end (a spare may have stepped in)."""
    categories, skills = decision.categories, decision.skills
    return {
        "decision_id": decision.query.request_id,
        "config_version": decision.config_version,
        "policy": decision.policy,
        "category": categories.category if categories else None,
        "categories": _rounded(categories.probabilities) if categories else {},
        "abstained": _abstained(categories),
        "familiarity": round(categories.familiarity, 4) if categories else None,
        "skills": _rounded(skills.weights) if skills else {},
        "skills_from": skills.source if skills else None,
        "unknown_skills": list(skills.unknown) if skills else [],
        "nearest_skill": list(skills.nearest) if skills and skills.nearest else None,
        "asides": [_aside(leg) for leg in decision.asides],
        "candidates": [_candidate(c, decision, asked) for c in decision.candidates if c.excluded != NOT_ALLOWED],
        "stale_profiles": list(decision.stale),
        "profile_version": decision.profiles,
        "plan": {
            "experts": list(decision.plan.experts),
            "waves": [list(wave) for wave in decision.plan.waves],
            "aggregator": decision.plan.aggregator,
            "spares": list(decision.plan.spares),
            "reason": decision.plan.reason,
            **_fit(decision.plan.fit),
        },
        "budget": _budget(decision.budget),
        "turns": decision.turns,
        "anchor": decision.anchor,
        "overhead_ms": round(decision.overhead_s * 1000, 3),
    }


def spent_json(response: Response, price: Callable[[str, Usage], float]) -> JsonObject:
    """What every response says: how the answer was made, each leg with its tokens and cost, and the sum.

    Args:
        price: what an expert's tokens cost, US dollars.
    """
    told: JsonObject = {
        "aggregated": response.how,
        "why": response.why,
        "legs": [leg_json(leg, role) | {"cost_usd": _usd(price(leg.expert, leg.usage))} for role, leg in response.legs],
        "cost_usd": _usd(math.fsum(price(leg.expert, leg.usage) for _, leg in response.legs)),
    }
    if response.ended_early is not None:
        told["ended_early"] = response.ended_early
    fit = response.decision.plan.fit
    if fit is not None and fit.rung != "none":
        told["degraded"] = fit.rung
    return told | {"missing": list(response.missing)} if response.missing else told


def outcome_json(response: Response) -> JsonObject:
    """A decision and what came of it besides its legs: who answered, and how the vote went."""
    asked = {leg.expert for role, leg in response.legs if role == "answer"} | set(response.answered)
    answering = response.live or response.answer
    return decision_json(response.decision, asked) | {
        "answered_by": answering.expert if answering else None,
        "vote": _ballot(response.ballot) if response.ballot else None,
    }


def _fit(fit: Fit | None) -> JsonObject:
    """How the plan keeps to the budget."""
    if fit is None:
        return {}
    return {
        "degraded": fit.rung,
        "expected_quality": round(fit.quality, 4),
        "quality_gap": round(fit.gap, 4),
        "expected_cost_usd": _usd(usd(fit.usd_nanos)),
        "expected_p95_ms": None if fit.late_s is None else round(fit.late_s * 1000, 1),
        "max_tokens": dict(fit.max_tokens),
    }


def _budget(budget: Budget) -> JsonObject:
    """What the query may spend, and who says so; what is not bounded is left out."""
    told = {
        "deadline_ms": None if budget.deadline_s is None else round(budget.deadline_s * 1000, 3),
        "max_cost_usd": None if budget.nanos is None else _usd(usd(budget.nanos)),
        "max_tokens": budget.tokens,
        "max_experts": budget.experts,
        "min_confidence": budget.min_confidence,
        "ttft_ms": None if budget.ttft_s is None else round(budget.ttft_s * 1000, 3),
        "tpot_ms": None if budget.tpot_s is None else round(budget.tpot_s * 1000, 3),
    }
    bounded = {name: value for name, value in told.items() if value is not None}
    return bounded | ({"from": dict(budget.source)} if bounded and budget.source else {})


def _ballot(ballot: Ballot) -> JsonObject:
    return {
        "share": round(ballot.share, 4),
        "posterior": None if ballot.posterior is None else round(ballot.posterior, 4),
        "spread": None if ballot.spread is None else round(ballot.spread, 4),
        "answers": [{"answer": text, "experts": list(experts)} for text, experts in ballot.answers],
    }


def leg_json(leg: EndedLeg, role: Role = "answer") -> JsonObject:
    """One leg's end. `estimated` where its tokens are not the last word: it was cut, or reported nothing."""
    told: JsonObject = {"expert": leg.expert, "role": role, "outcome": outcome_of(leg), "usage": leg.usage.json()}
    if not leg.usage.exact:
        told["estimated"] = True
    if isinstance(leg, Reply) and leg.stopped is not None:
        told["stopped"] = leg.stopped
    told["seconds"] = round(leg.seconds, 4)
    if isinstance(leg, Reply) and leg.first_token_s is not None:
        told["first_token_s"] = round(leg.first_token_s, 4)
    return told


def outcome_of(leg: EndedLeg) -> str:
    """In the words of `LegEnded`."""
    if isinstance(leg, Failure):
        return leg.error.reason
    return "cut" if isinstance(leg, Cut) else "answered"


def _usd(amount: float) -> float:
    return float(f"{amount:.6g}")


def _aside(leg: Reply | Failure) -> JsonObject:
    about: JsonObject = {"expert": leg.expert, "usage": leg.usage.json(), "seconds": round(leg.seconds, 4)}
    if isinstance(leg, Failure):
        return about | {"failed": leg.error.reason}
    return about | {"said": [text[:SHOWN_CHARS] for text in leg.texts]}


def _abstained(categories: CategoryScores | None) -> str | None:
    """Why the category is `general` although the question was classified; None where it was acted on."""
    if categories is None or categories.confident:
        return None
    return "unsure" if categories.familiar else "unfamiliar"


def _candidate(candidate: Candidate, decision: Decision, asked: Set[str]) -> JsonObject:
    plan = decision.plan
    planned = candidate.expert in plan.experts
    not_taken = "not_needed" if plan.aggregator == "single" else "ranked_lower"
    why = plan.reason if planned else candidate.excluded or not_taken
    if candidate.expert in asked and not planned:
        why = "stepped_in"
    return {
        "expert": candidate.expert,
        "p_correct": round(candidate.p_correct, 4),
        "p_spread": round(candidate.p_spread, 4),
        "observations": candidate.observations,
        "evidence": candidate.evidence,
        "score": round(candidate.score, 6),
        "usd_per_query": candidate.usd_per_query,
        "taken": planned or candidate.expert in asked,
        "why": why,
    }


def _rounded(scores: Mapping[str, float]) -> JsonObject:
    return {name: round(value, 4) for name, value in sorted(scores.items(), key=lambda s: -s[1])}
