"""What candidate aggregators are measured on: which questions, whose responses, in which order."""

from __future__ import annotations

from collections import Counter

import pytest

from experts.prompts import aggregation_prompt
from router.calibration import Calibration, Graded
from router.panels import panels, responders, sample, triple
from router.questions import LabelledQuestion

QUESTIONS = [
    LabelledQuestion(question=f"{n}?", answer=str(n), category="math", skills=("even",) if n % 2 == 0 else ("odd", "x"))
    for n in range(40)
]
CALIBRATION = Calibration(QUESTIONS, 64)


def said(text: str | None, right: bool = False) -> Graded:
    return Graded(
        expert="a", expert_version="v", engine_version="e", question="k", right=right, output_tokens=1, text=text
    )


def test_so_many_questions_of_each_skill_are_used() -> None:
    """By a hash, not by their place in the file, in which they stay; a skill with fewer gives all it has."""
    found = sample(CALIBRATION, 5)
    assert Counter(skill for q in found.questions for skill in q.skills) == {"even": 5, "odd": 5, "x": 5}
    assert found.max_tokens == 64
    numbers = [int(str(q.answer)) for q in found.questions]
    assert numbers == sorted(numbers)
    assert numbers != list(range(10))
    assert sample(CALIBRATION, 100).questions == QUESTIONS


def test_the_choice_does_not_depend_on_the_order_of_the_file() -> None:
    """Nor on the room for answers; more questions include the fewer."""
    found = set(sample(CALIBRATION, 5).questions)
    assert set(sample(Calibration(QUESTIONS[::-1], 8), 5).questions) == found
    assert set(sample(CALIBRATION, 6).questions) > found


def test_a_question_with_several_skills_counts_for_each() -> None:
    """It is in as one of the first of any of them."""
    both = LabelledQuestion(question="both?", answer="1", category="math", skills=("rare", "even"))
    assert both in sample(Calibration([*QUESTIONS, both], 64), 1).questions


def test_everybody_is_asked_first_somewhere() -> None:
    """The order is the question's own, the same on every run; a newcomer leaves the others' as it was."""
    experts = ["ada", "bob", "eve"]
    firsts = Counter(responders(q.question, experts)[0] for q in QUESTIONS)
    assert firsts.keys() == set(experts)
    order = responders("1?", experts)
    assert responders("1?", experts[::-1]) == order
    assert tuple(name for name in responders("1?", [*experts, "new"]) if name != "new") == order


def test_a_triple_is_one_right_and_two_wrong_responses() -> None:
    """The first of each kind, the right one in front."""
    found = triple([said("7"), said("It is 8"), said("4", right=True), said("9"), said("four", right=True)])
    assert found == ("4", "7", "It is 8")


@pytest.mark.parametrize(
    "responses",
    [
        [],
        [said("4", right=True), said("7")],
        [said("7"), said("8"), said("9")],
        [said("4", right=True), said("7"), said("The answer is 7.")],
        [said("4", right=True), said("7"), said(" ")],
        [said("4", right=True), said("7"), said(None)],
    ],
)
def test_no_triple_is_padded(responses: list[Graded]) -> None:
    """Nothing is invented for one that is missing; two that say the same are one, and no text is none."""
    assert triple(responses) is None


def test_panels_are_asked_and_counted_like_questions() -> None:
    """Only those with a triple; the label is the question's own, the text what an aggregator reads when it serves."""
    key = CALIBRATION.keys[4]
    found = panels(CALIBRATION, {key: ("4", "7", "8")}, 400)
    (panel,) = found.questions
    assert (panel.answer, panel.category, panel.skills) == ("4", "math", ("even",))
    assert found.max_tokens == 64
    orders = [("4", "7", "8"), ("4", "8", "7"), ("7", "4", "8"), ("7", "8", "4"), ("8", "4", "7"), ("8", "7", "4")]
    assert panel.question in {aggregation_prompt("4?", order, 400) for order in orders}
    assert panels(CALIBRATION, {key: ("4", "8", "7")}, 400).questions == found.questions


def test_the_right_response_may_stand_anywhere() -> None:
    """Who always takes the first, or the last, is right by chance alone."""
    found = panels(CALIBRATION, dict.fromkeys(CALIBRATION.keys, ("right", "wrong 1", "wrong 2")), 400)
    at = Counter(next(n for n in (1, 2, 3) if f"<response {n}>right" in q.question) for q in found.questions)
    assert at.keys() == {1, 2, 3}


def test_responses_are_bounded_as_when_it_is_served() -> None:
    """Neither a long response nor a long question crowds out the others."""
    found = panels(CALIBRATION, {CALIBRATION.keys[0]: ("a" * 50, "b" * 50, "c" * 50)}, 10)
    assert "<response 3>aaaa…aaaaa<" in found.questions[0].question
    assert "a" * 6 not in found.questions[0].question


def test_other_responses_are_another_measurement() -> None:
    """Answers that were kept, and the digest in the profile, are of these panels only."""
    key = CALIBRATION.keys[4]
    one, other = (panels(CALIBRATION, {key: ("4", wrong, "8")}, 400) for wrong in ("7", "9"))
    assert one.keys != other.keys
    assert one.digest != other.digest
