"""Requests that Schemathesis makes of our own OpenAPI document, right ones and wrong ones, against a running router.

Its experts answer whatever they are asked with the question itself, so that every odd text comes back too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import openai.types
import openai.types.chat
import pytest
import requests
import schemathesis
from pydantic import BaseModel
from schemathesis.config import SchemathesisConfig
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.api.openapi import BOUNDS, document
from router.api.schema_budget import HEADERS
from router.api.schema_shared import KEY_HEADER
from router.config import RequestLimits
from router.records import JsonObject
from tests.api.world import POLICIES, ROWS, World, ask, routing
from tests.support import CHAT, Recorded, http_client, on_a_port, sse_events

COMPLETIONS = "/v1/completions"
LIMITS = RequestLimits(max_tokens=4096, max_body_bytes=65_536)  # the world's own
NAMES = [*POLICIES, *dict.fromkeys(row[1] for row in ROWS), "gone"]
ASKED = ["auto", "solo", "named", "sampled", "handy", "ant", "tooled"]
FUZZING: JsonObject = {  # what one response taught would make the next request depend on timing
    "extra-data-sources": {"responses": False},
    "error-feedback": {"enabled": False},
}
CHECKS: JsonObject = {
    "negative_data_rejection": {"expected-statuses": [400, 404, 405, 413]},
    "positive_data_acceptance": {"enabled": False},  # `check_taken` is stricter
}
# Of all requests that the document allows few are streams that reach an expert: here they all may.
STREAMED: JsonObject = {"stream": {"const": True}, "response_format": {"const": None}}
# What may be refused although the document allows it, because it depends on more than the request's form.
DEPENDS_CODES = {
    "capability_not_available",
    "context_length_exceeded",
    "request_not_found",  # nobody was asked anything that could be judged
}
DEPENDS_FIELDS = ("symposium.", "best_of", "response_format", "structured_outputs", "from")
CLIENT_TYPES: dict[str, type[BaseModel]] = {
    "chat.completion": openai.types.chat.ChatCompletion,
    "chat.completion.chunk": openai.types.chat.ChatCompletionChunk,
    "text_completion": openai.types.Completion,
}


async def echo(request: Request) -> Response:
    """A chat or completion whose every choice says what was asked."""
    body = await request.json()
    chat = "messages" in body
    asked = body["messages"] if chat else body["prompt"]
    number = (body.get("n") or 1) * (1 if chat or isinstance(asked, str) else len(asked))
    text = json.dumps(asked, ensure_ascii=False)
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "x", "created": 1, "model": body["model"]}
    kind, key = ("chat.completion.chunk", "delta") if body.get("stream") else ("chat.completion", "message")
    head["object"] = kind if chat else "text_completion"
    said = {key: {"role": "assistant", "content": text}} if chat else {"text": text}
    choices = [{"index": index, "finish_reason": "stop"} | said for index in range(number)]
    if not body.get("stream"):
        return JSONResponse(head | {"choices": choices, "usage": usage})
    pieces = [*(head | {"choices": [choice]} for choice in choices), head | {"choices": [], "usage": usage}]
    events = [*(json.dumps(piece) for piece in pieces), "[DONE]"]
    return Response("".join(f"data: {event}\n\n" for event in events), media_type="text/event-stream")


async def fine(_: Request) -> Response:
    return JSONResponse({})


@pytest.fixture(scope="module")
def echoing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A router whose experts say what they are asked."""
    asked = [Route(path, echo, methods=["POST"]) for path in (CHAT, COMPLETIONS)]
    experts = Starlette(routes=[*asked, Route("/{path:path}", fine)])
    with (
        on_a_port(experts) as url,
        http_client(url) as http,
        pytest.MonkeyPatch.context() as patch,
        routing(tmp_path_factory.mktemp("echoing"), Recorded(url, http)) as running,
    ):
        patch.setattr("router.api.feedback.PAUSES_S", (0.0,))  # nothing is on its way from another replica
        yield running


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as one:
        one.trust_env = False
        yield one


def generated(modes: str, phases: JsonObject, fields: JsonObject) -> Any:
    """Our document as Schemathesis has it; its requests have `fields` only so, and ask for models that can answer."""
    found = document(LIMITS, "1", ASKED)
    for name in ("ChatRequest", "CompletionRequest"):
        request = found["components"]["schemas"][name]
        request["properties"] |= {"model": {"enum": ASKED}} | fields
        request["required"] += fields
    del found["components"]["schemas"]["BudgetOptions"]["properties"]["deadline_ms"]  # it depends on the machine
    for path in (CHAT, COMPLETIONS):  # with a key, an answer would depend on the requests before
        asking, depends = found["paths"][path]["post"], {KEY_HEADER, *HEADERS}
        asking["parameters"] = [header for header in asking["parameters"] if header["name"] not in depends]
    generation = {"mode": modes, "deterministic": True, "max-examples": 100, "allow-x00": True, "codec": "utf-8"}
    config = {"generation": generation, "checks": CHECKS, "phases": phases | {"fuzzing": FUZZING}}
    return schemathesis.openapi.from_dict(found, config=SchemathesisConfig.from_dict(config))


OFF = {"enabled": False}
Decorator = Callable[[Callable[..., None]], Callable[..., None]]
ALL = generated("all", {"stateful": OFF}, {})
STREAMS = (
    generated("positive", {"stateful": OFF, "examples": OFF, "coverage": OFF}, STREAMED)
    .include(method="POST")
    .exclude(path="/v1/feedback")
)
each_operation: Decorator = ALL.parametrize()
each_stream: Decorator = STREAMS.parametrize()


def check_taken(response: Any) -> None:
    """A request that the document allows was answered, or refused for what the document cannot know."""
    if response.status_code == 200 or response.request.method == "GET":
        return
    error = response.json()["error"]
    depends = error["code"] in DEPENDS_CODES or (error["param"] or "").startswith(DEPENDS_FIELDS)
    assert depends or "number of prompts" in error["message"], error


def check_objects(response: Any) -> int:
    """The response's one object, or those of its stream, parse as the official client's own types; how many."""
    streamed = response.headers["content-type"][0].startswith("text/event-stream")
    found = sse_events(response) if streamed else [response.json()]
    for one in found:
        for choice in one["choices"]:
            # The client has no type for the pieces of completions, which do not end before the last one.
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        CLIENT_TYPES[one["object"]].model_validate(one)
    return len(found)


@each_operation
def test_generated_requests_are_answered_as_documented(case: Any, echoing: World, session: requests.Session) -> None:
    """Never a 5xx; what the document allows is answered, what it forbids is refused, and every response has the
    status, content type and form that it promises. NUL, emoji and all other text that UTF-8 has pass through.
    """
    response = case.call_and_validate(echoing.url, session=session)
    if case.meta.generation.mode.is_positive:
        check_taken(response)
    if response.status_code == 200 and case.operation.method == "post":
        check_objects(response)


@each_stream
def test_generated_streams_are_as_documented(case: Any, echoing: World, session: requests.Session) -> None:
    """The same for streams: every event is one, and the last says that it is the last."""
    response = case.call_and_validate(echoing.url, session=session)
    check_taken(response)
    if response.status_code == 200:
        assert check_objects(response) > 0


def test_the_document_is_openapi() -> None:
    """The document keeps to OpenAPI 3.1's own schema."""
    ALL.validate()


def test_the_document_is_served(world: World) -> None:
    """GET /openapi.json is the document with this server's limits and models."""
    reply = world.http.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == document(LIMITS, version("symposium"), NAMES)


def test_the_document_needs_no_key_and_names_nobody(echoing: World, tmp_path: Path) -> None:
    """Where keys are needed the document is still open, and says no more than that: no model is named."""
    keys = [{"name": "alice", "sha256": hashlib.sha256(b"sk-alice").hexdigest()}]
    with routing(tmp_path, echoing.experts, server={"api_keys": keys}) as locked:
        assert locked.http.post(CHAT, json={}).status_code == 401
        reply = locked.http.get("/openapi.json")
    assert reply.status_code == 200
    assert not any(f'"{name}"' in reply.text for name in NAMES if name != "auto")  # also a way to aggregate


def test_what_headers_say_is_documented(experts: Recorded, tmp_path: Path) -> None:
    """Every header that is read as a budget, and every one that responses of all kinds were seen to have."""
    assert BOUNDS.keys() == HEADERS.keys()
    rates = {"default": {"requests_per_minute": 60, "tokens_per_minute": 6000, "usd_per_day": 1}}
    with routing(tmp_path, experts, tenants=rates) as running:
        said = running.http.get("/openapi.json").json()["paths"][CHAT]["post"]["responses"]
        one = {"symposium": {"budget": {"max_experts": 1}}}
        kept = {"idempotency-key": "one"}
        for body, headers in (
            (ask("auto", **one), {}),
            (ask("auto", stream=True, **one), {}),
            (ask("ant"), kept),
            (ask("ant"), kept),
            (ask("ant", n=0), {}),
            (ask("no-such-model"), {}),
            (ask("dead"), {}),
            (ask("ant", symposium={"budget": {"max_cost_usd": 1e-9}}), {}),
            (ask("sluggish", symposium={"budget": {"deadline_ms": 300}}), {}),
        ):
            reply = running.post(body, **headers)
            ours = {name for name in reply.headers if name.startswith(("x-", "retry-", "idempotency-"))}
            assert ours <= said[str(reply.status_code)]["headers"].keys(), body
