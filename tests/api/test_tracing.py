"""Spans of real requests, as a collector receives them, and what experts are told of the trace they are part of."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from experts.recorded import build_app
from experts.recorded_book import AnswerBook
from tests.api.collector import Collector, Seen
from tests.api.world import BEHAVIOURS, KEY, KEY_ENV, NAMER, POLICIES, ROWS, SUM, World, ask, routing
from tests.support import Recorded, eventually, http_client, on_a_port, raw_post, sse_events

STATE = "vendor=1"
WRITTEN = {"experts": ["ant", "cat"], "aggregate": "synthesize"}
LEAVERS = ("slow1", "slow2", "slow3")


class Noting:
    """Notes the headers of every call before it goes on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.calls: list[dict[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            self.calls.append({k.decode(): v.decode() for k, v in scope["headers"]})
        await self._app(scope, receive, send)

    def of(self, trace_id: str) -> dict[str, str]:
        """Leg id -> traceparent, of the calls that belong to a trace."""
        found = [call for call in self.calls if trace_id in call.get("traceparent", "")]
        return {call["x-request-id"]: call["traceparent"] for call in found}


@dataclass(frozen=True, slots=True)
class Traced:
    """A router that sends spans, the experts behind it, and the collector."""

    world: World
    experts: Noting
    collector: Collector


@contextmanager
def tracing(folder: Path, **settings: object) -> Iterator[Traced]:
    """What it collected is complete once the block has ended."""
    experts, collector = Noting(build_app(AnswerBook.from_rows(ROWS), BEHAVIOURS, api_key=KEY)), Collector()
    headers = {"authorization": f"Bearer {KEY}"}
    with (
        pytest.MonkeyPatch.context() as patch,
        on_a_port(experts) as url,
        http_client(url, headers=headers) as http,
        on_a_port(collector) as sink,
    ):
        patch.setenv(KEY_ENV, KEY)
        told = {"endpoint": f"{sink}/v1/traces", **settings}
        policies = POLICIES | {"written": WRITTEN}
        with routing(folder, Recorded(url, http), tracing=told, policies=policies) as world:
            yield Traced(world, experts, collector)


def context(number: int, flags: str = "01") -> dict[str, str]:
    """Headers of a client that traces; the trace's id is `number`, and so is the span's."""
    return {"traceparent": f"00-{number:032x}-{number:016x}-{flags}"}


def trace(number: int) -> str:
    return f"{number:032x}"


VOTE, STREAM, DEAD, LEFT, WROTE, NAMED, QUIET, REFUSED = range(1, 9)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """One request of each kind, each in a trace of its own, and all that came of them."""
    with tracing(tmp_path_factory.mktemp("traced")) as found:
        world = found.world
        assert world.post(ask("auto"), tracestate=STATE, **context(VOTE)).status_code == 200
        reply = world.post(ask("solo", stream=True), **context(STREAM))
        assert sse_events(reply)
        assert reply.headers["x-symposium-trace-id"] == trace(STREAM)
        assert world.post(ask("dead"), **context(DEAD)).status_code == 502
        assert world.post(ask("written"), **context(WROTE)).status_code == 200
        assert world.post(ask("named"), **context(NAMED)).status_code == 200
        assert world.post(ask("auto"), **context(QUIET, "00")).status_code == 200
        assert world.post(ask("auto", n=1000), **context(REFUSED)).status_code == 400
        with raw_post(world.url, ask("slowly"), context(LEFT)):
            eventually(lambda: world.legs("running", *LEAVERS) == len(LEAVERS))
        eventually(lambda: world.metric("symposium_requests_total", outcome="cancelled") == 1)
    return found


def roots(spans: list[Seen]) -> Seen:
    (found,) = (span for span in spans if span.kind == "server")
    return found


def inside(spans: list[Seen], parent: Seen) -> dict[str, Seen]:
    """Name, or for a leg its expert -> span, of those directly below another one."""
    below = [span for span in spans if span.parent_id == parent.span_id]
    return {span.attributes["symposium.expert"] if span.kind == "client" else span.name: span for span in below}


def test_a_vote_is_a_tree(traced: Traced) -> None:
    """Request, route, a leg for each expert, aggregate: one tree below the client's own span, within the request."""
    spans = traced.collector.of(trace(VOTE))
    request = roots(spans)
    assert (request.name, request.parent_id, request.state) == ("chat auto", f"{VOTE:016x}", STATE)
    below = inside(spans, request)
    assert below.keys() == {"route", "aggregate", "ant", "bee", "cat"}
    assert len(spans) == len(below) + 1
    slack_ns = 5_000_000  # clocks of different threads
    assert all(request.start - slack_ns <= s.start <= s.end <= request.end + slack_ns for s in spans)
    route, aggregate = below["route"], below["aggregate"]
    legs = [below[name] for name in ("ant", "bee", "cat")]
    assert route.end <= min(leg.start for leg in legs) + slack_ns
    assert aggregate.start >= max(leg.end for leg in legs) - slack_ns
    assert {span.service for span in spans} == {"symposium"}
    assert traced.collector.paths == {"/v1/traces"}


def test_spans_say_what_happened(traced: Traced) -> None:
    """Models, tokens, costs, category and reason stand in the attributes that the conventions, or we, have for them."""
    spans = traced.collector.of(trace(VOTE))
    request = roots(spans)
    below = inside(spans, request)
    leg, route, aggregate = below["ant"], below["route"], below["aggregate"]
    assert leg.name == "chat ant"
    assert leg.attributes["gen_ai.provider.name"] == "openai"
    assert leg.attributes["gen_ai.usage.output_tokens"] == 6
    assert leg.attributes["symposium.outcome"] == "answered"
    assert route.attributes["symposium.category"] == "sums"
    assert route.attributes["symposium.plan.experts"] == ["ant", "bee", "cat"]
    assert aggregate.attributes["symposium.aggregate.how"] == "vote"
    assert request.attributes["gen_ai.request.model"] == "auto"
    assert request.attributes["gen_ai.response.model"] == aggregate.attributes["symposium.expert"]
    outputs = sum(below[name].attributes["gen_ai.usage.output_tokens"] for name in ("ant", "bee", "cat"))
    assert request.attributes["gen_ai.usage.output_tokens"] == outputs
    cost = sum(below[name].attributes["symposium.cost_usd"] for name in ("ant", "bee", "cat"))
    assert request.attributes["symposium.cost_usd"] == pytest.approx(cost)
    assert not any(span.failed for span in spans)


def test_an_expert_is_told_the_span_of_its_leg(traced: Traced) -> None:
    """Each call carries a traceparent with the id of the span that its leg becomes: what an engine adds hangs there."""
    for number in (VOTE, STREAM, WROTE, NAMED):
        legs = {s.attributes["symposium.leg_id"]: s for s in traced.collector.of(trace(number)) if s.kind == "client"}
        told = traced.experts.of(trace(number))
        assert told == {leg_id: f"00-{trace(number)}-{span.span_id}-01" for leg_id, span in legs.items()}


def test_other_vendors_state_stays_with_us(traced: Traced) -> None:
    """An expert elsewhere is sent our context, not what others put into the trace's state."""
    assert not any("tracestate" in call for call in traced.experts.calls)


def test_a_stream_is_a_tree(traced: Traced) -> None:
    """One expert passed through: request, route and its leg; there is nothing to aggregate."""
    spans = traced.collector.of(trace(STREAM))
    request = roots(spans)
    below = inside(spans, request)
    assert below.keys() == {"route", "ant"}
    assert request.attributes["gen_ai.request.stream"] is True
    assert request.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert below["ant"].attributes["gen_ai.usage.output_tokens"] == 6


def test_a_failure_is_seen(traced: Traced) -> None:
    """Request and legs that failed say so, and why; the expert that stepped in has a span of its own."""
    spans = traced.collector.of(trace(DEAD))
    request = roots(spans)
    assert request.failed
    assert request.attributes["error.type"] == "experts_failed"
    assert request.attributes["http.response.status_code"] == 502
    below = inside(spans, request)
    assert {"route", "mute", "numb"} == below.keys()
    assert all(below[name].failed and below[name].attributes["error.type"] == "refused" for name in ("mute", "numb"))


def test_a_client_that_left_leaves_a_tree(traced: Traced) -> None:
    """Legs that were aborted with the client have spans, with what they had used; nothing counts as an error."""
    spans = traced.collector.of(trace(LEFT))
    request = roots(spans)
    assert request.attributes["symposium.outcome"] == "cancelled"
    below = inside(spans, request)
    assert below.keys() == {"route", *LEAVERS}
    assert {below[name].attributes["symposium.outcome"] for name in LEAVERS} == {"cancelled"}
    assert not any(span.failed for span in spans)


def test_a_synthesis_is_part_of_aggregation(traced: Traced) -> None:
    """The aggregating expert's leg hangs below the aggregate span, which lasts as long."""
    spans = traced.collector.of(trace(WROTE))
    aggregate = inside(spans, roots(spans))["aggregate"]
    (judge,) = inside(spans, aggregate).values()
    assert judge.attributes["symposium.expert"] == "judge"
    assert judge.end <= aggregate.end + 5_000_000


def test_the_keyword_expert_is_part_of_the_route(traced: Traced) -> None:
    """What is asked in order to decide hangs below the route."""
    spans = traced.collector.of(trace(NAMED))
    route = inside(spans, roots(spans))["route"]
    assert inside(spans, route).keys() == {NAMER}


def test_a_request_that_is_refused_has_a_span(traced: Traced) -> None:
    """A mistake of the client's is a span with its status; by the conventions no error of the server's."""
    (request,) = traced.collector.of(trace(REFUSED))
    assert request.attributes["http.response.status_code"] == 400
    assert not request.failed


def test_who_is_not_sampled_leaves_nothing(traced: Traced) -> None:
    """The client's own decision not to sample is kept, and passed on."""
    assert traced.collector.of(trace(QUIET)) == []
    assert {parent[-2:] for parent in traced.experts.of(trace(QUIET)).values()} == {"00"}


def test_prompts_stay_out(traced: Traced) -> None:
    """Neither what was asked nor what was answered, nor a key, is in any byte that was exported."""
    assert traced.collector.spans
    for secret in (SUM, "The answer is 13", KEY):
        assert secret.encode() not in traced.collector.raw


def test_prompts_where_they_are_wanted(tmp_path: Path) -> None:
    """With `prompts: true` the request's span has both, as the conventions write messages."""
    with tracing(tmp_path, prompts=True, service_name="panel") as found:
        reply = found.world.post(ask("solo"))
    spans = found.collector.of(reply.headers["x-symposium-trace-id"])
    request = roots(spans)
    assert (request.service, request.parent_id) == ("panel", "")
    assert SUM in request.attributes["gen_ai.input.messages"]
    assert "The answer is 13." in request.attributes["gen_ai.output.messages"]


def test_the_share_that_is_sampled_is_the_operators(tmp_path: Path) -> None:
    """At `sample: 0` a request without a context of its own is not traced; one that a client samples is."""
    with tracing(tmp_path, sample=0.0) as found:
        assert found.world.post(ask("solo")).status_code == 200
        assert found.world.post(ask("solo"), **context(VOTE)).status_code == 200
    assert {span.trace_id for span in found.collector.spans} == {trace(VOTE)}


def test_without_a_collector_experts_are_told_the_clients_context(tmp_path: Path) -> None:
    """Spans are off: the client's own span is what experts hang below, and nothing is sent to anybody."""
    with tracing(tmp_path, endpoint=None) as found:
        assert found.world.post(ask("solo"), **context(VOTE, "03")).status_code == 200
        assert found.world.post(ask("solo")).status_code == 200
    assert [call.get("traceparent") for call in found.experts.calls] == [context(VOTE, "03")["traceparent"], None]
    assert found.collector.spans == []


def test_without_a_collector_nothing_works_for_spans(world: World) -> None:
    """Off by default: there is no thread; a client's own trace is named in the answer, nobody else's is."""
    assert world.post(ask("ant"), **context(VOTE)).headers["x-symposium-trace-id"] == trace(VOTE)
    assert "x-symposium-trace-id" not in world.post(ask("ant")).headers
    assert not any(thread.name == "spans" or "Span" in thread.name for thread in threading.enumerate())
