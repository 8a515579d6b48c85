"""Responses that are written down as they go by: what is kept of them, and that it is sent again byte for byte."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from router.api.recording import PIECE_BYTES, Recording, messages
from router.api.sse import DONE, event, is_error
from router.errors import ExpertsFailed

NOTHING: Mapping[str, str] = {}
ERROR = event(dict(ExpertsFailed("No.", code="x").body()))
CHUNK = event({"id": "chatcmpl-1", "choices": [{"delta": {"content": 'data: {"error": 1}'}}]})


def heard(
    *bodies: bytes,
    status: int = 200,
    whole: bool = True,
    most: int = 10**6,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Recording:
    found = Recording(most)
    found.hear({"type": "http.response.start", "status": status, "headers": list(headers)})
    for body in bodies:
        found.hear({"type": "http.response.body", "body": body, "more_body": True})
    if whole:
        found.hear({"type": "http.response.body", "body": b"", "more_body": False})
    return found


def sent(recording: Recording, more: Mapping[str, str] = NOTHING) -> tuple[list[Message], bytes]:
    kept = recording.kept()
    assert kept is not None
    again = list(messages(kept, more))
    return again, b"".join(message.get("body", b"") for message in again)


@given(st.lists(st.binary(max_size=200)), st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.binary(max_size=9))))
def test_a_response_is_the_same_again(bodies: list[bytes], headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever its pieces; each header as often as it was, and those that are added."""
    again, body = sent(heard(*bodies, status=201, headers=tuple(headers)), {"idempotency-replayed": "true"})
    assert body == b"".join(bodies)
    assert (again[0]["status"], again[0]["headers"]) == (201, [*headers, (b"idempotency-replayed", b"true")])
    assert [message["more_body"] for message in again[1:]] == [True] * (len(again) - 2) + [False]


def test_a_large_body_that_says_little_is_kept_and_sent_in_pieces() -> None:
    """Ten megabytes of one word take little room, and are never whole in one message."""
    recording = heard(*[b"word " * 1000] * 2000, most=200_000)
    again, body = sent(recording)
    assert (len(body), max(len(message.get("body", b"")) for message in again)) == (10_000_000, PIECE_BYTES)


def test_what_takes_too_much_room_is_not_kept() -> None:
    """And takes none meanwhile."""
    noise = [bytes((n * k) % 251 for n in range(1000)) for k in range(1, 40)]
    recording = heard(*noise, most=5_000)
    assert (recording.good, recording.too_large, recording.kept()) == (True, True, None)


@pytest.mark.parametrize(
    ("recording", "good"),
    [
        (heard(b"{}"), True),
        (heard(b"{}", status=299), True),
        (heard(b"{}", status=429), False),
        (heard(b"{}", status=503), False),
        (heard(b"{}", whole=False), False),
        (heard(CHUNK, CHUNK + DONE), True),
        (heard(CHUNK, ERROR + DONE), False),
        (heard(CHUNK, ERROR, DONE), False),
        (heard(CHUNK, whole=False), False),
    ],
)
def test_only_whole_answers_are_good(recording: Recording, good: bool) -> None:
    """Not errors, not what broke off, not a stream that ended in an error; a quotation of one is none."""
    assert recording.good is good


@pytest.mark.parametrize("tail", [b"", DONE, b": quiet\n\n" + DONE, b'{"error":{}}'])
def test_a_tail_without_an_error_event_is_none(tail: bytes) -> None:
    """Also an empty one, a comment, and an error that is no event."""
    assert not is_error(tail)
