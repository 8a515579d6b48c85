"""Conversations of the adapters with a special part."""

from __future__ import annotations

from random import Random

import pytest

from experts.prompts import parse_keywords
from experts.zoo.evaluate import held_out_turns
from experts.zoo.make import zoo_tokenizer
from experts.zoo.parts import RESPONSES, draw_panel, name_skills, panel, wrong_answer
from experts.zoo.tasks import SKILLS, generate

TOKENIZER = zoo_tokenizer()


@pytest.mark.parametrize("skill", SKILLS)
def test_wrong_answers_are_wrong(skill: str) -> None:
    """A plausible wrong answer never is the right one, and never empty."""
    rng = Random(3)
    for question in generate(skill, 60, seed=4):
        wrong = wrong_answer(question, rng)
        assert wrong
        assert wrong != question.answer


@pytest.mark.parametrize("right", [1, 2, 3])
def test_a_panel_holds_as_many_right_responses_as_asked_for(right: int) -> None:
    """In any place: the order gives nothing away."""
    places = set()
    for seed in range(60):
        drawn = panel(SKILLS["capitals"], Random(seed), right)
        assert len(drawn.responses) == RESPONSES
        assert drawn.responses.count(drawn.question.answer) == right
        places.add(drawn.responses.index(drawn.question.answer))
    assert len(places) > 1 or right == RESPONSES


def test_neither_the_majority_nor_the_odd_one_out_is_always_right() -> None:
    """Training shows all three numbers of right responses, so that judging has to be learned."""
    rng = Random(1)
    counts = {p.responses.count(p.question.answer) for p in (draw_panel(SKILLS["addition"], rng) for _ in range(200))}
    assert counts == {1, 2, 3}


@pytest.mark.parametrize("skill", SKILLS)
def test_skills_are_named_in_the_form_that_is_read(skill: str) -> None:
    """What the keyword adapter learns to say is read back as the skill's name."""
    (question,) = generate(skill, 1, seed=2)
    asked, said = name_skills(question)
    assert question.text in asked
    assert parse_keywords(said) == (skill.replace("_", " "),)


def test_measuring_is_on_held_out_wordings_with_one_right_response() -> None:
    """The aggregator's figures are about one right response of three; the keyword adapter's about the skill's name."""
    for asked, right in held_out_turns("aggregator", "reversal", 20):
        assert asked.count(f">{right}<") == 1
    assert {right for _, right in held_out_turns("keywords", "next_letter", 5)} == {"Keywords: next letter"}


def test_special_parts_fit_the_context() -> None:
    """Their prompts stay well under the 512 tokens that the quickstart's engines take."""
    rng = Random(5)
    prompts = [draw_panel(SKILLS[skill], rng).prompt for skill in SKILLS for _ in range(20)]
    assert max(len(TOKENIZER.encode(prompt)) for prompt in prompts) < 256
