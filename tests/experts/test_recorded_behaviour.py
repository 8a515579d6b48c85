"""Behaviours of recorded experts over real HTTP: delays, failures, stalls, cuts, garbage, clients that leave."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import openai
import pytest
from pydantic import ValidationError

from experts.recorded_book import Behaviour
from tests.experts.recorded_world import ANSWER, ask, serving
from tests.support import CHAT, eventually, raw_post, said, sse_events


def test_delays_are_kept_and_change_no_word() -> None:
    """The first token takes ttft_s, each further one 1 / tokens_per_s; what is said stays the same."""
    pace = Behaviour(ttft_s=0.05, tokens_per_s=100)
    assert [pace.due_s(tokens) for tokens in (0, 1, 11)] == pytest.approx([0.05, 0.05, 0.15])
    with serving({"sage": pace}) as running:
        for stream in (False, True):
            begun_s = time.monotonic()
            reply = running.post(ask(stream=stream))
            assert time.monotonic() - begun_s > 0.9 * pace.due_s(12)
            text = said(sse_events(reply)) if stream else reply.json()["choices"][0]["message"]["content"]
            assert text == ANSWER


def test_a_paced_stream_comes_piece_by_piece() -> None:
    """A token that is due is on the wire before the next one is waited for."""
    slow = Behaviour(tokens_per_s=0.001)
    with serving({"sage": slow}) as running:
        with running.http.stream("POST", CHAT, json=ask(stream=True)) as reply:
            lines = (line for line in reply.iter_lines() if line)
            first = [json.loads(next(lines).removeprefix("data: ")) for _ in range(2)]
        eventually(lambda: running.counts()["aborted"] == 1)
        assert said(first) == ANSWER[: len(ANSWER) // 12]
        assert running.counts()["output_tokens"] == 1


@pytest.mark.parametrize("options", [{}, {"stream": True}])
def test_a_failing_expert_answers_its_status(options: dict[str, object]) -> None:
    """fail_always answers every question with the configured status in OpenAI's shape, also to a stream."""
    with serving({"sage": Behaviour(fail_always=True, fail_status=503)}) as running:
        with running.openai() as client, pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(**ask(**options))
        assert caught.value.status_code == 503
        assert caught.value.code == "configured_failure"
        assert running.counts()["failed"] == 1
        assert running.post(ask(model="fool")).status_code == 200


def test_a_share_of_questions_fails_and_always_the_same() -> None:
    """fail_rate draws by seed, model and question: the share is right, a repeat agrees, a new seed not."""

    def fates(seed: int, model: str = "m") -> list[tuple[float, bool, bool]]:
        behaviour = Behaviour(seed=seed, fail_rate=0.3, fault_rate=0.6, jitter=0.5)
        return [behaviour.fate(model, f"question {number}") for number in range(2000)]

    delays, fails, faults = zip(*fates(7), strict=True)
    assert 0.25 < sum(fails) / 2000 < 0.35
    assert 0.55 < sum(faults) / 2000 < 0.65
    assert 0.5 <= min(delays) < 0.55
    assert 1.45 < max(delays) <= 1.5
    assert fates(7) == fates(7)
    assert fates(7) != fates(8)
    assert fates(7) != fates(7, "other")
    assert Behaviour().fate("m", "q") == (1, False, True)


def test_durations_may_have_a_heavy_tail() -> None:
    """Log-normal by seed, model and question: half take longer than usual, few much longer, each always the same."""
    behaviour = Behaviour(ttft_s=0.1, tail=1.0, seed=3)
    times = sorted(behaviour.takes_s("m", f"question {number}", 5) for number in range(4000))
    assert times[2000] == pytest.approx(0.1, rel=0.1)
    assert times[3800] == pytest.approx(0.1 * 5.18, rel=0.15)  # exp(1.645)
    assert behaviour.takes_s("m", "q", 5) == behaviour.takes_s("m", "q", 5)


def test_a_model_with_slots_serves_the_first_first() -> None:
    """Whoever comes when all are taken waits; other models have their own."""
    with serving({"sage": Behaviour(ttft_s=0.15, slots=1)}) as running, ThreadPoolExecutor() as pool:
        begun_s = time.monotonic()
        asked = [pool.submit(running.post, ask()) for _ in range(2)]
        eventually(lambda: running.counts()["running"] == 2)
        assert [found.result().status_code for found in asked] == [200, 200]
        assert time.monotonic() - begun_s > 0.28
        assert running.post(ask(model="fool")).status_code == 200


def test_who_leaves_while_it_waits_for_a_slot_is_forgotten() -> None:
    """Its place in the queue is nobody's; the next one is served as soon as the slot is free."""
    with serving({"sage": Behaviour(ttft_s=0.3, slots=1)}) as running, ThreadPoolExecutor() as pool:
        first = pool.submit(running.post, ask())
        eventually(lambda: running.counts()["running"] == 1)
        with raw_post(running.server.url, ask()):
            eventually(lambda: running.counts()["running"] == 2)
        eventually(lambda: running.counts()["aborted"] == 1)
        last = pool.submit(running.post, ask())
        assert [found.result().status_code for found in (first, last)] == [200, 200]
        assert running.counts()["output_tokens"] == 24


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after", [0, 3, 12])
def test_a_stall_sends_something_and_then_nothing(stream: bool, after: int) -> None:
    """A stalled leg runs, having sent its tokens, until the client goes; then it is counted as aborted."""
    with serving({"sage": Behaviour(stall_after_tokens=after)}) as running:
        got = b""
        with running.http.stream("POST", CHAT, json=ask(stream=stream)) as reply:
            blocks = reply.iter_raw()
            while stream and got.count(b"data: ") < 1 + after:
                got += next(blocks)
            counts = running.counts()
            assert (counts["running"], counts["aborted"]) == (1, 0)
        eventually(lambda: running.counts()["aborted"] == 1)
        counts = running.counts()
        assert (counts["started"], counts["running"], counts["output_tokens"]) == (1, 0, after)
        assert b"[DONE]" not in got


@pytest.mark.parametrize("stream", [False, True])
def test_a_drop_cuts_the_connection(stream: bool) -> None:
    """drop_after_tokens ends the connection inside the answer: no client takes it for a whole one."""
    with serving({"sage": Behaviour(drop_after_tokens=3)}) as running:
        with pytest.raises(httpx.RemoteProtocolError):
            running.post(ask(stream=stream))
        eventually(lambda: running.counts()["failed"] == 1)
        assert running.counts()["output_tokens"] == 3
        assert running.post(ask("Who wrote Faust?", max_tokens=2)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_garbage_is_as_long_as_configured_and_no_answer(stream: bool) -> None:
    """Garbage has status 200, the configured size and nothing to be taken for an answer."""
    size = 50 * 1024 * 1024
    with serving({"sage": Behaviour(garbage_bytes=size)}) as running:
        reply = running.post(ask(stream=stream))
        assert (reply.status_code, len(reply.content)) == (200, size)
        with pytest.raises(UnicodeDecodeError):
            reply.content[:100].decode()
        counts = running.counts()
        assert (counts["failed"], counts["finished"], counts["output_tokens"]) == (1, 0, 0)


def test_garbage_stops_when_the_client_goes() -> None:
    """A client that reads a part of the garbage and leaves ends the leg as aborted."""
    with serving({"sage": Behaviour(garbage_bytes=50 * 1024 * 1024)}) as running:
        with running.http.stream("POST", CHAT, json=ask()) as reply:
            assert next(reply.iter_raw())
        eventually(lambda: running.counts()["aborted"] == 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("behaviour", [Behaviour(ttft_s=3600), Behaviour(tokens_per_s=0.001)])
def test_a_client_that_goes_stops_the_leg(stream: bool, behaviour: Behaviour) -> None:
    """A disconnect before or between tokens ends the leg, which is counted as aborted and runs no more."""
    with serving({"sage": behaviour}) as running:
        running.hang_up_on(ask(stream=stream))
        eventually(lambda: running.counts()["aborted"] == 1)
        counts = running.counts()
        assert (counts["started"], counts["running"], counts["finished"]) == (1, 0, 0)
        assert counts["output_tokens"] == (0 if behaviour.ttft_s else 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"ttft": 1},
        {"ttft_s": -1},
        {"ttft_s": float("inf")},
        {"tokens_per_s": 0},
        {"fail_rate": 1.1},
        {"fail_status": 200},
        {"garbage_bytes": 51 * 1024 * 1024},
        {"stall_after_tokens": 0, "drop_after_tokens": 0},
        {"stall_after_tokens": 1, "garbage_bytes": 1},
    ],
)
def test_a_behaviour_that_means_nothing_is_refused(fields: dict[str, Any]) -> None:
    """Unknown keys, impossible values and two faults at once are refused, not guessed at."""
    with pytest.raises(ValidationError):
        Behaviour(**fields)


def test_behaviours_change_at_run_time() -> None:
    """What is PUT is everything from the next leg on; what is no behaviour, or of no known model, changes nothing."""
    with serving({}) as running:
        put = partial(running.http.put, "/internal/behaviours")
        assert running.post(ask()).status_code == 200
        assert put(json={"sage": {"fail_always": True, "fail_status": 503}}).status_code == 200
        assert running.post(ask()).status_code == 503
        assert running.post(ask(model="fool")).status_code == 200
        for wrong in ('{"sage": {"ttft": 1}}', '{"nobody": {}}', '{"sage": 1}', "[]", "{"):
            refused = put(content=wrong)
            assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
        assert running.post(ask()).status_code == 503
        assert put(json={}).status_code == 200
        assert running.post(ask()).status_code == 200
        assert running.counts()["failed"] == 2


def test_a_leg_keeps_the_behaviour_it_began_with() -> None:
    """A stall that has begun goes on after its cause has gone: a fault's end does not mend what it broke."""
    with serving({"sage": Behaviour(stall_after_tokens=1)}) as running:
        with running.http.stream("POST", CHAT, json=ask(stream=True)) as reply:
            blocks = reply.iter_raw()  # held: a generator that is dropped closes the response
            assert next(blocks)
            assert running.http.put("/internal/behaviours", json={}).status_code == 200
            assert running.post(ask()).status_code == 200
            assert running.counts()["running"] == 1
        eventually(lambda: running.counts()["aborted"] == 1)
