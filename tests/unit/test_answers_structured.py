"""What a reply answers, in a form that can be compared: JSON and tool calls."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.answers import canonical_calls, canonical_json, comparable, extract

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e15, 1e15) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
NAMES = st.sampled_from("tool_calls function_call function custom name arguments input id content text message".split())
CALLS = st.lists(st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=3), max_size=3), max_size=2)
MESSAGES = st.dictionaries(NAMES, JSON | CALLS, max_size=4)


def call(name: Any, arguments: Any, call_id: str = "call_1") -> dict[str, Any]:
    """One tool call in OpenAI's shape."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('{"b": [1.0, 2.50, true, null], "a": {"d": 1e2, "c": "é"}}', '{"a":{"c":"é","d":100},"b":[1,2.5,true,null]}'),
        ('```json\n{"a": 1}\n```', '{"a":1}'),
        (' "x" ', '"x"'),
        ("12345678901234567890.0", "12345678901234567890"),
        ("-0.0", "0"),
        ('{"a": 1, "a": 2}', '{"a":2}'),
        ('"\\ud800"', '"\\ud800"'),
        ("NaN", None),
        ("[Infinity]", None),
        ("[-Infinity]", None),
        ("[1e999]", None),
        ("[1e9999999999999999999999]", None),
        ("9" * 5000, None),
        ("[1] [2]", None),
        ("{'a': 1}", None),
        ("", None),
    ],
)
def test_json_has_one_spelling(text: str, canonical: str | None) -> None:
    """Order of keys, blanks and notation of numbers mean nothing; what is no JSON, or no number, has no such form."""
    assert canonical_json(text) == canonical


def test_json_nested_deeper_than_can_be_read_is_none() -> None:
    """The depth of an expert's text is no error of ours: such a text is compared as text."""
    deep = "[" * 100_000 + "]" * 100_000
    assert canonical_json(deep) is None
    assert extract(deep) == deep
    assert extract(deep[99_000:-99_000]) == deep[99_000:-99_000]


@given(JSON)
def test_json_is_found_again_in_its_canonical_form(value: Any) -> None:
    """The canonical form is JSON of the same value, whatever the layout was, and is its own canonical form."""
    canonical = canonical_json(json.dumps(value, indent=2))
    assert canonical is not None
    assert json.loads(canonical) == value
    assert canonical_json(canonical) == canonical == canonical_json(f"```json\n{json.dumps(value)}\n```")


def test_calls_compare_without_ids_order_and_layout() -> None:
    """What is called with what: ids, the order of calls and the spelling of arguments are the expert's own."""
    calls = [call("get_weather", '{"city": "Rome", "days": 2.0}'), call("now", "{}", "call_2")]
    turned = [call("now", "", "x"), call("get_weather", '{"days":2,\n"city":"Rome"}', "y")]
    assert canonical_calls({"tool_calls": calls}) == canonical_calls({"tool_calls": turned})
    assert canonical_calls({"tool_calls": calls}) != canonical_calls({"tool_calls": calls[:1]})
    assert canonical_calls({"tool_calls": calls}) != canonical_calls({"tool_calls": [*calls, calls[0]]})


def test_every_form_of_a_call_is_read() -> None:
    """The legacy function call, arguments as an object and custom tools; arguments that are no JSON are a text."""
    plain = canonical_calls({"tool_calls": [call("f", '{"x": 1}')]})
    assert canonical_calls({"function_call": {"name": "f", "arguments": '{"x": 1.0}'}}) == plain
    assert canonical_calls({"tool_calls": [call("f", {"x": 1})]}) == plain
    assert canonical_calls({"tool_calls": [{"type": "custom", "custom": {"name": "f", "input": '{"x":1}'}}]}) == plain
    assert canonical_calls({"tool_calls": [call("f", "{x: 1")]}) == '[["f", "{x: 1"]]'


@pytest.mark.parametrize(
    "message",
    [{}, {"tool_calls": None}, {"tool_calls": []}, {"tool_calls": "f"}, {"tool_calls": {}}, {"content": "f()"}],
)
def test_no_calls_have_no_form(message: dict[str, Any]) -> None:
    """None is told from any call, even from one that cannot be read."""
    assert canonical_calls(message) is None
    assert canonical_calls({"tool_calls": [None]}) is not None


def test_calls_nested_deeper_than_can_be_written_are_none() -> None:
    """An expert cannot make us fail by the depth of what it calls with."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert canonical_calls({"tool_calls": [call("f", deep)]}) is None
    assert canonical_calls({"tool_calls": [deep]}) is None


@pytest.mark.parametrize(
    ("choice", "kind", "form"),
    [
        ({"message": {"content": "The answer is (B)."}}, "text", "B"),
        ({"text": " The answer is 42."}, "text", "42"),
        ({"message": {"content": None, "tool_calls": [call("f", "{}")]}}, "text", '[["f", "{}"]]'),
        ({"message": {"content": None}}, "text", ""),
        ({"message": {"content": [{"type": "text"}]}}, "text", ""),
        ({}, "text", ""),
        ({"message": 7, "text": 7}, "text", ""),
        ({"message": {"content": '{"b": 1.0, "a": 2}'}}, "json", '{"a":2,"b":1}'),
        ({"message": {"content": '{"answer": 1, "unit": "m"}'}}, "json", '{"answer":1,"unit":"m"}'),
        ({"text": "```json\n[1.0]\n```"}, "json", "[1]"),
        ({"message": {"content": "42 is the answer"}}, "json", ""),
        (
            {"message": {"content": "let me see", "tool_calls": [call("f", '{"x": 1}')]}},
            "tools",
            '[["f", "{\\"x\\":1}"]]',
        ),
        ({"message": {"content": "Answer: 42", "tool_calls": []}}, "tools", "42"),
    ],
)
def test_a_choice_is_compared_by_its_kind(
    choice: dict[str, Any], kind: Literal["text", "json", "tools"], form: str
) -> None:
    """Text by its core, JSON by its value (no JSON is no answer), calls by what they call, asked for or not."""
    assert comparable(choice, kind) == form


@given(MESSAGES, st.sampled_from(["text", "json", "tools"]))
def test_any_message_has_a_form(message: dict[str, Any], kind: Literal["text", "json", "tools"]) -> None:
    """Experts are untrusted: whatever stands where calls and texts should, some form comes out that can be sent on."""
    comparable({"message": message}, kind).encode("utf-8", "surrogatepass")
    comparable(message, kind)
