"""Answers in a format: voted on as what they mean, and never passed on broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.api.world import POLICIES, World, ask, routing
from tests.support import Recorded, said, sse_events

SCHEMA = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}
FORMAT: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}}
PANELS: dict[str, dict[str, Any]] = {
    "objects": {"experts": ["jay", "kay", "lee"], "decided_at": None},
    "one_object": {"experts": ["jay", "kay"], "structured": "single"},
    "broken": {"experts": ["lee", "jay"], "max_experts": 1},
    "hopeless": {"experts": ["lee", "ant"], "max_experts": 1},
}


@pytest.fixture(scope="module")
def objects(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with routing(tmp_path_factory.mktemp("objects"), experts, policies=POLICIES | PANELS) as running:
        yield running


def test_objects_are_voted_on_as_what_they_mean(objects: World) -> None:
    """13 and 13.0 are one answer; what breaks the schema has no vote, and counts as its expert's failure."""
    told = objects.explained("objects", **FORMAT)
    assert told["vote"]["answers"] == [{"answer": '{"sum":13}', "experts": ["jay", "kay"]}]
    assert {leg["expert"]: leg["outcome"] for leg in told["legs"]}["lee"] == "broken"


def test_the_winner_s_own_text_is_the_answer(objects: World) -> None:
    """Unchanged, blanks and all, and it keeps to the schema."""
    text = objects.post(ask("objects", **FORMAT)).json()["choices"][0]["message"]["content"]
    assert text == '{"sum": 13}'
    assert orjson.loads(text) == {"sum": 13}


def test_a_policy_may_leave_objects_to_one_expert(objects: World) -> None:
    """`structured: single`."""
    told = objects.explained("one_object", **FORMAT)
    assert (told["plan"]["reason"], told["plan"]["experts"]) == ("policy_structured", ["jay"])


def test_an_answer_that_breaks_the_schema_is_replaced(objects: World) -> None:
    """Before the client has seen any of it, the next capable expert answers."""
    reply = objects.post(ask("broken", **FORMAT))
    assert reply.json()["choices"][0]["message"]["content"] == '{"sum": 13}'
    assert [leg["outcome"] for leg in reply.json()["symposium"]["legs"]] == ["broken", "answered"]


def test_a_broken_answer_under_way_ends_in_an_error(objects: World) -> None:
    """What has been streamed cannot be called back: it is not called finished either."""
    *chunks, last = sse_events(objects.post(ask("broken", stream=True, **FORMAT)))
    assert said(chunks) == '{"sum": "thirteen"}'
    assert (last["error"]["code"], "broken" in last["error"]["message"]) == ("stream_broken", True)


def test_nobody_who_can_is_a_502_never_a_broken_object(objects: World) -> None:
    """Of two experts one cannot take formats, the other breaks them."""
    reply = objects.post(ask("hopeless", **FORMAT))
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "experts_failed")


def test_an_answer_cut_short_is_passed_on_as_cut(objects: World) -> None:
    """`finish_reason: length` promises nothing, and says so."""
    choice = objects.post(ask("jay", max_tokens=2, **FORMAT)).json()["choices"][0]
    assert choice["finish_reason"] == "length"


def test_no_expert_that_can_is_named_in_the_error(world: World) -> None:
    """Experts without the capability are never asked with the format left out: 400 names it."""
    error = world.post(ask("auto", **FORMAT)).json()["error"]
    assert (error["code"], error["param"]) == ("capability_not_available", "response_format")
    assert "json_schema" in error["message"]


def test_a_schema_that_is_none_is_refused(world: World) -> None:
    """400 with the field, before anybody is asked."""
    wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "numbr"}}}
    error = world.post(ask("auto", response_format=wrong)).json()["error"]
    assert error["param"] == "response_format.json_schema.schema"
