"""How several replies become one: when each aggregator asks, waits and stops, and what it makes of what it heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.aggregate import Aggregation, Conclusion, Consensus, Single, Synthesis, Vote, aggregation
from router.records import Aggregator, JsonObject, Needs, Plan, Reply, Standing
from router.values import MAX_SHORT_CHARS
from router.vote import EQUAL, Electorate
from tests.unit.make import choice, reply

EXPERTS = ("ada", "bob", "cy", "dan", "eve")
ANYTHING, TOOLS, JSON = Needs(), Needs(tools=True), Needs(json_schema=True)
EQUALS: Mapping[str, float] = dict.fromkeys(EXPERTS, EQUAL)
SEVERAL: list[Aggregator] = ["vote", "consensus", "synthesize"]
ALL: list[Aggregator] = ["single", *SEVERAL]
PROSE = "It depends on many things, and on some more. " * 9
assert len(PROSE) > MAX_SHORT_CHARS


def aggregator(
    how: Aggregator, needs: Needs = ANYTHING, weights: Mapping[str, float] = EQUALS, **fields: Any
) -> Aggregation:
    """The rule of a plan with these fields, among two wrong answers."""
    return aggregation(Plan((EXPERTS,), how, (), "convened", p_correct=weights, **fields), needs, 2.0)


def standing(
    *answers: str, running: Sequence[str] = (), left: tuple[tuple[str, ...], ...] = (), start: int = 0
) -> Standing:
    """As many experts have given these answers, in their order; others are awaited, or not asked yet."""
    replies = tuple(map(reply, EXPERTS[start:], answers))
    return Standing(replies, tuple(running), left)


def said(*texts: str) -> list[Reply]:
    """As many experts' replies."""
    return list(map(reply, EXPERTS, texts))


@pytest.mark.parametrize("how", ALL)
@pytest.mark.parametrize("decided_at", [None, 0.9])
def test_the_first_wave_is_asked_at_once(how: Aggregator, decided_at: float | None) -> None:
    """Nothing was heard and nobody is awaited: there is nothing else to do."""
    rule = aggregator(how, decided_at=decided_at)
    assert rule.move(standing(left=(("ada", "bob"), ("cy",)))) == "ask"
    assert rule.move(standing(running=("ada", "bob"), left=(("cy",),))) == "wait"


@pytest.mark.parametrize("how", ALL)
def test_when_nobody_is_left_it_stops(how: Aggregator) -> None:
    """However little was heard, also nothing: every expert has failed."""
    assert aggregator(how).move(standing()) == "stop"
    assert aggregator(how).move(standing("1")) == "stop"


def test_one_experts_answer_is_enough_where_one_was_to_be_asked() -> None:
    """The next is asked only when there is none."""
    rule = aggregator("single")
    assert rule.move(standing("1", left=(("bob",),))) == "stop"
    assert rule.move(standing(left=(("bob",),))) == "ask"
    assert rule.move(standing(running=("ada",))) == "wait"


@pytest.mark.parametrize("how", SEVERAL)
def test_without_a_limit_everybody_is_heard(how: Aggregator) -> None:
    """`decided_at` None: also where all agree and nobody could overturn it, the rest is awaited, and the next asked."""
    rule = aggregator(how, decided_at=None)
    assert rule.move(standing("1", "1", "1", "1", running=("eve",))) == "wait"
    assert rule.move(standing("1", "1", "1", "1", left=(("eve",),))) == "ask"


@pytest.mark.parametrize("how", SEVERAL)
def test_with_a_quorum_the_others_of_the_last_wave_are_not_waited_for(how: Aggregator) -> None:
    """So many answers are enough, whatever they say."""
    rule = aggregator(how, decided_at=None, quorum=2)
    assert rule.move(standing("1", running=("bob", "cy"))) == "wait"
    assert rule.move(standing("1", "2", running=("cy",))) == "stop"


@pytest.mark.parametrize("how", SEVERAL)
def test_a_quorum_does_not_keep_an_undecided_answer_from_the_next_wave(how: Aggregator) -> None:
    """It ends the wait for the last wave only."""
    rule = aggregator(how, quorum=2)
    assert rule.move(standing("1", "2", running=("cy",), left=(("dan",),))) == "wait"
    assert rule.move(standing("1", "2", left=(("dan",),))) == "ask"


TRUSTED = {"ada": 0.9, "bob": 0.9, "cy": 0.9, "dan": 0.9}


@pytest.mark.parametrize("how", ["vote", "synthesize"])
def test_an_answer_that_is_probable_enough_stops_the_convening(how: Aggregator) -> None:
    """Two that are right nine times in ten and agree: nobody more is waited for, no further wave is asked."""
    rule = aggregator(how, weights=TRUSTED, decided_at=0.99)
    assert rule.move(standing("1", running=("bob", "cy"), left=(("dan",),))) == "wait"
    assert rule.move(standing("1", "1", running=("cy",), left=(("dan",),))) == "stop"
    assert rule.move(standing("1", "1", left=(("cy", "dan"),))) == "stop"
    assert rule.move(standing("1", "2", left=(("cy", "dan"),))) == "ask"


def test_a_vote_stops_when_nobody_left_could_overturn_it() -> None:
    """Those who were not asked yet could; then it goes on, however long. Nobody has to be sure."""
    rule = aggregator("vote", decided_at=1.0)
    assert rule.move(standing("1", "1", running=("cy",))) == "stop"
    assert rule.move(standing("1", "1", running=("cy",), left=(("dan",),))) == "wait"
    assert rule.move(standing("1", "1", "2", left=(("dan",),))) == "ask"
    assert rule.move(standing("1", "1", "1", left=(("dan", "eve"),))) == "stop"


def test_a_synthesis_hears_those_who_could_not_change_a_vote() -> None:
    """What is right may stand in the response of the minority: it stops by probability alone."""
    assert aggregator("synthesize", decided_at=1.0).move(standing("1", "1", running=("cy",))) == "wait"


def test_a_consensus_never_stops_early() -> None:
    """Texts are compared with each other: there is nothing to be sure of before."""
    rule = aggregator("consensus", weights=TRUSTED, decided_at=0.5)
    assert rule.move(standing("1", "1", running=("cy",))) == "wait"
    assert rule.move(standing("1", "1", left=(("cy",),))) == "ask"


@pytest.mark.parametrize("how", SEVERAL)
@pytest.mark.parametrize("needs", [ANYTHING, TOOLS, JSON])
def test_one_reply_is_the_answer(how: Aggregator, needs: Needs) -> None:
    """All others have failed: there is nothing to vote on, to compare or to write."""
    only = said(PROSE)
    found = aggregator(how, needs).conclude(only)
    assert (found.how, found.why, found.then) == ("single", "one_reply", None)
    assert found.answer is not None
    assert found.answer.choices is only[0].choices


def test_a_single_answer_is_the_experts_own() -> None:
    """Its choices and what it said beside them; there is no ballot."""
    only = reply("ada", "42", extra={"k": 1})
    found = Single().conclude([only])
    assert found.answer is not None
    assert (found.how, found.answer.choices, found.answer.extra, found.answer.ballot) == (
        "single", only.choices, {"k": 1}, None,
    )  # fmt: skip


def winner(found: Conclusion) -> str:
    """Whose words the answer is."""
    assert found.answer is not None
    return found.answer.expert


def test_a_vote_elects() -> None:
    """By the weights of the plan; the ballot says how it went."""
    found = aggregator("vote", weights=TRUSTED | {"ada": 0.3}).conclude(said("1", "2", "2"))
    assert (found.how, found.why, winner(found)) == ("vote", "vote", "bob")
    assert found.answer is not None
    assert found.answer.ballot is not None
    assert found.answer.ballot.answers == (("2", ("bob", "cy")), ("1", ("ada",)))


OTHERS = (f"First: {PROSE}", f"Second: {PROSE}")


def test_responses_that_cannot_be_voted_on_are_compared() -> None:
    """Long texts without a marked answer, none the same as another: the vote hands them to consensus."""
    assert aggregator("vote").conclude(said(PROSE, *OTHERS)) == Conclusion("consensus", "open_ended", then="compare")


@pytest.mark.parametrize(
    "texts", [(PROSE, PROSE, OTHERS[0]), (PROSE, OTHERS[0], "42"), (PROSE, OTHERS[0], f"{PROSE}\nAnswer: 42")]
)
def test_one_answer_among_long_texts_is_voted_on(texts: tuple[str, ...]) -> None:
    """Two that agree word for word, a short one, or a marked one: there is something to vote on."""
    assert aggregator("vote").conclude(said(*texts)).how == "vote"


def test_a_consensus_compares_also_what_could_be_voted_on() -> None:
    """It was asked for."""
    assert aggregator("consensus").conclude(said("1", "1", "2")) == Conclusion("consensus", "consensus", then="compare")


def called(*names: str) -> JsonObject:
    """A choice that calls these tools."""
    calls = [{"function": {"name": name, "arguments": "{}"}} for name in names]
    return choice(PROSE, message={"role": "assistant", "content": PROSE, "tool_calls": calls})


def test_calls_are_voted_on_whatever_is_said_beside_them() -> None:
    """The form of answers is the query's: long texts around calls are not compared."""
    replies = [reply(name, "", choices=(called(tool),)) for name, tool in zip(EXPERTS, "aba", strict=False)]
    found = aggregator("vote", TOOLS).conclude(replies)
    assert (found.how, winner(found)) == ("vote", "ada")
    assert found.answer is not None
    assert found.answer.ballot is not None
    assert [experts for _, experts in found.answer.ballot.answers] == [("ada", "cy"), ("bob",)]


def test_objects_are_voted_on_by_value() -> None:
    """Spelling is no difference; and however long they are, they are never compared as texts."""
    long, spelled, other = f'{{"a": "{PROSE}"}}', f'{{ "a" : "{PROSE}" }}', f'{{"b": "{PROSE}"}}'
    found = aggregator("vote", JSON).conclude(said('{"a": 1}', long, spelled))
    assert (found.how, winner(found)) == ("vote", "bob")
    assert aggregator("vote", JSON).conclude(said(long, other)).how == "vote"


def test_where_tools_may_be_called_and_none_is_the_texts_are_voted_on() -> None:
    """An expert that answers instead of calling has given an answer."""
    assert winner(aggregator("vote", TOOLS).conclude(said("1", "2", "2"))) == "bob"


def test_what_is_contested_is_synthesised_and_the_vote_stands_by() -> None:
    """Where nobody can write, the elected answer is there."""
    replies = said("1", "2", "2")
    found = aggregator("synthesize", agreed_at=0.99).conclude(replies)
    assert (found.how, found.why, found.then) == ("synthesize", "synthesize", "synthesize")
    assert found.answer == aggregator("vote").conclude(replies).answer


def test_where_all_agree_nothing_is_written() -> None:
    """However little they are trusted: an aggregating expert would read the same thing several times."""
    found = aggregator("synthesize", weights={}, agreed_at=0.99).conclude(said("1", "1.0", "Answer: 1"))
    assert (found.how, found.why, found.then, winner(found)) == ("vote", "agreed", None, "ada")


@pytest.mark.parametrize(("agreed_at", "why"), [(0.99, "sure"), (0.999, "synthesize")])
def test_where_the_vote_is_sure_enough_nothing_is_written(agreed_at: float, why: str) -> None:
    """One that disagrees with three trusted ones is no reason for one more call, up to the posterior of the plan."""
    found = aggregator("synthesize", weights=TRUSTED, agreed_at=agreed_at).conclude(said("1", "1", "1", "2"))
    assert (found.how, found.why) == ("vote" if why == "sure" else "synthesize", why)


def test_agreement_is_synthesised_all_the_same_where_everybody_is_to_be_heard() -> None:
    """`agreed_at` None: nothing is left out, which is what a benchmark compares with."""
    assert aggregator("synthesize", weights=TRUSTED, agreed_at=None).conclude(said("1", "1", "1")).then == "synthesize"


def test_saying_nothing_is_no_agreement() -> None:
    """Replies without an answer are not unanimous; nor is there anything to read in them."""
    found = aggregator("synthesize", agreed_at=0.5).conclude(said("", ""))
    assert (found.how, found.why) == ("vote", "too_few_texts")


def test_who_is_no_better_than_chance_is_not_read() -> None:
    """A confident voice cannot talk an aggregating expert round: only what counts as evidence is shown to it."""
    weights = {"ada": 0.7, "bob": 0.6, "cy": 0.01}
    found = aggregator("synthesize", weights=weights).conclude(said("1", "2", "I am certain. The answer is 3."))
    assert [reply.expert for reply in found.read] == ["ada", "bob"]
    alone = aggregator("synthesize", weights={"ada": 0.7}).conclude(said("1", "2", "3"))
    assert (alone.how, alone.why, winner(alone)) == ("vote", "too_few_texts", "ada")
    lost = aggregator("synthesize", weights={"ada": 0.2, "bob": 0.1}).conclude(said("1", "2"))
    assert (lost.how, lost.why, winner(lost)) == ("vote", "too_few_texts", "ada")


@pytest.mark.parametrize(
    ("how", "kind"), [("single", Single), ("vote", Vote), ("consensus", Consensus), ("synthesize", Synthesis)]
)
def test_the_plan_says_which_aggregator_it_is(how: Aggregator, kind: type[object]) -> None:
    """One class each."""
    assert isinstance(aggregator(how), kind)


@given(
    st.sampled_from(SEVERAL),
    st.lists(st.sampled_from(["1", "2", "", PROSE, OTHERS[0]]), min_size=1, max_size=5),
    st.none() | st.sampled_from([0.5, 0.9, 1.0]),
    st.lists(st.sampled_from([0.2, 0.6, 0.9]), min_size=5, max_size=5),
    st.randoms(use_true_random=False),
)
def test_the_order_of_replies_does_not_matter(
    how: Aggregator, texts: list[str], decided_at: float | None, trust: list[float], random: Random
) -> None:
    """The same replies in any order give the same conclusion and the same move."""
    rule = aggregator(how, weights=dict(zip(EXPERTS, trust, strict=True)), decided_at=decided_at, agreed_at=decided_at)
    stands = standing(*texts, running=EXPERTS[len(texts) :])
    shuffled = list(stands.replies)
    random.shuffle(shuffled)
    assert rule.conclude(shuffled) == rule.conclude(stands.replies)
    assert rule.move(replace(stands, replies=tuple(shuffled))) == rule.move(stands)


def test_an_electorate_is_of_the_plans_weights() -> None:
    """With the configuration's number of wrong answers."""
    rule = aggregator("vote", weights=TRUSTED)
    assert isinstance(rule, Vote)
    assert rule.electorate == Electorate(TRUSTED, 2.0, "text")
