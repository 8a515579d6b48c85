"""A keyword expert that floods, dawdles or is away: the question is answered, and nobody waits or pays for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from router.api.app import build_app
from router.opening import at, open_service
from tests.api.world import NAMER, KeywordEmbedder, World, ask, config
from tests.support import Recorded, Reply, Stranger, bound, eventually, http_client, on_a_port, raw_post

TIMEOUT_S = 0.3


class Dawdler:
    """Answers everything at once but chats: those never. `waiting` counts them until their callers go."""

    def __init__(self) -> None:
        self.waiting = 0
        self.left = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])  # servers take it as "not supported"
        if scope["method"] == "POST":
            self.waiting += 1
            while (await receive())["type"] != "http.disconnect":
                pass
            self.waiting -= 1
            self.left += 1
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


@contextmanager
def named_by(namer: Any, folder: Path, experts: Recorded, timeout_s: float) -> Iterator[World]:
    """The usual router, with another keyword expert."""
    with bound() as closed, on_a_port(namer) as where:
        usual = config(folder, experts.url, f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert usual.routing.keywords is not None
        keywords = usual.routing.keywords.model_copy(update={"timeout_s": timeout_s, "samples": 3})
        other = usual.experts[NAMER].model_copy(update={"base_url": f"{where}/v1"})
        settings = usual.model_copy(
            update={
                "experts": {**usual.experts, NAMER: other},
                "routing": usual.routing.model_copy(update={"keywords": keywords}),
            }
        )
        app = build_app(lambda: open_service(settings, at("", ""), KeywordEmbedder()))
        with on_a_port(app) as url, http_client(url) as http:
            world = World(url, http, experts)
            eventually(lambda: world.metric("symposium_expert_up") == len(settings.experts) - 1)
            yield world


def test_no_more_is_read_than_was_asked_for(tmp_path: Path, experts: Recorded) -> None:
    """A thousand samples of four strange skills each: three count, and the explanation stays small."""
    choices = [
        {"message": {"role": "assistant", "content": f"Keywords: a{i}, b{i}, c{i}, d{i}, " + "x" * 5000}}
        for i in range(1000)
    ]
    namer = Stranger()
    namer.reply = Reply((json.dumps({"choices": choices}).encode(),))
    with named_by(namer, tmp_path, experts, 30) as world:
        found = world.explained("named")
    ((said,),) = [[leg["said"] for leg in found["asides"]]]
    assert [len(text) for text in said] == [200, 200, 200]
    assert len(found["unknown_skills"]) == 3 * 4
    assert (found["skills_from"], found["skills"]) == ("embedding", {"addition": 1.0})


def test_a_dawdling_keyword_expert_is_given_up(tmp_path: Path, experts: Recorded) -> None:
    """After timeout_s its leg is aborted, shown and counted as a timeout; its time is not the router's own."""
    namer = Dawdler()
    with named_by(namer, tmp_path, experts, TIMEOUT_S) as world:
        found = world.explained("named")
        assert [leg["failed"] for leg in found["asides"]] == ["timeout"]
        assert (found["skills_from"], found["answered_by"]) == ("embedding", "ant")
        assert found["overhead_ms"] < 1000 * TIMEOUT_S
        assert world.metric("symposium_legs_total", expert=NAMER, outcome="timeout") == 1
        assert world.metric("symposium_keywords_total", outcome="failed") == 1
        eventually(lambda: (namer.waiting, namer.left) == (0, 1))


def test_a_client_that_leaves_while_skills_are_named_aborts_the_leg(tmp_path: Path, experts: Recorded) -> None:
    """Before anything was decided, too: the keyword expert is released, the request counts as cancelled."""
    namer = Dawdler()
    with named_by(namer, tmp_path, experts, 60) as world:
        with raw_post(world.url, ask("named")):
            eventually(lambda: namer.waiting == 1)
        eventually(lambda: (namer.waiting, namer.left) == (0, 1))
        eventually(lambda: world.metric("symposium_requests_total", outcome="cancelled", status="499") == 1)
        assert world.metric("symposium_in_flight") == 0


@pytest.mark.parametrize("stream", [False, True])
def test_what_naming_skills_cost_is_in_the_usage(world: World, stream: bool) -> None:
    """The sum over all legs, the keyword expert's too, whole and streamed."""
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    text = world.post(ask("named", **options)).text
    last = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line and "[DONE]" not in line][-1]
    found = last["symposium"]
    legs = [leg["usage"]["total_tokens"] for leg in found["legs"]]
    assert [leg["role"] for leg in found["legs"]] == ["keywords", *["answer"] * (len(legs) - 1)]
    assert len(legs) >= 2
    assert last["usage"]["total_tokens"] == sum(legs)
