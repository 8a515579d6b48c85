"""Requests that Schemathesis makes of our own OpenAPI document, right ones and wrong ones, against a running router.

Its experts answer whatever they are asked with the question itself, so that every odd text comes back too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
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

from router.api.openapi import document
from router.config import RequestLimits, Server
from router.records import JsonObject
from tests.api.world import POLICIES, ROWS, World, routing
from tests.support import Recorded, http_client, on_a_port

LIMITS = RequestLimits(max_tokens=4096, max_body_bytes=65_536)
NAMES = [*POLICIES, *dict.fromkeys(row[1] for row in ROWS), "gone"]
ASKED = ["auto", "solo", "named", "sampled", "handy", "ant", "tooled"]
CONFIG = {
    "generation": {"deterministic": True, "max-examples": 100, "allow-x00": True, "codec": "utf-8"},
    "phases": {
        # What one response taught would make the next request depend on timing.
        "fuzzing": {"extra-data-sources": {"responses": False}, "error-feedback": {"enabled": False}},
        "stateful": {"enabled": False},
    },
    "checks": {
        "negative_data_rejection": {"expected-statuses": [400, 404, 405]},
        "positive_data_acceptance": {"enabled": False},  # `taken` below is stricter
    },
}
# What may be refused although the document allows it, because it depends on more than the request's own form.
DEPENDS = {"capability_not_available", "context_length_exceeded"}
DEPENDING = ("symposium.", "best_of", "response_format", "structured_outputs")
TYPES: dict[tuple[str, bool], type[BaseModel]] = {
    ("/v1/chat/completions", False): openai.types.chat.ChatCompletion,
    ("/v1/chat/completions", True): openai.types.chat.ChatCompletionChunk,
    ("/v1/completions", False): openai.types.Completion,
    ("/v1/completions", True): openai.types.Completion,
}


async def echo(request: Request) -> Response:
    """A chat or completion whose every choice says what was asked."""
    body = await request.json()
    chat = "messages" in body
    text = json.dumps(body["messages"][-1:] if chat else body["prompt"], ensure_ascii=False)
    about = {"id": "x", "created": 1, "model": body["model"]}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    prompts = 1 if chat or isinstance(body["prompt"], str) else len(body["prompt"])
    indexes = range((body.get("n") or 1) * prompts)
    said: JsonObject = {"content": text} if chat else {"text": text}

    def choice(index: int, key: str, **more: str) -> JsonObject:
        return {"index": index, "finish_reason": "stop"} | ({key: said | more} if chat else said)

    name = "chat.completion" if chat else "text_completion"
    if not body.get("stream"):
        choices = [choice(index, "message", role="assistant") for index in indexes]
        return JSONResponse(about | {"object": name, "choices": choices, "usage": usage})
    about["object"] = name + ".chunk" if chat else name
    chunks = [about | {"choices": [choice(index, "delta")]} for index in indexes]
    events = [json.dumps(chunk) for chunk in (*chunks, about | {"choices": [], "usage": usage})]
    return Response("".join(f"data: {data}\n\n" for data in (*events, "[DONE]")), media_type="text/event-stream")


async def fine(_: Request) -> Response:
    return JSONResponse({})


@pytest.fixture(scope="module")
def echoing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A router whose experts say what they are asked."""
    asked = [Route(f"/v1/{path}", echo, methods=["POST"]) for path in ("chat/completions", "completions")]
    experts = Starlette(routes=[*asked, Route("/{path:path}", fine)])
    with (
        on_a_port(experts) as url,
        http_client(url) as http,
        routing(tmp_path_factory.mktemp("echoing"), Recorded(url, http)) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as one:
        one.trust_env = False
        yield one


def generated(names: list[str]) -> Any:
    """Our document as Schemathesis has it; requests ask for models of these names."""
    found = document(Server(limits=LIMITS), "1", names)
    for request in ("ChatRequest", "CompletionRequest"):
        found["components"]["schemas"][request]["properties"]["model"]["enum"] = names
    return schemathesis.openapi.from_dict(found, config=SchemathesisConfig.from_dict(CONFIG))


API = generated(ASKED)
by_operation: Callable[[Callable[..., None]], Callable[..., None]] = API.parametrize()  # itself untyped


def taken(case: Any, response: Any) -> bool:
    """Whether a request that the document allows was answered; a refusal must be for what it cannot know."""
    if response.status_code == 200:
        return True
    error = response.json()["error"]
    by_n = "number of prompts" in error["message"]
    by_path = error["code"] == "model_not_found" and case.operation.method.upper() == "GET"
    return by_n or by_path or error["code"] in DEPENDS or (error["param"] or "").startswith(DEPENDING)


def objects(response: Any) -> list[JsonObject]:
    """The response's one object, or those of its stream, which must end in [DONE]."""
    if not response.headers["content-type"][0].startswith("text/event-stream"):
        return [response.json()]
    *events, done, rest = response.content.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


@by_operation
def test_generated_requests_are_answered_as_documented(case: Any, echoing: World, session: requests.Session) -> None:
    """Never a 5xx; what the document allows is answered, what it forbids is refused, and every response has the
    status, content type and form that it promises. NUL, emoji and all other text that UTF-8 has pass through.
    """
    response = case.call_and_validate(echoing.url, session=session)
    if case.meta.generation.mode.is_positive:
        assert taken(case, response), response.text
    if response.status_code == 200 and case.operation.method == "post":
        found = objects(response)
        kind = TYPES[case.operation.path, response.headers["content-type"][0].startswith("text/event-stream")]
        for one in found:
            kind.model_validate(one)


def test_the_document_is_openapi(world: World) -> None:
    """The document keeps to OpenAPI 3.1's own schema."""
    API.validate()


def test_the_document_is_served(world: World) -> None:
    """GET /openapi.json is the document with this server's limits and models."""
    reply = world.http.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == document(Server(limits=LIMITS), version("symposium"), NAMES)
