"""The sink that makes spans of events: what it takes, what it drops, and that nothing stops it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from experts.spec import Expert, Price
from router import tracing
from router.budget import Budget, Fit
from router.config_observability import Tracing
from router.events import Finished, LegEnded, LegSettled
from router.money import NANOS
from router.records import Answer, Decision, JsonObject, Plan, Query, Reply, Ticket, Usage
from router.response import Response
from router.span_attributes import leg_attributes, request_attributes, route_attributes
from router.trace_context import Trace, begun
from router.tracing import Known, SpanSink
from tests.unit.make import query

HOSTED = Expert(
    engine="base", lora="adapter", context_tokens=512, price=Price(input_usd_per_mtok=1, output_usd_per_mtok=1)
)
USED = Usage(5, 7)


def traced(request_id: str = "req_1", **settings: Any) -> Trace:
    found = begun(request_id, [], [], ours=True, sample=1.0, **settings)
    assert found is not None
    return found


KNOWN = Known({"math": HOSTED}, lambda _, usage: usage.prompt_tokens / 1e6)


def sink(exporter: InMemorySpanExporter) -> SpanSink:
    return SpanSink(exporter, Tracing(endpoint="http://nowhere"))


def leg(trace: Trace | None, leg_id: str = "req_1-0", outcome: str = "answered", expert: str = "math") -> LegEnded:
    return LegEnded(expert, leg_id, outcome, 0.5, 0.1, 100.0, trace=trace)


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_leg_waits_for_what_it_used() -> None:
    """The span of a leg is made when it is settled: also an aborted one says what it really used."""
    exporter, trace = InMemorySpanExporter(), traced()
    made = sink(exporter)
    made.emit(leg(trace, outcome="cut"), KNOWN)
    made.emit(LegSettled("math", "req_1-0", USED), KNOWN)
    made.close()
    span = spans(exporter)["chat math"]
    assert span.attributes is not None
    assert span.attributes["gen_ai.usage.output_tokens"] == 7
    assert span.attributes["gen_ai.provider.name"] == "vllm"
    assert span.end_time is not None
    assert span.start_time is not None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(0.5, abs=0.01)
    assert span.context is not None
    assert f"{span.context.span_id:016x}" == trace.child_id("req_1-0")
    assert span.status.is_ok is True or span.status.is_unset


def test_a_leg_that_is_never_settled_is_not_lost() -> None:
    """At the end, legs that nobody has settled are told without tokens; an expert that is gone is no error."""
    exporter = InMemorySpanExporter()
    made = sink(exporter)
    made.emit(leg(traced(), expert="gone", outcome="timeout"), KNOWN)
    made.close()
    span = spans(exporter)["chat gone"]
    assert span.attributes is not None
    assert "gen_ai.usage.output_tokens" not in span.attributes
    assert span.attributes["error.type"] == "timeout"


def test_what_is_not_recorded_is_not_taken() -> None:
    """Requests without a trace, or with one that nobody samples, cost nothing and leave nothing."""
    exporter = InMemorySpanExporter()
    made = sink(exporter)
    unsampled = begun("req_2", [], [], ours=True, sample=0.0)
    for trace in (None, unsampled):
        made.emit(leg(trace), KNOWN)
        made.emit(LegSettled("math", "req_1-0", USED), KNOWN)
        made.emit(Finished("auto", "answered", 200, 1.0, trace=trace), KNOWN)
    made.close()
    assert exporter.get_finished_spans() == ()


def test_more_than_can_wait_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is full never holds a request up."""
    monkeypatch.setattr(tracing, "MAX_WAITING", 1)
    monkeypatch.setattr(tracing, "CLOSE_S", 0.01)
    monkeypatch.setattr(SpanSink, "_work", lambda _: None)  # nobody takes anything
    made = sink(InMemorySpanExporter())
    for _ in range(3):
        made.emit(Finished("auto", "answered", 200, 1.0, trace=traced()), KNOWN)
    assert made.dropped == 2
    made.close()


def test_what_is_dropped_is_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """Not for each, and not never."""
    made = sink(InMemorySpanExporter())
    made.dropped = 3
    for n in range(3):
        made.emit(Finished("auto", "answered", 200, 1.0, trace=traced(f"req_{n}")), KNOWN)
    made.close()
    assert [r.message for r in caplog.records] == ["tracing: 3 requests or calls have no spans: too many at once"]


def test_legs_that_nobody_settles_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is told without what it used, and others still wait for theirs."""
    monkeypatch.setattr(tracing, "MAX_WAITING", 2)
    exporter = InMemorySpanExporter()
    made = sink(exporter)
    for n, name in enumerate(("a", "b", "math")):
        made.emit(leg(traced(), f"req_1-{n}", expert=name), KNOWN)
    made.emit(LegSettled("math", "req_1-2", USED), KNOWN)
    made.close()
    told = {name: "gen_ai.usage.output_tokens" in (span.attributes or {}) for name, span in spans(exporter).items()}
    assert told["chat a"] is False
    assert told["chat math"] is True


def test_an_odd_request_does_not_end_tracing(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be told as spans is logged, and the next request has its own."""
    exporter = InMemorySpanExporter()
    made = sink(exporter)
    made.emit(leg(traced()), KNOWN._replace(usd=lambda *_: 1 / 0))
    made.emit(LegSettled("math", "req_1-0", USED), KNOWN)
    made.emit(Finished("", "refused", 401, 0.001, "req_2", code="no_key", trace=traced("req_2")), KNOWN)
    made.close()
    assert spans(exporter).keys() == {"request"}
    assert "no spans" in caplog.text


def decided(asked: Query) -> Decision:
    plan = Plan((("math",),), "vote", (), "sure")
    return Decision(asked, Ticket("anna", 1.0), "v1", "auto", plan)


def test_names_are_those_of_the_conventions() -> None:
    """Every gen_ai attribute that we write is one that the published conventions know."""
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    asked = query(body={"messages": [{"role": "user", "content": "?"}], "max_tokens": 5, "temperature": 0.5, "n": 2})
    response = Response(decided(asked), lambda *_: None)
    choice: JsonObject = {"message": {"role": "assistant", "content": "!"}, "finish_reason": "stop"}
    response.hear("answer")(Reply("math", "req_1-0", (choice,), USED, 1.0))
    finished = Finished(
        "auto", "answered", 200, 1.0, "req_1", first_byte_s=0.5, decision=decided(asked), response=response
    )
    said = request_attributes(finished, lambda *_: 0.5, prompts=True) | leg_attributes(leg(None), HOSTED, USED, 0.1)
    ours = {name for name in said if name.startswith("gen_ai.")}
    assert {"gen_ai.request.temperature", "gen_ai.request.choice.count", "gen_ai.input.messages"} <= ours
    assert ours <= known


def test_a_budget_is_told_where_there_is_one() -> None:
    """On the request: who pays, what it might spend, how it ended; on the route: what was given up for it."""
    budget = Budget(deadline_s=2.0, nanos=NANOS // 2)
    plan = Plan((("math",),), "single", (), "sure", fit=Fit("one_expert", quality=0.75))
    asked = replace(decided(query()), budget=budget, plan=plan)
    response = Response(asked, lambda *_: None)
    response.hear("answer")(Reply("math", "req_1-0", ({},), USED, 1.0, stopped="deadline"))
    finished = Finished("auto", "answered", 200, 1.0, decision=asked, response=response, tenant="acme")
    said = request_attributes(finished, lambda *_: 0.0, prompts=False)
    assert said["symposium.tenant"] == "acme"
    assert (said["symposium.budget.deadline_s"], said["symposium.budget.max_cost_usd"]) == (2.0, 0.5)
    assert said["symposium.ended_early"] == "deadline"
    route = route_attributes(asked)
    assert (route["symposium.degraded"], route["symposium.expected_quality"]) == ("one_expert", 0.75)
    refused = Finished("", "refused", 429, 0.1, code="insufficient_quota", tenant="acme", why="spent")
    assert request_attributes(refused, lambda *_: 0.0, prompts=False)["symposium.refused_for"] == "spent"
    plain = Finished("auto", "answered", 200, 1.0, decision=decided(query()))
    told = request_attributes(plain, lambda *_: 0.0, prompts=False) | route_attributes(decided(query()))
    assert not [name for name in told if "budget" in name or name.endswith(("degraded", "tenant", "early", "quality"))]


def test_what_cannot_be_sent_is_left_out() -> None:
    """A number beyond 64 bits, or half a character, from a client or an expert would spoil a whole batch of spans."""
    asked = query(
        body={"messages": [{"role": "user", "content": "\ud800"}], "seed": 2**80, "n": -(2**63), "top_p": 1e300}
    )
    response = Response(decided(asked), lambda *_: None)
    response.answer = Answer("math", ({"message": {"content": "\udfff"}, "finish_reason": "\ud800" * 100},))
    finished = Finished("auto", "answered", 200, 1.0, decision=decided(asked), response=response)
    exporter, trace = InMemorySpanExporter(), traced()
    made = sink(exporter)
    made.emit(replace(finished, trace=trace), KNOWN)
    made.close()
    assert encode_spans(exporter.get_finished_spans()).ByteSize() > 0
    said = request_attributes(finished, lambda *_: 0.0, prompts=True)
    assert not {"gen_ai.request.seed", "gen_ai.request.choice.count", "gen_ai.request.top_p"} & said.keys()
    assert said["gen_ai.response.finish_reasons"] == ["?" * 64]


def test_a_parameter_of_another_type_is_left_out() -> None:
    """What experts might still take, a span does not: attributes have one type each."""
    asked = query(body={"messages": [], "temperature": "warm", "n": True, "max_tokens": 1.5})
    finished = Finished("auto", "answered", 200, 1.0, decision=decided(asked))
    said = request_attributes(finished, lambda *_: 0.0, prompts=False)
    assert not {"gen_ai.request.temperature", "gen_ai.request.choice.count", "gen_ai.request.max_tokens"} & said.keys()
