"""A decision and its outcome as JSON, for `"symposium": {"explain": true}`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from router.records import Answer, Candidate, Decision, Failure, JsonObject, Reply


def decision_json(decision: Decision, asked: Set[str] = frozenset()) -> JsonObject:
    """What was known and decided, with the experts that were `asked` in the end (a spare may have stepped in)."""
    categories, skills = decision.categories, decision.skills
    return {
        "decision_id": decision.query.request_id,
        "config_version": decision.config_version,
        "policy": decision.policy,
        "category": categories.category if categories else None,
        "categories": _rounded(categories.probabilities) if categories else {},
        "skills": _rounded(skills.weights) if skills else {},
        "nearest_skill": list(skills.nearest) if skills and skills.nearest else None,
        "candidates": [_candidate(c, decision, asked) for c in decision.candidates],
        "plan": {
            "experts": list(decision.plan.experts),
            "aggregator": decision.plan.aggregator,
            "spares": list(decision.plan.spares),
            "reason": decision.plan.reason,
        },
        "overhead_ms": round(decision.overhead_s * 1000, 3),
    }


def outcome_json(answer: Answer | None, replies: Sequence[Reply] = (), failures: Sequence[Failure] = ()) -> JsonObject:
    """What came of it: who answered what, who failed, how the vote went."""
    ballot = answer.ballot if answer else None
    return {
        "answered_by": answer.expert if answer else None,
        "replies": [{"expert": r.expert, "usage": r.usage.json(), "seconds": round(r.seconds, 4)} for r in replies],
        "failures": [{"expert": f.expert, "reason": f.error.reason} for f in failures],
        "vote": None
        if ballot is None
        else {
            "share": round(ballot.share, 4),
            "answers": [{"answer": text, "experts": list(experts)} for text, experts in ballot.answers],
        },
    }


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
        "observations": candidate.observations,
        "usd_per_query": candidate.usd_per_query,
        "taken": planned or candidate.expert in asked,
        "why": why,
    }


def _rounded(scores: Mapping[str, float]) -> JsonObject:
    return {name: round(value, 4) for name, value in sorted(scores.items(), key=lambda s: -s[1])}
