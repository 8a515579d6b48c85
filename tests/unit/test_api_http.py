"""HTTP tools over plain ASGI: bounded bodies, and work that ends with its client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson
import pytest
from starlette.types import Message, Receive

from router.api.http import ClientGone, header, read_body, send_error, send_json, start, while_connected
from router.errors import BodyTooLarge, Overloaded

DISCONNECT: Message = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool = True) -> Message:
    """A part of a request's body."""
    return {"type": "http.request", "body": body, "more_body": more}


def client(*messages: Message) -> Receive:
    """Says these, then is silent for good."""
    left = list(messages)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return receive


class Work:
    """Something a request waits for: ends when told, and notes that it was cancelled and cleaned up."""

    def __init__(self) -> None:
        self.started, self.finish, self.events = asyncio.Event(), asyncio.Event(), list[str]()

    async def run(self) -> str:
        self.started.set()
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.events.append("cancelled")
            await asyncio.sleep(0)
            self.events.append("cleaned up")
            raise
        return "done"


async def test_a_body_in_pieces_is_put_together() -> None:
    """Pieces in order, until one says that it is the last; a piece may be empty."""
    assert await read_body(client(piece(b"ab"), piece(b""), piece(b"c", more=False)), 3) == b"abc"
    assert await read_body(client({"type": "http.request"}), 3) == b""


async def test_a_body_over_the_bound_is_refused_as_soon_as_it_is_over() -> None:
    """The rest is never asked for: an endless body ends at the bound."""
    asked = 0

    async def endless() -> Message:
        nonlocal asked
        asked += 1
        return piece(b"xxxx")

    with pytest.raises(BodyTooLarge) as caught:
        await read_body(endless, 10)
    assert (caught.value.status, asked) == (413, 3)


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_gone() -> None:
    """A half body is no request."""
    with pytest.raises(ClientGone):
        await read_body(client(piece(b"ab"), DISCONNECT), 10)


async def test_work_that_ends_while_connected_gives_its_result() -> None:
    """The client is silent; what it sends beside is ignored."""
    work = Work()
    work.finish.set()
    assert await while_connected(client(piece(b"")), work.run()) == "done"


async def test_works_exception_comes_out_unchanged() -> None:
    """The very exception, not wrapped."""
    error = Overloaded("no", code="overloaded")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(Overloaded) as caught:
        await while_connected(client(), fail())
    assert caught.value is error


async def test_work_is_cancelled_when_the_client_leaves() -> None:
    """ClientGone comes only after the work has cleaned up."""
    work, left = Work(), asyncio.Event()

    async def receive() -> Message:
        await left.wait()
        return DISCONNECT

    waiting = asyncio.create_task(while_connected(receive, work.run()))
    await work.started.wait()
    left.set()
    with pytest.raises(ClientGone):
        await waiting
    assert work.events == ["cancelled", "cleaned up"]


async def test_a_client_that_has_left_before_gets_no_work_done() -> None:
    """Already gone: ClientGone, and nothing was left running."""
    work = Work()
    with pytest.raises(ClientGone):
        await while_connected(client(DISCONNECT), work.run())
    assert work.events in ([], ["cancelled", "cleaned up"])


async def test_a_result_that_is_there_counts_although_the_client_left() -> None:
    """Both at once: the work was done, and is not thrown away."""

    async def at_once() -> str:
        return "done"

    assert await while_connected(client(DISCONNECT), at_once()) == "done"


async def test_cancelling_from_outside_cancels_the_work() -> None:
    """Serve may cancel the request's task: the work is cleaned up before that goes on."""
    work = Work()
    waiting = asyncio.create_task(while_connected(client(), work.run()))
    await work.started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.events == ["cancelled", "cleaned up"]


async def test_nothing_watches_the_client_afterwards() -> None:
    """The watcher of `receive` ends with the work: the next request of a connection finds it free."""
    watching = 0

    async def receive() -> Message:
        nonlocal watching
        watching += 1
        try:
            await asyncio.Event().wait()
        finally:
            watching -= 1
        raise AssertionError

    work = Work()
    waiting = asyncio.create_task(while_connected(receive, work.run()))
    await work.started.wait()
    await asyncio.sleep(0)
    assert watching == 1
    work.finish.set()
    await waiting
    await asyncio.sleep(0)
    assert watching == 0


def test_a_header_is_found_by_its_lower_case_name() -> None:
    """First value, whatever the case it came in; None when it is not there; any byte is a character."""
    headers: Iterable[tuple[bytes, bytes]] = [(b"X-A", b"1"), (b"x-a", b"2"), (b"x-b", b"\xff")]
    scope = {"type": "http", "headers": headers}
    assert (header(scope, "x-a"), header(scope, "x-b"), header(scope, "x-c")) == ("1", "\xff", None)


async def test_responses_have_type_length_and_headers() -> None:
    """JSON with its length; errors bring their own headers."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await send_json(send, 200, {"a": "é"}, {"x-b": "c"})
    assert dict(sent[0]["headers"]) == {
        b"content-type": b"application/json",
        b"content-length": str(len('{"a":"é"}'.encode())).encode(),
        b"x-b": b"c",
    }
    sent.clear()
    await send_error(send, Overloaded("no", code="overloaded"))
    assert sent[0]["status"] == 429
    assert (b"retry-after", b"1") in sent[0]["headers"]
    assert orjson.loads(sent[1]["body"])["error"]["code"] == "overloaded"


async def test_a_header_value_outside_latin_1_does_not_break_the_response() -> None:
    """It is sent with question marks rather than not at all."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await start(send, 200, {"x-name": "a€"})
    assert sent[0]["headers"] == [(b"x-name", b"a?")]
