"""Each event of budgets, queues, deadlines and feedback changes exactly the samples that are meant, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from experts.errors import ExpertOutOfTime
from router.budget import Budget, Rung
from router.events import Booked, Degraded, FeedbackGiven, Finished, Held, LedgerLost, Turned, Waited
from router.money import NANOS
from router.records import Failure
from router.response import Response, unheard
from tests.unit.make import decision, reply
from tests.unit.test_telemetry import changed, finished, samples, telemetry


def test_money_that_is_set_aside_is_held_until_it_is_booked() -> None:
    """By tenant; what nobody has held is less than nothing for no one."""
    assert changed(Held("default", 3 * NANOS)) == {
        "symposium_budget_reserved_usd_total tenant=default": 3,
        "symposium_budget_held_usd tenant=default": 3,
    }
    of = telemetry()
    of.emit(Held("default", 3 * NANOS))
    of.emit(Booked("default", 2 * NANOS, NANOS))
    assert samples(of)["symposium_budget_held_usd tenant=default"] == 1
    of.emit(Booked("default", 2 * NANOS, NANOS))
    assert samples(of)["symposium_budget_held_usd tenant=default"] == 0


def test_a_booking_counts_what_was_charged_and_what_nobody_pays() -> None:
    """With how long it took since the call's end; estimates are a part of what was charged."""
    booked = Booked("default", 0, 2 * NANOS, NANOS, lag_s=0.5)
    expected = {
        "symposium_budget_settled_usd_total tenant=default": 2,
        "symposium_budget_overrun_usd_total tenant=default": 1,
        "symposium_settle_lag_seconds_count": 1,
        "symposium_settle_lag_seconds_sum": 0.5,
    }
    assert changed(booked) == expected
    estimated = {"symposium_budget_estimated_usd_total tenant=default": 2}
    assert changed(replace(booked, estimated=True)) == expected | estimated


def test_a_ledger_that_is_lost_counts_and_shows_until_it_works_again() -> None:
    """By what it was asked for and whether requests were served without it; what is not known here is other's."""
    of = telemetry()
    of.emit(LedgerLost("settle", open=False))
    of.emit(LedgerLost("whatever a later version asks for", open=True))
    found = samples(of)
    assert found["symposium_ledger_lost_total mode=closed operation=settle"] == 1
    assert found["symposium_ledger_lost_total mode=open operation=other"] == 1
    assert found["symposium_ledger_up"] == 0
    of.emit(Booked("default", 0, 0))
    assert samples(of)["symposium_ledger_up"] == 1


@pytest.mark.parametrize(
    ("event", "series"),
    [
        (Turned("default", "auto", "insufficient_quota", "spent"), "insufficient_quota reason=spent tenant=default"),
        (Turned("default", "", "rate_limit_exceeded", "tokens"), "rate_limit_exceeded reason=tokens tenant=default"),
        (Turned("stranger", "auto", "overloaded", "overload"), "overloaded reason=overload tenant=other"),
        (Turned("default", "auto", "overloaded", "spent"), "other reason=other tenant=default"),
    ],
)
def test_a_refusal_counts_by_code_reason_and_tenant(event: Turned, series: str) -> None:
    """Sets are closed: a pair that nobody knows, and a tenant that there is not, are other ones."""
    assert changed(event) == {f"symposium_refusals_total code={series}": 1}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"code": "overloaded"}, "in_flight"),
        ({"code": "overloaded", "decision": decision()}, "overload"),
        ({"code": "insufficient_quota", "decision": decision()}, "spent"),
        ({"code": "insufficient_quota", "why": "spent"}, None),
        ({"code": "invalid_value"}, None),
    ],
)
def test_a_refusal_that_no_event_tells_of_counts_at_its_end(fields: dict[str, Any], reason: str | None) -> None:
    """A replica that holds too many; calls of a plan that got no turn, or no money, when they were to begin."""
    event = Finished("", "refused", 429, 0.1, tenant="default", **fields)
    found = {name: n for name, n in changed(event).items() if "refusals" in name}
    code = fields["code"]
    assert found == ({f"symposium_refusals_total code={code} reason={reason} tenant=default": 1} if reason else {})


def test_what_was_given_up_counts_by_policy() -> None:
    """Each rung of the ladder has its series."""
    for rung in get_args(Rung):
        if rung != "none":
            assert changed(Degraded("auto", rung)) == {f"symposium_degraded_total policy=auto rung={rung}": 1}


def test_a_call_that_comes_to_its_turn_tells_how_long_it_waited() -> None:
    """One that gets none counts by why."""
    assert changed(Waited("ada", "default", 0.5)) == {
        "symposium_queue_wait_seconds_count expert=ada": 1,
        "symposium_queue_wait_seconds_sum expert=ada": 0.5,
    }
    assert changed(Waited("ada", "default", 0.5, "full")) == {"symposium_queue_refused_total expert=ada reason=full": 1}


@pytest.mark.parametrize(
    ("event", "series"),
    [
        (FeedbackGiven("auto", right=True, counted=True), "counted=true policy=auto verdict=right"),
        (FeedbackGiven("auto", right=False, counted=False), "counted=false policy=auto verdict=wrong"),
        (FeedbackGiven("expert", right=True, counted=True), "counted=true policy=expert verdict=right"),
        (FeedbackGiven("gone", right=True, counted=True), "counted=true policy=other verdict=right"),
    ],
)
def test_feedback_counts_by_policy_and_verdict(event: FeedbackGiven, series: str) -> None:
    """Also of a policy that has gone since the answer."""
    assert changed(event) == {f"symposium_feedback_total {series}": 1}


def out_of_time() -> Failure:
    """A leg of which nothing had come by the deadline."""
    return Failure("bob", "l", ExpertOutOfTime("bob", "nothing had come"))


@pytest.mark.parametrize(
    ("seconds", "fields", "how"),
    [
        (7.0, {}, "met"),
        (8.04, {}, "met"),
        (8.06, {}, "late"),
        (7.0, {"cut": True}, "cut"),
        (8.06, {"cut": True}, "late"),
        (8.0, {"outcome": "failed", "status": 504, "code": "deadline_exceeded"}, "missed"),
        (1.0, {"outcome": "failed", "status": 502, "code": "experts_failed"}, "failed"),
        (1.0, {"outcome": "cancelled", "status": 499}, None),
        (0.1, {"outcome": "refused", "status": 429}, None),
    ],
)
def test_a_request_counts_by_how_it_kept_to_its_deadline(
    seconds: float, fields: dict[str, Any], how: str | None
) -> None:
    """Of 8 s, with 50 ms for the network; only where there was one, and the client stayed for it."""
    made = decision(budget=Budget(deadline_s=8.0))
    cut = ["bob"] if "cut" in fields else []
    ended: list[Any] = [("answer", reply("ada", "?")), *(("answer", out_of_time()) for _ in cut)]
    response = Response(made, unheard, ended=ended, missing=tuple(cut))
    fields = {name: value for name, value in fields.items() if name != "cut"}
    event = replace(finished(response=response, decision=made), seconds=seconds, **fields)
    found = {name: n for name, n in changed(event).items() if "deadlines" in name}
    assert found == ({f"symposium_deadlines_total outcome={how} policy=auto": 1} if how else {})
    free = replace(event, decision=replace(made, budget=Budget(nanos=1)))
    assert not any("deadlines" in name for name in changed(free))
