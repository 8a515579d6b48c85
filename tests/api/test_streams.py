"""A stream that stays honest while experts work: comments, errors as events, nothing after the first byte undone."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.api.world import PATIENT, World, ask, routing
from tests.support import CHAT, Recorded, eventually, openai_client, said, sse_events


@pytest.fixture(scope="module")
def chatty(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A router that says that it is still there after 50 ms."""
    with routing(tmp_path_factory.mktemp("chatty"), experts, convening=PATIENT | {"keepalive_after_ms": 50}) as running:
        yield running


def comments(response: httpx.Response, count: int) -> list[str]:
    """The first so many lines that are not blank."""
    lines: list[str] = []
    for line in response.iter_lines():
        lines += [line] if line else []
        if len(lines) == count:
            break
    return lines


def test_a_stream_opens_while_experts_still_work(chatty: World) -> None:
    """Status, plan and comments come although nobody has answered; leaving then aborts every leg."""
    before = chatty.legs("aborted", "slow1", "slow2", "slow3")
    with chatty.http.stream("POST", CHAT, json=ask("slowly", stream=True)) as response:
        assert response.status_code == 200
        assert response.headers["x-symposium-plan"].startswith("vote;reason=convened")
        assert "x-symposium-experts" not in response.headers
        assert comments(response, 3) == [": 0/3 experts answered"] * 3
    eventually(lambda: chatty.legs("aborted", "slow1", "slow2", "slow3") == before + 3)


def test_after_a_comment_errors_are_events(chatty: World) -> None:
    """The expert is late: the stream had begun, so the error is an event, followed by [DONE]."""
    response = chatty.post(ask("late", stream=True))
    assert response.status_code == 200
    assert response.text.startswith(": 0/1 experts answered\n\n")
    assert response.text.endswith("data: [DONE]\n\n")
    (only,) = sse_events(response)
    assert only["error"]["code"] == "experts_failed"
    eventually(lambda: chatty.metric("symposium_requests_total", outcome="failed", status="502") >= 1)


def test_comments_do_not_disturb_the_official_client(chatty: World) -> None:
    """It reads past them, and raises at the error event."""
    with openai_client(chatty.url) as client:
        words = client.chat.completions.create(**ask("hurried", stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in words) == "The answer is 13."
        with pytest.raises(openai.APIError, match="No expert answered"):
            list(client.chat.completions.create(**ask("late", stream=True)))


def test_a_quick_answer_has_no_comments(world: World) -> None:
    """Nothing but data lines, where nothing had to be waited for."""
    text = world.post(ask("auto", stream=True)).text
    assert all(line.startswith("data: ") for line in text.split("\n\n") if line)
    assert said(sse_events(world.post(ask("auto", stream=True)))) == "The answer is 13."


def test_a_whole_answer_is_never_opened_early(chatty: World) -> None:
    """Without a stream the status waits for the outcome: an error keeps its own."""
    assert chatty.post(ask("late")).status_code == 502
