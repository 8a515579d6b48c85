"""A decision and its outcome as JSON, for `"symposium": {"explain": true}`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from router.records import Answer, Candidate, CategoryScores, Decision, Failure, JsonObject, Reply

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
        "candidates": [_candidate(c, decision, asked) for c in decision.candidates],
        "stale_profiles": list(decision.stale),
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
        "replies": [leg_json(reply) for reply in replies],
        "failures": [leg_json(failure) for failure in failures],
        "vote": None
        if ballot is None
        else {
            "share": round(ballot.share, 4),
            "answers": [{"answer": text, "experts": list(experts)} for text, experts in ballot.answers],
        },
    }


def leg_json(leg: Reply | Failure) -> JsonObject:
    """One leg's end."""
    if isinstance(leg, Failure):
        return {"expert": leg.expert, "reason": leg.error.reason}
    return {"expert": leg.expert, "usage": leg.usage.json(), "seconds": round(leg.seconds, 4)}


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
        "observations": candidate.observations,
        "evidence": candidate.evidence,
        "score": round(candidate.score, 6),
        "usd_per_query": candidate.usd_per_query,
        "taken": planned or candidate.expert in asked,
        "why": why,
    }


def _rounded(scores: Mapping[str, float]) -> JsonObject:
    return {name: round(value, 4) for name, value in sorted(scores.items(), key=lambda s: -s[1])}
