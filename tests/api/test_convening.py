"""What happens between plan and answer: who is heard, who is cut, who is left out, and how several become one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.api.world import JUDGE, PATIENT, POLICIES, SUM, World, ask, routing
from tests.support import Recorded, eventually, said, sse_events

PANELS: dict[str, dict[str, Any]] = {
    "early": {"experts": ["ant", "bee", "slow1"]},
    "heard": {"experts": ["ant", "bee", "cat"], "decided_at": None},
    "waves": {"experts": ["ant", "bee", "cat"], "waves": [2, 1]},
    "disputed": {"experts": ["ant", "cat", "dog"], "waves": [2, 1], "decided_at": 0.9},
    "quorum": {"experts": ["ant", "cat", "slow1"], "quorum": 2, "decided_at": None},
    "close": {"experts": ["ant", "bee", "dog"], "aggregate": "consensus"},
    "written": {"experts": ["ant", "cat"], "aggregate": "synthesize"},
    "agreed": {"experts": ["ant", "bee"], "aggregate": "synthesize"},
    "unwritten": {"experts": ["bee", "cat"], "aggregate": "synthesize"},  # of their dispute the judge knows nothing
    "by_topic": {"experts": ["ant", "bee", "dog"], "categories": {"sums": "consensus"}},
    "hurt_panel": {"experts": ["mute", "ant"], "decided_at": None},
}


@pytest.fixture(scope="module")
def panels(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with routing(tmp_path_factory.mktemp("panels"), experts, policies=POLICIES | PANELS) as running:
        yield running


def ends(told: dict[str, Any]) -> dict[str, str]:
    """Expert -> how its leg ended."""
    return {leg["expert"]: leg["outcome"] for leg in told["legs"]}


def test_who_is_not_needed_any_more_is_aborted(panels: World) -> None:
    """Two agree and the third could not overturn them: its leg is cut at the expert, and said to be."""
    before = panels.legs("aborted", "slow1")
    told = panels.explained("early")
    assert ends(told) == {"ant": "answered", "bee": "answered", "slow1": "cut"}
    assert told["vote"]["answers"] == [{"answer": "13", "experts": ["ant", "bee"]}]
    (cut,) = (leg for leg in told["legs"] if leg["expert"] == "slow1")
    assert cut["estimated"] is True
    eventually(lambda: panels.legs("aborted", "slow1") == before + 1)
    eventually(lambda: panels.metric("symposium_legs_total", expert="slow1", outcome="cut") == 1)
    assert panels.metric("symposium_requests_total", outcome="cancelled") == 0


def test_everybody_is_heard_where_the_policy_says_so(panels: World) -> None:
    """`decided_at: null`: the third is waited for although it decides nothing."""
    told = panels.explained("heard")
    assert ends(told) == {"ant": "answered", "bee": "answered", "cat": "answered"}


def test_a_later_wave_is_spared_when_the_first_decides(panels: World) -> None:
    """Two agree beyond the third's reach: it is never asked."""
    before = panels.legs("started", "cat")
    told = panels.explained("waves")
    assert (told["plan"]["waves"], ends(told)) == ([["ant", "bee"], ["cat"]], {"ant": "answered", "bee": "answered"})
    assert panels.legs("started", "cat") == before


def test_an_undecided_answer_goes_on_to_the_next_wave(panels: World) -> None:
    """Two disagree: the third is asked as well."""
    told = panels.explained("disputed")
    assert ends(told) == {"ant": "answered", "cat": "answered", "dog": "answered"}
    assert told["vote"]["posterior"] < 0.9


def test_a_quorum_does_not_wait_for_the_rest(panels: World) -> None:
    """Two answers are enough, whatever they say; the straggler is cut."""
    told = panels.explained("quorum")
    assert ends(told) == {"ant": "answered", "cat": "answered", "slow1": "cut"}


@pytest.mark.parametrize("stream", [False, True])
def test_consensus_is_the_response_nearest_to_the_others(panels: World, stream: bool) -> None:
    """Two speak of the sum and one of something else: one of the two is the answer, unchanged, with its spread."""
    reply = panels.post(ask("close", stream=stream, symposium={"explain": True}))
    whole = sse_events(reply)[-1] if stream else reply.json()
    told = whole["symposium"]
    assert (told["aggregated"], told["answered_by"], told["vote"]["posterior"]) == ("consensus", "ant", None)
    assert 0 < told["vote"]["spread"] < 1
    assert told["vote"]["answers"][-1]["experts"] == ["dog"]
    words = said(sse_events(reply)) if stream else whole["choices"][0]["message"]["content"]
    assert words == "The answer is 13."


@pytest.mark.parametrize("stream", [False, True])
def test_a_dispute_is_settled_by_the_aggregating_expert(panels: World, stream: bool) -> None:
    """It reads what both said, without names, and its words are the answer; its leg is told as what it is."""
    options = {"stream_options": {"include_usage": True}} if stream else {}
    reply = panels.post(ask("written", stream=stream, symposium={"explain": True}, **options))
    whole = sse_events(reply)[-1] if stream else reply.json()
    told = whole["symposium"]
    assert (told["aggregated"], told["why"], told["answered_by"]) == ("synthesize", "synthesize", JUDGE)
    assert [(leg["expert"], leg["role"]) for leg in told["legs"]][-1] == (JUDGE, "aggregator")
    assert len(told["legs"]) == 3
    assert whole["usage"]["completion_tokens"] == 6 + 3 + 5
    words = said(sse_events(reply)) if stream else whole["choices"][0]["message"]["content"]
    assert words == "So it is 13."
    assert sorted(reply.headers["x-symposium-experts"].split(",")) == ["ant", "cat"]


def test_an_aggregator_is_spared_where_experts_agree(panels: World) -> None:
    """Both say 13: the vote's answer stands and nobody writes another one."""
    before = panels.legs("started", JUDGE)
    told = panels.explained("agreed")
    assert (told["aggregated"], told["why"], told["answered_by"]) == ("vote", "agreed", "ant")
    assert panels.legs("started", JUDGE) == before


@pytest.mark.parametrize("stream", [False, True])
def test_without_an_aggregator_s_answer_the_vote_stands(panels: World, stream: bool) -> None:
    """The aggregating expert and who steps in for it fail before a word: the answer is the vote's, and says so."""
    reply = panels.post(ask("unwritten", stream=stream, symposium={"explain": True}))
    told = (sse_events(reply)[-1] if stream else reply.json())["symposium"]
    assert (told["aggregated"], told["why"], told["answered_by"]) == ("vote", "aggregator_failed", "bee")
    assert ends(told)[JUDGE] == "refused"


@pytest.mark.parametrize(
    ("model", "wish", "how"),
    [
        ("heard", "consensus", "consensus"),
        ("close", "vote", "vote"),
        ("heard", "single", "single"),
        ("close", "auto", "vote"),
    ],
)
def test_a_request_may_say_how(panels: World, model: str, wish: str, how: str) -> None:
    """`symposium.aggregate` goes before the policy's own setting."""
    reply = panels.post(ask(model, symposium={"explain": True, "aggregate": wish})).json()
    assert reply["symposium"]["aggregated"] == how


def test_one_expert_has_nothing_to_aggregate(panels: World) -> None:
    """An expert asked by name and a wish to vote contradict each other: 400 with the field."""
    error = panels.post(ask("ant", symposium={"aggregate": "vote"})).json()["error"]
    assert (error["param"], error["code"]) == ("symposium.aggregate", "invalid_value")


def test_a_category_may_have_its_own_way(panels: World) -> None:
    """Sums go by consensus although the policy votes otherwise."""
    assert panels.explained("by_topic")["aggregated"] == "consensus"


def test_what_is_missing_is_said(panels: World) -> None:
    """One of two failed and nobody was left to step in: the answer is made of the other, and says so."""
    reply = panels.post(ask("hurt_panel"))
    told = reply.json()["symposium"]
    assert (told["missing"], told["why"]) == (["mute"], "one_reply")
    assert reply.headers["x-symposium-missing"] == "mute"


def resting(world: World, expert: str) -> bool:
    return world.metric("symposium_breaker_state", expert=expert, state="open") == 1


def reason(world: World, expert: str) -> str:
    """Why the expert is asked or not."""
    return next(str(c["why"]) for c in world.explained("hurt")["candidates"] if c["expert"] == expert)


def test_an_expert_that_keeps_failing_is_left_out_and_comes_back(experts: Recorded, tmp_path: Any) -> None:
    """After two failures in a row nobody asks it; then one call probes, fails, and it rests again."""
    patience = PATIENT | {"breakers": {"failures_in_a_row": 2, "open_s": 0.5, "max_open_s": 600}}
    with routing(tmp_path, experts, convening=patience) as world:
        started = world.legs("started", "mute")
        for _ in range(5):
            assert world.post(ask("hurt")).status_code == 200
        assert world.legs("started", "mute") == started + 2
        assert resting(world, "mute")
        assert reason(world, "mute") == "resting"
        eventually(lambda: reason(world, "mute") != "resting")  # the probe was this very call
        assert world.legs("started", "mute") == started + 3
        assert world.explained("hurt")["plan"]["experts"] == ["ant"]


def test_the_last_expert_of_a_pool_is_never_left_out(experts: Recorded, tmp_path: Any, client: openai.OpenAI) -> None:
    """Both keep failing: one of them is asked all the same, and the error is theirs, not that nobody is there."""
    patience = PATIENT | {"breakers": {"failures_in_a_row": 1, "open_s": 600, "max_open_s": 600}}
    with routing(tmp_path, experts, convening=patience) as world:
        for _ in range(4):
            reply = world.post(ask("dead"))
            assert (reply.status_code, reply.json()["error"]["code"]) == (502, "experts_failed")


def test_retries_are_bounded_by_their_share(experts: Recorded, tmp_path: Any) -> None:
    """With an expert that always fails, no more calls are made than a fifth above the requests, and a few."""
    with routing(tmp_path, experts, convening=PATIENT | {"retry_share": 0.2}) as world:
        before = world.legs("started", "mute", "ant")
        for _ in range(40):
            world.post(ask("hurt", SUM))
        assert world.legs("started", "mute", "ant") - before <= 40 * 1.2 + 3
