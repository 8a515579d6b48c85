"""Experts that fail, clients that leave, and too many at once: who steps in, and what the client is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.api.world import World, ask, routing
from tests.support import Recorded, eventually, raw_post, said, sse_events

SLOWLY = ("slow1", "slow2", "slow3")


def ends(told: dict[str, Any]) -> list[tuple[str, str]]:
    """How each leg ended."""
    return [(leg["expert"], leg["outcome"]) for leg in told["legs"]]


@pytest.mark.parametrize(("model", "stream"), [("hurt", False), ("hurt", True), ("hurried", True)])
def test_an_expert_that_dies_before_its_first_byte_is_replaced(world: World, model: str, stream: bool) -> None:
    """An expert that fails, or is late, before its first byte is replaced by the next capable one, unseen."""
    reply = world.post(ask(model, stream=stream))
    assert reply.status_code == 200
    assert reply.headers["x-symposium-experts"] == "ant"
    text = said(sse_events(reply)) if stream else reply.json()["choices"][0]["message"]["content"]
    assert text == "The answer is 13."


def test_a_replacement_is_explained(world: World) -> None:
    """The failure of the replaced expert stands beside the answer of the one that stepped in."""
    why = world.explained("hurt")
    assert (why["answered_by"], why["plan"]["experts"]) == ("ant", ["mute"])
    assert ends(why) == [("mute", "refused"), ("ant", "answered")]


def test_a_replacement_in_a_stream_is_explained(world: World) -> None:
    """A streamed answer explains the same: who failed before the first byte stands in the last chunk."""
    *_, last = sse_events(world.post(ask("hurt", stream=True, symposium={"explain": True})))
    assert last["symposium"]["answered_by"] == "ant"
    assert ends(last["symposium"]) == [("mute", "refused"), ("ant", "answered")]


def test_a_voter_that_fails_is_replaced(world: World) -> None:
    """Of three voters the failed one's place is taken by the spare: the vote still has three."""
    why = world.explained("limping")
    assert (why["plan"]["experts"], why["plan"]["spares"]) == (["mute", "ant", "bee"], ["cat"])
    assert sorted(ends(why)) == [(name, "answered") for name in ("ant", "bee", "cat")] + [("mute", "refused")]
    assert "missing" not in why


@pytest.mark.parametrize("stream", [False, True])
def test_only_one_replacement_is_made(world: World, stream: bool) -> None:
    """When the replacement fails too, that is the end: a third expert is not asked."""
    before = world.legs("started", "ant")
    reply = world.post(ask("lost", stream=stream))
    assert reply.status_code == 502
    assert world.legs("started", "ant") == before


@pytest.mark.parametrize("model", ["dead", "mute", "lost"])
def test_all_experts_failing_is_a_502(world: World, client: openai.OpenAI, model: str) -> None:
    """Nobody answering is 502 in OpenAI's shape with the reasons, which the official client reads."""
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(**ask(model))
    assert (caught.value.status_code, caught.value.code, caught.value.type) == (502, "experts_failed", "server_error")
    assert "mute: refused" in caught.value.message
    assert set(world.post(ask(model)).json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(("model", "reason"), [("torn", "unreachable"), ("stuck", "timeout")])
def test_after_the_first_byte_a_failure_ends_the_stream(world: World, model: str, reason: str) -> None:
    """What was said stays; then one error event in OpenAI's shape, then [DONE]: nobody takes it for whole."""
    failed = world.metric("symposium_requests_total", outcome="failed", status="502")
    *chunks, last = sse_events(world.post(ask(model, stream=True, stream_options={"include_usage": True})))
    assert said(chunks) == "The a"
    assert last["error"]["code"] == "stream_broken"
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert reason in last["error"]["message"]
    assert not any(chunk["choices"][0]["finish_reason"] for chunk in chunks)
    eventually(lambda: world.metric("symposium_requests_total", outcome="failed", status="502") == failed + 1)


def test_the_official_client_raises_on_a_broken_stream(client: openai.OpenAI) -> None:
    """The error event reaches users of the official client as an exception in their loop."""
    with pytest.raises(openai.APIError, match="middle of its answer"):
        list(client.chat.completions.create(**ask("torn", stream=True)))


@pytest.mark.parametrize("model", ["torn", "stuck"])
def test_a_whole_answer_that_breaks_off_is_a_502(world: World, model: str) -> None:
    """Without streaming a cut or stalled answer is no answer: nothing of it reaches the client."""
    reply = world.post(ask(model))
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "experts_failed")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_aborts_every_leg(world: World, stream: bool) -> None:
    """Three experts at work stop when the client hangs up; the request counts as cancelled, none is held."""
    before = {name: world.legs("aborted", name) for name in SLOWLY}

    def cancelled() -> float:
        return world.metric("symposium_requests_total", policy="slowly", outcome="cancelled", status="499")

    was = cancelled()
    with raw_post(world.url, ask("slowly", stream=stream)):
        eventually(lambda: world.legs("running", *SLOWLY) == 3)
    eventually(lambda: world.legs("running", *SLOWLY) == 0)
    assert {name: world.legs("aborted", name) for name in SLOWLY} == {name: n + 1 for name, n in before.items()}
    eventually(lambda: world.metric("symposium_in_flight") == 0)
    assert cancelled() == was + 1


@pytest.mark.parametrize("steering", [{}, {"x-request-disconnect-disabled": "?1"}, {"x-request-timeout-seconds": "1"}])
def test_a_client_that_leaves_in_the_middle_aborts_the_leg(world: World, steering: dict[str, str]) -> None:
    """A stream under way is cut at the expert when its reader goes, whatever headers the client sends."""
    before = world.legs("aborted", "slow1")
    with raw_post(world.url, ask("slow1", stream=True), steering) as line:
        got = b""
        while b"La" not in got:
            got += line.recv(4096)
    eventually(lambda: world.legs("aborted", "slow1") == before + 1)
    assert world.legs("running", "slow1") == 0


def test_a_client_that_leaves_before_the_first_byte_aborts_the_leg(world: World) -> None:
    """Before anything has come of a stream, a client that goes ends the call all the same."""
    before = world.legs("aborted", "slow2")
    with raw_post(world.url, ask("slow2")):
        eventually(lambda: world.legs("running", "slow2") == 1)
    eventually(lambda: world.legs("aborted", "slow2") == before + 1)
    eventually(lambda: world.metric("symposium_legs_total", expert="slow2", outcome="cancelled") >= 1)


@pytest.fixture(scope="module")
def narrow(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A router that holds one request at a time."""
    server = {"limits": {"max_in_flight": 1}}
    with routing(tmp_path_factory.mktemp("narrow"), experts, server=server) as running:
        yield running


def test_one_too_many_is_told_to_come_back(narrow: World) -> None:
    """Beyond max_in_flight a request is refused at once with 429 and Retry-After; then there is room again."""
    with raw_post(narrow.url, ask("slow3")):
        eventually(lambda: narrow.legs("running", "slow3") == 1)
        reply = narrow.post(ask("ant"))
        assert reply.status_code == 429
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.headers["x-should-retry"] == "true"
        error = reply.json()["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "overloaded")
    eventually(lambda: narrow.metric("symposium_in_flight") == 0)
    assert narrow.post(ask("ant")).status_code == 200
