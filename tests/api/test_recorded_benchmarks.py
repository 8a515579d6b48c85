"""What `loadtest.panels` and `loadtest.faults` read of a running router is there, and means what they take it for."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.faults_figures import metric
from loadtest.panels import ask_all
from loadtest.panels_data import Given, Item, Panel
from loadtest.panels_figures import compare, report
from loadtest.panels_offline import Rule
from tests.api.world import ROWS, SUM, World

LETTERS = {"ant": "A", "bee": "A", "cat": "B"}  # for 13, 13 and 14
GIVEN = {m: Given(LETTERS[m], text, tokens) for question, m, text, tokens in ROWS if question == SUM and m in LETTERS}
PANEL = Panel(tuple(LETTERS), (), (Item(SUM, "A", "sums", GIVEN),) * 4)


async def test_a_vote_through_the_router_is_the_one_worked_out(world: World) -> None:
    """Words, letters, calls and tokens of a vote that may end early agree with the rule applied to what is recorded."""
    answers, took_s = await ask_all(world.url, PANEL.test, ["named"], 2, Console(file=io.StringIO()))
    assert took_s.keys() == {"named"}
    for told in answers["named"]:
        assert (told.asked, told.expert, told.text) == (3, "ant", GIVEN["ant"].text)
        assert told.p_correct.keys() == LETTERS.keys()
        assert told.output_tokens >= sum(GIVEN[expert].tokens for expert in told.answered)
    found = report(PANEL, {"all": compare(PANEL, answers["named"], Rule((3,), 2.0, 0.98))}, seed=0)["policies"]["all"]
    assert (found["accuracy"], found["difference_points"]) == (1, 0)
    assert (found["letters_differ"], found["calls_differ"], found["texts_differ"]) == (0, 0, 0)


async def test_a_failure_ends_the_comparison(world: World) -> None:
    """Figures of other questions than were asked would be no comparison."""
    with pytest.raises(RuntimeError, match="dead: HTTP 502"):
        await ask_all(world.url, PANEL.test, ["dead"], 2, Console(file=io.StringIO()))


async def test_the_metrics_of_faults_are_there(world: World) -> None:
    """Each expert's breaker is in one state, and calls are counted."""
    text = world.http.get("/metrics").text
    states = {state: metric(text, "symposium_breaker_state", expert="ant", state=state) for state in ("open", "closed")}
    assert states == {"open": 0, "closed": 1}
    answered = {"expert": "ant", "outcome": "answered"}  # legs that other tests left behind may still end meanwhile
    before = metric(text, "symposium_legs_total", **answered)
    await ask_all(world.url, PANEL.test[:1], ["solo"], 1, Console(file=io.StringIO()))
    assert metric(world.http.get("/metrics").text, "symposium_legs_total", **answered) == before + 1
