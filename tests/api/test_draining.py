"""A router replica that is told to drain: what it still does, and what it does not do any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from router.api.app import build_app
from router.api.held import Held
from router.opening import at, open_service
from tests.api.world import KeywordEmbedder, ask, config
from tests.support import CHAT, Recorded, bound, eventually, http_client, on_a_port, raw_post


@dataclass(frozen=True, slots=True)
class Replica:
    """A router, and what the one who stops it holds in hand."""

    url: str
    http: httpx.Client
    held: Held


@pytest.fixture
def replica(experts: Recorded, tmp_path: Path) -> Iterator[Replica]:
    with bound() as closed:
        settings = config(tmp_path, experts.url, f"http://127.0.0.1:{closed.getsockname()[1]}")
        app = build_app(lambda: open_service(settings, at("", ""), KeywordEmbedder()))
        with on_a_port(app) as url, http_client(url) as http:
            eventually(lambda: http.get("/ready").status_code == 200)
            yield Replica(url, http, app.state.held)


def test_a_replica_that_drains_keeps_what_it_holds_and_takes_nothing_new(replica: Replica) -> None:
    """Alive but not ready; new requests get 503 and Retry-After on every endpoint; the stream under way is not cut."""
    with replica.http.stream("POST", CHAT, json=ask("slow1", stream=True)) as stream:
        words = stream.iter_lines()
        assert "data: " in next(words)
        assert replica.held.drain() == 1
        ready, health = replica.http.get("/ready"), replica.http.get("/health")
        assert (ready.status_code, ready.json(), health.status_code) == (503, {"ready": False}, 200)
        for path, body in ((CHAT, ask("ant")), ("/v1/completions", {"model": "ant", "prompt": "?"})):
            refused = replica.http.post(path, json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.headers["x-should-retry"] == "true"
        assert any(line.startswith("data: ") for line in (next(words) for _ in range(6)))  # it goes on
    eventually(lambda: replica.held.drain() == 0)


def test_who_asks_how_many_are_left_is_told(replica: Replica) -> None:
    """The count of what is still held falls to nothing when the last one has ended, whichever way."""
    with raw_post(replica.url, ask("slow1")):
        eventually(lambda: replica.held.count == 1)
        assert replica.held.drain() == 1
    eventually(lambda: replica.held.drain() == 0)
