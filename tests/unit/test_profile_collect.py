"""Collecting real responses: whom it takes, what is kept, who fails; over a transport by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from router.asking import Tally
from router.calibration import Calibration
from router.collect import Collected, collect
from router.journal import open_journal
from router.panels import responders
from router.questions import LabelledQuestion

QUESTIONS = [LabelledQuestion(question=f"{n}?", answer=str(n), category="math", skills=("sums",)) for n in range(1, 5)]
CALIBRATION = Calibration(QUESTIONS, 64)
DOWN = httpx.Response(503, json={"error": {"message": "down"}})
TOO_LONG = httpx.Response(400, json={"error": {"message": "too long", "code": "context_length_exceeded"}})
# What each expert says to every question; "=" stands for the right answer.
PANEL = {"ada": "=", "bob": "70", "eve": "80", "zoe": "90"}


class World:
    """Experts that say one thing each, or fail; counts what they were asked."""

    def __init__(self, says: Mapping[str, str | httpx.Response]) -> None:
        self.says = says
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": n, "symposium": {"version": "v"}} for n in self.says]})
        body = json.loads(request.content)
        question = body["messages"][0]["content"]
        self.asked.append((body["model"], question))
        said = self.says[body["model"]]
        if isinstance(said, httpx.Response):
            return said
        text = question.rstrip("?") if said == "=" else said
        return httpx.Response(
            200, json={"choices": [{"message": {"content": text}}], "usage": {"completion_tokens": 1}}
        )

    async def collect(self, folder: Path, show: Any = lambda _: None) -> Collected:
        transport = httpx.MockTransport(self)
        async with httpx.AsyncClient(transport=transport, base_url="http://s.test") as client:
            with open_journal(folder / "partial.jsonl") as journal:
                options: dict[str, Any] = {"concurrency": 2, "retry_pauses_s": ()}
                return await collect(client, CALIBRATION, list(self.says), journal, show, **options)


async def test_experts_are_asked_in_the_questions_order_until_it_is_enough(tmp_path: Path) -> None:
    """Nobody behind the one that completes the triple is asked."""
    world, seen = World(PANEL), list[Tally]()
    found = await world.collect(tmp_path, seen.append)
    assert found.failed == {}
    for key, question in CALIBRATION.by_key.items():
        order = [expert for expert, text in world.asked if text == question.question]
        assert tuple(order) == responders(question.question, PANEL)[: len(order)]
        texts = [PANEL[expert] for expert in order if expert != "ada"]
        assert found.triples[key] == (question.answer, *texts[:2])
    assert (seen[0], seen[-1]) == (Tally(0, 0, 4, 0), Tally(4, 4, 4, 0))
    assert len(world.asked) < len(QUESTIONS) * len(PANEL)


async def test_a_question_that_nobody_gets_right_or_wrong_is_left_out(tmp_path: Path) -> None:
    """After everybody was asked once; the others still count."""
    world = World({"ada": "=", "bob": "=", "eve": "80", "zoe": "1"})
    found = await world.collect(tmp_path)
    assert found.triples.keys() == set(CALIBRATION.keys[1:])  # to "1?" only eve is wrong
    assert sorted(expert for expert, text in world.asked if text == "1?") == ["ada", "bob", "eve", "zoe"]


async def test_responses_are_kept_with_their_texts(tmp_path: Path) -> None:
    """The next run asks nobody again, and finds the same."""
    first = await World(PANEL).collect(tmp_path)
    with open_journal(tmp_path / "partial.jsonl") as journal:
        assert {answer.text for answer in journal.answers} >= {"70", "80"}
    again = World(PANEL)
    assert (await again.collect(tmp_path), again.asked) == (first, [])


async def test_an_expert_that_fails_is_replaced_by_the_others(tmp_path: Path) -> None:
    """It is asked no more and named with the reason."""
    world = World(PANEL | {"zoe": DOWN})
    found = await world.collect(tmp_path)
    assert len(found.triples) == 4
    assert found.failed == {"zoe": "gave up after 1 tries: HTTP 503: down"}
    assert 1 <= sum(expert == "zoe" for expert, _ in world.asked) <= 2  # one more may have been under way


async def test_a_question_too_long_for_an_expert_is_not_its_failure(tmp_path: Path) -> None:
    """It has no response to this one, and may have to the next."""
    world = World(PANEL | {"zoe": TOO_LONG})
    found = await world.collect(tmp_path)
    assert (len(found.triples), found.failed) == (4, {})
    assert sum(expert == "zoe" for expert, _ in world.asked) >= 2
