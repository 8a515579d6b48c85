"""A query's deadline: what has come by then is the answer, and says so; what cannot be in time is not begun."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.world import PATIENT, SONG, SUM, World, ask, routing
from tests.support import CHAT, Recorded, eventually_equal, openai_client

pytestmark = pytest.mark.usefixtures("world")
LATE_S = 0.05  # behind a deadline, an answer is late


def budget(**fields: Any) -> dict[str, Any]:
    return {"symposium": {"budget": fields}}


def test_a_slow_answer_ends_at_the_deadline(world: World) -> None:
    """With what has come by then, as one that was too long, and the reason."""
    began = time.monotonic()
    answer = world.post(ask("slow1", SUM, **budget(deadline_ms=700)))
    assert time.monotonic() - began < 0.7 + 10 * LATE_S  # on a busy machine; how late it is at most is measured
    (choice,) = answer.json()["choices"]
    assert choice["finish_reason"] == "length"
    assert SONG.startswith(choice["message"]["content"])
    assert answer.json()["symposium"]["ended_early"] == "deadline"
    assert answer.headers["x-symposium-ended-early"] == "deadline"
    (leg,) = answer.json()["symposium"]["legs"]
    assert (leg["stopped"], leg["estimated"]) == ("deadline", True)
    eventually_equal(lambda: world.legs("running"), 0)


def test_a_stream_ends_at_the_deadline(world: World) -> None:
    """Its last words say why; the connection is not just closed."""
    with openai_client(world.url) as client:
        chunks = list(
            client.chat.completions.create(
                model="slow1",
                messages=[{"role": "user", "content": SUM}],
                stream=True,
                extra_headers={"x-symposium-deadline-ms": "700"},
            )
        )
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].model_extra is not None
    assert chunks[-1].model_extra["symposium"]["ended_early"] == "deadline"
    eventually_equal(lambda: world.legs("running"), 0)


def test_a_vote_is_counted_at_the_deadline(world: World) -> None:
    """Of those who have answered; whoever has not is aborted, and named."""
    answer = world.post(ask("sluggish", SUM, **budget(deadline_ms=600)))
    told = answer.json()["symposium"]
    assert (told["ended_early"], told["missing"]) == ("deadline", ["slow1"])
    assert answer.headers["x-symposium-experts"] == "ant,bee"
    assert answer.headers["x-symposium-missing"] == "slow1"
    assert answer.json()["choices"][0]["message"]["content"] in ("The answer is 13.", "13")
    eventually_equal(lambda: world.legs("running"), 0)


def test_with_nothing_there_it_is_an_error(world: World) -> None:
    """504, which no client repeats by itself: the time is up."""
    answer = world.post(ask("late", SUM, **budget(deadline_ms=150)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert answer.headers["x-should-retry"] == "false"
    eventually_equal(lambda: world.legs("running"), 0)


def test_in_a_stream_that_is_open_it_is_an_event(world: World) -> None:
    """Where comments have opened it while nothing had come."""
    with world.http.stream(
        "POST",
        "/v1/chat/completions",
        json=ask("late", SUM, stream=True, symposium={"budget": {"deadline_ms": 150}, "progress": True}),
    ) as stream:
        told = stream.read().decode()
    assert stream.status_code == 200
    assert '"code":"deadline_exceeded"' in told
    assert told.endswith("data: [DONE]\n\n")


def test_half_an_object_is_no_answer(world: World) -> None:
    """JSON that was cut at the deadline is nothing, not a wrong answer."""
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    answer = world.post(ask("jslow", SUM, response_format=wanted, **budget(deadline_ms=400)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_a_deadline_in_a_header_is_a_positive_number(world: World, value: str) -> None:
    """Anything else is named."""
    answer = world.post(ask(), **{"x-symposium-deadline-ms": value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-symposium-deadline-ms")


@pytest.mark.parametrize("field", ["deadline_ms", "max_cost_usd", "max_tokens", "max_experts", "min_confidence"])
@pytest.mark.parametrize("value", [0, -1, "much"])
def test_a_budget_is_of_positive_numbers(world: World, field: str, value: object) -> None:
    """The field is named, with its way through the body."""
    answer = world.post(ask(**budget(**{field: value})))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, f"symposium.budget.{field}")


def test_what_only_a_model_elsewhere_could_do_in_time_is_refused_before_anything_is_asked(world: World) -> None:
    """Once it is known how long everybody takes, with what would have been possible."""
    for _ in range(25):
        world.post(ask("steady", SUM))
    before = world.legs("started", "steady")
    answer = world.post(ask("steady", SUM, **budget(deadline_ms=20)))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (504, "deadline_unreachable")
    assert error["fastest"]["experts"] == ["steady"]
    assert error["fastest"]["seconds"] > 0.02
    streamed = world.post(ask("steady", SUM, stream=True), **{"x-llm-d-slo-ttft-ms": "5"})
    assert (streamed.status_code, streamed.json()["error"]["param"]) == (504, "x-llm-d-slo-ttft-ms")
    assert world.legs("started", "steady") == before


def test_who_would_have_to_wait_too_long_is_told_by_whom_it_would_be_served_first(
    experts: Recorded, tmp_path: Path
) -> None:
    """And may try again: 429 without a deadline, 504 with one. Nothing is asked."""
    one = {"least": 1, "first": 1, "most": 1, "queued_requests": 0}
    with routing(tmp_path, experts, convening=PATIENT | {"concurrency": one}) as small:
        with small.http.stream("POST", CHAT, json=ask("slow1", SUM, stream=True)) as busy:
            words = busy.iter_raw()
            next(words)
            before = small.legs("started", "slow1")
            for options, status, code in (
                ({}, 429, "overloaded"),
                (budget(deadline_ms=900), 504, "deadline_unreachable"),
            ):
                answer = small.post(ask("slow1", SUM, **options))
                error = answer.json()["error"]
                assert (answer.status_code, error["code"]) == (status, code)
                assert error["fastest"]["experts"] == ["slow1"]
                assert (answer.headers["x-should-retry"], answer.headers["retry-after"]) == ("true", "1")
            assert small.legs("started", "slow1") == before
        eventually_equal(lambda: small.legs("running"), 0)
