"""What the decision log says of one request, and of one leg: frozen rows, made of events. Pure.

The rows are the schema: a column has a field's name and type, and docs/decisions.md says what each means. A new field
is a new SCHEMA_VERSION and one more migration in `router/decision_files.py`. What a client or an expert wrote is in a
row only as a keyed hash, or redacted where the policy says so. Must not know: files, threads, clocks.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from router.budget import Budget, Fit
from router.config_observability import Prompts
from router.config_policies import Policy
from router.events import Finished, LegEnded, LegSettled
from router.explain import decision_json, outcome_json
from router.money import usd as to_usd
from router.records import Ballot, Decision, Role, Usage
from router.redact import redacted_start
from router.response import Response

SCHEMA_VERSION = 2
HASH_CHARS = 32  # hexadecimal: 128 bits
MAX_INTEGER = 2**63 - 1  # that a column holds; experts elsewhere say what they like
Usd = Callable[[str, Usage], float]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a row is made by, besides the event: of one configuration.

    `usd`: what an expert's tokens cost, US dollars; KeyError for one that is no longer there. `policies` say how their
    requests' texts are kept; where there is none (an expert asked by its name): as a hash.
    """

    usd: Usd
    policies: Mapping[str, Policy] = field(default_factory=dict)

    def prompts(self, policy: str) -> Prompts:
        return self.policies[policy].prompts if policy in self.policies else "hash"


@dataclass(frozen=True, slots=True)
class Words:
    """How a text is told: its hash by a key of this data folder, and its redacted beginning where that is wanted."""

    key: bytes
    max_chars: int
    mode: Prompts = "hash"

    def hash(self, *texts: str) -> str:
        """Equal for equal texts, and nothing to guess from without the key: HMAC-SHA256, each text with its length."""
        digest = hmac.new(self.key, digestmod="sha256")
        for text in texts:
            raw = text.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big") + raw)
        return digest.hexdigest()[:HASH_CHARS]

    def kept(self, text: str) -> str | None:
        return None if self.mode == "hash" else _storable(redacted_start(text, self.max_chars))

    def told(self, text: str) -> str:
        return self.kept(text) or self.hash(text)


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One request. What comes after `outcome` is None as far as it never came to it; `…_json` columns hold JSON."""

    schema_version: int
    unix_s: float
    request_id: str
    principal: str
    policy: str
    outcome: str
    status: int
    code: str | None
    seconds: float
    first_byte_s: float | None
    model: str | None = None
    kind: str | None = None
    stream: bool | None = None
    config_version: str | None = None
    overhead_s: float | None = None
    category: str | None = None
    abstained: str | None = None
    familiarity: float | None = None
    planned: str | None = None
    reason: str | None = None
    aggregated: str | None = None
    why: str | None = None
    answered_by: str | None = None
    legs: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usage_exact: bool | None = None
    cost_usd: float | None = None
    vote_share: float | None = None
    vote_posterior: float | None = None
    vote_spread: float | None = None
    turns: int | None = None
    anchor: int | None = None
    prompt_chars: int | None = None
    prompt_hash: str | None = None
    question_hash: str | None = None
    question: str | None = None
    categories_json: str | None = None
    skills_json: str | None = None
    candidates_json: str | None = None
    plan_json: str | None = None
    vote_json: str | None = None
    missing_json: str | None = None
    stale_json: str | None = None
    tenant: str | None = None
    refused_for: str | None = None
    deadline_s: float | None = None
    max_cost_usd: float | None = None
    degraded: str | None = None
    quality: float | None = None
    ended_early: str | None = None
    budget_json: str | None = None


@dataclass(frozen=True, slots=True)
class LegRow:
    """One call of one expert. `outcome` and times are None where its end is unknown, tokens where its usage is."""

    schema_version: int
    unix_s: float
    request_id: str
    leg_id: str
    expert: str
    role: str
    outcome: str | None = None
    seconds: float | None = None
    first_token_s: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usage_exact: bool | None = None
    cost_usd: float | None = None


def decision_row(event: Finished, unix_s: float, terms: Terms, words: Words) -> DecisionRow:
    """The row of a request that is over. `words` for its policy."""
    known: dict[str, Any] = {"tenant": event.tenant or None, "refused_for": event.why}
    if event.decision is not None:
        known |= _decided(event.decision, event.response, words)
    if event.response is not None:
        known |= _answered(event.response, terms.usd, words)
    return DecisionRow(
        SCHEMA_VERSION,
        unix_s,
        event.request_id,
        event.principal,
        event.policy,
        event.outcome,
        event.status,
        event.code,
        event.seconds,
        event.first_byte_s,
        **known,
    )


def leg_row(ended: LegEnded | None, settled: LegSettled | None, unix_s: float, terms: Terms) -> LegRow:
    """The row of a call, of what is known of its end and of its usage: at least one of the two."""
    event = settled or ended
    assert event is not None, "one of the two"
    known: dict[str, Any] = {}
    if ended is not None:
        known |= {"outcome": ended.outcome, "seconds": ended.seconds, "first_token_s": ended.first_token_s}
    if settled is not None:
        known |= _spent(settled.usage) | {"cost_usd": _cost(terms.usd, [(settled.expert, settled.usage)])}
    request_id, role = leg_of(event.leg_id)
    return LegRow(SCHEMA_VERSION, unix_s, request_id, event.leg_id, event.expert, role, **known)


def leg_of(leg_id: str) -> tuple[str, Role]:
    """The request that a leg was for, and what it was to do: REQUEST-k names keywords, REQUEST-s-0 writes an answer."""
    request_id, _, which = leg_id.partition("-")
    return request_id, "keywords" if which == "k" else "aggregator" if which.startswith("s-") else "answer"


def _decided(decision: Decision, response: Response | None, words: Words) -> dict[str, Any]:
    query = decision.query
    told = outcome_json(response) if response else decision_json(decision, set(decision.plan.experts))
    skills = {"weights": told["skills"], "from": told["skills_from"], "nearest": told["nearest_skill"]}
    unknown = [words.told(name) for name in told["unknown_skills"]]  # an expert's words about the question
    return {
        "model": query.model,
        "kind": query.kind,
        "stream": query.stream,
        "config_version": decision.config_version,
        "overhead_s": decision.overhead_s,
        "category": told["category"],
        "abstained": told["abstained"],
        "familiarity": told["familiarity"],
        "planned": decision.plan.aggregator,
        "reason": decision.plan.reason,
        "turns": decision.turns,
        "anchor": decision.anchor,
        "prompt_chars": sum(map(len, query.texts)),
        "prompt_hash": words.hash(*query.texts),
        "question_hash": words.hash(query.text),
        "question": words.kept(query.text),
        "categories_json": _json(told["categories"]),
        "skills_json": _json(skills | {"unknown": unknown}),
        "candidates_json": _json(told["candidates"]),
        "plan_json": _json(told["plan"]),
        "stale_json": _json(told["stale_profiles"]),
        **_bounded(decision.budget, decision.plan.fit),
        "budget_json": _json(told["budget"]),
    }


def _bounded(budget: Budget, fit: Fit | None) -> dict[str, Any]:
    """What it might spend, and what was given up for that."""
    return {
        "deadline_s": budget.deadline_s,
        "max_cost_usd": None if budget.nanos is None else to_usd(budget.nanos),
        "degraded": fit.rung if fit is not None and fit.rung != "none" else None,
        "quality": fit.quality if fit is not None else None,
    }


def _answered(response: Response, usd: Usd, words: Words) -> dict[str, Any]:
    legs = response.legs
    answering, ballot = response.live or response.answer, response.ballot
    return {
        "aggregated": response.how,
        "why": response.why,
        "answered_by": answering.expert if answering else None,
        "legs": len(legs),
        **_spent(response.usage),
        "cost_usd": _cost(usd, [(leg.expert, leg.usage) for _, leg in legs]),
        "vote_share": ballot.share if ballot else None,
        "vote_posterior": ballot.posterior if ballot else None,
        "vote_spread": ballot.spread if ballot else None,
        "vote_json": _votes(ballot, words) if ballot else None,
        "missing_json": _json(response.missing),
        "ended_early": response.ended_early,
    }


def _votes(ballot: Ballot, words: Words) -> str:
    """What was answered is what a model wrote: told like the question."""
    return _json([{"answer": words.told(text), "experts": experts} for text, experts in ballot.answers])


def _spent(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": min(usage.prompt_tokens, MAX_INTEGER),
        "completion_tokens": min(usage.completion_tokens, MAX_INTEGER),
        "usage_exact": usage.exact,
    }


def _cost(usd: Usd, legs: list[tuple[str, Usage]]) -> float | None:
    try:
        return math.fsum(usd(expert, usage) for expert, usage in legs)
    except KeyError:  # the expert went with an older configuration, and its price with it
        return None


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _storable(text: str) -> str:
    """What a client can send and a file cannot hold, halves of characters, as question marks."""
    return text.encode("utf-8", "replace").decode()
