"""What spans say of requests, routes, legs and aggregation, by the names of OpenTelemetry's GenAI conventions. Pure.

Prompts and answers are in nothing but the two attributes of `_said`, which are made only where the operator asked for
them; keys are nowhere. Knows nothing of spans themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from experts.spec import Expert
from router.budget import Budget
from router.events import Finished, LegEnded
from router.money import usd as to_usd
from router.records import Decision, JsonObject, Kind, Query, Usage
from router.response import Response

Attributes = dict[str, str | bool | int | float | Sequence[str]]
MAX_NUMBER = 2**63  # what a client sends may be larger, and would spoil everything that is sent along with it
MAX_REASON_CHARS = 64
OPERATIONS: Mapping[Kind, str] = {"chat": "chat", "completion": "text_completion"}
# Sampling parameters as the conventions call them, with the type they must have to be told.
_PARAMETERS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "max_tokens": ("gen_ai.request.max_tokens", (int,)),
    "max_completion_tokens": ("gen_ai.request.max_tokens", (int,)),
    "n": ("gen_ai.request.choice.count", (int,)),
    "temperature": ("gen_ai.request.temperature", (int, float)),
    "top_p": ("gen_ai.request.top_p", (int, float)),
    "seed": ("gen_ai.request.seed", (int,)),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", (int, float)),
    "presence_penalty": ("gen_ai.request.presence_penalty", (int, float)),
}


def request_attributes(finished: Finished, usd: Callable[[str, Usage], float], *, prompts: bool) -> Attributes:
    """Of the whole request, as the client sees it.

    Args:
        usd: what an expert's tokens cost, US dollars.
        prompts: also what was asked and answered.
    """
    decision, response = finished.decision, finished.response
    found = _known(
        {
            "gen_ai.provider.name": "symposium",
            "gen_ai.response.id": finished.request_id,
            "http.response.status_code": finished.status,
            "gen_ai.response.time_to_first_chunk": finished.first_byte_s,
            "symposium.request_id": finished.request_id,
            "symposium.outcome": finished.outcome,
            "symposium.error_code": finished.code,
            "symposium.policy": finished.policy or None,
            "symposium.principal": finished.principal or None,
            "symposium.tenant": finished.tenant or None,
            "symposium.refused_for": finished.why,
        }
    )
    if decision is not None:
        query = decision.query
        found |= {
            "gen_ai.operation.name": OPERATIONS[query.kind],
            "gen_ai.request.model": query.model,
            "gen_ai.request.stream": query.stream,
            "symposium.config.version": decision.config_version,
            **_parameters(query),
            **_bounded(decision.budget),
        }
    if response is not None:
        found |= _answered(response, usd)
    if prompts and decision is not None:
        found |= _said(decision.query, response)
    return found


def route_attributes(decision: Decision) -> Attributes:
    """Of the decision: what the question was taken for, and who was to be asked."""
    categories, skills, plan = decision.categories, decision.skills, decision.plan
    return _known(
        {
            "symposium.policy": decision.policy,
            "symposium.config.version": decision.config_version,
            "symposium.category": categories.category if categories else None,
            "symposium.confident": categories.confident if categories else None,
            "symposium.familiarity": categories.familiarity if categories else None,
            "symposium.skills": list(skills.weights) if skills else None,
            "symposium.candidates": sum(c.excluded is None for c in decision.candidates),
            "symposium.plan.experts": list(plan.experts),
            "symposium.plan.waves": len(plan.waves),
            "symposium.plan.spares": list(plan.spares),
            "symposium.plan.aggregator": plan.aggregator,
            "symposium.reason": plan.reason,
            "symposium.degraded": plan.fit.rung if plan.fit and plan.fit.rung != "none" else None,
            "symposium.expected_quality": plan.fit.quality if plan.fit else None,
            "symposium.turns": decision.turns,
            "symposium.overhead_s": decision.overhead_s,
        }
    )


def aggregate_attributes(response: Response) -> Attributes:
    """Of how several replies became one answer."""
    ballot, answer = response.ballot, response.live or response.answer
    return _known(
        {
            "symposium.aggregate.how": response.how,
            "symposium.reason": response.why,
            "symposium.expert": answer.expert if answer else None,
            "symposium.missing": list(response.missing) or None,
            "symposium.vote.share": ballot.share if ballot else None,
            "symposium.vote.posterior": ballot.posterior if ballot else None,
            "symposium.vote.answers": len(ballot.answers) if ballot else None,
        }
    )


def leg_attributes(ended: LegEnded, expert: Expert | None, usage: Usage | None, usd: float | None) -> Attributes:
    """Of one call of one expert. `expert` is None where the configuration has lost it meanwhile."""
    return _known(
        {
            "gen_ai.operation.name": OPERATIONS[ended.kind],
            "gen_ai.provider.name": "openai" if expert is not None and expert.base_url else "vllm",
            "gen_ai.request.model": _model(ended.expert, expert),
            "gen_ai.request.stream": True,
            "gen_ai.response.time_to_first_chunk": ended.first_token_s,
            "gen_ai.usage.input_tokens": usage.prompt_tokens if usage else None,
            "gen_ai.usage.output_tokens": usage.completion_tokens if usage else None,
            "server.address": urlsplit(expert.base_url).hostname if expert and expert.base_url else None,
            "symposium.usage.exact": usage.exact if usage else None,
            "symposium.cost_usd": usd,
            "symposium.expert": ended.expert,
            "symposium.leg_id": ended.leg_id,
            "symposium.outcome": ended.outcome,
        }
    )


def _answered(response: Response, usd: Callable[[str, Usage], float]) -> Attributes:
    answer, usage = response.live or response.answer, response.usage
    choices = response.answer.choices if response.answer else ()
    reasons = [reason for choice in choices if (reason := _finish_reason(choice))]
    return _known(
        {
            "gen_ai.response.model": answer.expert if answer else None,
            "gen_ai.response.finish_reasons": reasons or None,
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "symposium.aggregate.how": response.how,
            "symposium.ended_early": response.ended_early,
            "symposium.cost_usd": math.fsum(usd(leg.expert, leg.usage) for _, leg in response.legs),
        }
    )


def _bounded(budget: Budget) -> Attributes:
    return _known(
        {
            "symposium.budget.deadline_s": budget.deadline_s,
            "symposium.budget.max_cost_usd": None if budget.nanos is None else to_usd(budget.nanos),
        }
    )


def _finish_reason(choice: JsonObject) -> str:
    """As the expert said it, in a form that can be sent on."""
    said = choice.get("finish_reason")
    return said[:MAX_REASON_CHARS].encode("utf-8", "replace").decode() if isinstance(said, str) else ""


def _parameters(query: Query) -> Attributes:
    return {
        name: query.body[key]
        for key, (name, types) in _PARAMETERS.items()
        if isinstance(query.body.get(key), types)
        and not isinstance(query.body[key], bool)
        and abs(query.body[key]) < MAX_NUMBER
    }


def _said(query: Query, response: Response | None) -> Attributes:
    """What was asked and, unless it was relayed, answered: in the conventions' JSON of messages with parts."""
    asked = query.body.get("messages") or [{"role": "user", "content": query.text}]
    found: Attributes = {"gen_ai.input.messages": json.dumps([_message(message) for message in asked])}
    if response is not None and response.answer is not None:
        said = [c.get("message") or {"role": "assistant", "content": c.get("text")} for c in response.answer.choices]
        found["gen_ai.output.messages"] = json.dumps([_message(message) for message in said])
    return found


def _message(message: JsonObject) -> JsonObject:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}] if content else []
    texts = [{"type": "text", "content": part["text"]} for part in parts if isinstance(part.get("text"), str)]
    return {"role": message.get("role", "assistant"), "parts": texts}


def _model(name: str, expert: Expert | None) -> str:
    """What the expert's own server calls it."""
    if expert is None or expert.lora is not None:
        return name
    return expert.engine or expert.model or name


def _known(attributes: Mapping[str, str | bool | int | float | Sequence[str] | None]) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
