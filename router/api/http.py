"""Small HTTP tools over plain ASGI: bounded bodies, JSON and error responses, noticing that the client left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

import orjson
from starlette.types import Message, Receive, Scope, Send

from router.errors import BodyTooLarge, SymposiumError

T = TypeVar("T")
BODY_LIMIT_S = 30.0


class ClientGone(Exception):
    """The client closed the connection before the end of the answer."""


class BodyTooSlow(SymposiumError):
    status, kind = 408, "invalid_request_error"


def header(scope: Scope, name: str) -> str | None:
    """First value of a header, by lower-case name."""
    wanted = name.encode()
    return next((v.decode("latin-1") for k, v in scope["headers"] if k.lower() == wanted), None)


def header_values(scope: Scope, name: str) -> list[str]:
    """All values of a header, by lower-case name."""
    wanted = name.encode()
    return [v.decode("latin-1") for k, v in scope["headers"] if k.lower() == wanted]


async def read_body(receive: Receive, max_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as it is over, ClientGone when it never ends."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            raise BodyTooLarge(f"The request body is over {max_bytes} bytes.", code="body_too_large")
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


async def body_in_time(receive: Receive, max_bytes: int) -> bytes:
    """As `read_body`. Raises BodyTooSlow where it has not come within BODY_LIMIT_S."""
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            return await read_body(receive, max_bytes)
    except TimeoutError as error:
        raise BodyTooSlow(f"The body did not arrive within {BODY_LIMIT_S:g} s.", code="body_too_slow") from error


async def send_in_time(send: Send, message: Message, limit_s: float) -> None:
    """Raises ClientGone where the client has stopped reading."""
    try:
        async with asyncio.timeout(limit_s):
            await send(message)
    except TimeoutError as error:
        raise ClientGone from error


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """Awaits `work`, cancelling it (and waiting for its clean-up) the moment the client is gone.

    `receive` itself is watched: Serve's own cancelling can be switched off by a client's header.

    Raises:
        ClientGone: after `work` has been cancelled.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            raise ClientGone
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_json(send: Send, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
    await send_bytes(send, status, orjson.dumps(body), "application/json", headers)


async def send_bytes(
    send: Send, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
) -> None:
    fields = {"content-type": content_type, "content-length": str(len(body))} | dict(headers or {})
    await start(send, status, fields)
    await send({"type": "http.response.body", "body": body})


async def start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": raw_headers(headers)})


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI wants them."""
    return [(k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in headers.items()]


async def send_error(send: Send, error: SymposiumError, headers: Mapping[str, str] | None = None) -> None:
    await send_json(send, error.status, error.body(), error.headers() | dict(headers or {}))
