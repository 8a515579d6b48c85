"""The OpenAPI 3.1 document of every public path, made of the models that check requests. Pure: serves nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from router.api.schema import ChatRequest
from router.api.schema_completion import CompletionRequest
from router.api.schema_feedback import Feedback, FeedbackRequest
from router.api.schema_responses import (
    ChatCompletion,
    ChatCompletionChunk,
    Error,
    Health,
    Model,
    ModelList,
    Ready,
    TextCompletion,
    TextCompletionChunk,
    UsageReport,
    Version,
)
from router.api.schema_shared import KEY_HEADER, KEY_PATTERN, SESSION, SESSION_HEADER, Request
from router.config import RequestLimits
from router.records import JsonObject
from router.usage import By, Format

REQUESTS: Final = (ChatRequest, CompletionRequest)
RESPONSES: Final = (
    ChatCompletion, ChatCompletionChunk, TextCompletion, TextCompletionChunk, Model, ModelList, Error, Health, Ready,
    UsageReport, Version,
)  # fmt: skip
JSON: Final = "application/json"
KEY: Final = "key"  # the security scheme's name
LOCKED: Final = {
    401: "The API key is missing or not known.",
    403: "The key is not for this, or its tenant is not configured.",
    503: "Not now: the keys cannot be checked, or no expert that could answer is up.",
}
UNKNOWN: Final = {404: "There is no such model."}
UNANSWERED: Final = LOCKED | UNKNOWN | {
    400: "A field is wrong, or no expert can do what it asks for; `param` names it.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    429: "Too much at once, or too little money; `Retry-After` says when to come again, where that helps.",
    500: "A mistake of ours.",
    502: "Every expert that was asked failed.",
    503: "No expert that could answer is up, or money or keys cannot be checked; `Retry-After` says when to try.",
    504: "The answer was not there in time, or would not have been, and nothing was asked.",
}  # fmt: skip
BOUNDS: Final = {  # of a request's own budget, besides what its body says
    "x-symposium-deadline-ms": "As `symposium.budget.deadline_ms`; of the two the tighter one holds.",
    "x-symposium-max-cost-usd": "As `symposium.budget.max_cost_usd`; of the two the tighter one holds.",
    "x-llm-d-slo-ttft-ms": "To the first token of a stream.",
    "x-llm-d-slo-tpot-ms": "For each token after it; both together bound the whole answer where its length is bounded.",
}
RATES: Final = {
    f"x-ratelimit-{what}-{unit}": f"{said} of {unit} a minute, where the key or its tenant has a rate of them."
    for unit in ("requests", "tokens")
    for what, said in (("limit", "The bound"), ("remaining", "What is left"), ("reset", "Until all is there again,"))
}
ANSWERED: Final = RATES | {
    "x-symposium-decision-id": "What `POST /v1/feedback` and the decision log know the request by.",
    "x-symposium-config": "The configuration it was answered by.",
    "x-symposium-plan": "The aggregator, the reason, and who is asked.",
    "x-symposium-overhead-ms": "The router's own time before anybody was asked.",
    "x-symposium-degraded": "What was given up for the request's budget, where anything was.",
    "x-symposium-experts": "Who answered; not of a stream that opened before that was known, as the next two.",
    "x-symposium-missing": "Who was asked, and is not part of the answer.",
    "x-symposium-ended-early": "`deadline` or `budget`, where one of them cut the answer short.",
    "x-symposium-cost-usd": "What all calls cost; of whole answers.",
    "x-symposium-ledger": "`away`, where it was served without account.",
    "x-symposium-trace-id": "The trace, where there is one.",
    "x-symposium-idempotency": "`off` where idempotency keys could not be checked.",
    "idempotency-replayed": "`true` where the response was sent before.",
}
REFUSED: Final = {
    "x-should-retry": "Whether the same request may succeed later: `true` or `false`.",
    "retry-after": "Seconds, where it may.",
}


class _Untitled(GenerateJsonSchema):
    """Leaves out titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def document(limits: RequestLimits, version: str, models: Sequence[str] = (), *, locked: bool = False) -> JsonObject:
    """OpenAPI 3.1, with the limits as its bounds; `models` are the names to ask for, as examples.

    Everybody may read it, so where keys are needed (`locked`) it names no model.
    """
    security: list[JsonObject] = [{KEY: []}] if locked else [{}, {KEY: []}]
    models = () if locked else models
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Symposium",
            "version": version,
            "description": "One OpenAI-compatible endpoint over many expert models.",
        },
        "security": security,
        "paths": _asking() | _feedback() | _models(models) | _usage() | _process(),
        "components": {
            "schemas": _schemas(limits, models),
            "securitySchemes": {KEY: {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas(limits: RequestLimits, models: Sequence[str]) -> JsonObject:
    named: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in (*REQUESTS, *RESPONSES, FeedbackRequest, Feedback)
    ]
    _, made = models_json_schema(named, ref_template="#/components/schemas/{model}", schema_generator=_Untitled)
    schemas: JsonObject = made["$defs"]
    for request in REQUESTS:
        properties = schemas[request.__name__]["properties"]
        _bound(properties, request, limits)
        properties["model"] |= _examples(models)
    return schemas


def _bound(properties: JsonObject, request: type[Request], limits: RequestLimits) -> None:
    """Writes the limits that the parser will hold a request to into its fields' schemas."""
    for field, limit in request.BOUNDED.items():
        for branch in properties[field].get("anyOf", [properties[field]]):
            if (keyword := {"integer": "maximum", "array": "maxItems"}.get(branch["type"])) is not None:
                branch[keyword] = getattr(limits, limit)


def _asking() -> JsonObject:
    chat = _ask("createChatCompletion", "Answers a conversation", ChatRequest, ChatCompletion, ChatCompletionChunk)
    text = _ask("createCompletion", "Continues a prompt", CompletionRequest, TextCompletion, TextCompletionChunk)
    return {"/v1/chat/completions": {"post": chat}, "/v1/completions": {"post": text}}


def _ask(
    name: str, summary: str, request: type[BaseModel], whole: type[BaseModel], piece: type[BaseModel]
) -> JsonObject:
    content = {"anyOf": [_reference(piece), _reference(Error)]}
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": content}
    event = {
        "type": "object",
        "description": "One event; an error is the last one before the end.",
        "properties": {"data": {"anyOf": [{"const": "[DONE]"}, data]}},
        "required": ["data"],
    }
    text = {"type": "string"}
    headers = [
        _header(SESSION_HEADER, text | {"pattern": SESSION}, "The client's own name for the conversation."),
        _header(KEY_HEADER, text | {"pattern": KEY_PATTERN}, "What comes again with it is run, and paid for, once."),
        *(_header(name, {"type": "number", "exclusiveMinimum": 0}, what) for name, what in BOUNDS.items()),
    ]
    errors = UNANSWERED | {
        409: "The response to this idempotency key was too large to be kept.",
        422: "The idempotency key was used for another request.",
    }
    found = _operation(name, summary, _json(whole) | {"text/event-stream": {"schema": event}}, errors)
    found["responses"]["200"]["headers"] = _sent(ANSWERED)
    for status in errors:
        found["responses"][str(status)]["headers"] |= _sent(RATES)
    return found | {
        "parameters": headers,
        "requestBody": {"required": True, "content": _json(request)},
    }


def _header(name: str, schema: JsonObject, what: str) -> JsonObject:
    return {"name": name, "in": "header", "description": what, "schema": schema}


def _sent(headers: Mapping[str, str]) -> JsonObject:
    """Headers of a response, none of which is always there."""
    return {name: {"description": what, "schema": {"type": "string"}} for name, what in headers.items()}


def _feedback() -> JsonObject:
    errors = LOCKED | {
        400: "A field is wrong; `param` names it.",
        403: "The key is not for this.",
        404: "No routed request of that id was answered for this key lately.",
        408: "The body did not arrive in time.",
        409: "Feedback on this request was given already.",
        413: "The body is too large.",
        429: "Too much at once.",
        503: "It cannot be kept now.",
    }
    given = _operation("giveFeedback", "Says whether an answer was right", _json(Feedback), errors)
    return {"/v1/feedback": {"post": given | {"requestBody": {"required": True, "content": _json(FeedbackRequest)}}}}


def _models(models: Sequence[str]) -> JsonObject:
    name = {"type": "string", "minLength": 1} | _examples(models)
    one = _operation("retrieveModel", "A policy or an expert", _json(Model), LOCKED | UNKNOWN)
    return {
        "/v1/models": {"get": _operation("listModels", "Every policy and every expert", _json(ModelList), LOCKED)},
        "/v1/models/{model}": {
            "get": one | {"parameters": [{"name": "model", "in": "path", "required": True, "schema": name}]}
        },
    }


def _usage() -> JsonObject:
    asked: dict[str, JsonObject] = {
        "from": {"type": "string", "format": "date", "description": "The first day, UTC; else the first of the month."},
        "until": {"type": "string", "format": "date", "description": "The last day; else today."},
        "by": {"enum": list(get_args(By)), "default": "day"},
        "format": {"enum": list(get_args(Format)), "default": "json"},
    }
    content = _json(UsageReport) | {"text/csv": {"schema": {"type": "string"}}}
    refused = LOCKED | {
        400: "A parameter is wrong; `param` names it.",
        403: "The key is not for this.",
        429: "Too many ask at once.",
        503: "What was used cannot be read now.",
    }
    found = _operation("usage", "What the key's tenant has used", content, refused)
    parameters = [{"name": name, "in": "query", "schema": schema} for name, schema in asked.items()]
    return {"/v1/usage": {"get": found | {"parameters": parameters}}}


def _process() -> JsonObject:
    """What tells of the process; it takes no key."""
    ready = _operation("ready", "Whether questions can be answered now", _json(Ready), {})
    ready["responses"]["503"] = {"description": "Not yet, or not any more.", "content": _json(Ready)}
    hidden = {404: "The metrics are not public."}
    metrics = {"text/plain": {"schema": {"type": "string"}}}
    pages = {
        "/health": _operation("health", "Whether the process is up", _json(Health), {}),
        "/ready": ready,
        "/version": _operation("version", "Release and configuration", _json(Version), {}),
        "/metrics": _operation("metrics", "Figures for Prometheus", metrics, hidden),
        "/openapi.json": _operation("openapi", "This document", {JSON: {"schema": {"type": "object"}}}, {}),
    }
    return {path: {"get": page | {"security": []}} for path, page in pages.items()}


def _operation(name: str, summary: str, content: JsonObject, errors: Mapping[int, str]) -> JsonObject:
    refusals = {
        str(status): {"description": why, "headers": _sent(REFUSED), "content": _json(Error)}
        for status, why in sorted(errors.items())
    }
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": summary + ".", "content": content}} | refusals,
    }


def _json(model: type[BaseModel]) -> JsonObject:
    return {JSON: {"schema": _reference(model)}}


def _reference(model: type[BaseModel]) -> JsonObject:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _examples(models: Sequence[str]) -> JsonObject:
    return {"examples": list(models)} if models else {}
