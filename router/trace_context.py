"""W3C Trace Context: what a request's headers say of the trace it belongs to, and what is sent on to experts. Pure.

The ids of our own spans are hashes of the trace's id and of a name (the request's id, a leg's id), so whoever knows the
trace knows them: a leg can say under which span it runs before that span exists. Knows nothing of OpenTelemetry.

Source: W3C Trace Context, level 2 (https://www.w3.org/TR/trace-context-2/).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

SAMPLED, RANDOM = 0x01, 0x02  # the flags that are defined; others are not passed on
MAX_MEMBERS, MAX_STATE_CHARS = 32, 512  # of a tracestate
ROUTE, AGGREGATE = "route", "aggregate"
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_ZEROS = re.compile(r"0*")


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace that a request belongs to, and the span below which the next ones hang.

    `trace_id` (32) and `span_id` (16) are hex digits. `parent_id` is the client's span above ours. `ours`: we make
    spans of the request; else the client's context is passed on as it came.
    """

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""
    parent_id: str | None = None
    ours: bool = False

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    @property
    def recorded(self) -> bool:
        """Spans of ours are made, and exported."""
        return self.ours and self.sampled

    def child_id(self, name: str) -> str:
        """The id of our span of that name in this trace; the client's own span where we make none."""
        return span_id(self.trace_id, name) if self.ours else self.span_id

    def below(self, name: str) -> Trace:
        """What happens inside our span of that name."""
        return replace(self, span_id=self.child_id(name), parent_id=self.span_id) if self.ours else self

    def headers(self, name: str, *, state: bool) -> dict[str, str]:
        """What a request is sent with whose span has that name; `state`: with what other vendors put in."""
        sent = {"traceparent": f"00-{self.trace_id}-{self.child_id(name)}-{self.flags:02x}"}
        return sent | {"tracestate": self.state} if state and self.state else sent


def begun(
    request_id: str, parents: Sequence[str], states: Sequence[str], *, ours: bool, sample: float = 0.0
) -> Trace | None:
    """The trace of a request: the client's where its headers are valid, else a new one where we make spans.

    Whether it is sampled is the client's decision where it made one; of new traces the share `sample` is.

    Args:
        request_id: of the request; its span's id, and a new trace's, follow from it.
        parents, states: all values of the headers `traceparent` and `tracestate`.
    """
    found = parsed(parents, states)
    if not ours:
        return found
    if found is None:
        trace_id = hashlib.sha256(request_id.encode()).hexdigest()[:32]
        flags = RANDOM | (SAMPLED if chosen(trace_id, sample) else 0)
        return Trace(trace_id, span_id(trace_id, request_id), flags, ours=True)
    return replace(found, span_id=span_id(found.trace_id, request_id), parent_id=found.span_id, ours=True)


def parsed(parents: Sequence[str], states: Sequence[str] = ()) -> Trace | None:
    """The client's context; None where the standard says that it is not to be used.

    A broken tracestate is dropped without the traceparent, as the standard has it.
    """
    if len(parents) != 1 or (match := _PARENT.fullmatch(parents[0].strip(" \t"))) is None:
        return None
    version, trace_id, parent, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or _ZEROS.fullmatch(trace_id) or _ZEROS.fullmatch(parent):
        return None
    return Trace(trace_id, parent, int(flags, 16) & (SAMPLED | RANDOM), _state(states))


def chosen(trace_id: str, share: float) -> bool:
    """Whether a trace is among the given share of all: by its id, so that everybody who asks decides alike."""
    return int(trace_id[16:], 16) < share * 2**64


def span_id(trace_id: str, name: str) -> str:
    """The id of our span of that name: 16 hex digits, not all zero."""
    return hashlib.sha256(f"{trace_id}/{name}".encode()).hexdigest()[:15] + "1"


def _state(values: Sequence[str]) -> str:
    members = [member.strip(" \t") for member in ",".join(values).split(",")]
    members = [member for member in members if member]  # empty ones are allowed
    keys = {member.partition("=")[0] for member in members}
    if len(members) > MAX_MEMBERS or len(keys) < len(members) or not all(map(_MEMBER.fullmatch, members)):
        return ""
    while sum(map(len, members)) + len(members) - 1 > MAX_STATE_CHARS:  # the oldest stand last
        members.pop()
    return ",".join(members)
