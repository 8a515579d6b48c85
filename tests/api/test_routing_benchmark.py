"""`loadtest.routing` against a running router whose experts' answers are known."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.routing import measure, show
from loadtest.routing_records import Question
from tests.api.world import SUM, World

PROMPT_TOKENS = -(-len(SUM) // 4)  # as recorded experts count
# The ant says "The answer is 13.", the bee "13", the cat "Answer: 14".
QUESTIONS = [
    Question(SUM, "13", "sums", "addition", "short"),
    Question(SUM, "the answer is 13", "sums", "addition", "long"),
    Question(SUM, "15", "sums", "addition", "none"),
    Question(SUM, "The answer is 13.", "sums", "addition", "long"),
]


async def test_the_figures_are_those_of_the_recorded_answers(world: World) -> None:
    """Accuracy, oracle, experts called and tokens, through HTTP, are what the recorded answers make them."""
    console = Console(file=io.StringIO())
    found, replies = await measure(
        world.url, QUESTIONS, ["solo", "auto"], experts=["ant", "bee", "cat"], connections=3, console=console
    )
    assert [r.right for r in replies["ant"]] == [False, True, False, True]
    assert [r.right for r in replies["bee"]] == [True, False, False, False]
    assert found["experts_skills"]["accuracy"] == [[0.5], [0.25], [0]]
    assert found["oracle"]["accuracy"] == 0.75
    assert (found["best_by_hindsight"]["expert"], found["best_by_hindsight"]["below_oracle"]) == ("ant", 0.25)
    solo, auto = found["policies"]["solo"], found["policies"]["auto"]
    assert (solo["accuracy"], solo["experts_called"], solo["tokens_per_query"]) == (0.5, 1, PROMPT_TOKENS + 6)
    assert (auto["accuracy"], auto["experts_called"]) == (0.5, 3)
    assert auto["tokens_per_query"] == 3 * PROMPT_TOKENS + 6 + 1 + 3
    assert found["failed"]["requests"] == 0
    show(found, console)


async def test_a_system_that_does_not_answer_ends_the_benchmark(world: World) -> None:
    """More than a few failures stop it, with what happened; a policy that is not there is said before anything."""
    console = Console(file=io.StringIO())
    with pytest.raises(RuntimeError, match=r"requests failed, more than 5%.*dead: HTTP 502"):
        await measure(world.url, QUESTIONS, ["dead"], experts=["ant"], console=console)
    with pytest.raises(RuntimeError, match="has no nobody"):
        await measure(world.url, QUESTIONS, ["nobody"], console=console)
