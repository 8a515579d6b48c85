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
        self._size = 0  # of the event so far, a byte per line included: empty lines are not free

    def feed(self, piece: bytes) -> list[bytes]:
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        events = [event for line in lines if (event := self._line(line.rstrip(b"\r"))) is not None]
        self._check(len(self._buffer))
        return events

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            data, self._data, self._size = self._data, [], 0
            return b"\n".join(data) if data else None
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._size += len(self._data[-1]) + 1
            self._check(0)
        return None

    def _check(self, unfinished: int) -> None:
        if self._size + unfinished > self._max:
            raise OversizedEvent(self._max)
