"""What `symposium top` makes of metrics: sums over replicas, rates between two looks, means of what was observed."""

from __future__ import annotations

import pytest

from deploy.samples import Samples
from deploy.top import _of_engine, figures
from router.events import Finished, LegEnded
from router.telemetry import Telemetry

STATUS = {"config": "abc", "version": 3, "replicas": [{}, {}], "rejections": 1, "engines": ["gpu0"]}
ENGINE = """\
# HELP vllm:num_requests_running Requests in the batch.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="base"} 3.0
vllm:num_requests_waiting{engine="0",model_name="base"} 2.0
vllm:generation_tokens_total{engine="0",model_name="base"} %s
"""


def replica(requests: int, legs: int, seconds: float) -> str:
    """A replica's metrics after so many requests, each of so long, and calls of ada, one in two of which fails."""
    telemetry = Telemetry("abc", ["ada"], ["auto"], max_in_flight=10)
    for _ in range(requests):
        telemetry.emit(Finished("auto", "answered", 200, seconds))
    for number in range(legs):
        telemetry.emit(LegEnded("ada", str(number), "answered" if number % 2 else "timeout", 0.1, 0.05))
    telemetry.expert_up.labels("ada").set(1)
    return telemetry.exposition().decode()


def looks() -> tuple[Samples, Samples]:
    """Two replicas and an engine, four seconds apart."""
    before = Samples.of([replica(2, 0, 0.5), replica(0, 0, 0.5), _of_engine(ENGINE % "10", "gpu0")], 1.0)
    now = Samples.of([replica(6, 4, 0.5), replica(4, 0, 0.5), _of_engine(ENGINE % "50", "gpu0")], 5.0)
    return before, now


def test_figures_are_of_all_replicas_between_two_looks() -> None:
    """By hand: 8 requests in 4 s of half a second each, 4 calls of which two failed, 40 tokens of the engine."""
    found = figures(STATUS, *looks(), ("ada",), ("auto",))
    assert (found["requests"], found["limit"]) == (2.0, 20.0)
    assert found["policies"]["auto"]["requests"] == 2.0
    assert found["policies"]["auto"]["seconds"] == pytest.approx(0.5)
    ada = found["experts"]["ada"]
    assert (ada["up"], ada["breaker"], ada["calls"], ada["answered"]) == (True, "closed", 1.0, 0.5)
    assert ada["first_token_s"] == pytest.approx(0.05)
    assert found["engines"]["gpu0"] == {"running": 3.0, "waiting": 2.0, "output_tokens": 10.0}


def test_nothing_observed_has_no_mean_and_nobody_is_up_unseen() -> None:
    """Rather than zero milliseconds; an expert that one replica of two does not reach is down."""
    before, now = looks()
    assert figures(STATUS, now, now, ("ada",), ("auto",))["policies"]["auto"]["seconds"] is None
    one = Samples.of([replica(0, 0, 0.5)], 6.0)
    assert figures(STATUS, before, one, ("ada",), ("auto",))["experts"]["ada"]["up"] is False


def test_a_counter_that_began_anew_has_no_negative_rate() -> None:
    """A replica that was restarted."""
    before, now = looks()
    assert before.rate(Samples(0.0, now.values), "symposium_requests_total") == 0.0
