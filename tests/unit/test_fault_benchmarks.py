"""`loadtest.faults`, `loadtest.disconnects` and `loadtest.synthesis`: their configurations, readings and figures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from experts.recorded_book import AnswerBook, Behaviour
from loadtest import disconnects, synthesis
from loadtest.disconnects import MOMENTS, Left, left, request, writing
from loadtest.faults import streamed_text, verdict
from loadtest.faults_figures import Asked, Cell, Opened, figures, metric
from loadtest.faults_world import BAD, FAULTS, LIMIT_S, behaviours, book_rows, configuration, profiles, questions, said
from loadtest.recorded_world import RecordedServer, write_book
from loadtest.routing import configuration as with_policies
from loadtest.synthesis import Timed, read, timed
from router.config import Config
from router.profiles import Profiles

METRICS = """# HELP symposium_legs_total Calls
symposium_legs_total{expert="ant",outcome="answered"} 3.0
symposium_legs_total{expert="bad",outcome="refused"} 2.0
symposium_legs_created{expert="ant",outcome="answered"} 1.7e+09
symposium_in_flight 1.0
"""


def test_a_metric_is_summed_over_what_is_not_named() -> None:
    """Only the metric of this very name; without labels too."""
    assert metric(METRICS, "symposium_legs_total") == 5
    assert metric(METRICS, "symposium_legs_total", expert="bad") == 2
    assert metric(METRICS, "symposium_in_flight") == 1
    assert metric(METRICS, "symposium_legs") == 0


def test_the_world_of_faults_is_one_that_the_product_takes(tmp_path: Path) -> None:
    """Configuration, profiles, behaviours and book are valid, and the bad expert is trusted most."""
    raw = configuration(RecordedServer("http://127.0.0.1:1"))
    config = Config.model_validate(yaml.safe_load(yaml.safe_dump(raw)))
    assert Path(config.routing.fitted).exists()
    found = Profiles.model_validate(profiles())
    assert max(found.experts, key=lambda e: found.experts[e].overall.right) == BAD
    assert found.experts.keys() == config.experts.keys()
    asked = questions(count=5)
    assert len(dict(asked)) == 5
    write_book(tmp_path / "book.parquet", book_rows(asked))
    answer = AnswerBook.from_parquet(tmp_path / "book.parquet").find(BAD, asked[0][0])
    assert answer is not None
    assert answer.text == said(asked[0][1])
    for fault in (None, *FAULTS):
        assert all(Behaviour(**behaviour) for behaviour in behaviours(fault).values())


def body(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


def stream(*events: object) -> bytes:
    chunks = [json.dumps(event) if isinstance(event, dict) else str(event) for event in events]
    return b": 1/3 experts answered\n\n" + "".join(f"data: {chunk}\n\n" for chunk in chunks).encode()


WORDS: list[dict[str, Any]] = [{"choices": [{"delta": {"content": c}}]} for c in ("a", "b")] + [
    {"choices": [], "symposium": {}}
]


@pytest.mark.parametrize(
    ("status", "raw", "streamed", "expected"),
    [
        (200, body("ab"), False, "answered"),
        (200, body("b"), False, "another text"),
        (200, b"\xff", False, "broken: UnicodeDecodeError"),
        (502, body("ab"), False, "HTTP 502"),
        (200, stream(*WORDS, "[DONE]"), True, "answered"),
        (200, stream(*WORDS[:1], "[DONE]"), True, "another text"),
        (200, stream(*WORDS), True, "broken: no end"),
        (200, stream(*WORDS, {"error": {}}, "[DONE]"), True, "broken: error event"),
        (200, stream(*WORDS, {"error": {}}), True, "broken: error event"),
        (200, b"", True, "broken: no end"),
    ],
)
def test_only_the_whole_right_answer_is_one(status: int, raw: bytes, streamed: bool, expected: str) -> None:
    """Error events, streams without an end, other texts and other statuses are each named."""
    assert verdict(status, raw, streamed, "ab") == expected


def test_comments_and_chunks_without_words_are_read_past() -> None:
    """As any client of server-sent events does."""
    assert streamed_text(stream(*WORDS, "[DONE]")) == "ab"


def cell(**more: Any) -> Cell:
    counts = {"ant": {"started": 10}, BAD: {"started": 10}}
    usual: dict[str, Any] = {
        "fault": "failing",
        "mode": "single",
        "seats": 1,
        "usual": [Asked("answered", 0.1)],
        "asked": [Asked("answered", 0.2)] * 9 + [Asked("HTTP 502", 0.5)],
        "before": counts,
        "after": {"ant": {"started": 19}, BAD: {"started": 13}},
        "router_legs": 12.0,
        "took_s": 3.0,
        "opened": Opened(0.5, 3),
        "recovered_s": 2.5,
    }
    return Cell(**usual | more)


def test_calls_are_counted_against_those_planned() -> None:
    """Twelve calls for ten requests are at the bound; for a vote of three, thirty were planned."""
    found = figures(cell())
    assert (found["calls"], found["calls_per_planned"], found["calls_within"]) == (12, 1.2, True)
    assert (found["answered"], found["failures"], found["calls_of_bad"]) == (0.9, {"HTTP 502": 1}, 3)
    assert (found["breaker_open_after_s"], found["breaker_open_after_calls"]) == (0.5, 3)
    assert (found["p50_s"], found["longest_s"], found["within_limit"]) == (0.2, 0.5, True)
    assert figures(cell(seats=3))["calls_per_planned"] == 0.4
    late = figures(cell(asked=[Asked("answered", LIMIT_S + 1)], opened=None, recovered_s=None))
    assert (late["within_limit"], late["calls_within"]) == (False, False)
    assert (late["breaker_open_after_s"], late["asked_again_after_s"]) == (None, None)


def leg(http: float = 0.0, engine: float = 0.0, running: int = 0) -> dict[str, Any]:
    return {"http_open": http == 0, "engine_running": running, "http_ended_at": http, "engine_ended_at": engine}


def test_only_calls_that_were_under_way_count() -> None:
    """One that had answered before the close is none; one that never ended is said, without a time."""
    legs = {"answered": leg(9.0, 9.0), "cut": leg(10.02, 10.01), "stuck": leg(running=1), "unsent": leg(10.03)}
    found = left(10.0, legs)
    assert (found.under_way, found.still_open) == (3, 1)
    assert found.host_ms == pytest.approx((20, 30))
    assert found.engine_ms == pytest.approx((10,))


def test_disconnects_are_summed_up() -> None:
    """All calls must have ended, and p99 must be in time."""
    good = disconnects.summary([Left(1, 0, (20.0,), (10.0,)), Left(0, 0), Left(2, 0, (30.0, 40.0), (5.0, 6.0))])
    assert (good["disconnects"], good["with_a_call_under_way"]) == (3, 2)
    assert (good["calls_under_way"], good["calls_ended"], good["within"]) == (3, 3, True)
    assert good["host_ms"] == {"p50": 30.0, "p99": 40.0, "max": 40.0}
    worst = disconnects.slowest({("mid-stream", "plain"): [Left(0, 0), Left(2, 0, (30.0, 40.0), (5.0, 6.0))]})
    assert worst == [{"left": "mid-stream, plain", "round": 1, "host_ms": 40.0}]
    assert not disconnects.summary([Left(1, 1)])["within"]
    assert not disconnects.summary([Left(1, 0, (51.0,), (1.0,))])["within"]


def test_a_request_by_hand_is_http() -> None:
    """Its length is that of its body; the headers of the case are in it; the engine goes on to the last token."""
    head, _, sent = request(MOMENTS["mid-stream"], {"x-steer": "1"}).partition(b"\r\n\r\n")
    assert b"\r\nx-steer: 1" in head
    assert b"\r\ncontent-length: %d" % len(sent) in head
    asked = json.loads(sent)
    assert (asked["model"], asked["stream"], asked["ignore_eos"]) == ("one", True, True)


def test_an_aggregating_expert_is_known_by_its_call() -> None:
    """By the name of the call, while the engine works on it."""
    assert writing({"req_1-s-0": leg(running=1)})
    assert not writing({"req_1-s-0": leg(1.0), "req_1-0": leg(running=1)})


def test_the_policies_of_both_fit_the_quickstart() -> None:
    """Everybody is heard where several are asked: nothing is decided early."""
    found = yaml.safe_load(with_policies(disconnects.CONFIG, disconnects.POLICIES))
    config = Config.model_validate(found)
    assert {m.policy for m in MOMENTS.values()} | {synthesis.POLICY} <= config.policies.keys()
    assert config.policies["written"].decided_at is None


async def lines(raw: bytes) -> AsyncIterator[bytes]:
    for line in raw.splitlines(keepends=True):
        yield line


async def test_the_first_word_is_timed_and_the_last_chunk_kept() -> None:
    """Not the first event, which has no word; nothing where there are no words."""
    ticks = iter([1.5, 9.0])
    chunks = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}, *WORDS[:2]]
    explained = {"choices": [], "symposium": {"legs": []}}
    first_s, told = await read(lines(stream(*chunks, explained, "[DONE]")), lambda: next(ticks))
    assert (first_s, told) == (1.5, {"legs": []})
    with pytest.raises(ValueError, match="no words"):
        await read(lines(stream(explained, "[DONE]")), lambda: next(ticks))


def test_what_is_added_is_what_nobody_accounts_for() -> None:
    """The slowest expert that answered, and the aggregating expert's first word, are theirs."""
    legs = [
        {"expert": "a", "role": "answer", "outcome": "answered", "seconds": 0.1, "first_token_s": 0.02},
        {"expert": "b", "role": "answer", "outcome": "answered", "seconds": 0.2, "first_token_s": 0.02},
        {"expert": "c", "role": "answer", "outcome": "cut", "seconds": 0.5},
        {"expert": "w", "role": "aggregator", "outcome": "answered", "seconds": 0.4, "first_token_s": 0.05},
    ]
    found = timed(270.0, 12.0, {"legs": legs})
    assert found == Timed(270.0, 12.0, 200.0, 50.0)
    assert found.added_ms == pytest.approx(8)
    assert timed(270.0, 12.0, {"legs": legs[:3]}) is None
    summed = synthesis.summary([found, None])
    assert (summed["requests"], summed["synthesised"], summed["added_within"]) == (2, 1, 1)
