"""A stream that tells the route as it happens: in order, for any client, with errors as events."""

from __future__ import annotations

from typing import Any

import openai

from tests.api.world import ODD, World, ask
from tests.support import eventually, said, sse_events

PROGRESS = {"stream": True, "symposium": {"progress": True, "explain": True}}


def told(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our objects of a stream, in order."""
    return [chunk["symposium"] for chunk in chunks if "symposium" in chunk]


def test_a_vote_is_told_leg_by_leg(world: World) -> None:
    """First the decision, then each expert's end, then the answer, at last the outcome."""
    chunks = sse_events(world.post(ask("auto", **PROGRESS)))
    events = told(chunks)
    assert [e.get("event") for e in events] == ["decided", "answered", "answered", "answered", None]
    assert events[0]["plan"]["experts"] == [c["expert"] for c in events[0]["candidates"] if c["taken"]]
    assert sorted(e["expert"] for e in events[1:4]) == sorted(events[0]["plan"]["experts"])
    assert events[-1]["answered_by"] in events[0]["plan"]["experts"]
    first_words = next(i for i, chunk in enumerate(chunks) if chunk["choices"])
    assert all("symposium" in chunk for chunk in chunks[:first_words])
    assert said(chunks) == "The answer is 13."


def test_a_single_expert_s_replacement_is_told(world: World) -> None:
    """Decided, the first expert's failure, then the words of the one that stepped in, and its end."""
    chunks = sse_events(world.post(ask("hurt", **PROGRESS)))
    events = [(e.get("event"), e.get("expert")) for e in told(chunks)]
    assert events == [("decided", None), ("failed", "mute"), ("answered", "ant"), (None, None)]
    assert said(chunks) == "The answer is 13."
    assert chunks[-2]["symposium"]["usage"]["completion_tokens"] == 6


def test_every_failure_is_told_before_the_error(world: World) -> None:
    """The single expert and the one that stepped in both fail: both are told, then the error."""
    chunks = sse_events(world.post(ask("lost", **PROGRESS)))
    events = [(e["event"], e.get("expert")) for e in told(chunks)]
    assert events == [("decided", None), ("failed", "mute"), ("failed", "numb")]
    assert chunks[-1]["error"]["code"] == "experts_failed"


def test_an_answer_that_breaks_off_is_told(world: World) -> None:
    """Words have been sent; then the expert's failure is told, then the error."""
    chunks = sse_events(world.post(ask("torn", **PROGRESS)))
    assert [e["event"] for e in told(chunks)] == ["decided", "failed"]
    assert (said(chunks[:-1]), chunks[-1]["error"]["code"]) == ("The a", "stream_broken")


def test_errors_after_the_route_are_events(world: World) -> None:
    """The stream has begun: nobody's answer is an error event and an orderly end, counted as failed."""
    before = world.metric("symposium_requests_total", outcome="failed", policy="dead")
    response = world.post(ask("dead", **PROGRESS))
    chunks = sse_events(response)
    assert response.status_code == 200
    assert told(chunks)[0]["event"] == "decided"
    assert chunks[-1]["error"]["code"] == "experts_failed"
    eventually(lambda: world.metric("symposium_requests_total", outcome="failed", policy="dead") == before + 1)


def test_errors_before_the_route_are_responses(world: World) -> None:
    """What is refused before anything was decided has its own status."""
    assert world.post(ask("nobody", **PROGRESS)).status_code == 404


def test_progress_needs_a_stream(world: World) -> None:
    """A whole answer cannot tell what happens on the way: 400, with the field and the remedy."""
    error = world.post(ask("auto", symposium={"progress": True})).json()["error"]
    assert (error["param"], error["code"]) == ("symposium.progress", "invalid_value")
    assert "stream" in error["message"]


def test_any_client_reads_past_it(client: openai.OpenAI) -> None:
    """The official client sees chunks without choices before the first words."""
    stream = client.chat.completions.create(
        **ask("auto", ODD, stream=True), extra_body={"symposium": {"progress": True}}
    )
    chunks = list(stream)
    assert chunks[0].choices == []
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "La."
