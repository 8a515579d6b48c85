"""Experts elsewhere that count wrongly, or not at all: what is booked for them, and what their clients are charged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from router.api.app import build_app
from router.opening import at, open_service
from tests.api.journal import entries
from tests.api.world import KeywordEmbedder, ask, config
from tests.support import CHAT, Stranger, eventually, eventually_equal, http_client, on_a_port, sse_events, streamed

TOKEN = b'{"choices": [{"index": 0, "delta": {"content": "13 "}}]}'
END = b'{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'
HELD_NANOS = 5 * 1000 + 6 * 2000  # the question, and six tokens
LIMIT_NANOS = 10 * HELD_NANOS


def usage(prompt: int, output: int) -> bytes:
    return b'{"choices": [], "usage": {"prompt_tokens": %d, "completion_tokens": %d}}' % (prompt, output)


@pytest.fixture
def strange(tmp_path: Path) -> Iterator[tuple[Stranger, httpx.Client]]:
    """One server behind all experts, and a client of the router in front of them; there is money for ten calls."""
    server = Stranger()
    with on_a_port(server) as where:
        settings = config(tmp_path, where, where, tenants={"default": {"usd_per_month": LIMIT_NANOS / 1e9}})
        app = build_app(lambda: open_service(settings, at("", ""), KeywordEmbedder()))
        with on_a_port(app) as url, http_client(url) as http:
            eventually(lambda: http.get("/ready").status_code == 200)
            yield server, http


@pytest.mark.parametrize(
    "events",
    [
        (TOKEN, END, b"[DONE]"),
        (TOKEN, END, usage(0, 0), b"[DONE]"),
        (TOKEN, END, usage(-4, 6), b"[DONE]"),
        (TOKEN,),
        (),
    ],
    ids=["says nothing", "says nothing was used", "says nonsense", "breaks off", "breaks off at once"],
)
def test_what_nobody_counted_costs_what_was_held(
    strange: tuple[Stranger, httpx.Client], tmp_path: Path, events: tuple[bytes, ...]
) -> None:
    """It may bill that much; marked as an estimate, and told to the client as it is booked."""
    server, http = strange
    server.reply = streamed(*events)
    answer = http.post(CHAT, json=ask("ant", max_tokens=6))
    eventually_equal(lambda: [(e.charged, e.estimated) for e in entries(tmp_path)], [(HELD_NANOS, True)])
    assert answer.status_code == (200 if b"[DONE]" in events else 502)
    if answer.status_code == 200:
        (leg,) = answer.json()["symposium"]["legs"]
        assert (leg["cost_usd"], leg["estimated"]) == (pytest.approx(HELD_NANOS / 1e9), True)


def test_who_claims_more_than_was_asked_for_is_paid_within_the_limit(
    strange: tuple[Stranger, httpx.Client], tmp_path: Path
) -> None:
    """The rest is in the journal, and nobody pays it."""
    server, http = strange
    server.reply = streamed(TOKEN, END, usage(5, 10**9), b"[DONE]")
    assert http.post(CHAT, json=ask("ant", max_tokens=6)).status_code == 200
    eventually_equal(lambda: [e.charged for e in entries(tmp_path)], [LIMIT_NANOS])
    assert entries(tmp_path)[0].overrun == 5 * 1000 + 10**9 * 2000 - LIMIT_NANOS
    assert http.post(CHAT, json=ask("ant", max_tokens=6)).json()["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize("stream", [False, True])
def test_who_goes_on_beyond_what_was_asked_for_is_stopped(
    strange: tuple[Stranger, httpx.Client], tmp_path: Path, stream: bool
) -> None:
    """The answer ends there, says so, and costs no more than it might."""
    server, http = strange
    server.reply = streamed(*[TOKEN] * 500, END, b"[DONE]")
    answer = http.post(CHAT, json=ask("ant", max_tokens=6, stream=stream))
    if stream:
        said, reason = "", None
        for chunk in sse_events(answer):
            for choice in chunk["choices"]:
                said, reason = said + choice["delta"].get("content", ""), choice.get("finish_reason") or reason
    else:
        (choice,) = answer.json()["choices"]
        said, reason = choice["message"]["content"], choice["finish_reason"]
    assert len(said.split()) < 30
    assert reason == "length"
    eventually_equal(lambda: [(e.charged, e.overrun) for e in entries(tmp_path)], [(HELD_NANOS, 0)])
