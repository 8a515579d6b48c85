"""Tools through several experts: they vote on what is called with what, and the call comes through whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from router.api.app import build_app
from router.opening import at, open_service
from tests.api.world import POLICIES, KeywordEmbedder, ask, config
from tests.support import CHAT, Stranger, eventually, http_client, on_a_port, openai_client, sse_events, streamed

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
POLICY = {"handed": {"experts": ["tooled", "tooled2"], "decided_at": None}}
CALL: list[dict[str, Any]] = [
    {"role": "assistant", "content": None},
    {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 6,'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": ' "b": 7}'}}]},
]
WHOLE = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 6, "b": 7}'}}


def events(deltas: list[dict[str, Any]]) -> Iterator[bytes]:
    """As an expert streams them."""
    for delta in deltas:
        yield orjson.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield orjson.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    yield b"[DONE]"


@pytest.fixture(scope="module")
def handy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A router all of whose experts make the same call."""
    server = Stranger()
    server.reply = streamed(*events(CALL))
    with on_a_port(server) as where:
        settings = config(tmp_path_factory.mktemp("handy"), where, where, policies=POLICIES | POLICY)
        app = build_app(lambda: open_service(settings, at("", ""), KeywordEmbedder()))
        with on_a_port(app) as url, http_client(url) as http:
            eventually(lambda: http.get("/ready").status_code == 200)
            yield http


def test_experts_vote_on_the_call(handy: httpx.Client) -> None:
    """Two make the same call: one answer, two supporters, and the tools were never left out."""
    reply = handy.post(CHAT, json=ask("handed", tools=[TOOL], symposium={"explain": True})).json()
    (vote,) = reply["symposium"]["vote"]["answers"]
    assert sorted(vote["experts"]) == ["tooled", "tooled2"]
    assert orjson.loads(vote["answer"]) == [["add", '{"a":6,"b":7}']]
    (choice,) = reply["choices"]
    assert (choice["message"]["tool_calls"], choice["finish_reason"]) == ([WHOLE], "tool_calls")


@pytest.mark.parametrize("model", ["handed", "tooled"])
def test_a_streamed_call_is_read_by_the_official_client(handy: httpx.Client, model: str) -> None:
    """Voted on or relayed, the deltas add up to the call."""
    with (
        openai_client(str(handy.base_url)) as client,
        client.chat.completions.stream(**ask(model, tools=[TOOL])) as stream,
    ):
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "add", '{"a": 6, "b": 7}')


def test_who_cannot_call_is_not_asked(handy: httpx.Client) -> None:
    """Of two experts the better one has no tools: the other is asked, and the reason is shown."""
    found = handy.post(CHAT, json=ask("handy", tools=[TOOL], symposium={"explain": True})).json()["symposium"]
    assert found["answered_by"] == "tooled"
    assert {c["expert"]: c["why"] for c in found["candidates"]}["ant"] == "tools"
    chunks = sse_events(handy.post(CHAT, json=ask("handy", tools=[TOOL], stream=True)))
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
