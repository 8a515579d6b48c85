"""Experts elsewhere that answer nonsense: the client gets an answer or OpenAI's error, never a crash of ours."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from router.api.app import build_app
from router.opening import at, open_service
from tests.api.world import KeywordEmbedder, ask, config
from tests.support import CHAT, Reply, Stranger, eventually, http_client, on_a_port, streamed

GOOD = b'{"choices": [{"message": {"role": "assistant", "content": "13"}}]'


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stranger, httpx.Client]]:
    """One server behind all experts, and a client of the router in front of them."""
    server = Stranger()
    with on_a_port(server) as where:
        settings = config(tmp_path_factory.mktemp("strange"), where, where)
        app = build_app(lambda: open_service(settings, at("", ""), KeywordEmbedder()))
        with on_a_port(app) as url, http_client(url) as http:
            eventually(lambda: http.get("/ready").status_code == 200)
            yield server, http


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"choices": []}',
        b'{"choices": [null]}',
        b'{"choices": ["13"]}',
        b'{"choices": [{"message": null}]}',
        GOOD + b', "usage": {"prompt_tokens": -5, "completion_tokens": -1}}',
        GOOD + b', "usage": {"prompt_tokens": 1e300, "completion_tokens": "1"}}',
        GOOD + b', "usage": [], "system_fingerprint": {"a": 1}}',
    ],
)
@pytest.mark.parametrize("model", ["solo", "auto"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_nonsense_answer_is_no_crash(
    strange: tuple[Stranger, httpx.Client], model: str, stream: bool, body: bytes
) -> None:
    """Whatever an expert's 200 holds, the client gets a whole response: an answer, or 502 in OpenAI's shape."""
    server, http = strange
    server.reply = Reply((body,))
    reply = http.post(CHAT, json=ask(model, stream=stream))
    assert reply.status_code in (200, 502), reply.text
    if reply.status_code == 502:
        assert reply.json()["error"]["code"] == "experts_failed"
    elif stream:
        assert reply.text.endswith("data: [DONE]\n\n")
    else:
        assert reply.json()["choices"][0]["message"]["content"] == "13"
        assert reply.json()["usage"]["total_tokens"] >= 0


@pytest.mark.parametrize(
    "event",
    [
        b"<html>",
        b"[]",
        b'{"choices": [null]}',
        b'{"choices": "abc"}',
        b'{"choices": [{"index": 0, "delta": {}}], "usage": {"prompt_tokens": -5, "completion_tokens": -1}}',
        b'{"choices": [{"index": 0, "delta": {}}], "usage": "much"}',
        b'{"choices": [{"index": 0, "delta": {}, "x": ' + b'{"a": ' * 400 + b"1" + b"}" * 400 + b"}]}",
    ],
)
def test_a_nonsense_event_is_no_crash(strange: tuple[Stranger, httpx.Client], event: bytes) -> None:
    """In a stream under way nonsense is passed by or ends in an error event; [DONE] always comes."""
    server, http = strange
    server.reply = streamed(b'{"choices": [{"index": 0, "delta": {"content": "13"}}]}', event, b"[DONE]")
    reply = http.post(CHAT, json=ask("solo", stream=True, stream_options={"include_usage": True}))
    assert reply.status_code == 200
    assert reply.text.endswith("data: [DONE]\n\n")
    assert "null]" not in reply.text
    assert "internal_error" not in reply.text
