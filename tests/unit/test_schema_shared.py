"""What both endpoints read alike: the session, the way to aggregate, what was said before, lists of wrong items."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from router.api.chat import Parse
from router.api.schema import ChatRequest, parse_chat
from router.api.schema_completion import CompletionRequest, parse_completion
from router.api.schema_shared import Request, json_object
from router.config import RequestLimits
from router.errors import BadRequest
from router.records import Aggregator

PARSERS: list[tuple[Parse, Mapping[str, Any]]] = [
    (parse_chat, {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}),
    (parse_completion, {"model": "auto", "prompt": "hi"}),
]
BOTH = pytest.mark.parametrize(("parse", "body"), PARSERS, ids=["chat", "completion"])


def raw(body: Mapping[str, Any], **fields: Any) -> bytes:
    return json.dumps({**body, **fields}).encode()


def said(*messages: tuple[str, Any]) -> bytes:
    """A chat of (role, content)."""
    return raw({"model": "auto"}, messages=[{"role": role, "content": content} for role, content in messages])


@BOTH
def test_a_session_is_the_clients_own_name(parse: Parse, body: Mapping[str, Any]) -> None:
    """x-session-id is taken as it is; without the header there is none."""
    for session in (None, "s", "Conversation 7 / tab 2", "~" * 256):
        assert parse(raw(body), "req_1", RequestLimits(), session).session == session


@BOTH
@pytest.mark.parametrize("session", ["", "x" * 257, "tab\t", "line\n", "é", "\x00", "\x7f"])
def test_a_wrong_session_is_named(parse: Parse, body: Mapping[str, Any], session: str) -> None:
    """Empty, too long or not printable ASCII: a 400 that names the header and says what it may be."""
    with pytest.raises(BadRequest) as caught:
        parse(raw(body), "req_1", RequestLimits(), session)
    assert (caught.value.param, caught.value.code) == ("x-session-id", "invalid_value")
    assert "1 to 256 printable" in caught.value.message


@BOTH
@pytest.mark.parametrize("aggregate", [None, "auto", *get_args(Aggregator)])
def test_a_request_may_say_how_answers_become_one(parse: Parse, body: Mapping[str, Any], aggregate: str | None) -> None:
    """symposium.aggregate is one of five, or left out: then the policy decides."""
    query = parse(raw(body, symposium={"aggregate": aggregate}), "req_1", RequestLimits(), None)
    assert query.aggregate == aggregate
    assert parse(raw(body), "req_1", RequestLimits(), None).aggregate is None


@BOTH
@pytest.mark.parametrize("aggregate", ["", "majority", 1, ["vote"]])
def test_another_way_is_named(parse: Parse, body: Mapping[str, Any], aggregate: Any) -> None:
    """Any other value is a 400 that names the field and lists what it may be."""
    with pytest.raises(BadRequest) as caught:
        parse(raw(body, symposium={"aggregate": aggregate}), "req_1", RequestLimits(), None)
    assert caught.value.param == "symposium.aggregate"


@BOTH
def test_a_whole_number_may_be_written_with_a_point(parse: Parse, body: Mapping[str, Any]) -> None:
    """To JSON 2.0 is the integer 2: it counts, and goes to the experts, as one; other numbers stay as they are."""
    query = parse(raw(body, n=2.0, max_tokens=1e3, temperature=1.0), "req_1", RequestLimits(), None)
    assert (query.needs.samples, query.max_tokens) == (2, 1000)
    assert [repr(query.body[name]) for name in ("n", "max_tokens", "temperature")] == ["2", "1000", "1.0"]


@BOTH
def test_the_form_of_the_answer_is_read(parse: Parse, body: Mapping[str, Any]) -> None:
    """A JSON Schema becomes the answer's format and a need; one that cannot be used is a 400 that names it."""

    def asking(schema: Any) -> bytes:
        return raw(body, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})

    query = parse(asking({"type": "integer"}), "req_1", RequestLimits(), None)
    assert query.needs.json_schema
    assert query.answer_format is not None
    assert (query.answer_format.problem("7"), query.answer_format.problem('"x"') is None) == (None, False)
    assert parse(raw(body), "req_1", RequestLimits(), None).answer_format is None
    with pytest.raises(BadRequest) as caught:
        parse(asking({"type": "whole"}), "req_1", RequestLimits(), None)
    assert caught.value.param == "response_format.json_schema.schema"


def test_what_the_user_said_before_is_kept_in_order() -> None:
    """Earlier user messages, oldest first, without blank ones and without what others said."""
    body = said(
        ("system", "be brief"),
        ("user", "one"),
        ("assistant", "yes"),
        ("user", "  "),
        ("user", [{"type": "text", "text": " two "}]),
        ("tool", "three"),
        ("user", "four"),
        ("user", " "),
    )
    query = parse_chat(body, "req_1", RequestLimits())
    assert (query.text, query.earlier) == ("four", ("one", "two"))


def test_without_an_earlier_question_there_is_none() -> None:
    """One user message, or none at all, leaves nothing before it."""
    assert parse_chat(said(("user", "one")), "req_1", RequestLimits()).earlier == ()
    assert parse_chat(said(("assistant", "one"), ("assistant", "two")), "req_1", RequestLimits()).earlier == ()


@pytest.mark.parametrize(
    ("request_of", "body"),
    [
        (ChatRequest, {"messages": [0] * 1000}),
        (ChatRequest, {"messages": [{"role": "assistant", "content": [0] * 1000}]}),
        (ChatRequest, {"messages": [{"role": "assistant"}], "tools": [0] * 1000}),
        (CompletionRequest, {"prompt": [None] * 1000}),
    ],
)
def test_of_a_list_only_the_first_wrong_item_is_reported(request_of: type[Request], body: dict[str, Any]) -> None:
    """A full body of wrong items must not keep the router busy for seconds, only to name one of them."""
    with pytest.raises(ValidationError) as caught:
        request_of.model_validate({"model": "auto"} | body)
    assert caught.value.error_count() <= 2  # of a union each branch has its say


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        ("{}", 1),
        ('{"a": "[[[[{{{{"}', 1),
        ('{"a": [1, "b", null]}', 2),
        ('{"a": [], "b": {"c": [{}]}}', 4),
        ('{"a": [[], [], [], [], [[]]]}', 4),
    ],
)
def test_depth_is_counted_through_objects_and_lists(text: str, deep: int) -> None:
    """The body itself is the first level; brackets in texts are none, and what is beside each other is not deeper."""
    assert json_object(text.encode(), deep) == json.loads(text)
    with pytest.raises(BadRequest) as caught:
        json_object(text.encode(), deep - 1)
    assert (caught.value.status, caught.value.code) == (400, "body_too_deep")
