"""A streamed answer put together again: nothing of it is lost, whatever pieces it came in, however odd they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.assembly import Assembly, JsonObject

TEXT = st.text(max_size=12)
PIECES = st.lists(TEXT, max_size=5)
CALL = st.fixed_dictionaries({"id": TEXT, "name": TEXT, "arguments": PIECES})


def assembled(*parts: JsonObject) -> tuple[JsonObject, ...]:
    """The whole choices of a stream with one part of a choice in each chunk."""
    assembly = Assembly()
    for part in parts:
        assembly.add({"choices": [part]})
    return assembly.choices()


def said(*deltas: JsonObject, **fields: Any) -> JsonObject:
    """The message of the only choice of a stream of these deltas."""
    (choice,) = assembled(*({"index": 0, "delta": delta} | fields for delta in deltas))
    message: JsonObject = choice["message"]
    return message


def test_an_answer_is_the_sum_of_its_deltas() -> None:
    """As OpenAI's whole answer looks: role, content, the finish, no log-probabilities where there were none."""
    assert assembled(
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None, "logprobs": None},
        {"index": 0, "delta": {"content": "The answer"}, "finish_reason": None},
        {"index": 0, "delta": {"content": " is 42."}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": None},
    ) == (
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The answer is 42."},
            "finish_reason": "stop",
            "stop_reason": None,
            "logprobs": None,
        },
    )


def test_a_completion_has_text_and_no_message() -> None:
    """Of `/v1/completions`."""
    (found,) = assembled(
        {"index": 0, "text": "4", "finish_reason": None}, {"index": 0, "text": "2", "finish_reason": "stop"}
    )
    assert found == {"index": 0, "text": "42", "finish_reason": "stop", "logprobs": None}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "refusal"])
def test_what_is_said_beside_the_content_is_put_together_too(field: str) -> None:
    """Reasoning under either of its names, and refusals; content stays null where none came."""
    message = said({"role": "assistant"}, {field: "a"}, {field: "b"})
    assert message == {"role": "assistant", "content": None, field: "ab"}


def test_tool_calls_are_put_together_by_their_index() -> None:
    """Arguments are added up; id, type and name stay; calls are in the order of their indices."""
    found = said(
        {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "function": {"arguments": "{}"}}]},
    )
    assert found["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_log_probabilities_are_lists_that_grow() -> None:
    """Token by token, beside the text."""
    parts = (
        {"delta": {"content": token}, "logprobs": {"content": [{"token": token}], "refusal": None}} for token in "ab"
    )
    (found,) = assembled(*parts)
    assert found["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": None}


def test_choices_come_in_the_order_of_their_index() -> None:
    """Whichever was heard of first; each keeps its own text and finish."""
    found = assembled(
        {"index": 1, "delta": {"content": "b"}},
        {"index": 0, "delta": {"content": "a"}, "finish_reason": "length"},
        {"index": 1, "delta": {"content": "c"}, "finish_reason": "stop"},
    )
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in found] == [
        (0, "a", "length"),
        (1, "bc", "stop"),
    ]


def test_a_finish_is_not_taken_back() -> None:
    """A null after it is no news."""
    (found,) = assembled({"delta": {"content": "x"}, "finish_reason": "stop"}, {"delta": {}, "finish_reason": None})
    assert found["finish_reason"] == "stop"


def test_chunks_without_choices_hold_nothing() -> None:
    """The usage comes in one; a stream of such has no choices."""
    assembly = Assembly()
    empty: list[JsonObject] = [{}, {"choices": []}, {"choices": None}, {"usage": {"prompt_tokens": 1}}]
    for chunk in empty:
        assembly.add(chunk)
    assert assembly.choices() == ()


def shuffled(streams: Sequence[Sequence[JsonObject]], random: Random) -> Iterator[JsonObject]:
    """One stream of several, each in its own order."""
    order = [number for number, stream in enumerate(streams) for _ in stream]
    random.shuffle(order)
    left = [iter(stream) for stream in streams]
    yield from (next(left[number]) for number in order)


@given(st.lists(PIECES, min_size=1, max_size=4), st.sampled_from(["delta", "text"]), st.randoms(use_true_random=False))
def test_any_text_in_any_pieces_is_whole_again(texts: list[list[str]], kind: str, random: Random) -> None:
    """Of several choices whose pieces come mixed, in chunks of one or two of them."""

    def part(index: int, piece: str) -> JsonObject:
        return {"index": index} | ({"delta": {"content": piece}} if kind == "delta" else {"text": piece})

    streams = [[*(part(i, piece) for piece in pieces), part(i, "")] for i, pieces in enumerate(texts)]
    mixed = list(shuffled(streams, random))
    assembly = Assembly()
    for one, other in zip_longest(mixed[::2], mixed[1::2]):
        assembly.add({"choices": [one] if other is None else [one, other]})
    found = [c["message"]["content"] if kind == "delta" else c["text"] for c in assembly.choices()]
    assert found == ["".join(pieces) for pieces in texts]


@given(st.lists(CALL, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_any_calls_in_any_pieces_are_whole_again(calls: list[dict[str, Any]], random: Random) -> None:
    """Name and id come first, then the arguments, which may be no JSON; several calls come mixed."""

    def stream(index: int, call: dict[str, Any]) -> list[JsonObject]:
        named = {"index": index, "id": call["id"], "type": "function", "function": {"name": call["name"]}}
        return [named, *({"index": index, "function": {"arguments": piece}} for piece in ["", *call["arguments"]])]

    mixed = shuffled([stream(i, call) for i, call in enumerate(calls)], random)
    found = said({"role": "assistant"}, *({"tool_calls": [part]} for part in mixed))
    assert found["tool_calls"] == [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": "".join(call["arguments"])},
        }
        for call in calls
    ]


NAMES = st.sampled_from(
    "index delta message content role tool_calls function arguments name id text logprobs finish_reason".split()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.floats(allow_nan=False) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(st.lists(st.dictionaries(NAMES, JSON, max_size=5), max_size=2), max_size=4))
def test_odd_shapes_are_passed_over(chunks: list[list[JsonObject]]) -> None:
    """Whatever JSON an expert sends in its choices, nothing fails; each choice has an index and a finish."""
    assembly = Assembly()
    for choices in chunks:
        assembly.add({"choices": choices})
    for found in assembly.choices():
        assert {"index", "finish_reason", "logprobs"} <= found.keys()


def test_odd_shapes_do_not_take_the_good_ones_with_them() -> None:
    """What was said before and after stays."""
    strange: list[JsonObject] = [
        {"delta": None, "message": None, "logprobs": []},
        {"delta": {"tool_calls": ["x", None, {"function": 7}]}, "message": "x"},
        {"delta": "x", "logprobs": {"content": 5}},
    ]
    good = {"delta": {"content": "4"}, "logprobs": {"content": [1]}}
    (found,) = assembled(good, *strange, good)
    assert found["message"]["content"] == "44"
    assert found["logprobs"]["content"][-1] == 1


def test_a_chunk_is_not_changed_by_the_next_one() -> None:
    """Chunks may be passed on to the client while they are put together."""
    first = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "a"}}]}}]}
    assembly = Assembly()
    assembly.add(first)
    assembly.add({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "b"}}]}}]})
    assert assembly.choices()[0]["message"]["tool_calls"] == [{"function": {"arguments": "ab"}}]
    assert first["choices"][0]["delta"] == {"tool_calls": [{"index": 0, "function": {"arguments": "a"}}]}
