"""Asking for a profile when the served system stumbles, refuses, or is something else; over a transport by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.calibration import Calibration
from router.journal import open_journal
from router.profile import Measured, measure
from router.profiles import Count
from router.questions import LabelledQuestion

CALIBRATION = Calibration([LabelledQuestion(question="1?", answer="1", category="math", skills=("sums",))], 64)
MODELS = {"data": [{"id": "auto", "symposium": {}}, {"id": "ada", "symposium": {"version": "v1"}}]}
ANSWER: dict[str, Any] = {
    "choices": [{"message": {"content": "1"}}],
    "usage": {"completion_tokens": 2},
    "system_fingerprint": "vllm-1",
}
Reply = httpx.Response | Exception


def ok(body: object) -> httpx.Response:
    return httpx.Response(200, json=body)


def refusal(status: int, message: str = "busy", code: str | None = None) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "code": code}})


async def asked(path: Path, *replies: Reply, models: Reply | None = None, **more: Any) -> tuple[Measured, int]:
    """The result when the chat gives these replies in turn, and how many questions came."""
    left = list(replies)

    def answer(request: httpx.Request) -> httpx.Response:
        reply = (models or ok(MODELS)) if request.url.path == "/v1/models" else left.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    handler: Callable[[httpx.Request], httpx.Response] = answer
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler), base_url="http://s.test") as client:
        with open_journal(path / "partial.jsonl") as journal:
            options: dict[str, Any] = {"concurrency": 1, "retry_pauses_s": (0, 0)} | more
            found = await measure(client, CALIBRATION, ["ada"], journal, lambda *_: None, **options)
    return found, len(replies) - len(left)


@pytest.mark.parametrize("stumble", [httpx.ReadTimeout("slow"), httpx.ConnectError("gone"), refusal(503), refusal(429)])
async def test_what_may_pass_is_tried_again(tmp_path: Path, stumble: Reply) -> None:
    """Time-outs, lost connections, 429 and 5xx; the answer then counts like any other."""
    found, questions = await asked(tmp_path, stumble, ok(ANSWER))
    assert (found.failed, questions) == ({}, 2)
    assert found.profiles["ada"].overall == Count(right=1, asked=1)
    assert (found.profiles["ada"].expert_version, found.profiles["ada"].engine_version) == ("v1", "vllm-1")


async def test_trying_again_has_an_end(tmp_path: Path) -> None:
    """One try more than there are pauses; the last reason is the one that is given."""
    found, questions = await asked(tmp_path, refusal(500), httpx.ConnectError("gone"), refusal(503, "down"))
    assert (found.profiles, questions) == ({}, 3)
    assert found.failed == {"ada": "gave up after 3 tries: HTTP 503: down"}


async def test_what_is_too_long_for_an_expert_ends_its_measurement_or_is_wrong(tmp_path: Path) -> None:
    """As the caller wants it; wrong answers that no engine gave name none, and are kept like others."""
    too_long = refusal(400, "too long", "context_length_exceeded")
    found, _ = await asked(tmp_path, too_long)
    assert found.failed == {"ada": "refused '1?': HTTP 400: too long"}
    found, _ = await asked(tmp_path, too_long, too_long_is_wrong=True)
    assert (found.failed, found.profiles["ada"].overall) == ({}, Count(right=0, asked=1))
    assert found.profiles["ada"].engine_version == "unknown"
    found, questions = await asked(tmp_path, too_long_is_wrong=True)
    assert (found.profiles["ada"].overall, questions) == (Count(right=0, asked=1), 0)


async def test_another_refusal_is_a_failure_whatever_counts_as_wrong(tmp_path: Path) -> None:
    """Only a lack of room is an answer of a kind."""
    found, _ = await asked(tmp_path, refusal(400, "no", "unsupported"), too_long_is_wrong=True)
    assert found.failed == {"ada": "refused '1?': HTTP 400: no"}


async def test_texts_are_not_kept_for_nothing(tmp_path: Path) -> None:
    """A profile needs the grade alone; the journal of thousands of long answers stays small."""
    await asked(tmp_path, ok(ANSWER))
    with open_journal(tmp_path / "partial.jsonl") as journal:
        assert [answer.text for answer in journal.answers] == [None]


@pytest.mark.parametrize("body", [{}, [], {"choices": []}, ANSWER | {"usage": None}])
async def test_what_is_no_answer_is_an_experts_failure(tmp_path: Path, body: object) -> None:
    """Not a crash; nothing is counted or kept."""
    found, _ = await asked(tmp_path, ok(body))
    assert found.failed["ada"].startswith("sent no chat completion")
    assert not (tmp_path / "partial.jsonl").exists()


async def test_a_server_that_names_no_engine_has_an_unknown_one(tmp_path: Path) -> None:
    """Not every server sends a fingerprint; no text is a wrong answer."""
    mute = {"choices": [{"message": {"content": None}}], "usage": {"completion_tokens": 0}}
    found, _ = await asked(tmp_path, ok(mute))
    assert found.profiles["ada"].engine_version == "unknown"
    assert found.profiles["ada"].overall == Count(right=0, asked=1)


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (refusal(401, "The API key is wrong."), "HTTP 401: The API key is wrong."),
        (ok({"data": [{"id": "gpt"}]}), "not a symposium's"),
        (httpx.Response(200, text="<html>"), "not a symposium's"),
        (ok({"data": [{"id": "bob", "symposium": {"version": "v"}}]}), "does not serve ada"),
    ],
)
async def test_another_server_is_refused_before_anybody_is_asked(tmp_path: Path, models: Reply, said: str) -> None:
    """A wrong key, another kind of server, another configuration: the address and the reason."""
    with pytest.raises(ValueError, match=said) as caught:
        await asked(tmp_path, models=models)
    assert "http://s.test" in str(caught.value)
