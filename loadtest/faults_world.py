"""The world of `loadtest.faults`: four good recorded experts, a fifth that goes bad in one way or another, and a
symposium over them that trusts the fifth most. Pure, but for the reading of questions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loadtest.recorded_world import RecordedServer
from loadtest.server import REPOSITORY

JsonObject = dict[str, Any]
QUICKSTART = REPOSITORY / "configs" / "quickstart"
BAD = "bad"
RIGHT = {BAD: 95, "ant": 85, "bee": 84, "cat": 83, "dog": 82}  # of 100 calibration questions
QUESTIONS = 60
OUTPUT_TOKENS = 20
HEALTHY: JsonObject = {"ttft_s": 0.04, "tokens_per_s": 500, "tokens_per_chunk": 4}  # whole after 0.08 s
FAULTS: dict[str, JsonObject] = {
    "failing": {"fail_always": True, "fail_status": 500},
    "slow": {"ttft_s": 50 * 0.04, "tokens_per_s": 500 / 50, "tokens_per_chunk": 4},
    "stalling": HEALTHY | {"stall_after_tokens": OUTPUT_TOKENS // 2},
    "garbage": {"garbage_bytes": 2000},
    "flood": {"garbage_bytes": 50 * 1024 * 1024},
}
LIMITS = {"connect_s": 1.0, "first_byte_s": 3.0, "total_s": 8.0}  # of one call
LIMIT_S = 2 * LIMITS["total_s"]  # of one request: one call, and one in its place
BREAKERS = {"slow_first_token_s": 1.0, "open_s": 2.0, "max_open_s": 8.0}  # the rest as it is by default
SEATS = {"single": 1, "panel": 3}
# what is measured -> (policy, streamed)
MODES: dict[str, tuple[str, bool]] = {
    "single": ("single", False),
    "streamed": ("single", True),
    "vote of 3": ("panel", False),
}


def questions(file: Path = QUICKSTART / "questions.jsonl", count: int = QUESTIONS) -> list[tuple[str, str]]:
    """(question, right answer), evenly from a file of labelled ones."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    known = list({row["question"]: row["answer"] for row in rows}.items())
    return [known[i * len(known) // count] for i in range(min(count, len(known)))]


def said(answer: str) -> str:
    """What every expert says, so that whoever answers can be checked."""
    return f"I have looked at it from all sides. The answer is {answer}"


def book_rows(asked: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, str, int]]:
    for question, answer in asked:
        for expert in RIGHT:
            yield question, expert, said(answer), OUTPUT_TOKENS


def behaviours(fault: str | None) -> dict[str, JsonObject]:
    """All are healthy, but the bad one where a fault is named."""
    return {"*": HEALTHY} | ({BAD: FAULTS[fault]} if fault else {})


def profiles() -> JsonObject:
    """As `symposium profile` would write them, of experts that are equally good at everything."""

    def profile(right: int) -> JsonObject:
        return {
            "expert_version": "recorded",
            "engine_version": "recorded",
            "questions": "recorded",
            "overall": {"right": right, "asked": 100},
            "output_tokens": 100 * OUTPUT_TOKENS,
        }

    return {"format": 2, "experts": {expert: profile(right) for expert, right in RIGHT.items()}}


def configuration(server: RecordedServer) -> JsonObject:
    """The quickstart's classifier, experts of one server, policies that convene the bad one first."""
    return {
        "version": 1,
        "experts": {expert: server.expert(expert, limits=LIMITS) for expert in RIGHT},
        "routing": {
            "fitted": str(QUICKSTART / "fitted.npz"),
            "profiles": "profiles.json",
            "general_expert": BAD,
            "min_confidence": 0,
        },
        "convening": {"breakers": BREAKERS},
        "policies": {
            "auto": {},
            "single": {"max_experts": SEATS["single"]},
            "panel": {"max_experts": SEATS["panel"], "aggregate": "vote", "min_share": 0, "decided_at": None},
        },
    }
