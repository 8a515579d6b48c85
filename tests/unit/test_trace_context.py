"""W3C Trace Context: which headers are taken, which are not, and what is passed on."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from router.trace_context import MAX_STATE_CHARS, begun, chosen, parsed, span_id

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"
HEX = "0123456789abcdef"
IDS = st.tuples(st.text(HEX, min_size=32, max_size=32), st.text(HEX, min_size=16, max_size=16))


@given(IDS, st.integers(0, 255))
def test_a_valid_header_is_taken(ids: tuple[str, str], flags: int) -> None:
    """Every trace and parent id but all zeros; of the flags, those that the standard defines."""
    trace_id, parent = ids
    found = parsed([f"00-{trace_id}-{parent}-{flags:02x}"])
    if set(trace_id) == {"0"} or set(parent) == {"0"}:
        assert found is None
    else:
        assert found is not None
        assert (found.trace_id, found.span_id, found.flags) == (trace_id, parent, flags & 3)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        VALID.upper(),
        VALID[:-1],
        f"{VALID}-more",
        f"{VALID}\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"01-{TRACE}-{SPAN}-01.more",
    ],
)
def test_what_breaks_the_rules_is_ignored(header: str) -> None:
    """Another length, version ff, capitals, zeros, anything behind version 00: as if no header were there."""
    assert parsed([header]) is None


def test_later_versions_are_read_as_far_as_they_are_known() -> None:
    """A version to come may add fields behind a dash."""
    assert parsed([f"cc-{TRACE}-{SPAN}-01"]) is not None
    assert parsed([f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"]) is not None


def test_two_headers_are_none() -> None:
    """Of two traceparents nobody knows which is right."""
    assert parsed([VALID, VALID]) is None
    assert parsed([]) is None


@given(st.text(max_size=200))
def test_anything_else_is_ignored_without_an_error(header: str) -> None:
    """Whatever a client sends is a context or none: nothing raises."""
    found = parsed([header], [header])
    assert found is None or re.fullmatch(r"[0-9a-f]{32}", found.trace_id)


@given(st.text(st.characters(codec="latin-1"), max_size=600))
def test_a_tracestate_is_passed_on_in_form_or_not_at_all(state: str) -> None:
    """What is passed on is a list of key=value that others can read, within its bounds; no line is broken by it."""
    found = parsed([VALID], [state])
    assert found is not None
    assert len(found.state) <= MAX_STATE_CHARS
    assert not re.search(r"[\x00-\x1f\x7f-\xff]", found.state)
    assert all("=" in member for member in found.state.split(",") if found.state)


@pytest.mark.parametrize(
    ("states", "passed"),
    [
        (["a=1"], "a=1"),
        (["a=1", "b=2"], "a=1,b=2"),
        ([" a=1 ,, b=2\t"], "a=1,b=2"),
        (["tenant@vendor=x y"], "tenant@vendor=x y"),
        (["a=1,a=2"], ""),
        (["A=1"], ""),
        (["a"], ""),
        ([",".join(f"k{i}=v" for i in range(32))], ",".join(f"k{i}=v" for i in range(32))),
        ([",".join(f"k{i}=v" for i in range(33))], ""),
    ],
)
def test_the_state_of_other_vendors(states: list[str], passed: str) -> None:
    """Several headers are one list; a broken list is dropped, and the traceparent stays."""
    found = parsed([VALID], states)
    assert found is not None
    assert found.state == passed


def test_a_long_state_loses_its_oldest() -> None:
    """Beyond 512 characters the members at the end, which have been there longest, go first."""
    members = [f"k{i}={'v' * 100}" for i in range(8)]
    found = parsed([VALID], [",".join(members)])
    assert found is not None
    assert found.state == ",".join(members[:4])


def test_what_is_sent_on_is_what_opentelemetry_reads() -> None:
    """The header that an expert gets names the leg's own span, in the form that the reference reads."""
    trace = begun("req_1", [VALID], ["a=1"], ours=True)
    assert trace is not None
    sent = trace.headers("req_1-0", state=True)
    context = TraceContextTextMapPropagator().extract(sent)
    (span,) = context.values()
    told = span.get_span_context()  # type: ignore[attr-defined]  # a context's values are objects
    assert (f"{told.trace_id:032x}", f"{told.span_id:016x}") == (TRACE, span_id(TRACE, "req_1-0"))
    assert told.trace_flags.sampled
    assert told.trace_state.to_header() == "a=1"
    assert "tracestate" not in trace.headers("req_1-0", state=False)


def test_below_a_span_of_ours() -> None:
    """Inside the route, calls hang below the route's span, whose id is known before it is made."""
    trace = begun("req_1", [VALID], [], ours=True)
    assert trace is not None
    assert trace.parent_id == SPAN
    inside = trace.below("req_1/route")
    assert (inside.span_id, inside.parent_id) == (trace.child_id("req_1/route"), trace.span_id)


def test_where_spans_are_off_the_context_is_passed_on_as_it_came() -> None:
    """An expert hangs below the client's own span; without a client's context there is none."""
    passing = begun("req_1", [VALID], [], ours=False)
    assert passing is not None
    assert passing.below("req_1/route").headers("req_1-0", state=True) == {"traceparent": VALID}
    assert not passing.recorded
    assert begun("req_1", [], [], ours=False) is None


@given(st.uuids().map(str), st.floats(0, 1))
def test_a_new_trace_is_sampled_by_its_id(request_id: str, share: float) -> None:
    """Without a client's context a request has a trace of its own; who knows its id knows whether it is recorded."""
    trace = begun(request_id, [], [], ours=True, sample=share)
    assert trace is not None
    assert trace.parent_id is None
    assert trace.recorded == chosen(trace.trace_id, share)
    assert parsed([trace.headers("leg", state=True)["traceparent"]]) is not None


def test_the_share_is_kept() -> None:
    """About as many traces are sampled as the operator said; all at 1, none at 0."""
    traces = [begun(f"req_{i}", [], [], ours=True, sample=0.25) for i in range(4000)]
    assert 900 < sum(trace is not None and trace.sampled for trace in traces) < 1100
    assert all(chosen(f"{i:032x}", 1.0) and not chosen(f"{i:032x}", 0.0) for i in (0, 1, 2**64 - 1))


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_clients_decision_is_kept(flags: str) -> None:
    """Sampling is parent-based: the ratio is for requests that come without a trace."""
    trace = begun("req_1", [f"00-{TRACE}-{SPAN}-{flags}"], [], ours=True, sample=1 - int(flags))
    assert trace is not None
    assert trace.sampled == (flags == "01")
