"""OpenAI's response objects, whole and as a stream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from router.api.sse import Head, comment, completion, event, last_chunk, relayed, told, whole_as_chunks
from router.records import Answer, JsonObject, Usage
from tests.unit.make import choice

CHAT = Head("req_1", 1_700_000_000, "auto")
BARE = Head("req_1", 1_700_000_000, "auto", "completion")


def test_an_event_is_one_data_line_of_json() -> None:
    """No line end of the payload ends the event early."""
    assert event({"a": "x\ny"}) == b'data: {"a":"x\\ny"}\n\n'


def test_a_comment_is_a_line_that_is_no_event() -> None:
    """It begins with a colon, and ends as events do."""
    assert comment("2/3 experts answered") == b": 2/3 experts answered\n\n"


def test_a_whole_answer_is_the_experts_choices_under_our_name() -> None:
    """The expert's choices and extra fields, our id, the model that was asked for, the summed usage."""
    answer = Answer("ada", (choice("hi"),), extra={"system_fingerprint": "f"})
    assert completion(CHAT, answer, Usage(3, 2), {"cost_usd": 0.5}) == {
        "id": "chatcmpl-req_1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "auto",
        "choices": [choice("hi")],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "system_fingerprint": "f",
        "symposium": {"cost_usd": 0.5},
    }


def test_a_bare_completion_is_named_as_such() -> None:
    """Whole and in pieces it is one kind of object, with an id of its own kind."""
    whole = completion(BARE, Answer("ada", ({"index": 0, "text": "hi"},)), Usage(), {})
    assert (whole["id"], whole["object"]) == ("cmpl-req_1", "text_completion")
    last = last_chunk(BARE, None, {})
    assert (last["id"], last["object"]) == ("cmpl-req_1", "text_completion")


def deltas(answer: Answer, head: Head = CHAT) -> list[JsonObject]:
    """The only choice of each chunk."""
    chunks = list(whole_as_chunks(head, answer))
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    return [chunk["choices"][0] for chunk in chunks]


def test_a_finished_answer_streams_as_role_text_finish() -> None:
    """Three chunks per choice: no fake pacing, and what a client concatenates is the answer."""
    assert deltas(Answer("ada", (choice("hi", finish_reason="length"),))) == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        {"index": 0, "delta": {"content": "hi"}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "length"},
    ]


def test_a_finished_completion_streams_as_text_and_finish() -> None:
    """No deltas: a bare completion's pieces are texts."""
    said = {"index": 1, "text": "hi", "finish_reason": "length", "logprobs": {"tokens": ["hi"]}}
    assert deltas(Answer("ada", (said,)), BARE) == [
        {"index": 1, "text": "hi", "finish_reason": None, "logprobs": {"tokens": ["hi"]}},
        {"index": 1, "text": "", "finish_reason": "length"},
    ]


def test_each_choice_keeps_its_index_and_logprobs() -> None:
    """Several choices are told apart by index; logprobs come with the text."""
    found = deltas(Answer("ada", (choice("a"), choice("b", index=1, logprobs={"content": []}))))
    assert [c["index"] for c in found] == [0, 0, 0, 1, 1, 1]
    assert found[4]["logprobs"] == {"content": []}
    assert "logprobs" not in found[1]


def test_absent_content_is_not_streamed() -> None:
    """A null content is no delta; fields beside the text are."""
    silent = {"index": 0, "message": {"role": "assistant", "content": None, "reasoning": "hm"}}
    assert deltas(Answer("ada", (silent,)))[1]["delta"] == {"reasoning": "hm"}


def test_tool_calls_get_an_index_in_a_stream() -> None:
    """A whole answer's calls are told apart by their place; a client assembles a stream's by index. One that has it
    keeps it."""
    calls = [{"id": "a", "type": "function"}, {"id": "b", "type": "function", "index": 7}]
    found = deltas(Answer("ada", (choice(None, message={"content": None, "tool_calls": calls}),)))
    assert found[1]["delta"] == {
        "tool_calls": [
            {"index": 0, "id": "a", "type": "function"},
            {"index": 7, "id": "b", "type": "function"},
        ]
    }


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"index": 0, "message": {}},
        {"message": {"content": 7, "tool_calls": "x"}},
        {"message": {"tool_calls": [None, "x", {}]}},
        {"text": None, "finish_reason": None},
    ],
)
@pytest.mark.parametrize("head", [CHAT, BARE])
def test_any_choice_can_be_streamed_and_ends(head: Head, said: dict[str, Any]) -> None:
    """Whatever an expert's choice lacks, its last piece says that it is finished."""
    found = deltas(Answer("ada", (said,)), head)
    assert [c["finish_reason"] for c in found] == [None] * (len(found) - 1) + ["stop"]
    assert orjson.dumps(found)


@pytest.mark.parametrize("head", [CHAT, BARE])
def test_every_chunk_carries_the_head(head: Head) -> None:
    """Same id, time and model on all of them, whether we or an expert made them."""
    name = "chat.completion.chunk" if head is CHAT else "text_completion"
    theirs = {"id": "x", "object": name, "created": 1, "model": "m", "choices": [], "service_tier": "t"}
    passed_on = relayed(head, theirs)
    made = [*whole_as_chunks(head, Answer("ada", (choice("hi"),))), last_chunk(head, None, {}), told(head, "x", {})]
    for chunk in (*made, passed_on):
        assert (chunk["id"], chunk["object"]) == (head.id, name)
        assert (chunk["created"], chunk["model"]) == (1_700_000_000, "auto")
    assert passed_on["service_tier"] == "t"


def test_the_last_chunk_says_what_happened_and_holds_no_choice() -> None:
    """With the usage where it was asked for: a client that did not ask must not find any."""
    last = last_chunk(CHAT, Usage(1, 1), {"cost_usd": 0.5})
    assert (last["choices"], last["usage"]["total_tokens"], last["symposium"]) == ([], 2, {"cost_usd": 0.5})
    assert "usage" not in last_chunk(CHAT, None, {})


def test_what_has_just_happened_is_told_in_a_chunk_without_choices() -> None:
    """The name of the event stands beside what there is to say of it."""
    found = told(CHAT, "answered", {"expert": "ada"})
    assert (found["choices"], found["symposium"]) == ([], {"event": "answered", "expert": "ada"})
