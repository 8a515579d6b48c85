"""Server-sent events: any slicing of a stream gives the same events, and no event is endless."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.sse import OversizedEvent, SSEParser

LINE = st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b""))
FIELD = st.one_of(
    LINE.map(lambda v: b"data: " + v),
    LINE.map(lambda v: b"data:" + v),
    LINE.map(lambda v: b": " + v),
    LINE.map(lambda v: b"event: " + v),
    st.just(b""),
)
STREAM = st.builds(
    lambda lines, end: end.join([*lines, b""]), st.lists(FIELD, max_size=12), st.sampled_from([b"\n", b"\r\n"])
)


def fed(*pieces: bytes, bound: int = 1000) -> list[bytes]:
    """All events of a stream in these pieces."""
    parser = SSEParser(bound)
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": comment\n\ndata: a\n\n", [b"a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"data: \n\n", [b""]),
        (b"\n\n\ndata: a\n\n\n", [b"a"]),
        (b"data: unfinished\n", []),
        (b"data: a\n\ndata: unfinished", [b"a"]),
        (b"database: x\n\n", []),
        ("data: é€😀\n\n".encode(), ["é€😀".encode()]),
    ],
)
def test_what_an_event_is(stream: bytes, events: list[bytes]) -> None:
    """Data lines up to an empty one; comments and other fields do not count, nor does an event without its end."""
    assert fed(stream) == events


@given(STREAM, st.lists(st.integers(0, 200), max_size=10))
def test_any_slicing_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    """Where the network cuts a stream means nothing."""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert fed(*pieces) == fed(stream) == fed(*(bytes([b]) for b in stream))


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"x" * 50 + b"\n\n"],
        [b"data: " + b"x" * 50],
        [b"data: ", *[b"x"] * 50],
        [b"data: x\n"] * 30,
        [b"data:\n"] * 30,
        [b"x" * 50],
        [b":" + b"x" * 50],
    ],
    ids=["whole", "without end", "byte by byte", "many lines", "empty lines", "no field", "a comment"],
)
def test_an_endless_event_is_an_error(pieces: list[bytes]) -> None:
    """Over the bound, however it comes: an error that names the bound, and no memory beyond it."""
    with pytest.raises(OversizedEvent) as caught:
        fed(*pieces, bound=20)
    assert caught.value.args == (20,)


def test_many_small_events_are_no_endless_one() -> None:
    """The bound is on one event, not on the stream or the piece."""
    assert fed(b"data: 0123456789\n\n" * 100, bound=20) == [b"0123456789"] * 100


def test_an_event_at_the_bound_passes() -> None:
    """Exactly `max_event_bytes` of data in one line and its field name fit in a bound for both."""
    assert fed(b"data: " + b"x" * 14, b"\n\n", bound=20) == [b"x" * 14]
