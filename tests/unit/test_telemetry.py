"""Each event changes exactly the samples that are meant, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Literal

import pytest

from experts.errors import ExpertTimeout
from router.dispatch import LiveReply
from router.events import Concluded, Decided, Event, ExtraLeg, Finished, LegEnded, LegSettled, Unserved
from router.plan import named
from router.records import Failure, Reply, SkillScores, Ticket, Usage
from router.response import Response, unheard
from router.telemetry import Telemetry
from router.trace_context import SAMPLED, Trace
from tests.unit.make import decision, query, reply


def telemetry() -> Telemetry:
    """Of a replica with two experts and one policy, whose clock stands still at 10 s."""
    return Telemetry("abc", ("ada", "bob"), ("auto",), categories=("math", "general"), clock=lambda: 10.0)


def samples(of: Telemetry) -> dict[str, float]:
    """Sample with its labels -> value, without creation times and the buckets of histograms."""
    return {
        " ".join([s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()))]): s.value
        for metric in of.registry.collect()
        for s in metric.samples
        if not s.name.endswith(("_created", "_bucket"))
    }


def changed(event: Event) -> dict[str, float]:
    """By how much an event changes which samples."""
    of = telemetry()
    before = samples(of)
    of.emit(event)
    after = samples(of).items()
    return {name: value - before.get(name, 0.0) for name, value in after if value != before.get(name, 0.0)}


def test_a_decision_counts_its_reason_overhead_and_strangers() -> None:
    """The plan by policy and reason, and by category; the overhead; each candidate without observations."""
    assert changed(Decided(decision())) == {
        "symposium_decisions_total policy=auto reason=sure": 1,
        "symposium_categories_total category=math policy=auto": 1,
        "symposium_overhead_seconds_count policy=auto": 1,
        "symposium_overhead_seconds_sum policy=auto": 0.002,
        "symposium_unprofiled_candidate_total expert=bob": 1,
    }


def test_an_unknown_skill_is_counted() -> None:
    """A routed query that resembles nothing known is visible."""
    found = changed(Decided(decision(skills=SkillScores({}), candidates=())))
    assert found["symposium_unknown_skill_total"] == 1


def test_a_keyword_unlike_any_skill_is_counted_as_unknown_too() -> None:
    """Also where the embedding found skills in its place."""
    found = changed(Decided(decision(skills=SkillScores({"sums": 1.0}, unknown=("law",)), candidates=())))
    assert found["symposium_unknown_skill_total"] == 1


@pytest.mark.parametrize(
    ("source", "leg", "outcome"),
    [
        ("keywords", reply("kim", "Keywords: sums"), "named"),
        ("embedding", reply("kim", "?"), "unnamed"),
        ("embedding", Failure("kim", "leg", ExpertTimeout("kim", "answer", 2)), "failed"),
    ],
)
def test_what_came_of_asking_for_keywords_is_counted(
    source: Literal["embedding", "keywords"], leg: Reply | Failure, outcome: str
) -> None:
    """Named, nothing that is known, or no answer in time."""
    found = changed(Decided(decision(skills=SkillScores({"sums": 1.0}, source=source), asides=(leg,))))
    assert found[f"symposium_keywords_total outcome={outcome}"] == 1


def test_a_stale_profile_shows_from_the_start() -> None:
    """Another version was measured than the one that answers: 1 for it, 0 for the others."""
    found = samples(Telemetry("abc", ("ada", "bob"), (), frozenset({"bob"})))
    assert (found["symposium_stale_profile expert=ada"], found["symposium_stale_profile expert=bob"]) == (0, 1)


def test_a_named_expert_is_no_unknown_skill() -> None:
    """Nothing was looked at, so nothing is unknown."""
    alone = named(query(model="ada"))
    event = Decided(decision(policy="expert", categories=None, skills=None, candidates=(), plan=alone))
    assert changed(event) == {
        "symposium_decisions_total policy=expert reason=named": 1,
        "symposium_categories_total category=none policy=expert": 1,
        "symposium_overhead_seconds_count policy=expert": 1,
        "symposium_overhead_seconds_sum policy=expert": 0.002,
    }


def test_a_leg_counts_by_how_it_ended() -> None:
    """Duration always, time to the first token only where there was one."""
    assert changed(LegEnded("ada", "l", "timeout", 2.0, None)) == {
        "symposium_legs_total expert=ada outcome=timeout": 1,
        "symposium_leg_seconds_count expert=ada": 1,
        "symposium_leg_seconds_sum expert=ada": 2.0,
    }
    streamed = changed(LegEnded("ada", "l", "answered", 2.0, 0.5))
    assert streamed["symposium_leg_first_token_seconds_sum expert=ada"] == 0.5


def test_settled_tokens_count_apart_by_kind_and_exactness() -> None:
    """Estimates never mix with counts."""
    assert changed(LegSettled("ada", "l", Usage(10, 5))) == {
        "symposium_tokens_total exact=true expert=ada kind=prompt": 10,
        "symposium_tokens_total exact=true expert=ada kind=output": 5,
    }
    assert changed(LegSettled("ada", "l", Usage(3, 2, exact=False))) == {
        "symposium_tokens_total exact=false expert=ada kind=prompt": 3,
        "symposium_tokens_total exact=false expert=ada kind=output": 2,
    }


@pytest.mark.parametrize("why", ["retry", "hedge"])
def test_an_additional_expert_counts_by_why_it_was_asked(why: Literal["retry", "hedge"]) -> None:
    """Under the name of the expert that failed or was late: it is the one to look at."""
    assert changed(ExtraLeg(why, "ada")) == {f"symposium_extra_legs_total expert=ada why={why}": 1}


def test_an_answer_counts_by_how_it_was_made_of_the_replies() -> None:
    """And why so: a synthesis that could not be had shows beside the votes."""
    assert changed(Concluded("auto", "vote", "aggregator_failed")) == {
        "symposium_conclusions_total how=vote policy=auto why=aggregator_failed": 1
    }


def test_a_finished_request_counts_by_outcome_and_status() -> None:
    """One request, one count, one duration."""
    assert changed(Finished("auto", "refused", 400, 0.25)) == {
        "symposium_requests_total outcome=refused policy=auto status=400": 1,
        "symposium_request_seconds_count policy=auto": 1,
        "symposium_request_seconds_sum policy=auto": 0.25,
    }


def test_every_expert_is_down_until_it_was_seen() -> None:
    """The gauge exists from the start, beside the running configuration."""
    found = samples(telemetry())
    assert found["symposium_expert_up expert=ada"] == found["symposium_expert_up expert=bob"] == 0
    assert found["symposium_config_info version=abc"] == 1


def test_a_breaker_is_in_one_state_at_a_time() -> None:
    """Closed from the start; the state it has changed to is 1 and the others 0, and no other expert's."""

    def states(of: Telemetry, expert: str) -> list[float]:
        found = samples(of)
        names = ("closed", "open", "half_open")
        return [found[f"symposium_breaker_state expert={expert} state={name}"] for name in names]

    of = telemetry()
    assert states(of, "ada") == [1, 0, 0]
    of.breaker_changed("ada", "open")
    assert states(of, "ada") == [0, 1, 0]
    of.breaker_changed("ada", "half_open")
    assert (states(of, "ada"), states(of, "bob")) == ([0, 0, 1], [1, 0, 0])


def test_two_replicas_in_one_process_do_not_share_samples() -> None:
    """Each has a registry of its own."""
    one, two = telemetry(), telemetry()
    one.emit(Finished("auto", "answered", 200, 0.1))
    name = "symposium_requests_total outcome=answered policy=auto status=200"
    assert (samples(one)[name], samples(two)[name]) == (1, 0)


def test_time_per_token_is_of_what_came_after_the_first() -> None:
    """1.5 s for the four tokens after the first; not of a call that was cut, nor of one token."""
    name = "symposium_leg_per_token_seconds_sum expert=ada"
    assert changed(LegEnded("ada", "l", "answered", 2.0, 0.5, output_tokens=5))[name] == 1.5 / 4
    for leg in (
        LegEnded("ada", "l", "cut", 2.0, 0.5, output_tokens=5),
        LegEnded("ada", "l", "answered", 2.0, 0.5, output_tokens=1),
        LegEnded("ada", "l", "answered", 2.0, 0.5),
        LegEnded("ada", "l", "answered", 2.0, None, output_tokens=5),
    ):
        assert name not in changed(leg)


def finished(*seconds: float, **fields: Any) -> Finished:
    """An answered request, admitted at 4 s of the clock, with 2 s of overhead, and calls that took so long."""
    made = decision(ticket=Ticket("anonymous", 4.0), overhead_s=2.0, query=query(stream=True))
    response = Response(made, unheard, ended=[("answer", reply("ada", "?", seconds=s)) for s in seconds])
    known: dict[str, Any] = {"first_byte_s": 0.25, "decision": made, "response": response}
    return Finished("auto", "answered", 200, 7.0, **(known | fields))


@pytest.mark.parametrize(
    ("calls", "engine_s"),
    [((3.0,), 3.0), ((1.0, 2.0), 3.0), ((4.0, 4.0), 4.0)],
    ids=["one call", "one after the other", "beside each other: no more than since dispatch"],
)
def test_the_experts_time_is_apart_from_the_router_s(calls: tuple[float, ...], engine_s: float) -> None:
    """Of the 6 s since admission 2 were overhead: experts have at most the other 4."""
    found = changed(finished(*calls))
    assert found["symposium_engine_seconds_sum policy=auto"] == engine_s
    assert found["symposium_request_seconds_sum policy=auto"] == 7.0


def test_only_answered_requests_have_an_experts_time() -> None:
    """Of others it is not known what was still under way."""
    assert "symposium_engine_seconds_sum policy=auto" not in changed(replace(finished(3.0), outcome="cancelled"))


def test_the_first_byte_counts_by_whether_it_is_a_stream_s() -> None:
    """A whole answer's first byte is its last, nearly; without one there is nothing to count."""
    assert changed(finished(3.0))["symposium_first_byte_seconds_sum policy=auto stream=true"] == 0.25
    assert not any("first_byte" in name for name in changed(finished(3.0, first_byte_s=None)))


async def words() -> AsyncIterator[dict[str, Any]]:
    """A live reply's, of which nothing is read here."""
    yield {}


def test_time_per_token_counts_by_policy_where_words_go_straight_to_the_client() -> None:
    """Half a second of which 0.1 s to the first of five tokens: 0.1 s each of the others. A vote has none."""
    made = decision(query=query(stream=True))
    leg = reply("ada", "?", seconds=0.5, first_token_s=0.1)
    live = LiveReply("ada", words(), lambda: leg, lambda error: Failure("ada", "l", error))
    name = "symposium_per_token_seconds_sum policy=auto"
    relayed = Response(made, unheard, live=live, ended=[("answer", leg)])
    assert changed(finished(response=relayed))[name] == pytest.approx(0.1)
    assert name not in changed(finished(response=Response(made, unheard, ended=[("answer", leg)])))
    short = replace(leg, usage=Usage(10, 1))
    assert name not in changed(finished(response=Response(made, unheard, live=live, ended=[("answer", short)])))


def test_requests_that_nobody_could_take_count_by_policy() -> None:
    """The 503 itself is counted before a policy is known to it."""
    assert changed(Unserved("auto")) == {"symposium_unserved_total policy=auto": 1}


def test_an_observation_of_a_recorded_trace_points_to_it() -> None:
    """In OpenMetrics only, and only where the trace is recorded: others would point to nothing."""

    def exemplars(event: Event) -> set[str]:
        of = telemetry()
        of.emit(event)
        samples = (sample for metric in of.registry.collect() for sample in metric.samples)
        return {f"{s.name} {s.exemplar.labels['trace_id']}" for s in samples if s.exemplar}

    trace = Trace("c" * 32, "d" * 16, SAMPLED, ours=True)
    leg = LegEnded("ada", "l", "answered", 2.0, 0.5, output_tokens=5, trace=trace)
    assert exemplars(leg) == {
        f"symposium_leg_{what}seconds_bucket {'c' * 32}" for what in ("", "first_token_", "per_token_")
    }
    assert exemplars(replace(leg, trace=replace(trace, flags=0))) == set()
    assert exemplars(finished(3.0, trace_id="c" * 32)) == {
        f"symposium_{name} {'c' * 32}"
        for name in ("requests_total", "request_seconds_bucket", "first_byte_seconds_bucket", "engine_seconds_bucket")
    }
    assert exemplars(finished(3.0)) == set()
