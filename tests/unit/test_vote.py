"""Weighted vote: what a vote counts, who agrees, how probably the winner is right, and when nobody can overturn it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from router.answers import comparable
from router.jury import LEAST_WEIGHT, SURE
from router.records import JsonObject, Reply
from router.values import MAX_SHORT_CHARS
from router.vote import Electorate, elected
from tests.unit.make import choice, reply

EIGHTHS = st.integers(0, 8).map(lambda n: n / 8)  # sums of these are exact in any order
ANSWERS = st.sampled_from(["1", "2", "3", "1.0", "x", "X.", ""])
VOTES = st.lists(st.tuples(ANSWERS, EIGHTHS), min_size=1, max_size=6)
ALTERNATIVES = st.sampled_from([1.0, 2.0, 3.5, 9.0])


def voted(votes: Sequence[tuple[str, float]], alternatives: float = 2.0) -> tuple[Electorate, list[Reply]]:
    """Replies of as many experts, and what each of their votes counts: answers with P(correct)."""
    replies = [reply(f"e{i}", text) for i, (text, _) in enumerate(votes)]
    return Electorate({f"e{i}": p for i, (_, p) in enumerate(votes)}, alternatives), replies


def posterior(*votes: tuple[str, float], alternatives: float = 2.0) -> float:
    """P(the winner of these votes is right)."""
    electorate, replies = voted(votes, alternatives)
    return electorate.posterior(electorate.camps(replies))


def test_two_weak_votes_do_not_outweigh_a_trusted_one() -> None:
    """A vote counts what its expert is worth; the winner speaks in its own words."""
    electorate, replies = voted([("Answer: 41", 0.9), ("42", 0.5), ("The answer is 42.", 0.4)])
    assert elected(electorate, replies).choices[0]["message"]["content"] == "Answer: 41"


def test_two_that_agree_outweigh_one_that_is_trusted_a_little_more() -> None:
    """The most trusted of the winning camp speaks for it; the ballot names everybody, the winner first."""
    electorate, replies = voted([("41", 0.75), ("The answer is 42.", 0.65), ("42", 0.7)])
    answer = elected(electorate, replies)
    assert (answer.expert, answer.choices[0]["message"]["content"]) == ("e2", "42")
    assert answer.ballot is not None
    assert answer.ballot.answers == (("42", ("e2", "e1")), ("41", ("e0",)))
    assert answer.ballot.share == pytest.approx(2 / 3)
    assert answer.ballot.posterior == posterior(("41", 0.75), ("42", 0.65), ("42", 0.7))
    assert answer.ballot.spread is None


def test_a_tie_goes_to_the_more_trusted_camp_and_then_to_the_text() -> None:
    """Weak votes weigh the same: their experts' P(correct) decides; where that is the same, the smaller text."""
    electorate, replies = voted([("1", 0.1), ("2", 0.2)])
    assert elected(electorate, replies).expert == "e1"
    electorate, replies = voted([("2", 0.1), ("1", 0.1)])
    assert elected(electorate, replies).expert == "e1"


def test_the_answer_carries_what_its_expert_said_beside_the_text() -> None:
    """Choices and extra fields are the winner's own, unchanged."""
    said = ({"index": 0, "message": {"content": "x"}, "weird": 1},)
    answer = elected(Electorate({}, 2.0), [reply("ada", "", choices=said, extra={"k": 2})])
    assert answer.choices is said
    assert answer.extra == {"k": 2}


def test_a_ballot_shows_no_more_of_an_answer_than_fits() -> None:
    """Long responses are told apart as a whole, and shown by their beginning."""
    electorate, replies = voted([("so " * 200, 0.5), ("so " * 200 + "not", 0.5)])
    ballot = elected(electorate, replies).ballot
    assert ballot is not None
    assert [len(text) for text, _ in ballot.answers] == [MAX_SHORT_CHARS] * 2


def called(name: str, arguments: str) -> JsonObject:
    """A choice that calls a tool."""
    function = {"name": name, "arguments": arguments}
    return choice(None, message={"role": "assistant", "content": None, "tool_calls": [{"function": function}]})


def test_tool_calls_agree_by_what_is_called_with_what() -> None:
    """Blanks and the order of keys are no difference; another value is one."""
    said = {"ada": '{"a":1,"b":2}', "bob": '{ "b": 2, "a": 1 }', "cy": '{"a":1,"b":3}'}
    replies = [reply(name, "", choices=(called("add", text),)) for name, text in said.items()]
    camps = Electorate(dict.fromkeys(said, 0.5), 2.0, "tools").camps(replies)
    assert [[r.expert for r in camp.replies] for camp in camps] == [["ada", "bob"], ["cy"]]


def test_objects_agree_by_value_and_what_is_none_never_wins() -> None:
    """Two that broke the format the same way lose against one object, however little it is trusted."""
    electorate = Electorate({"ada": 0.9, "bob": 0.9, "cy": 0.1}, 2.0, "json")
    replies = [reply("ada", "Sure!"), reply("bob", "Sure!"), reply("cy", '{"a": 1}')]
    assert elected(electorate, replies).expert == "cy"


def test_a_vote_weighs_the_log_odds_of_being_right_rather_than_at_one_wrong_answer() -> None:
    """p K / (1 - p): three quarters against one of two wrong answers are odds of 6."""
    assert Electorate({"ada": 0.75}, 2.0).weight("ada") == pytest.approx(math.log(6))


@given(st.floats(0, 1), st.floats(0, 1), ALTERNATIVES)
def test_more_trust_never_weighs_less(one: float, other: float, alternatives: float) -> None:
    """The weight grows with P(correct), between the least weight and that of the surest; unknown experts have least."""
    electorate = Electorate({"low": min(one, other), "high": max(one, other)}, alternatives)
    most = math.log(SURE * alternatives / (1 - SURE))
    assert LEAST_WEIGHT <= electorate.weight("low") <= electorate.weight("high") <= most
    assert electorate.weight("nobody") == LEAST_WEIGHT


@given(st.floats(0, 1), ALTERNATIVES)
def test_one_reply_is_as_probably_right_as_its_expert(p: float, alternatives: float) -> None:
    """Above the chance of guessing, and up to the most that any expert is trusted."""
    least = math.exp(LEAST_WEIGHT) / (alternatives + math.exp(LEAST_WEIGHT))
    assert posterior(("1", p), alternatives=alternatives) == pytest.approx(min(max(p, least), SURE))


@given(VOTES, EIGHTHS, ALTERNATIVES)
def test_agreement_raises_the_posterior_and_contradiction_lowers_it(
    votes: list[tuple[str, float]], p: float, alternatives: float
) -> None:
    """One more vote for the winner makes it more probable; for an answer that does not win by it, less."""
    electorate, replies = voted(votes, alternatives)
    before, winner = posterior(*votes, alternatives=alternatives), electorate.camps(replies)[0].answer
    assume(winner)
    assert posterior(*votes, (winner, p), alternatives=alternatives) > before
    against = [*votes, ("another", p)]
    electorate, replies = voted(against, alternatives)
    if electorate.camps(replies)[0].answer == winner:
        assert posterior(*against, alternatives=alternatives) < before


@given(VOTES, ALTERNATIVES)
def test_the_posterior_is_a_probability(votes: list[tuple[str, float]], alternatives: float) -> None:
    """In [0, 1]; 0 where nobody has answered."""
    found = posterior(*votes, alternatives=alternatives)
    assert 0 <= found <= 1
    assert (found == 0) == all(text == "" for text, _ in votes)
    assert posterior(alternatives=alternatives) == 0


def test_there_is_always_an_answer_that_nobody_named() -> None:
    """Three quarters against one of two wrong answers weigh 6: of three answers each has 6 in 19, not in 18."""
    one, two, three = ([(text, 0.75) for text in texts] for texts in ("1", "12", "123"))
    assert posterior(*one) == pytest.approx(6 / 8)
    assert posterior(*two) == pytest.approx(6 / 13)
    assert posterior(*three) == pytest.approx(6 / 19)


def test_hundreds_of_votes_do_not_overflow() -> None:
    """However much weight comes together, the posterior is a number."""
    electorate, replies = voted([("1", 0.98)] * 500 + [("2", 0.98)] * 500, 1e6)
    assert electorate.posterior(electorate.camps(replies)) == pytest.approx(0.5)


@given(VOTES, ALTERNATIVES, st.randoms(use_true_random=False))
def test_the_order_of_replies_does_not_matter(
    votes: list[tuple[str, float]], alternatives: float, random: Random
) -> None:
    """Who answered first decides nothing: not the winner, not the ballot, not a digit of the posterior."""
    electorate, replies = voted(votes, alternatives)
    shuffled = list(replies)
    random.shuffle(shuffled)
    assert elected(electorate, shuffled) == elected(electorate, replies)


@given(VOTES, ALTERNATIVES)
def test_equal_votes_give_the_majority(votes: list[tuple[str, float]], alternatives: float) -> None:
    """Whatever P(correct) is, no answer has more supporters than the winner; the ballot counts everybody once."""
    weighed, replies = voted(votes, alternatives)
    electorate = replace(weighed, equal=True)
    camps = electorate.camps(replies)
    sizes = Counter({camp.answer: len(camp.replies) for camp in camps if camp.answer}) or Counter({"": len(votes)})
    answer = elected(electorate, replies)
    assert sizes[camps[0].answer] == max(sizes.values())
    assert answer.choices is next(r for r in replies if r.expert == answer.expert).choices
    assert answer.ballot is not None
    assert sorted(e for _, camp in answer.ballot.answers for e in camp) == [r.expert for r in replies]


def test_a_tie_of_equal_votes_goes_to_the_more_trusted() -> None:
    """One against one: a majority knows nothing of weights, but whom to believe when it is none."""
    electorate = Electorate({"ada": 0.3, "bob": 0.4}, 2.0, equal=True)
    assert elected(electorate, [reply("ada", "1"), reply("bob", "2")]).expert == "bob"


def test_each_reply_is_read_once() -> None:
    """Counting the votes again after each reply costs no second reading of the texts."""
    electorate, replies = Electorate({}, 2.0), [reply("ada", "1"), reply("bob", "2")]
    with patch("router.vote.comparable", side_effect=comparable) as read:
        for heard in (replies[:1], replies, replies):
            electorate.camps(heard)
    assert read.call_count == 2


@given(st.lists(st.sampled_from(["1", "2", ""]), min_size=1, max_size=5), st.integers(0, 3), ALTERNATIVES)
def test_among_equals_it_is_settled_by_a_lead_that_nobody_left_can_make_up(
    texts: list[str], left: int, alternatives: float
) -> None:
    """More votes ahead than are still to come; a draw would leave it to the text, so it is not settled."""
    electorate = Electorate({}, alternatives, equal=True)
    replies = [reply(f"e{i}", text) for i, text in enumerate(texts)]
    first, second, *_ = sorted((texts.count("1"), texts.count("2")), reverse=True)
    outstanding = [f"e{len(texts) + i}" for i in range(left)]
    assert electorate.settled(electorate.camps(replies), outstanding) == (first - second > left)


def winners(electorate: Electorate, replies: Sequence[Reply], outstanding: Sequence[str]) -> set[str]:
    """The answers that can still win: by brute force over all that the outstanding experts could say."""
    seen = {camp.answer for camp in electorate.camps(replies)}
    sayings = [*seen, "", *(f"new {i}" for i in range(len(outstanding)))]
    return {
        electorate.camps([*replies, *map(reply, outstanding, said)])[0].answer
        for said in product(sayings, repeat=len(outstanding))
    }


@given(
    st.lists(st.tuples(ANSWERS, st.floats(0, 1)), min_size=1, max_size=4),
    st.lists(st.floats(0, 1), max_size=3),
    ALTERNATIVES,
)
def test_what_is_settled_nobody_can_overturn(
    votes: list[tuple[str, float]], left: list[float], alternatives: float
) -> None:
    """Whatever those say who are still to answer, also nothing or something new, the winning answer stays."""
    electorate, everybody = voted([*votes, *(("", p) for p in left)], alternatives)
    replies, outstanding = everybody[: len(votes)], [r.expert for r in everybody[len(votes) :]]
    camps = electorate.camps(replies)
    if electorate.settled(camps, outstanding):
        assert winners(electorate, replies, outstanding) == {camps[0].answer}


def test_a_lead_in_weight_settles_before_a_lead_in_votes() -> None:
    """One trusted expert cannot be overturned by two weak ones; a third of its kind could."""
    electorate = Electorate({"ada": 0.9, "bob": 0.4, "cy": 0.4, "dan": 0.95}, 2.0)
    camps = electorate.camps([reply("ada", "1")])
    assert electorate.settled(camps, ["bob", "cy"])
    assert not electorate.settled(camps, ["bob", "dan"])


def test_nothing_is_settled_before_somebody_has_answered() -> None:
    """Not by no replies, and not by replies that hold no answer."""
    electorate = Electorate({"ada": 0.9}, 2.0)
    assert not electorate.settled((), [])
    assert not electorate.settled(electorate.camps([reply("ada", "")]), [])
