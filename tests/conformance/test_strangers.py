"""Servers of others, byte for byte: what their answers may look like, and what is no answer at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson
import pytest

from experts.client import Endpoint, ExpertClient
from experts.errors import ExpertBroken, ExpertError, ExpertRefused, ExpertUnreachable
from tests.conformance.kinds import ASK, asked, collected, until_error
from tests.support import Reply, Stranger, on_a_port, said, streamed

NewLeg = Callable[[], str]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Stranger, Endpoint]]:
    app = Stranger(orjson.dumps({"choices": [choice("42")]}))
    with on_a_port(app) as url:
        yield app, Endpoint("stranger", f"{url}/v1", "anything")


@pytest.fixture
def stranger(server: tuple[Stranger, Endpoint]) -> Stranger:
    return server[0]


@pytest.fixture
def endpoint(server: tuple[Stranger, Endpoint]) -> Endpoint:
    return server[1]


def choice(text: object) -> dict[str, object]:
    return {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}


def delta(text: str) -> bytes:
    return orjson.dumps({"choices": [{"index": 0, "delta": {"content": text}}]})


async def test_more_than_openai_s_fields_is_fine(
    stranger: Stranger, endpoint: Endpoint, client: ExpertClient, new_leg: NewLeg
) -> None:
    """Fields of others come through unchanged: an answer is what has choices with a message."""
    body = {"choices": [choice(None) | {"reasoning": "hm"}], "provider": "p", "usage": None}
    stranger.reply = Reply((orjson.dumps(body),))
    assert await client.complete(endpoint, ASK, new_leg()) == body


async def test_a_stream_may_be_cut_anywhere(
    stranger: Stranger, endpoint: Endpoint, client: ExpertClient, new_leg: NewLeg
) -> None:
    """Pieces end inside lines and characters, lines end in CRLF, comments keep the line open: the text is whole."""
    text = b": ping\r\n\r\nevent: x\r\ndata:" + delta("é✓") + b"\r\n\r\ndata: " + delta("!") + b"\n\ndata: [DONE]\n\n"
    stranger.reply = Reply(tuple(text[i : i + 1] for i in range(len(text))))
    assert said(await collected(client, endpoint, ASK, new_leg())) == "é✓!"


async def test_an_error_that_is_null_is_none(
    stranger: Stranger, endpoint: Endpoint, client: ExpertClient, new_leg: NewLeg
) -> None:
    """Servers that put `error: null` into every chunk have not failed."""
    chunk = orjson.dumps({"choices": [{"index": 0, "delta": {"content": "42"}}], "error": None})
    stranger.reply = streamed(chunk, b"[DONE]")
    assert said(await collected(client, endpoint, ASK, new_leg())) == "42"


@pytest.mark.parametrize("error", [{"message": "out of memory", "type": "server_error"}, "out of memory"])
async def test_an_error_event_ends_the_stream(
    stranger: Stranger, endpoint: Endpoint, client: ExpertClient, new_leg: NewLeg, error: object
) -> None:
    """An error event is an ExpertError with its message, after the chunks before it."""
    stranger.reply = streamed(delta("4"), orjson.dumps({"error": error}), b"[DONE]")
    chunks, failure = await until_error(client, endpoint, ASK, new_leg())
    assert said(chunks) == "4"
    assert isinstance(failure, ExpertUnreachable)
    assert "out of memory" in failure.detail


async def test_a_stream_without_done_is_broken(
    stranger: Stranger, endpoint: Endpoint, client: ExpertClient, new_leg: NewLeg
) -> None:
    """A stream that just ends is ExpertBroken: nothing says that the answer was whole."""
    stranger.reply = streamed(delta("4"))
    chunks, failure = await until_error(client, endpoint, ASK, new_leg())
    assert (said(chunks), type(failure)) == ("4", ExpertBroken)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome</html>",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"error": {"message": "failed with status 200"}}',
        b'{"choices": [{"message": {"content": "cut o',
        b'{"choices": [null]}',
        b'{"choices": ["42"]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": "42"}]}',
    ],
)
async def test_bytes_that_are_no_answer_are_broken(
    stranger: Stranger, endpoint: Endpoint, client: ExpertClient, new_leg: NewLeg, body: bytes
) -> None:
    """A 200 without choices that have a message is ExpertBroken, not an answer and not a crash later on."""
    stranger.reply = Reply((body,))
    with pytest.raises(ExpertBroken):
        await client.complete(endpoint, ASK, new_leg())


@pytest.mark.parametrize("event", [b"<html>", b"[]", b"null", b"42", b'{"choices": [nul', b'{"choices": [null]}'])
async def test_an_event_that_is_no_chunk_is_broken(
    stranger: Stranger, endpoint: Endpoint, client: ExpertClient, new_leg: NewLeg, event: bytes
) -> None:
    """An event that is no chunk ends the stream as ExpertBroken."""
    stranger.reply = streamed(delta("4"), event, b"[DONE]")
    _, failure = await until_error(client, endpoint, ASK, new_leg())
    assert isinstance(failure, ExpertBroken)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "body", "seen"),
    [
        (400, b'{"error": {"message": "too hot", "param": "temperature"}}', ("too hot", "temperature", False)),
        (422, b'{"detail": [{"loc": ["body"]}]}', ("{'detail': [{'loc': ['body']}]}", None, False)),
        (429, b'{"error": {"message": "slow down", "param": null}}', ("slow down", None, True)),
        (401, b'{"object": "error", "message": "who?", "param": 7}', ("who?", None, True)),
        (500, b"<html>oops</html>", ("<html>oops</html>", None, True)),
        (502, b"\xff\xfe", ("\N{REPLACEMENT CHARACTER}" * 2, None, True)),
        (503, b"", ("", None, True)),
        (404, b"[1]", ("[1]", None, True)),
    ],
)
async def test_a_refusal_keeps_message_and_param(
    stranger: Stranger,
    endpoint: Endpoint,
    client: ExpertClient,
    new_leg: NewLeg,
    stream: bool,
    status: int,
    body: bytes,
    seen: object,
) -> None:
    """An HTTP error in whatever shape is ExpertRefused; only what is wrong with the request itself is final."""
    stranger.reply = Reply((body,), status)
    with pytest.raises(ExpertRefused) as refused:
        await asked(client, endpoint, ASK, new_leg(), stream)
    error = refused.value
    assert error.status == status
    assert (error.message, error.param, error.replaceable) == seen


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_not_followed(
    stranger: Stranger, endpoint: Endpoint, client: ExpertClient, new_leg: NewLeg, status: int, stream: bool
) -> None:
    """Questions and keys go where the operator said, and nowhere that a server points to."""
    stranger.reply, stranger.strayed = Reply((b"",), status, ((b"location", b"/elsewhere"),)), 0
    with pytest.raises(ExpertError):
        await asked(client, endpoint, ASK, new_leg(), stream)
    assert stranger.strayed == 0
