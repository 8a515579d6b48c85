"""Server-sent events as OpenAI's API uses them: bytes -> the payloads of `data:` lines. Pure.

Only what the API needs of the standard (WHATWG HTML, "Server-sent events"): `data` fields and comments; LF
and CRLF line ends; events end at an empty line. Bounded: an event over `max_event_bytes` is an error.
"""

from __future__ import annotations


class OversizedEvent(ValueError):
    """One event grew past the bound; `args[0]` is the bound in bytes."""


class SSEParser:
    """Feeds on arbitrary slices of a stream; yields each complete event's data."""

    def __init__(self, max_event_bytes: int = 1_048_576) -> None:
        self._max = max_event_bytes
        self._buffer = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        events = [event for line in lines if (event := self._line(line.rstrip(b"\r"))) is not None]
        self._check(len(self._buffer) + sum(map(len, self._data)))
        return events

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            data, self._data = self._data, []
            self._check(sum(map(len, data)))
            return b"\n".join(data) if data else None
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        return None

    def _check(self, size: int) -> None:
        if size > self._max:
            raise OversizedEvent(self._max)
