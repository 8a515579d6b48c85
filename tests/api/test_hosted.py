"""Hosted experts as the router sees them through their guard, without Ray Serve: readiness, and servers that go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from experts.guard import Guard
from experts.recorded import build_app as build_recorded
from experts.recorded_book import AnswerBook, Behaviour
from router.api.app import build_app
from router.config import Config
from router.opening import at, open_service
from tests.api.world import SUM, KeywordEmbedder, ask, fitted
from tests.support import CHAT, eventually, http_client, on_a_port, raw_post

TOKEN = "t" * 32
PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}


class Hosted:
    """Two engines of ours behind the guard; each is there while its name is in `up`. "two" never answers."""

    def __init__(self) -> None:
        book = AnswerBook.from_rows([(SUM, name, "13", 1) for name in ("one", "two")])
        self.experts = build_recorded(book, {"two": Behaviour(ttft_s=3600)})
        doors = Guard(self.experts, TOKEN)
        self._app = Starlette(routes=[Mount(f"/experts/{name}", doors) for name in ("one", "two")])
        self.up: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].split("/")[2] not in self.up:
            await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)


def config(folder: Path) -> Config:
    fitted().save(folder / "fitted.npz")
    engine = {"model": "somewhere/weights", "accelerator": "cpu"}
    return Config.model_validate(
        {
            "version": 1,
            "engines": {"one": engine, "two": engine},
            "experts": {n: {"engine": n, "context_tokens": 4096, "price": PRICE} for n in ("one", "two")},
            "routing": {
                "embedder": {"model": KeywordEmbedder.name},
                "fitted": str(folder / "fitted.npz"),
                "profiles": str(folder / "none-yet.json"),
                "general_expert": "one",
            },
            "policies": {"auto": {"max_experts": 1}},
        }
    )


@pytest.fixture
def hosted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hosted, httpx.Client]]:
    """The engines and a client of the router in front of them; probes come fast, so that tests do not wait."""
    monkeypatch.setattr("router.watch.HOSTED_PERIOD_S", 0.02)
    engines, settings = Hosted(), config(tmp_path)
    with on_a_port(engines) as where:
        app = build_app(lambda: open_service(settings, at(where, TOKEN), KeywordEmbedder()))
        with on_a_port(app) as url, http_client(url) as http:
            yield engines, http


def test_ready_when_every_hosted_expert_has_answered(hosted: tuple[Hosted, httpx.Client]) -> None:
    """/ready is 503 until a probe of each hosted expert succeeded; before, chats are told when to come back."""
    engines, http = hosted
    assert http.get("/health").status_code == 200
    assert (http.get("/ready").status_code, http.get("/ready").json()) == (503, {"ready": False})
    refused = http.post(CHAT, json=ask("auto"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_expert_available")
    assert int(refused.headers["retry-after"]) >= 1

    engines.up.add("one")
    eventually(lambda: http.post(CHAT, json=ask("one")).status_code == 200)
    assert http.get("/ready").status_code == 503

    engines.up.add("two")
    eventually(lambda: http.get("/ready").status_code == 200)


def test_experts_without_a_profile_are_visibly_unmeasured(hosted: tuple[Hosted, httpx.Client]) -> None:
    """Before anything was measured every expert is asked on the prior alone, and the explanation says so."""
    engines, http = hosted
    engines.up |= {"one", "two"}
    eventually(lambda: http.get("/ready").status_code == 200)
    reply = http.post(CHAT, json=ask("auto", symposium={"explain": True})).json()
    assert reply["choices"][0]["message"]["content"] == "13"
    assert [c["observations"] for c in reply["symposium"]["candidates"]] == [0, 0]
    assert 'symposium_unprofiled_candidate_total{expert="one"} 1.0' in http.get("/metrics").text


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_waiting_on_a_server_that_went_is_released(hosted: tuple[Hosted, httpx.Client], stream: bool) -> None:
    """When probes of an expert's server fail, calls still waiting for its first byte end as unreachable."""
    engines, http = hosted
    engines.up |= {"one", "two"}
    eventually(lambda: http.get("/ready").status_code == 200)
    with raw_post(str(http.base_url), ask("two", stream=stream)) as line:
        eventually(lambda: engines.experts.legs["two"]["running"] == 1)
        engines.up.remove("two")
        answer = line.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 502")
    assert b"two: unreachable" in answer
    eventually(lambda: engines.experts.legs["two"]["aborted"] == 1)


def test_one_dead_engine_leaves_the_others_ready(hosted: tuple[Hosted, httpx.Client]) -> None:
    """Once all were seen, readiness lasts as long as any expert is up; the dead one is excluded as down."""
    engines, http = hosted
    engines.up |= {"one", "two"}
    eventually(lambda: http.get("/ready").status_code == 200)
    engines.up.remove("two")
    eventually(lambda: http.post(CHAT, json=ask("two")).status_code == 503)
    why = http.post(CHAT, json=ask("auto", symposium={"explain": True})).json()["symposium"]
    assert {c["expert"]: c["why"] for c in why["candidates"]} == {"one": "policy_single", "two": "down"}
    assert http.get("/ready").status_code == 200
    engines.up.clear()
    eventually(lambda: http.get("/ready").status_code == 503)
