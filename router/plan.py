"""Who is convened. Pure: candidates in, plan out. What of it a budget allows is not decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from router.config import BLIND, Policy
from router.errors import BadRequest
from router.ranking import price
from router.records import Aggregate, Aggregator, Candidate, CategoryScores, Plan, Query


def named(query: Query) -> Plan:
    """The request names its expert: no routing, and nobody steps in for it.

    Raises:
        BadRequest: it also asks for several experts' answers to be aggregated.
    """
    if query.aggregate not in (None, "auto", "single"):
        raise BadRequest(
            f"'{query.model}' is one expert: there is nothing to {query.aggregate}. Ask a policy (GET /v1/models), or "
            "leave symposium.aggregate out.",
            code="invalid_value",
            param="symposium.aggregate",
        )
    return Plan(waves=((query.model,),), aggregator="single", spares=(), reason="named")


def plan(
    policy: Policy,
    candidates: Sequence[Candidate],
    categories: CategoryScores,
    query: Query,
    general_expert: str,
    synthesizers: Mapping[str, float | None] = MappingProxyType({}),
) -> Plan | None:
    """The experts to ask, in the order of the candidates; None when nobody may be asked.

    A question that is unlike anything known goes to the general expert (Composition of Experts): profiles say nothing
    about it; where several are to answer anyway, others are added. A first candidate that is sure enough answers
    alone. Otherwise up to `max_experts` are convened, as far as they are not hopeless beside the best of all.

    Args:
        synthesizers: the experts that may write one answer of several, the best first, with their measured rate of
            right ones.
    """
    able = [c for c in candidates if c.excluded is None]
    if not able:
        return None
    wish = query.aggregate or policy.categories.get(categories.category, policy.aggregate)
    general_first = not categories.confident and policy.recruit not in BLIND
    if general_first:
        able.sort(key=lambda c: c.expert != general_expert)  # stable
        if wish in ("auto", "single"):
            why = "unsure" if categories.familiar else "unfamiliar"
            return _single(able, why if able[0].expert == general_expert else "general_unavailable")
    if reason := _one_is_enough(policy, wish, able, query):
        return _single(able, reason)
    bar = policy.min_share * max(c.p_correct for c in able)
    worth = [c for c in able if c.p_correct >= bar or (general_first and c is able[0])]
    convened = worth[: policy.max_experts]
    names = {c.expert for c in convened}
    rest = [c for c in able if c.expert not in names]
    if len(convened) == 1:
        return _single([*convened, *rest], "others_too_weak")
    aggregator, reason = _aggregator(wish, query, synthesizers)
    found = Plan(
        waves=_waves([c.expert for c in convened], policy.waves),
        aggregator=aggregator,
        spares=tuple(c.expert for c in rest),
        reason=reason,
        quorum=policy.quorum,
        decided_at=policy.decided_at,
        p_correct=_p_correct(able),
        equal=policy.votes == "equal",
        prices=_prices(policy, able),
    )
    return _with_writers(found, synthesizers) if aggregator == "synthesize" else found


def _p_correct(able: Sequence[Candidate]) -> dict[str, float]:
    """What votes count by. The pool's mean is no evidence: an unmeasured expert has no say beside measured ones."""
    measured = any(c.evidence != "pool" for c in able)
    return {c.expert: 0.0 if measured and c.evidence == "pool" else c.p_correct for c in able}


def _prices(policy: Policy, able: Sequence[Candidate]) -> dict[str, float]:
    """What hearing each expert must add to P(correct): `min_gain`, and its price if that is more."""
    return {c.expert: max(policy.min_gain, price(c, policy.usd_per_right)) for c in able}


def _with_writers(found: Plan, synthesizers: Mapping[str, float | None]) -> Plan:
    """No synthesis is needed where the vote is surer than the best aggregator was measured to be right."""
    skill = next(iter(synthesizers.values()))
    sure_at = found.decided_at if found.decided_at is None or skill is None else min(found.decided_at, skill)
    return replace(found, synthesizers=tuple(synthesizers), agreed_at=sure_at)


def _one_is_enough(policy: Policy, wish: Aggregate, able: Sequence[Candidate], query: Query) -> str | None:
    needs = query.needs
    if wish == "single" or policy.max_experts == 1:
        return "policy_single"
    if len(able) == 1:
        return "only_one"
    if needs.samples > 1:  # which of several samples stands for its expert is not defined: never half-done
        return "not_votable"
    if (needs.tools or needs.json_schema) and policy.structured == "single":
        return "policy_structured"
    if wish == "auto" and able[0].p_correct >= policy.enough:
        return "sure"
    return None


def _aggregator(wish: Aggregate, query: Query, synthesizers: Mapping[str, float | None]) -> tuple[Aggregator, str]:
    """How, and the plan's reason."""
    if wish in ("auto", "vote", "single"):
        return "vote", "convened"
    if query.needs.tools or query.needs.json_schema:
        return "vote", "structured"  # calls and objects are voted on: no text may be written in their place
    if wish == "synthesize" and query.kind == "completion":
        return "vote", "completion"  # an aggregating expert answers questions; it does not continue a text
    if wish == "synthesize" and not synthesizers:
        return "vote", "no_aggregator"
    return ("consensus" if wish == "consensus" else "synthesize"), "convened"


def _waves(experts: Sequence[str], sizes: Sequence[int] | None) -> tuple[tuple[str, ...], ...]:
    """The experts cut into waves of the given sizes; the last one takes all that are left."""
    waves: list[tuple[str, ...]] = []
    rest = tuple(experts)
    for size in (sizes or (len(rest),))[:-1]:
        waves.append(rest[:size])
        rest = rest[size:]
    return tuple(wave for wave in (*waves, rest) if wave)


def _single(able: Sequence[Candidate], reason: str) -> Plan:
    first, *rest = (c.expert for c in able)
    return Plan(waves=((first,),), aggregator="single", spares=tuple(rest), reason=reason)
