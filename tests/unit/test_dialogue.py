"""A conversation is routed by the turn that set its topic, found from the turns alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.classify import GENERAL
from router.dialogue import anchor, bounded
from router.records import CategoryScores

UNSURE = None


def turn(category: str | None) -> CategoryScores:
    """A turn that is surely of a category, or (None) one that may be about anything."""
    return CategoryScores({}, category or GENERAL, confident=category is not None)


def anchored(*categories: str | None) -> int:
    """The anchor of turns of these categories, each as far from the others as can be."""
    names = sorted({str(c) for c in categories})
    return anchor(
        [turn(c) for c in categories], np.eye(len(names), dtype=np.float32)[[names.index(str(c)) for c in categories]]
    )


def test_a_conversation_stays_with_its_first_turn() -> None:
    """Follow-ups that say nothing by themselves, and surely related ones, leave the anchor where it is."""
    assert anchored("math") == 0
    assert anchored("math", UNSURE, UNSURE) == 0
    assert anchored("math", "math", UNSURE, "math") == 0


def test_a_sure_turn_of_another_category_sets_a_new_topic() -> None:
    """From there on the conversation is about that; it may come back."""
    assert anchored("math", UNSURE, "text") == 2
    assert anchored("math", "text", UNSURE) == 1
    assert anchored("math", "text", UNSURE, "math", UNSURE) == 3


def test_the_first_sure_turn_ends_an_unsure_beginning() -> None:
    """A greeting is no topic: the first turn that is sure of one is, whichever it is."""
    assert anchored(UNSURE, UNSURE) == 0
    assert anchored(UNSURE, "math", UNSURE) == 1
    sure = CategoryScores({}, GENERAL, confident=True)
    assert anchor([turn(UNSURE), sure], np.zeros((2, 1), dtype=np.float32)) == 1


def test_a_turn_must_lead_by_far_to_end_a_sure_topic() -> None:
    """By `min_lead` nearer to a skill of its own than to the skill of the anchor."""
    turns = [turn("math"), turn("text")]
    for own, lead_is_enough in ((0.74, False), (0.76, True)):
        cosines = np.array([[0.9, 0.1], [0.55, own]], dtype=np.float32)
        assert anchor(turns, cosines, min_lead=0.2) == int(lead_is_enough)


def test_a_turn_is_compared_with_the_present_anchor_not_with_the_first() -> None:
    """The lead is over the topic that it would end."""
    turns = [turn("math"), turn("text"), turn("time")]
    cosines = np.array([[0.9, 0, 0], [0.1, 0.9, 0], [0.1, 0.6, 0.7]], dtype=np.float32)
    assert anchor(turns, cosines, min_lead=0.2) == 1
    cosines[2] = [0.6, 0.1, 0.7]
    assert anchor(turns, cosines, min_lead=0.2) == 2


def test_an_unsure_beginning_ends_without_a_lead() -> None:
    """There is no topic to hold on to; and no lead makes a turn sure that is not."""
    alike = np.array([[0.5, 0.5], [0.5, 0.5]], dtype=np.float32)
    assert anchor([turn(UNSURE), turn("text")], alike, min_lead=0.2) == 1
    far = np.array([[0.9, 0.0], [0.0, 0.9]], dtype=np.float32)
    assert anchor([turn("math"), turn(UNSURE)], far, min_lead=0.2) == 0
    assert anchor([turn("math"), turn("math")], far, min_lead=0.2) == 0


@given(st.lists(st.sampled_from([UNSURE, "math", "text", "time"]), min_size=1, max_size=8))
def test_a_replica_that_remembers_finds_what_one_that_reads_finds(categories: Sequence[str | None]) -> None:
    """The last anchor and the new turn are enough: walking on from there ends where walking from the start ends."""
    walked = 0
    for index in range(1, len(categories)):
        pair = anchored(categories[walked], categories[index])
        walked = index if pair else walked
    assert anchored(*categories) == walked


def test_what_is_asked_now_must_be_there() -> None:
    """A conversation without a turn is our own mistake."""
    with pytest.raises(AssertionError):
        anchor([], np.zeros((0, 1), dtype=np.float32))


def test_the_first_and_the_last_turns_are_looked_at() -> None:
    """Of a long conversation the turns in between are left out; a short one is looked at as a whole."""
    assert bounded("abcdef", 3, 10) == ("a", "e", "f")
    assert bounded("abcdef", 2, 10) == ("a", "f")
    assert bounded("abc", 3, 10) == ("a", "b", "c")
    assert bounded("a", 3, 10) == ("a",)
    assert bounded([], 3, 10) == ()
    with pytest.raises(AssertionError):
        bounded("ab", 1, 10)


def test_blank_turns_are_left_out_and_take_no_place() -> None:
    """A picture without a word says nothing; the first turn is the first that says something."""
    assert bounded(["", "a", " \n", "b", "c", "d", ""], 3, 10) == ("a", "c", "d")
    assert bounded(["", "  "], 3, 10) == ()


def test_a_turn_is_the_same_text_wherever_it_stands() -> None:
    """Cut to `max_chars` behind the white space in front: what is asked now is found again as an earlier turn."""
    asked = " \n" * 50 + "abc def "
    (now,) = bounded([asked], 3, 4)
    assert now == "abc"
    assert bounded([asked, "next"], 3, 4) == bounded([now, "next"], 3, 4) == ("abc", "next")


def test_a_remembered_turn_stands_for_what_the_client_left_out() -> None:
    """Of a history that was trimmed, by the client or by us, the remembered anchor comes first."""
    assert bounded(["now"], 3, 10, remembered="topic") == ("topic", "now")
    assert bounded(["late", "now"], 3, 10, remembered="topic") == ("topic", "late", "now")
    assert bounded(["first", "topic", "late", "now"], 3, 10, remembered="topic") == ("topic", "late", "now")


def test_what_came_before_a_remembered_turn_does_not_matter() -> None:
    """Where the request holds the anchor itself, it begins there."""
    assert bounded(["first", "topic", "now"], 3, 10, remembered="topic") == ("topic", "now")
    assert bounded(["topic", "x", "y", "z"], 3, 10, remembered="topic") == ("topic", "y", "z")
    assert bounded(["x", "topic"], 3, 10, remembered="topic") == ("topic",)


@given(st.lists(st.sampled_from([UNSURE, "math", "text", "time"]), min_size=1, max_size=9), st.integers(1, 9))
def test_with_a_memory_a_window_finds_what_the_whole_conversation_does(
    categories: Sequence[str | None], sent: int
) -> None:
    """However little of its history the client sends, and however little of that is looked at."""
    category = {f"turn {i}": c for i, c in enumerate(categories)}
    texts, remembered = list(category), None
    for count in range(1, len(texts) + 1):
        asked = texts[:count]
        looked_at = bounded(asked[-sent:], 3, 10, remembered)
        remembered = looked_at[anchored(*(category[text] for text in looked_at))]
        assert remembered == asked[anchored(*categories[:count])]


@given(
    st.lists(st.text(alphabet="ab ", max_size=6), max_size=12),
    st.integers(2, 5),
    st.integers(1, 4),
    st.none() | st.sampled_from(["a", "topi"]),
)
def test_the_bound_holds(texts: list[str], max_turns: int, max_chars: int, remembered: str | None) -> None:
    """Never more turns, never a longer one, whatever is sent; and what is asked now is always the last."""
    found = bounded(texts, max_turns, max_chars, remembered)
    assert len(found) <= max_turns
    assert all(0 < len(text) <= max(max_chars, len(remembered or "")) for text in found)
    said = [text.strip() for text in texts if text.strip()]
    if said:
        assert found[-1] == said[-1][:max_chars].rstrip()
