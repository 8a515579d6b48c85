"""Who is convened. Pure: candidates in, plan out; the seam where budgets and deadlines will enter."""

from __future__ import annotations

from collections.abc import Sequence

from router.config import BLIND, Policy
from router.records import Candidate, CategoryScores, Needs, Plan


def named(expert: str) -> Plan:
    """The request names its expert: no routing, and nobody steps in for it."""
    return Plan(experts=(expert,), aggregator="single", spares=(), reason="named")


def plan(
    policy: Policy,
    candidates: Sequence[Candidate],
    categories: CategoryScores,
    needs: Needs,
    general_expert: str,
) -> Plan | None:
    """The experts to ask, in the order of the candidates; None when nobody may be asked.

    A question that is unlike anything known goes to the general expert (Composition of Experts): profiles say nothing
    about it; a policy that always votes adds others. A first candidate that is sure enough answers alone. Otherwise up
    to `max_experts` vote, as far as they are not hopeless beside the best of all.
    """
    able = [c for c in candidates if c.excluded is None]
    if not able:
        return None
    general_first = not categories.confident and policy.recruit not in BLIND
    if general_first:
        able.sort(key=lambda c: c.expert != general_expert)  # stable
        if policy.aggregate != "vote":
            why = "unsure" if categories.familiar else "unfamiliar"
            return _single(able, why if able[0].expert == general_expert else "general_unavailable")
    if reason := _one_is_enough(policy, able, needs):
        return _single(able, reason)
    bar = policy.min_share * max(c.p_correct for c in able)
    worth = [c for c in able if c.p_correct >= bar or (general_first and c is able[0])]
    convened = worth[: policy.max_experts]
    rest = [c for c in able if c not in convened]
    if len(convened) == 1:
        return _single([*convened, *rest], "others_too_weak")
    return Plan(
        experts=tuple(c.expert for c in convened),
        aggregator="vote",
        spares=tuple(c.expert for c in rest),
        reason="convened",
    )


def _one_is_enough(policy: Policy, able: Sequence[Candidate], needs: Needs) -> str | None:
    if policy.aggregate == "single" or policy.max_experts == 1:
        return "policy_single"
    if len(able) == 1:
        return "only_one"
    if needs.tools or needs.json_schema or needs.samples > 1:
        # A majority over tool calls, objects or several samples is not defined yet: never half-done.
        return "not_votable"
    if policy.aggregate == "auto" and able[0].p_correct >= policy.enough:
        return "sure"
    return None


def _single(able: Sequence[Candidate], reason: str) -> Plan:
    first, *rest = (c.expert for c in able)
    return Plan(experts=(first,), aggregator="single", spares=tuple(rest), reason=reason)
