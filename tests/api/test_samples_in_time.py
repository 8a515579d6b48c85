"""Deadlines of several samples, and of bare completions: whatever was begun is ended, and nothing else is made up.

The one expert here says a little of each choice, and then nothing more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.api.world import SUM, World, ask, routing
from tests.support import CHAT, Recorded, http_client, on_a_port, sse_events

COMPLETIONS = "/v1/completions"
IN_TIME = {"symposium": {"budget": {"deadline_ms": 500}}}
STALLS_S = 30.0  # long after every deadline here


async def stalling(request: Request) -> Response:
    """The first half of each choice's words; choices after the second say nothing at all."""
    body = await request.json()
    chat = "messages" in body
    head = {
        "id": "x",
        "created": 1,
        "model": body["model"],
        "object": "chat.completion.chunk" if chat else "text_completion",
    }

    async def events() -> AsyncIterator[str]:
        for index in range(min(body.get("n") or 1, 2)):
            said: dict[str, Any] = {"delta": {"content": f"So {index}"}} if chat else {"text": f"So {index}"}
            choice = {"index": index, "finish_reason": None} | said
            yield f"data: {json.dumps(head | {'choices': [choice]})}\n\n"
        await asyncio.sleep(STALLS_S)

    return StreamingResponse(events(), media_type="text/event-stream")


async def fine(_: Request) -> Response:
    return JSONResponse({})


@pytest.fixture(scope="module")
def stalled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    asked = [Route(path, stalling, methods=["POST"]) for path in (CHAT, COMPLETIONS)]
    experts = Starlette(routes=[*asked, Route("/{path:path}", fine)])
    with (
        on_a_port(experts) as url,
        http_client(url) as http,
        routing(tmp_path_factory.mktemp("stalled"), Recorded(url, http)) as running,
    ):
        yield running


def ends(events: list[dict[str, Any]]) -> dict[int, str]:
    """Choice -> its finish reason, of a stream."""
    choices = [choice for event in events for choice in event["choices"]]
    return {choice["index"]: choice["finish_reason"] for choice in choices if choice["finish_reason"]}


@pytest.mark.parametrize("n", [1, 2])
def test_every_choice_that_was_begun_is_ended(stalled: World, n: int) -> None:
    """In a stream: each by `length`, and the last chunk says why; also with the usage that was asked for."""
    body = ask("ant", n=n, stream=True, stream_options={"include_usage": True}, **IN_TIME)
    events = sse_events(stalled.post(body))
    assert ends(events) == dict.fromkeys(range(n), "length")
    assert events[-1]["symposium"]["ended_early"] == "deadline"
    assert events[-1]["usage"]["completion_tokens"] >= n


def test_of_whole_choices_those_that_were_begun_are_the_answer(stalled: World) -> None:
    """What nobody has begun is not made up."""
    answer = stalled.post(ask("ant", n=3, **IN_TIME)).json()
    assert [(c["index"], c["finish_reason"], c["message"]["content"]) for c in answer["choices"]] == [
        (0, "length", "So 0"),
        (1, "length", "So 1"),
    ]
    assert answer["symposium"]["ended_early"] == "deadline"


@pytest.mark.parametrize("stream", [False, True])
def test_bare_completions_keep_their_deadline_as_chats_do(stalled: World, stream: bool) -> None:
    """Their text ends where it was; the reason is in the response, or the stream's last chunk."""
    body = {"model": "ant", "prompt": SUM, "stream": stream, **IN_TIME}
    reply = stalled.http.post(COMPLETIONS, json=body)
    events = sse_events(reply) if stream else [reply.json()]
    assert ends(events) == {0: "length"}
    assert events[0]["choices"][0]["text"] == "So 0"
    assert events[-1]["symposium"]["ended_early"] == "deadline"
