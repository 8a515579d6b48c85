"""What several rooms of tests share: applications on real sockets, recorded experts, requests by hand, patience.

Every server here listens on a free port of 127.0.0.1, runs in a thread and is stopped when its block ends.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from experts.recorded import build_app
from experts.recorded_book import AnswerBook, Behaviour

PATIENCE_S = 30.0  # for what takes milliseconds
CHAT = "/v1/chat/completions"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # everything here is plain HTTP: reading certificates takes 50 ms


def eventually(happened: Callable[[], bool]) -> None:
    """Waits for something that another thread or process brings about."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def eventually_equal(read: Callable[[], object], expected: object) -> None:
    """`eventually`, showing both values when it does not happen."""
    end = time.monotonic() + PATIENCE_S
    while (found := read()) != expected:
        assert time.monotonic() < end, f"{found} instead of {expected}"
        time.sleep(0.01)


async def becomes_true(happened: Callable[[], bool]) -> None:
    """`eventually`, for tests whose own event loop has to go on meanwhile."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.01)


async def becomes_equal(read: Callable[[], object], expected: object) -> None:
    """`becomes_true`, showing both values when it does not happen."""
    end = time.monotonic() + PATIENCE_S
    while (found := read()) != expected:
        assert time.monotonic() < end, f"{found} instead of {expected}"
        await asyncio.sleep(0.01)


def http_client(url: str, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=PATIENCE_S, verify=NO_TLS, trust_env=False, **options)


def openai_client(url: str, key: str = "none") -> openai.OpenAI:
    """The official client of a server at `url`; to be closed. Repeats nothing by itself."""
    http = openai.DefaultHttpxClient(verify=NO_TLS, trust_env=False)
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=PATIENCE_S, http_client=http)


class _Server(uvicorn.Server):
    """Stops at once where uvicorn's own looks every 0.1 s whether it should."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        if not self.should_exit:
            await self._stopped.wait()

    def stop(self) -> None:
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)


def bound() -> socket.socket:
    """A free port that is ours and refuses connections until it is given to `on_a_port`."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


@contextmanager
def on_a_port(app: ASGIApp, listener: socket.socket | None = None) -> Iterator[str]:
    """The application behind uvicorn; its URL. Its lifespan runs when it has one."""
    listener = listener or bound()
    server = _Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],))
    with listener:
        thread.start()
        try:
            eventually(lambda: server.started or not thread.is_alive())
            assert server.started, "the application did not start"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "the server did not stop"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recorded experts under test: their address, and what they count."""

    url: str
    http: httpx.Client

    def counts(self, model: str) -> dict[str, int]:
        found: dict[str, int] = self.http.get("/internal/legs").json()[model]
        return found


@contextmanager
def recorded(
    rows: Iterable[tuple[str, str, str, int]], behaviours: Mapping[str, Behaviour], api_key: str | None = None
) -> Iterator[Recorded]:
    """`rows`: (question, model, answer, output tokens)."""
    app = build_app(AnswerBook.from_rows(rows), behaviours, api_key=api_key)
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    with on_a_port(app) as url, http_client(url, headers=headers) as http:
        yield Recorded(url, http)


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP response, sent in the given pieces."""

    pieces: tuple[bytes, ...]
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Stranger:
    """A server of somebody else: the same reply to every chat request, and 200 with `elsewhere` to anything else.

    `strayed` counts what did not come to the chat.
    """

    def __init__(self, elsewhere: bytes = b"{}") -> None:
        self.reply = self._elsewhere = Reply((elsewhere,))
        self.strayed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])  # servers take it as "not supported"
        while (await receive()).get("more_body", False):
            pass
        known = scope["path"] == CHAT
        self.strayed += not known
        reply = self.reply if known else self._elsewhere
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        for piece in reply.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def streamed(*events: bytes) -> Reply:
    return Reply(tuple(b"data: " + event + b"\n\n" for event in events))


@contextmanager
def raw_post(url: str, body: object, headers: Mapping[str, str] | None = None) -> Iterator[socket.socket]:
    """A chat request sent by hand; leaving the block closes the connection, whatever has come by then."""
    where, content = httpx.URL(url), json.dumps(body).encode()
    fields = {"host": where.host, "content-length": str(len(content))} | dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection((where.host, where.port or 80), timeout=PATIENCE_S) as line:
        line.sendall(f"POST {CHAT} HTTP/1.1\r\n{head}\r\n".encode() + content)
        yield line


def sse_events(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, which must end in [DONE]; comments are read past."""
    *lines, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in lines if not line.startswith(": ")]


def said(chunks: Iterable[dict[str, Any]]) -> str:
    """The text of a stream's chunks, joined."""
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
