"""The conversations of `loadtest.conversation`, and its figures worked out by hand on small cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.conversation import Conversation, Heard, conversations, engine_addresses, figures, planned, total

QUESTIONS = [
    {"question": "What is 1 plus 2?", "category": "math", "skill": "addition"},
    {"question": "Is 3 odd or even?", "category": "numbers", "skill": "parity"},
    {"question": "Reverse snail.", "category": "text", "skill": "reversal"},
    {"question": "Is 2 in 1, 2?", "category": "sets", "skill": "membership"},  # no follow-up is known for it
]
CATEGORY = {q["question"]: q["category"] for q in QUESTIONS}

STAYS = Conversation(("Add 1 to 2.", "And 3?", "And 4?", "And 5?"))
CHANGES = Conversation(("Add 1 to 2.", "And 3?", "Reverse snail.", "And tiger?"), changes_at=2)
ALONE = {"Add 1 to 2.": "math", "Reverse snail.": "text"}


def heard(*experts: str, answered: str | None = None) -> list[Heard]:
    """Each turn's outcome, by the expert planned; `answered`: by somebody else throughout."""
    return [Heard(expert, answered or expert) for expert in experts]


def test_every_second_conversation_changes_its_topic_in_the_middle() -> None:
    """To a question of another category; all other turns but the first are follow-ups."""
    made = conversations(QUESTIONS, 40, 6, seed=1)
    assert [c.changes_at for c in made] == [None, 3] * 20
    for conversation in made:
        assert len(conversation.turns) == 6
        openers = [i for i, text in enumerate(conversation.turns) if text in CATEGORY]
        assert openers == ([0] if conversation.changes_at is None else [0, 3])
        assert len({CATEGORY[conversation.turns[i]] for i in openers}) == len(openers)


def test_a_follow_up_names_what_its_topic_is_about() -> None:
    """Words after a question about words, numbers after one about numbers: whose it is, only the topic says."""
    for conversation in conversations(QUESTIONS, 30, 6, seed=2):
        about_words = CATEGORY[conversation.turns[0]] == "text"
        follow_ups = [t for t in conversation.turns[1:3] if t != "Are you sure?"]
        assert all(any(c.isdigit() for c in text) != about_words for text in follow_ups)


def test_the_same_seed_makes_the_same_conversations() -> None:
    """Two systems are compared on the same words."""
    assert conversations(QUESTIONS, 5, 4, seed=3) == conversations(QUESTIONS, 5, 4, seed=3)
    assert conversations(QUESTIONS, 5, 4, seed=3) != conversations(QUESTIONS, 5, 4, seed=4)


def test_follow_ups_are_kept_that_go_where_their_topic_was_opened() -> None:
    """Before a change and after it are counted apart; an opener is no follow-up."""
    found = figures([STAYS, CHANGES], [heard("math", "math", "text", "math")] * 2, ALONE)
    assert (found["turns"], found["topic_changes"]) == (8, 1)
    assert found["follow_ups_kept"] == 0.75
    assert found["follow_ups_kept_after_change"] == 0.0


@pytest.mark.parametrize(("at_change", "moved", "as_alone"), [("text", 1, 1), ("math", 0, 0), ("time", 1, 0)])
def test_a_topic_change_is_right_where_the_question_alone_would_go(at_change: str, moved: int, as_alone: int) -> None:
    """To leave is one thing, to go where the new topic belongs another."""
    found = figures([CHANGES], [heard("math", "math", at_change, at_change)], ALONE)
    assert (found["topic_changes_moved"], found["topic_changes_as_asked_alone"]) == (moved, as_alone)


def test_what_did_not_happen_has_no_share() -> None:
    """Nothing changed the topic: the share of changes is unknown, not zero."""
    found = figures([STAYS], [heard(*["math"] * 4)], ALONE)
    assert (found["follow_ups_kept"], found["topic_changes_moved"]) == (1.0, None)


def test_who_stepped_in_is_counted_apart() -> None:
    """A hedge that was faster, or a replacement: the route was kept all the same."""
    found = figures([STAYS, STAYS], [heard(*["math"] * 4), heard(*["math"] * 4, answered="clerk")], ALONE)
    assert (found["follow_ups_kept"], found["answered_by_another"]) == (1.0, 0.5)


def test_the_plan_names_its_experts() -> None:
    """As the header says them, whatever the reason."""
    assert planned("single;reason=sure=yes;asked=math") == "math"
    assert planned("vote;reason=unsure;asked=math,clerk") == "math,clerk"


def test_a_counter_is_summed_over_its_labels() -> None:
    """And no other counter whose name begins alike is taken for it."""
    text = (
        "# TYPE vllm:prefix_cache_hits_total counter\n"
        'vllm:prefix_cache_hits_total{engine="0",model_name="a b"} 32.0\n'
        'vllm:prefix_cache_hits_total{engine="1",model_name="a b"} 1.5e+02\n'
        'vllm:prefix_cache_hits_total_more{engine="0"} 7.0\n'
        'vllm:external_prefix_cache_hits_total{engine="0"} 7.0\n'
    )
    assert total(text, "vllm:prefix_cache_hits_total") == 182
    assert total(text, "vllm:prefix_cache_queries_total") == 0


def test_each_engine_is_reached_under_its_name(tmp_path: Path) -> None:
    """The configuration names them; one without engines of its own has no counters to read."""
    config = tmp_path / "c.yaml"
    config.write_text("engines: {one: {}, two: {}}\n", encoding="utf-8")
    assert engine_addresses(config, "http://i") == ("http://i/experts/one", "http://i/experts/two")
    config.write_text("engines:\n", encoding="utf-8")
    assert engine_addresses(config, "http://i") == ()
