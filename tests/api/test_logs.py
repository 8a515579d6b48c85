"""What a running router writes to its logs, all of them, while requests with secrets in them go well and wrong."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from router.logs import write_to
from tests.api.world import KEY, SUM, World, ask
from tests.support import eventually, raw_post

PROMPT, CLIENT_KEY = "Mrs. Unmistakable asks: what is 6 + 7?", "sk-of-a-client-0123456789"
HEADERS = {"authorization": f"Bearer {CLIENT_KEY}"}


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """All loggers of the process at their most talkative, ours as they are in a replica."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    own = logging.getLogger("router")
    try:
        write_to(logging.StreamHandler(text), "router", level=logging.DEBUG)
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        own.handlers, own.propagate = [], True
        own.setLevel(logging.NOTSET)


def test_no_log_has_a_prompt_or_a_key_in_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answered, refused, failed, left, broken inside: what was asked, and with which key, is nowhere."""
    with everything_logged() as text:
        answered = ask("auto") | {"messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": SUM}]}
        assert world.post(answered, **HEADERS).status_code == 200
        assert world.post(ask("nobody", PROMPT), **HEADERS).status_code == 404
        assert world.post(ask("auto", PROMPT, n="many"), **HEADERS).status_code == 400
        assert world.post(ask("dead", PROMPT), **HEADERS).status_code == 502
        cancelled = world.metric("symposium_requests_total", outcome="cancelled")
        with raw_post(world.url, ask("slow1", stream=True), HEADERS) as line:
            line.recv(1)
        eventually(lambda: world.metric("symposium_requests_total", outcome="cancelled") == cancelled + 1)
        with monkeypatch.context() as broken:
            broken.setattr("router.api.chat.completion", _quoting)
            assert world.post(ask("ant"), **HEADERS).status_code == 500
        eventually(lambda: "unexpected error" in text.getvalue())
    written = text.getvalue()
    for secret in (PROMPT, "Unmistakable", CLIENT_KEY, KEY):
        assert secret not in written
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    told = {line["message"]: line for line in lines}
    assert {"failed", "cancelled by the client", "unexpected error"} <= told.keys()
    assert all(line["request_id"].startswith("req_") for line in told.values())
    assert [line["code"] for line in lines if line["message"] == "failed"] == ["experts_failed", "internal_error"]


def _quoting(*_: object) -> None:
    raise ValueError(f"what came of {PROMPT} with {CLIENT_KEY}")
