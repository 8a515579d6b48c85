"""Events become spans: request → route, a span per leg, aggregate. The only file that knows OpenTelemetry.

A sink like any other: it is told when things are over, so every span is made after the fact, with the times and ids
that it had (`router/trace_context.py`). Making and sending them is done by threads of their own; a request pays for
handing over a record. Must not know how a query is decided, or HTTP's shape.

Names are those of the GenAI semantic conventions; `symposium.*` is what they have no name for.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode

from experts.spec import Expert
from router.config_observability import Tracing
from router.events import Event, Finished, LegEnded, LegSettled
from router.records import Usage
from router.span_attributes import (
    Attributes,
    aggregate_attributes,
    leg_attributes,
    request_attributes,
    route_attributes,
)
from router.trace_context import AGGREGATE, ROUTE, Trace

log = logging.getLogger(__name__)
MAX_WAITING = 4096  # events that are not spans yet; what comes beyond is dropped, and counted
CLOSE_S = 5.0
SAY_EVERY_S = 60.0
FINE = frozenset({"answered", "cut", "cancelled"})  # legs that did not fail


class Known(NamedTuple):
    """What the configuration that a request began with says of its experts: who they are, what their tokens cost."""

    experts: Mapping[str, Expert]
    usd: Callable[[str, Usage], float]


@dataclass(frozen=True, slots=True)
class _Leg:
    """A leg that is over, with what it has used as far as that is known."""

    ended: LegEnded
    known: Known
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that is over. `at`: seconds on the monotonic clock."""

    finished: Finished
    known: Known
    at: float


class SpanSink:
    """Makes spans of events, for one router replica."""

    def __init__(self, exporter: SpanExporter, settings: Tracing) -> None:
        self._settings = settings
        self._unsettled: dict[str, _Leg] = {}
        self._waiting: queue.Queue[_Leg | _Request | None] = queue.Queue(MAX_WAITING)
        self.dropped = self._said = 0
        self._said_at = float("-inf")
        self._spans = _Spans(exporter, settings.service_name)
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
        self._thread.start()

    def emit(self, event: Event, known: Known) -> None:
        """Takes what belongs to a recorded trace. Never waits, never fails."""
        match event:
            case LegEnded(trace=Trace(recorded=True)):
                self._unsettled[event.leg_id] = _Leg(event, known)
                if len(self._unsettled) > MAX_WAITING:  # the usage of the oldest never came
                    self._put(self._unsettled.pop(next(iter(self._unsettled))))
            case LegSettled():
                if (leg := self._unsettled.pop(event.leg_id, None)) is not None:
                    self._put(replace(leg, usage=event.usage))
            case Finished(trace=Trace(recorded=True)):
                self._put(_Request(event, known, time.monotonic()))
            case _:
                pass

    def close(self) -> None:
        """Sends what is left, for at most `CLOSE_S` seconds and the exporter's own limit. Blocking."""
        for leg in list(self._unsettled.values()):
            self._put(leg)
        self._unsettled.clear()
        with suppress(queue.Full):  # the thread is stuck, and ends with the process
            self._waiting.put(None, timeout=CLOSE_S)
        self._thread.join(CLOSE_S)
        self._spans.close()

    def _put(self, item: _Leg | _Request) -> None:
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            self.dropped += 1

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                self._leg(item) if isinstance(item, _Leg) else self._request(item)
            except Exception:  # the thread's outermost shell: one odd request must not end all tracing
                log.exception("no spans of a request")
            self._say()

    def _say(self) -> None:
        """In the log what was dropped, not for each."""
        if (dropped := self.dropped) > self._said and time.monotonic() - self._said_at >= SAY_EVERY_S:
            log.warning("tracing: %d requests or calls have no spans: too many at once", dropped - self._said)
            self._said, self._said_at = dropped, time.monotonic()

    def _leg(self, leg: _Leg) -> None:
        ended, trace = leg.ended, leg.ended.trace
        assert trace is not None, "only recorded ones are taken"
        expert = leg.known.experts.get(ended.expert)
        cost = leg.known.usd(ended.expert, leg.usage) if leg.usage is not None and expert is not None else None
        attributes = leg_attributes(ended, expert, leg.usage, cost)
        self._spans.add(
            trace,
            ended.leg_id,
            f"{attributes['gen_ai.operation.name']} {attributes['gen_ai.request.model']}",
            (ended.started, ended.started + ended.seconds),
            attributes,
            kind=SpanKind.CLIENT,
            error=None if ended.outcome in FINE else ended.outcome,
        )

    def _request(self, request: _Request) -> None:
        finished, ends = request.finished, request.at
        trace = finished.trace
        assert trace is not None, "only recorded ones are taken"
        attributes = request_attributes(finished, request.known.usd, prompts=self._settings.prompts)
        self._spans.add_root(
            trace,
            " ".join(
                str(attributes[key]) for key in ("gen_ai.operation.name", "gen_ai.request.model") if key in attributes
            )
            or "request",
            (ends - finished.seconds, ends),
            attributes,
            error=finished.code or "failed" if finished.outcome == "failed" else None,
        )
        for name, times, inner in _inside(finished, ends):
            self._spans.add(trace, f"{finished.request_id}/{name}", name, times, inner)


def _inside(finished: Finished, ends: float) -> Iterator[tuple[str, tuple[float, float], Attributes]]:
    """What the router did itself, as far as it came: (name, times on the monotonic clock, attributes)."""
    if (decision := finished.decision) is not None:
        began = decision.ticket.admitted_at
        took = decision.overhead_s + sum(leg.seconds for leg in decision.asides)
        yield ROUTE, (began, began + took), route_attributes(decision)
    response = finished.response
    if response is None or response.gathered_at is None or response.decision.plan.aggregator == "single":
        return
    until = response.concluded_at if response.live is None else ends  # a synthesis is relayed to the end
    yield AGGREGATE, (response.gathered_at, until or ends), aggregate_attributes(response)


class _Ids(IdGenerator):
    """The ids of the next span, which are known before it is made."""

    trace_id = span_id = 0

    def generate_span_id(self) -> int:
        return self.span_id

    def generate_trace_id(self) -> int:
        return self.trace_id


class _Spans:
    """Spans with given ids and times. To be used by one thread."""

    def __init__(self, exporter: SpanExporter, service: str) -> None:
        about = {
            "service.name": service,
            "service.version": version("symposium"),
            "service.instance.id": uuid.uuid4().hex,
        }
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create(about), id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("symposium", version("symposium"))

    def add_root(
        self, trace: Trace, name: str, times: tuple[float, float], attributes: Attributes, *, error: str | None
    ) -> None:
        """The request's own span, below the client's where it named one."""
        self._add(trace, trace.span_id, trace.parent_id, name, times, attributes, SpanKind.SERVER, error)

    def add(
        self,
        trace: Trace,
        key: str,
        name: str,
        times: tuple[float, float],
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        error: str | None = None,
    ) -> None:
        """A span below the trace's current one; its id follows from `key`."""
        self._add(trace, trace.child_id(key), trace.span_id, name, times, attributes, kind, error)

    def close(self) -> None:
        self._provider.shutdown()

    def _add(
        self,
        trace: Trace,
        span_id: str,
        parent_id: str | None,
        name: str,
        times: tuple[float, float],
        attributes: Mapping[str, Any],
        kind: SpanKind,
        error: str | None,
    ) -> None:
        self._ids.trace_id, self._ids.span_id = int(trace.trace_id, 16), int(span_id, 16)
        span = self._tracer.start_span(name, _below(trace, parent_id), kind, attributes, start_time=_wall_ns(times[0]))
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(_wall_ns(max(times)))


def _below(trace: Trace, parent_id: str | None) -> Context:
    if parent_id is None:
        return Context()
    state = TraceState.from_header([trace.state]) if trace.state else TraceState()
    parent = SpanContext(int(trace.trace_id, 16), int(parent_id, 16), True, TraceFlags(trace.flags), state)
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _wall_ns(at: float) -> int:
    """Seconds on the monotonic clock as nanoseconds since 1970."""
    return time.time_ns() - int((time.monotonic() - at) * 1e9)


def open_exporter(endpoint: str) -> SpanExporter:
    """Sends spans as OTLP over HTTP to a URL; its headers and certificates are in OpenTelemetry's own variables."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint)
