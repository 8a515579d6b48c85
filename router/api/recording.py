"""A response, written down as it goes to its client, so that it can be sent again as it was.

A body is kept compressed: streams say little in many bytes. Knows ASGI's messages, and how a stream of ours ends.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

from starlette.types import Message

from router.api.sse import is_error
from router.registry import Kept

LEVEL = 1  # of compression: quick, and most of what there is to gain
PIECE_BYTES = 65_536  # of a body that is sent again


class Recording:
    """`most_bytes`: of a compressed body."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._status, self._headers = 0, tuple[tuple[str, str], ...]()
        self._zip, self._pieces, self._size = zlib.compressobj(LEVEL), list[bytes](), 0
        self._last: tuple[bytes, bytes] = b"", b""
        self._ended = False

    def hear(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in message["headers"])
        elif message["type"] == "http.response.body":
            if body := message.get("body", b""):
                self._last = self._last[1], body
                self._keep(self._zip.compress(body))
            if not message.get("more_body", False):
                self._ended = True
                self._keep(self._zip.flush())

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self.too_large:
            self._pieces.clear()
        elif piece:
            self._pieces.append(piece)

    @property
    def good(self) -> bool:
        """Whether it is an answer, and whole."""
        return self._ended and 200 <= self._status < 300 and not is_error(b"".join(self._last))

    @property
    def too_large(self) -> bool:
        return self._size > self._most_bytes

    def kept(self) -> Kept | None:
        """None of one that was too large."""
        return None if self.too_large else Kept(self._status, self._headers, b"".join(self._pieces))


def messages(kept: Kept, more: Mapping[str, str]) -> Iterator[Message]:
    """The response again, with more headers: what was sent, byte for byte."""
    headers = (*kept.headers, *more.items())
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    yield {"type": "http.response.start", "status": kept.status, "headers": raw}
    unzip, left = zlib.decompressobj(), kept.body
    while piece := unzip.decompress(left, PIECE_BYTES):
        left = unzip.unconsumed_tail
        yield {"type": "http.response.body", "body": piece, "more_body": True}
    yield {"type": "http.response.body", "body": b"", "more_body": False}
