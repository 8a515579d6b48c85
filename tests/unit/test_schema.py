"""The client's JSON: what becomes of it, and which field a refusal names."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.api.schema import parse_chat
from router.api.schema_shared import CONTROL_FIELDS, OURS
from router.config import RequestLimits
from router.errors import BadRequest
from router.records import Needs, Query
from tests.unit.make import JSON

LIMITS = RequestLimits(max_messages=4, max_n=3, max_tokens=100)
USER = {"role": "user", "content": "hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def parsed(**fields: Any) -> Query:
    """The query of a small valid body with these fields on top."""
    body = {"model": "auto", "messages": [USER]} | fields
    return parse_chat(json.dumps(body).encode(), "req_1", LIMITS)


def refused(**fields: Any) -> BadRequest:
    """The refusal of such a body."""
    with pytest.raises(BadRequest) as caught:
        parsed(**fields)
    return caught.value


def test_a_query_carries_what_was_asked() -> None:
    """The client's own fields go on unchanged; those that are the router's are taken out of the body."""
    query = parsed(temperature=0.5, seed=3, stop=["."], logit_bias={"5": 1}, user="u", unknown={"a": [1]})
    assert query.body == {
        "messages": [USER],
        "temperature": 0.5,
        "seed": 3,
        "stop": ["."],
        "logit_bias": {"5": 1},
        "user": "u",
        "unknown": {"a": [1]},
    }
    assert (query.request_id, query.model, query.text, query.texts) == ("req_1", "auto", "hi", ("hi",))
    assert (query.stream, query.include_usage, query.explain, query.max_tokens) == (False, False, False, None)


def test_the_routers_own_fields_are_read() -> None:
    """stream, stream_options and symposium steer the response and are not sent to experts."""
    query = parsed(stream=True, stream_options={"include_usage": True}, symposium={"explain": True})
    assert (query.stream, query.include_usage, query.explain) == (True, True, True)
    assert not query.body.keys() & OURS


@pytest.mark.parametrize(
    "field",
    [
        "stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "tools",
        "presence_penalty", "frequency_penalty", "top_logprobs", "functions", "response_format", "symposium",
    ],
)  # fmt: skip
def test_null_is_as_good_as_leaving_out(field: str) -> None:
    """OpenAI's optional fields may be null."""
    assert parsed(**{field: None}).needs == Needs()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [USER] * 5}, "messages"),
        ({"messages": [USER, "hi"]}, "messages.1"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages.0.role"),
        ({"messages": [USER, {"role": "user"}]}, "messages.1.content"),
        ({"messages": [{"role": "system", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "messages.0.content"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"n": 0}, "n"),
        ({"n": 4}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.5}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 101}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 2**70}, "max_tokens"),
        ({"max_tokens": -(2**70)}, "max_tokens"),
        ({"max_completion_tokens": 101}, "max_completion_tokens"),
        ({"max_tokens": 101, "max_completion_tokens": 5}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        ({"functions": 1}, "functions"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"structured_outputs": []}, "structured_outputs"),
        ({"symposium": True}, "symposium"),
        ({"symposium": {"explain": "yes"}}, "symposium.explain"),
        ({"symposium": {"explian": True}}, "symposium.explian"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    """400 with the field in `param` and in the message."""
    error = refused(**fields)
    assert error.param == param
    assert param in error.message


@pytest.mark.parametrize("part", [{"text": "no type"}, {"type": 5, "text": "x"}, {"type": "text", "text": 5}])
def test_a_wrong_content_part_is_named(part: dict[str, Any]) -> None:
    """The part that is wrong is named, not the content as a whole."""
    good = {"type": "text", "text": "x"}
    param = refused(messages=[{"role": "user", "content": [good, part]}]).param
    assert param is not None
    assert param.startswith("messages.0.content.1")


@pytest.mark.parametrize("field", sorted(CONTROL_FIELDS))
def test_fields_that_steer_an_engine_are_refused(field: str) -> None:
    """Control fields are the server's, whatever their value."""
    values: list[Any] = [None, 1, {}]
    for value in values:
        error = refused(**{field: value})
        assert (error.param, error.code) == (field, "unsupported_parameter")


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"hello", b"[]", b'"x"', b"null", b"{", b'{"model": NaN}', b'{"model": 1e999}', b"\xff\xfe{}",
        b'{"model": "\x00"}', b'{"model": "\\ud800"}', b"[" * 100_000, b'{"a":' * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    """Not JSON, not an object, raw control characters, lone surrogates, bottomless nesting: 400."""
    with pytest.raises(BadRequest) as caught:
        parse_chat(raw, "req_1", LIMITS)
    assert caught.value.code == "invalid_json"


def test_a_required_field_that_is_missing_is_named() -> None:
    """No model and no messages: each says that it is required."""
    for body, param in (({"messages": [USER]}, "model"), ({"model": "auto"}, "messages")):
        with pytest.raises(BadRequest) as caught:
            parse_chat(json.dumps(body).encode(), "req_1", LIMITS)
        assert (caught.value.param, caught.value.code) == (param, "missing_required_parameter")


def test_nul_characters_and_emoji_are_text() -> None:
    """Escaped NULs and any valid Unicode are content like other content."""
    query = parsed(messages=[{"role": "user", "content": "a\x00b😀"}])
    assert query.text == "a\x00b😀"


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"tools": [{"type": "function"}]}, Needs(tools=True)),
        ({"functions": [{"name": "f"}]}, Needs(tools=True)),
        ({"tools": []}, Needs()),
        ({"response_format": {"type": "text"}}, Needs()),
        ({"response_format": {"type": "json_object"}}, Needs(json_schema=True)),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, Needs(json_schema=True)),
        ({"structured_outputs": {"regex": "a"}}, Needs(json_schema=True)),
        ({"n": 3}, Needs(samples=3)),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, Needs(images=True)),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, Needs()),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, USER]},
            Needs(),
        ),
    ],
)
def test_what_a_query_needs_is_read_off_its_fields(fields: dict[str, Any], needs: Needs) -> None:
    """Tools, constrained output, images and samples become needs; empty forms of them do not."""
    assert parsed(**fields).needs == needs


def test_the_newest_user_message_is_what_is_classified() -> None:
    """Not the system's, not the assistant's, not an empty one; parts are joined; all texts are kept for counting."""
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "one"}, IMAGE, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "three"},
        {"role": "user", "content": "  "},
    ]
    query = parsed(messages=messages)
    assert query.text == "one\ntwo"
    assert query.texts == ("be brief", "one\ntwo", "three", "  ")


def test_without_a_user_all_text_is_classified() -> None:
    """A conversation of system and assistant only still has a text."""
    messages = [{"role": "system", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert parsed(messages=messages).text == "a\nb"


def test_max_completion_tokens_goes_before_max_tokens() -> None:
    """OpenAI's newer name counts when both are given."""
    assert parsed(max_tokens=7, max_completion_tokens=5).max_tokens == 5
    assert parsed(max_tokens=7).max_tokens == 7


def test_a_body_that_was_accepted_can_be_sent_on() -> None:
    """Nesting that can be read but not written again is the client's mistake, not our crash."""
    deep = orjson.loads("[" * 300 + "]" * 300)
    try:
        query = parsed(metadata=deep)
    except BadRequest:
        return
    assert orjson.loads(orjson.dumps(query.body))["metadata"] == deep


FIELDS = [
    "model", "messages", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "temperature",
    "top_p", "presence_penalty", "frequency_penalty", "top_logprobs", "tools", "functions", "response_format",
    "structured_outputs", "symposium", "tool_choice", "stop", "seed", "anything",
]  # fmt: skip


def answered(raw: bytes) -> None:
    """A body is a query that can be sent on, or the client's mistake; anything else comes out as it is."""
    try:
        query = parse_chat(raw, "req_1", LIMITS)
    except BadRequest:
        return
    assert orjson.loads(orjson.dumps(query.body)) == query.body
    assert query.prompt_bytes >= 0


@given(st.sampled_from(FIELDS), JSON)
def test_any_value_in_any_field_is_a_query_or_a_bad_request(field: str, value: Any) -> None:
    """Whatever JSON stands in a field, the client gets a 400 or its query goes on: never another exception."""
    answered(json.dumps({"model": "auto", "messages": [USER]} | {field: value}).encode())


@given(st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "name"]), JSON), st.booleans())
def test_any_message_is_a_query_or_a_bad_request(message: dict[str, Any], as_part: bool) -> None:
    """The same for what stands in a message, and in a part of its content."""
    inside = {"role": "user", "content": [{"type": "text"} | message]} if as_part else USER | message
    answered(json.dumps({"model": "auto", "messages": [inside]}).encode())


@given(st.binary(max_size=64))
def test_any_bytes_are_a_bad_request(raw: bytes) -> None:
    """Noise is refused in OpenAI's shape."""
    answered(raw)
