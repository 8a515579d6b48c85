"""The OpenAPI document: whole, within the server's limits, and of one mind with the parsers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from router.api.chat import Parse
from router.api.openapi import document
from router.api.schema import ChatRequest, parse_chat
from router.api.schema_completion import CompletionRequest, parse_completion
from router.api.schema_shared import CONTROL_FIELDS, Request
from router.config import RequestLimits
from router.errors import BadRequest, MethodNotAllowed, SymposiumError
from router.records import JsonObject

LIMITS = RequestLimits(max_messages=3, max_n=4, max_tokens=100)
DOCUMENT = document(LIMITS, "1.2.3", ["auto", "ant"])
SCHEMAS = DOCUMENT["components"]["schemas"]


def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    """Of one named schema, with those that it refers to."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    )


def operations() -> Iterator[JsonObject]:
    for methods in DOCUMENT["paths"].values():
        yield from methods.values()


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        yield from ([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_the_document_names_release_and_models() -> None:
    """Version and models are the server's own."""
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert SCHEMAS["ChatRequest"]["properties"]["model"]["examples"] == ["auto", "ant"]
    assert "examples" not in json.dumps(document(RequestLimits(), "1"))


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    """Each component is valid JSON Schema; nothing refers to what is not there, and nothing is there unused."""
    for schema in SCHEMAS.values():
        jsonschema_rs.meta.validate(schema)
    assert set(references(DOCUMENT)) == {f"#/components/schemas/{name}" for name in SCHEMAS}


def test_operations_have_names_of_their_own() -> None:
    """Client generators make a function of each operationId."""
    names = [operation["operationId"] for operation in operations()]
    assert len(set(names)) == len(names) == 11


def test_the_servers_limits_are_the_documents_bounds() -> None:
    """What the parser bounds by configuration is bounded by the same numbers here."""
    chat, text = SCHEMAS["ChatRequest"]["properties"], SCHEMAS["CompletionRequest"]["properties"]
    assert chat["messages"]["maxItems"] == 3
    assert chat["n"]["anyOf"][0] == text["n"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 4}
    assert chat["max_completion_tokens"]["anyOf"][0]["maximum"] == text["max_tokens"]["anyOf"][0]["maximum"] == 100
    assert text["prompt"]["anyOf"][1]["maxItems"] == text["best_of"]["anyOf"][0]["maximum"] == 4


def descendants(kind: type[SymposiumError]) -> Iterator[type[SymposiumError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


def test_every_status_that_a_question_can_end_with_is_documented() -> None:
    """The whole tree of errors, but for methods that are not there, and what only the admin side says."""
    kinds = [kind for kind in descendants(SymposiumError) if not kind.__module__.startswith("router.admin")]
    statuses = {str(kind.status) for kind in kinds if kind is not MethodNotAllowed}
    for path in ("/v1/chat/completions", "/v1/completions"):
        assert statuses <= DOCUMENT["paths"][path]["post"]["responses"].keys()


@pytest.mark.parametrize("locked", [False, True])
def test_a_key_is_asked_for_where_keys_are(locked: bool) -> None:
    """Questions and models need a key once there are any; what tells of the process never does, so it names none."""
    found = document(RequestLimits(), "1", ["zebra"], locked=locked)
    assert ("zebra" in json.dumps(found)) is not locked
    (scheme,) = found["components"]["securitySchemes"]
    assert found["security"] == ([{scheme: []}] if locked else [{}, {scheme: []}])
    open_pages = {path for path, methods in found["paths"].items() if methods.get("get", {}).get("security") == []}
    assert open_pages == {"/health", "/ready", "/version", "/metrics", "/openapi.json"}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 150)
    | st.floats(-3, 3)
    | st.sampled_from([1.0, 2.0, 50.0])  # integers to JSON Schema
    | st.sampled_from(["", "text", "user", "json_object", "vote", "a\x00b", "x" * 257])
)
KEYS = st.sampled_from(["type", "text", "role", "content", "explain", "aggregate", "include_usage"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner), max_leaves=6)
GOOD = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(1, 4),
        "max_tokens": st.integers(1, 100),
        "temperature": st.floats(0, 2),
        "stream": st.booleans(),
        "stream_options": st.fixed_dictionaries({}, optional={"include_usage": st.booleans()}),
        "symposium": st.fixed_dictionaries({}, optional={"explain": st.booleans(), "aggregate": st.just("vote")}),
        "response_format": st.just({"type": "text"}),
    },
)
CONTENTS = st.text(max_size=3) | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=3)}))
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": CONTENTS})
    | st.fixed_dictionaries(
        {"role": st.sampled_from(["assistant", "tool"])}, optional={"content": CONTENTS | st.none()}
    ),
    max_size=4,
)
MESSAGE = st.fixed_dictionaries({}, optional={"role": st.just("user") | VALUES, "content": VALUES, "x": VALUES})
PROMPTS = st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=5)


def some(request: type[Request], *others: str) -> st.SearchStrategy[JsonObject]:
    """At most one field with whatever value."""
    return st.dictionaries(st.sampled_from([*request.model_fields, *others]), VALUES, max_size=1)


def agreed(parse: Parse, schema: type[Request], body: JsonObject) -> None:
    """The parser takes a body exactly if the document allows it."""
    try:
        parse(json.dumps(body).encode(), "req_1", LIMITS, None)
        taken = True
    except BadRequest as error:
        taken = False
        # What JSON Schema cannot say, or could only in riddles.
        assume(error.param not in ("symposium.progress", "best_of"))
        assume("number of prompts" not in error.message)
        assume(not (error.param or "").startswith(("response_format.", "structured_outputs")))
    assert validator(schema.__name__).is_valid(body) == taken


@settings(max_examples=400)
@given(MESSAGES, GOOD, some(ChatRequest, "priority", "x"))
def test_a_chat_is_what_the_document_says(messages: list[Any], good: JsonObject, fields: JsonObject) -> None:
    """What the document allows the parser takes, and what it forbids the parser refuses."""
    agreed(parse_chat, ChatRequest, {"model": "auto", "messages": messages} | good | fields)


@given(MESSAGE)
def test_a_message_is_what_the_document_says(message: JsonObject) -> None:
    """The same for what a message may be."""
    agreed(parse_chat, ChatRequest, {"model": "auto", "messages": [{"role": "user", "content": "hi"}, message]})


@settings(max_examples=400)
@given(PROMPTS, GOOD, some(CompletionRequest, "tools", "x"))
def test_a_completion_is_what_the_document_says(prompt: Any, good: JsonObject, fields: JsonObject) -> None:
    """The same for completions."""
    agreed(parse_completion, CompletionRequest, {"model": "auto", "prompt": prompt} | good | fields)


@pytest.mark.parametrize("field", sorted(CONTROL_FIELDS))
def test_fields_that_are_refused_by_name_are_forbidden(field: str) -> None:
    """Control fields are no secret: whoever reads the document knows that they are not taken."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    assert validator("ChatRequest").is_valid(body)
    assert not validator("ChatRequest").is_valid(body | {field: None})
