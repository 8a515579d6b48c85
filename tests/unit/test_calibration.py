"""Which question is which, which answers still hold, and how they become counts."""

from __future__ import annotations

from typing import Any

import pytest

from router.calibration import Calibration, Graded, core, profile_of, usable
from router.profiles import Count, Profile
from router.questions import LabelledQuestion


def question(text: str, answer: str | None = "1", category: str = "math", *skills: str) -> LabelledQuestion:
    return LabelledQuestion(question=text, answer=answer, category=category, skills=skills or ("sums",))


def graded(key: str, **fields: Any) -> Graded:
    """A right answer of ada's first version."""
    known: dict[str, Any] = {
        "expert": "ada",
        "expert_version": "v1",
        "engine_version": "e1",
        "right": True,
        "output_tokens": 2,
    }
    return Graded(question=key, **(known | fields))


def test_right_is_what_the_vote_would_take_for_the_same() -> None:
    """The comparable core decides; no text is wrong."""
    calibration = Calibration([question("1?", "1,000")], 64)
    wanted = calibration.cores[calibration.keys[0]]
    assert core("So the answer is 1000.") == wanted
    assert core("1001") != wanted
    assert core("") != wanted


def test_a_question_counts_once_for_each_of_its_skills() -> None:
    """And once for its category and once overall; tokens are summed; the versions are those of the answers."""
    calibration = Calibration(
        [
            question("1?", "1", "math", "sums", "words"),
            question("2?", "2", "math", "sums"),
            question("3?", "3", "facts"),
        ],
        64,
    )
    first, second, third = calibration.keys
    found = profile_of(
        calibration,
        {first: graded(first), second: graded(second, right=False, output_tokens=5), third: graded(third)},
    )
    assert found == Profile(
        expert_version="v1",
        engine_version="e1",
        questions=calibration.digest,
        overall=Count(right=2, asked=3),
        categories={"math": Count(right=1, asked=2), "facts": Count(right=1, asked=1)},
        skills={"sums": Count(right=2, asked=3), "words": Count(right=1, asked=1)},
        output_tokens=9,
    )


def test_all_engines_that_answered_are_named() -> None:
    """A run that went on under another engine says so."""
    calibration = Calibration([question("1?"), question("2?")], 64)
    first, second = calibration.keys
    answers = {first: graded(first, engine_version="e2"), second: graded(second, engine_version="e1")}
    assert profile_of(calibration, answers).engine_version == "e1, e2"


def test_an_engine_that_was_not_asked_is_not_named() -> None:
    """Of an answer that no engine gave nothing is known; only where there is no other one the engine is unknown."""
    calibration = Calibration([question("1?"), question("2?")], 64)
    first, second = calibration.keys
    unasked = graded(second, engine_version="")
    assert profile_of(calibration, {first: graded(first), second: unasked}).engine_version == "e1"
    nobody = {first: graded(first, engine_version=""), second: unasked}
    assert profile_of(calibration, nobody).engine_version == "unknown"


def test_the_same_question_twice_is_asked_once_and_counted_twice() -> None:
    """Its second answer would be the first one, and each line's labels count."""
    calibration = Calibration([question("1?", "1", "math"), question("1?", "1", "facts")], 64)
    (key,) = calibration.by_key
    found = profile_of(calibration, {key: graded(key)})
    assert found.categories == {"math": Count(right=1, asked=1), "facts": Count(right=1, asked=1)}
    assert found.overall == Count(right=2, asked=2)


def test_questions_without_an_answer_are_refused() -> None:
    """The first one is named, with how many there are."""
    with pytest.raises(ValueError, match=r"1 of 2 questions have no `answer`.*'2\?'"):
        Calibration([question("1?"), question("2?", None)], 64)


def test_the_digest_is_of_what_is_asked_and_counted() -> None:
    """Another question, answer, label or bound is another calibration; another order is not."""
    first, second = question("1?"), question("2?", "2")
    digest = Calibration([first, second], 64).digest
    assert Calibration([second, first], 64).digest == digest
    for other in ([first], [first, question("2?", "3")], [first, question("2?", "2", "facts")]):
        assert Calibration(other, 64).digest != digest
    assert Calibration([first, second], 65).digest != digest


def test_an_answer_outlives_a_new_label_but_no_new_question() -> None:
    """Its key depends on what decides whether it is right, and on the room it had."""
    (key,) = Calibration([question("1?")], 64).keys
    assert Calibration([question("1?", "1", "facts", "other")], 64).keys == (key,)
    assert Calibration([question("1?", "2")], 64).keys != (key,)
    assert Calibration([question("1?")], 65).keys != (key,)


def test_only_answers_of_these_versions_to_these_questions_are_usable() -> None:
    """Other experts', other versions' and other questions' are left out; of two the later holds."""
    calibration = Calibration([question("1?")], 64)
    (key,) = calibration.keys
    latest = graded(key, right=False)
    kept = [
        graded(key),
        latest,
        graded("another"),
        graded(key, expert="bob", expert_version="v0"),
        graded(key, expert="eve"),
    ]
    assert usable(kept, calibration, {"ada": "v1", "bob": "v1"}) == {"ada": {key: latest}, "bob": {}}
