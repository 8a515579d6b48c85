"""The JSON of /v1/completions: what becomes of it, and which field a refusal names."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.api.schema_completion import CompletionRequest, parse_completion
from router.api.schema_shared import CONTROL_FIELDS, OURS
from router.config import RequestLimits
from router.errors import BadRequest
from router.records import Needs, Query
from tests.unit.make import JSON

LIMITS = RequestLimits(max_n=4, max_tokens=100)


def parsed(**fields: Any) -> Query:
    """The query of a small valid body with these fields on top."""
    return parse_completion(json.dumps({"model": "auto", "prompt": "Once"} | fields).encode(), "req_1", LIMITS)


def refused(**fields: Any) -> BadRequest:
    """The refusal of such a body."""
    with pytest.raises(BadRequest) as caught:
        parsed(**fields)
    return caught.value


def test_a_completion_carries_what_was_asked() -> None:
    """The client's own fields go on unchanged, echo among them; those that are the router's are taken out."""
    fields = {"echo": True, "suffix": "end", "best_of": 2, "logprobs": 5, "temperature": 0.5, "stop": ["."], "x": [1]}
    query = parsed(**fields, max_tokens=7, n=2)
    assert query.body == {"prompt": "Once", "max_tokens": 7, "n": 2} | fields
    assert (query.kind, query.model, query.text, query.texts) == ("completion", "auto", "Once", ("Once", "end"))
    assert (query.max_tokens, query.needs, query.earlier) == (7, Needs(samples=2), ())


def test_the_routers_own_fields_are_read() -> None:
    """stream, stream_options and symposium steer the response as in a chat, and are not sent to experts."""
    ours = {"explain": True, "progress": True, "aggregate": "single"}
    query = parsed(stream=True, stream_options={"include_usage": True}, symposium=ours)
    assert (query.stream, query.include_usage, query.explain, query.progress) == (True, True, True, True)
    assert query.aggregate == "single"
    assert not query.body.keys() & OURS


def test_several_prompts_are_classified_together_and_counted() -> None:
    """A list of prompts is one text to classify; each is answered n times, and that is what is needed."""
    query = parsed(prompt=["What is", " 2 + 2? "], n=2)
    assert (query.text, query.texts) == ("What is\n 2 + 2?", ("What is", " 2 + 2? "))
    assert query.needs == Needs(samples=4)
    assert query.body["prompt"] == ["What is", " 2 + 2? "]


@pytest.mark.parametrize("prompt", [[1, 2], [[1], [2]], ["a", 3], [[]]])
def test_token_ids_are_refused_with_the_reason(prompt: list[Any]) -> None:
    """Routing reads text: a prompt of token ids is a 400 that says what to give instead."""
    error = refused(prompt=prompt)
    assert error.param == "prompt"
    assert "routing reads text" in error.message
    assert "string" in error.message


@pytest.mark.parametrize("field", ["messages", "tools", "functions", "tool_choice", "function_call"])
def test_fields_of_chats_are_refused_with_the_way(field: str) -> None:
    """What belongs to chats would be dropped without a word: a 400 that names the other endpoint."""
    error = refused(**{field: []})
    assert (error.param, error.code) == (field, "unsupported_parameter")
    assert "/v1/chat/completions" in error.message


@pytest.mark.parametrize("field", sorted(CONTROL_FIELDS - {"echo"} | {"prompt_embeds"}))
def test_fields_that_steer_an_engine_are_refused(field: str) -> None:
    """Control fields are the server's here too; embeddings cannot be read."""
    error = refused(**{field: None})
    assert (error.param, error.code) == (field, "unsupported_parameter")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": 1.5}, "prompt"),
        ({"prompt": [None]}, "prompt.0"),
        ({"prompt": ["a", True]}, "prompt.1"),
        ({"prompt": [False]}, "prompt.0"),
        ({"prompt": ["a"] * 5}, "prompt"),
        ({"n": 5}, "n"),
        ({"n": 0}, "n"),
        ({"n": 3, "prompt": ["a", "b"]}, "n"),
        ({"best_of": 0}, "best_of"),
        ({"best_of": 5}, "best_of"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 3, "prompt": ["a", "b"]}, "best_of"),
        ({"max_tokens": 101}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": -1}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"echo": "yes"}, "echo"),
        ({"suffix": 5}, "suffix"),
        ({"temperature": 3}, "temperature"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"response_format": {"type": "poem"}}, "response_format.type"),
        ({"symposium": {"aggregate": "best"}}, "symposium.aggregate"),
        ({"symposium": {"progress": True}}, "symposium.progress"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    """400 with the field in `param` and in the message."""
    error = refused(**fields)
    assert error.param == param
    assert param in error.message


def test_a_missing_prompt_is_named() -> None:
    """A prompt is required."""
    with pytest.raises(BadRequest) as caught:
        parse_completion(b'{"model": "auto"}', "req_1", LIMITS)
    assert (caught.value.param, caught.value.code) == ("prompt", "missing_required_parameter")


def test_an_empty_list_says_what_it_lacks() -> None:
    """Of the two forms that a prompt may have the message is about the one that was sent."""
    assert "at least 1 item" in refused(prompt=[]).message


@pytest.mark.parametrize("field", sorted(CompletionRequest.model_fields.keys() - {"model", "prompt"}))
def test_null_is_as_good_as_leaving_out(field: str) -> None:
    """OpenAI's optional fields may be null."""
    assert parsed(**{field: None}).needs == Needs()


def test_nul_characters_and_emoji_are_text() -> None:
    """Escaped NULs and any valid Unicode are content like other content."""
    assert parsed(prompt="a\x00b😀", suffix="\x00").texts == ("a\x00b😀", "\x00")


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"prompt": "\x00"}', b'{"prompt": "\\ud800"}', b'{"a":' * 100_000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    """Not JSON, not an object, raw control characters, lone surrogates, bottomless nesting: 400."""
    with pytest.raises(BadRequest) as caught:
        parse_completion(raw, "req_1", LIMITS)
    assert caught.value.code == "invalid_json"


@given(st.dictionaries(st.sampled_from([*CompletionRequest.model_fields, "anything"]), JSON, max_size=3))
def test_any_values_are_a_query_or_a_bad_request(fields: dict[str, Any]) -> None:
    """Whatever JSON stands in a field, the client gets a 400 or its query goes on: never another exception."""
    try:
        query = parsed(**fields)
    except BadRequest:
        return
    assert orjson.loads(orjson.dumps(query.body)) == query.body
    assert query.prompt_bytes >= 0
