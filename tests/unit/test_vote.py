"""Majority vote: what was answered, who agrees, who wins."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.records import Reply
from router.vote import MAX_SHORT_CHARS, extract, majority
from tests.unit.make import reply

EIGHTHS = st.integers(0, 8).map(lambda n: n / 8)  # sums of these are exact in any order


@pytest.mark.parametrize(
    "texts",
    [
        ("42", "42.", " 42 ", "+42", "42.0", "042", "4.2e1", "４２", "٤٢", "**42**"),
        ("1000", "1,000", "1,000.00", "1e3", "$1,000"),
        ("-5", "-5.0", "-$5", "−5"),
        ("0", "-0", "0.00"),
        ("50%", "50.0%"),
        ("Paris", "paris", "PARIS.", '"Paris"', "`paris`", "  Paris\n"),
        ("the  blue   whale", "The blue\nwhale!"),
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("J\u00fcrgen", "Ju\u0308rgen"),
    ],
)
def test_the_same_answer_in_another_form_agrees(texts: tuple[str, ...]) -> None:
    """Numbers compare by value, texts without case, blanks, quotes, marks and end punctuation."""
    assert len({extract(text) for text in texts}) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ("1", "-1", "10", "0.1"),
        ("50%", "50", "0.5"),
        ("5 km", "5 m", "5"),
        ("yes", "no"),
        ("A", "B"),
        ("102", "10²"),
        ("123", "1,2,3"),
        ("15", "1,5"),
        ("12345678901234567890123456789012", "12345678901234567890123456789013"),
        ("Answer: A cat", "Answer: A dog"),
        ("Answer: I see four", "Answer: I see five"),
        ("1e999999999", "1e999999998"),
    ],
)
def test_different_answers_do_not_agree(texts: tuple[str, ...]) -> None:
    """Signs, units, lists, powers and late digits are part of an answer."""
    assert len({extract(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("text", "core"),
    [
        ("The answer is 42.", "42"),
        ("The answer is: 42", "42"),
        ("Final answer: **1,024**", "1024"),
        ("**Answer:** 42", "42"),
        ("**Answer**: 42", "42"),
        ("Let me see.\nAnswer:\n42", "42"),
        ("6 · 7\n#### 42", "42"),
        ("So it is \\boxed{42}.", "42"),
        ("The final answer is $\\boxed{42}$.", "42"),
        ("Answer: 7. Wait.\nAnswer: 8", "8"),
        ("Answer: (B)", "B"),
        ("Answer: B) Paris", "B"),
        ("Answer: B. Paris", "B"),
        ("ANSWER = c", "c"),
        ("(C)", "C"),
        ("D.", "D"),
        ("A. Paris", "a. paris"),
        ("", ""),
        ("Answer:", "answer:"),
    ],
)
def test_the_last_marked_answer_counts(text: str, core: str) -> None:
    """A marked answer is taken out of its sentence; without a mark the whole text is the answer."""
    assert extract(text) == core


def test_long_texts_agree_only_word_for_word() -> None:
    """Beyond `MAX_SHORT_CHARS` nothing is normalised but Unicode's form: free prose is not compared loosely."""
    prose = "Paris. " * MAX_SHORT_CHARS
    assert extract(prose) == extract(prose + " ")
    assert extract(prose) != extract(prose.lower())


@pytest.mark.parametrize("text", ["1e99999999999999999999", "1" * 199, "0." + "3" * 190, "9e-99999", "1" * 5000])
def test_numbers_of_any_size_are_compared(text: str) -> None:
    """Huge exponents and endless digits are neither expanded nor an error."""
    assert len(extract(text)) <= len(text) + 60


def test_the_majority_wins_against_the_most_trusted() -> None:
    """Two that agree beat one that is trusted more; the winner speaks in its own words."""
    replies = [reply("ada", "41"), reply("bob", "The answer is 42."), reply("cy", "42")]
    answer = majority(replies, {"ada": 0.9, "bob": 0.3, "cy": 0.2})
    assert (answer.expert, answer.choices[0]["message"]["content"]) == ("bob", "The answer is 42.")
    assert answer.ballot is not None
    assert answer.ballot.answers == (("42", ("bob", "cy")), ("41", ("ada",)))
    assert answer.ballot.share == pytest.approx(2 / 3)


def test_a_tie_goes_to_the_more_trusted_camp() -> None:
    """Two against two: the supporters' predicted correctness sums decide; a missing one counts as 0."""
    replies = [reply("ada", "1"), reply("bob", "2"), reply("cy", "1"), reply("dan", "2")]
    assert majority(replies, {"ada": 0.9, "bob": 0.6, "dan": 0.5}).expert == "bob"


def test_the_answer_carries_what_its_expert_said_beside_the_text() -> None:
    """Choices and extra fields are the winner's own, unchanged."""
    one = Reply(
        "ada", "leg", ({"index": 0, "message": {"content": "x"}, "weird": 1},), reply("a", "").usage, 1.0, {"k": 2}
    )
    answer = majority([one], {})
    assert answer.choices is one.choices
    assert answer.extra == {"k": 2}


@given(st.text(max_size=300))
def test_any_text_has_a_core(text: str) -> None:
    """Whatever an expert writes, extraction gives some text, and the same for the same text."""
    assert extract(text) == extract(text)


@given(st.from_regex(r"\A[-+]?\d{1,40}(\.\d{1,40})?([eE][-+]?\d{1,9})?\Z"))
def test_a_number_keeps_its_value(text: str) -> None:
    """The core of a number is a number of the same value: extracting twice changes nothing."""
    assert extract(extract(text)) == extract(text)


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "1.0", "x", "X.", ""]), EIGHTHS), min_size=1, max_size=7))
def test_the_winner_is_one_of_the_replies_and_has_the_largest_camp(votes: list[tuple[str, float]]) -> None:
    """The text is some expert's own, no answer has more supporters, and the ballot counts everybody once."""
    replies = [reply(f"e{i}", text) for i, (text, _) in enumerate(votes)]
    answer = majority(replies, {f"e{i}": p for i, (_, p) in enumerate(votes)})
    winner = next(r for r in replies if r.expert == answer.expert)
    camps = Counter(extract(text) for text, _ in votes if text) or Counter([""])  # no answer never beats one
    assert answer.choices is winner.choices
    assert camps[extract(winner.text)] == max(camps.values())
    assert answer.ballot is not None
    assert sorted(e for _, camp in answer.ballot.answers for e in camp) == [r.expert for r in replies]


@given(
    st.lists(st.tuples(st.sampled_from(["1", "2", "3"]), EIGHTHS), min_size=1, max_size=7),
    st.randoms(use_true_random=False),
)
def test_the_order_of_replies_does_not_matter(votes: list[tuple[str, float]], random: Random) -> None:
    """Who answered first decides nothing, not even a tie of camps or of supporters."""
    replies = [reply(f"e{i}", text) for i, (text, _) in enumerate(votes)]
    trust = {f"e{i}": p for i, (_, p) in enumerate(votes)}
    shuffled = list(replies)
    random.shuffle(shuffled)
    assert majority(shuffled, trust).expert == majority(replies, trust).expert
