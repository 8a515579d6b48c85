"""OpenAI's response objects, whole and as a stream."""

from __future__ import annotations

import orjson

from router.api.sse import Head, completion, event, last_chunk, whole_as_chunks
from router.records import Answer, JsonObject, Usage
from tests.unit.make import choice

HEAD = Head("chatcmpl-1", 1_700_000_000, "auto")


def test_an_event_is_one_data_line_of_json() -> None:
    """No line end of the payload ends the event early."""
    assert event({"a": "x\ny"}) == b'data: {"a":"x\\ny"}\n\n'


def test_a_whole_answer_is_the_experts_choices_under_our_name() -> None:
    """The expert's choices and extra fields, our id, the model that was asked for, the summed usage."""
    answer = Answer("ada", (choice("hi"),), extra={"system_fingerprint": "f"})
    assert completion(HEAD, answer, Usage(3, 2), None) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "auto",
        "choices": [choice("hi")],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "system_fingerprint": "f",
    }


def test_an_explanation_is_there_when_it_was_asked_for() -> None:
    """Under `symposium`, also when it is empty."""
    answer = Answer("ada", (choice("hi"),))
    assert completion(HEAD, answer, Usage(), {"plan": 1})["symposium"] == {"plan": 1}
    assert completion(HEAD, answer, Usage(), {})["symposium"] == {}
    assert "symposium" not in completion(HEAD, answer, Usage(), None)


def deltas(answer: Answer) -> list[JsonObject]:
    """The only choice of each chunk."""
    return [chunk["choices"][0] for chunk in whole_as_chunks(HEAD, answer)]


def test_a_finished_answer_streams_as_role_text_finish() -> None:
    """Three chunks per choice: no fake pacing, and what a client concatenates is the answer."""
    assert deltas(Answer("ada", (choice("hi", finish_reason="length"),))) == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        {"index": 0, "delta": {"content": "hi"}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "length"},
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


def test_every_chunk_carries_the_head() -> None:
    """Same id, time and model on all of them."""
    for chunk in whole_as_chunks(HEAD, Answer("ada", (choice("hi"),))):
        assert (chunk["id"], chunk["object"], chunk["created"], chunk["model"]) == (
            "chatcmpl-1",
            "chat.completion.chunk",
            1_700_000_000,
            "auto",
        )


def test_the_last_chunk_holds_what_was_asked_for_and_no_choice() -> None:
    """Usage, explanation, both, or no chunk at all."""
    assert last_chunk(HEAD, Usage(1, 1), False, None) is None
    both = last_chunk(HEAD, Usage(1, 1), True, {"plan": 1})
    assert both is not None
    assert (both["choices"], both["usage"]["total_tokens"], both["symposium"]) == ([], 2, {"plan": 1})
    usage_only = last_chunk(HEAD, Usage(1, 1), True, None)
    assert usage_only is not None
    assert "symposium" not in usage_only
    assert orjson.dumps(usage_only)
