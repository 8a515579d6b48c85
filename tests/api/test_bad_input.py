"""A client's mistakes: each gets a 4xx in OpenAI's shape that names the parameter, and none ever a 500."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.api.schema_shared import CONTROL_FIELDS
from tests.api.world import SUM, World, ask
from tests.support import CHAT

USER = {"role": "user", "content": SUM}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "raw",
    [b"", b"hello", b"{", b"[]", b"null", b'"x"', b"{'model': 'auto'}", b'{"model": "\xff"}', b'{"model": NaN}',
     b'{"n": 1e999}', b'{"model": "\\ud800"}', b"[" * 30_000],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(world: World, raw: bytes) -> None:
    """A body that is no JSON object is a 400 that says so."""
    reply = world.http.post(CHAT, content=raw)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_json", None)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [USER]}, "model"),
        (ask(model=7), "model"),  # type: ignore[arg-type]  # as clients do
        (ask(model=""), "model"),
        (ask(model="x" * 257), "model"),
        ({"model": "auto"}, "messages"),
        ({"model": "auto", "messages": []}, "messages"),
        ({"model": "auto", "messages": SUM}, "messages"),
        ({"model": "auto", "messages": [SUM]}, "messages.0"),
        ({"model": "auto", "messages": [{"content": SUM}]}, "messages.0.role"),
        ({"model": "auto", "messages": [{"role": "king", "content": SUM}]}, "messages.0.role"),
        ({"model": "auto", "messages": [USER, {"role": "user"}]}, "messages.1.content"),
        ({"model": "auto", "messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"model": "auto", "messages": [USER] * 257}, "messages"),
        (ask(text=7), "messages.0.content"),
        (ask(text=[{"text": SUM}]), "messages.0.content.0.type"),
        (ask(n=0), "n"),
        (ask(n=9), "n"),
        (ask(n="two"), "n"),
        (ask(n=True), "n"),
        (ask(n=1.5), "n"),
        (ask(max_tokens=0), "max_tokens"),
        (ask(max_tokens=-1), "max_tokens"),
        (ask(max_tokens=4097), "max_tokens"),
        (ask(max_tokens=10**30), "max_tokens"),
        (ask(max_tokens="9"), "max_tokens"),
        (ask(max_tokens=4097, max_completion_tokens=1), "max_tokens"),
        (ask(max_completion_tokens=4097), "max_completion_tokens"),
        (ask(max_completion_tokens=[]), "max_completion_tokens"),
        (ask(temperature=2.1), "temperature"),
        (ask(temperature="hot"), "temperature"),
        (ask(top_p=0), "top_p"),
        (ask(presence_penalty=3), "presence_penalty"),
        (ask(frequency_penalty=-3), "frequency_penalty"),
        (ask(top_logprobs=21), "top_logprobs"),
        (ask(stream="yes"), "stream"),
        (ask(stream=1), "stream"),
        (ask(stream=True, stream_options=[]), "stream_options"),
        (ask(stream=True, stream_options={"include_usage": "maybe"}), "stream_options.include_usage"),
        (ask(tools="hammer"), "tools"),
        (ask(tools=["hammer"]), "tools.0"),
        (ask(response_format="json"), "response_format"),
        (ask(response_format={"type": "poem"}), "response_format.type"),
        (ask(symposium=True), "symposium"),
        (ask(stream=True, stream_options={"include_usage": "yes"}), "stream_options.include_usage"),
        (ask(stream=True, stream_options={"include_usage": 1}), "stream_options.include_usage"),
        (ask(symposium={"explain": 3}), "symposium.explain"),
        (ask(symposium={"explain": "yes"}), "symposium.explain"),
        (ask(symposium={"explian": True}), "symposium.explian"),
    ],
)
def test_a_wrong_parameter_is_named(world: World, body: dict[str, Any], param: str) -> None:
    """Missing, of the wrong type or out of bounds: a 400 whose `param` is the way to it; no expert is asked."""
    before = world.legs("started")
    reply = world.post(body)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert world.legs("started") == before


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    """A model that is neither policy nor expert is 404 model_not_found, as OpenAI has it."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(**ask("gpt-17"))
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("name", sorted(CONTROL_FIELDS))
def test_control_fields_are_refused(world: World, name: str) -> None:
    """What would steer an engine past the router is refused by name, whatever its value."""
    for value in (None, 0, {"x": 1}):
        reply = world.post(ask("ant", **{name: value}))
        error = reply.json()["error"]
        assert (reply.status_code, error["param"], error["code"]) == (400, name, "unsupported_parameter")


def test_a_body_over_the_bound_is_refused(world: World) -> None:
    """A body over max_body_bytes is a 413 in OpenAI's shape."""
    reply = world.post(ask(text="x" * 70_000))
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("depth", "status"), [(64, 200), (65, 400), (1000, 400)])
def test_a_body_is_nested_at_most_so_deep(world: World, depth: int, status: int) -> None:
    """Wherever in it: as deep as limits.max_depth is taken, one more is a 400 before any model sees it."""
    inside = "[" * (depth - 1) + "]" * (depth - 1)
    text = json.dumps(ask("ant"))[:-1] + f', "metadata": {inside}}}'
    reply = world.http.post(CHAT, content=text)
    assert reply.status_code == status, reply.text
    if status == 400:
        assert reply.json()["error"]["code"] == "body_too_deep"
        assert "at most 64 deep" in reply.json()["error"]["message"]


@pytest.mark.parametrize("options", [{"max_tokens": 57}, {"messages": [USER] * 5}])
def test_a_prompt_over_every_context_is_refused(world: World, options: dict[str, Any]) -> None:
    """A prompt that, with its answer, is longer than any capable expert's context is context_length_exceeded."""
    assert world.post(ask("tiny", max_tokens=6)).status_code == 200
    reply = world.post(ask("tiny") | options)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tools": [TOOL]}, "tools"),
        ({"functions": [TOOL["function"]]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
    ],
)
@pytest.mark.parametrize("model", ["auto", "ant"])
def test_what_no_expert_can_do_is_refused(world: World, model: str, options: dict[str, Any], param: str) -> None:
    """Tools, JSON or images without a capable expert are a 400 that names them; nothing is stripped silently."""
    reply = world.post(ask(model) | options)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "capability_not_available", param)


def test_tools_go_to_the_expert_that_has_them(world: World) -> None:
    """Where one expert of the policy can use tools, it alone is asked, and the others say why not."""
    why = world.explained("handy", tools=[TOOL])
    assert why["plan"]["experts"] == ["tooled"]
    assert {c["expert"]: c["why"] for c in why["candidates"]} == {"tooled": "only_one", "ant": "tools"}


FIELDS = [
    "model", "messages", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "temperature",
    "top_p", "presence_penalty", "tools", "functions", "response_format", "structured_outputs", "symposium", "stop",
    "logprobs", "top_logprobs", "tool_choice", "seed", "user", "reasoning_effort",
]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
)
KEYS = st.sampled_from(["role", "content", "type", "text", "name", "include_usage", "explain", "user", "x"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": VALUES}), max_size=2)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
@given(st.sampled_from(["auto", "ant"]), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3), MESSAGES)
def test_no_body_is_a_500(world: World, model: str, fields: dict[str, Any], messages: list[Any]) -> None:
    """Whatever JSON a client sends: never a 500, and every refusal has OpenAI's shape."""
    reply = world.post({"model": model, "messages": [*messages, USER], **fields})
    assert reply.status_code != 500, reply.text
    if reply.status_code != 200:
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
