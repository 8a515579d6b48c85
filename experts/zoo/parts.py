"""Conversations for the two adapters that do not answer questions themselves.

`keywords` names the skills of a question; `aggregator` reads three responses and gives the final answer.
Owns: how their training and test conversations are made. Must not know: models, tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from experts.prompts import aggregation_prompt, keywords_prompt, keywords_text
from experts.zoo.records import Question, Skill
from experts.zoo.tasks import SKILLS, ask

MAX_CHARS = 400
RESPONSES = 3
RIGHT_COUNTS, RIGHT_SHARES = (1, 2, 3), (0.5, 0.35, 0.15)
"""How many of the three responses are right in training: neither 'the majority' nor 'the odd one out' may suffice."""
BINARY = {"yes": "no", "no": "yes", "true": "false", "false": "true", "even": "odd", "odd": "even"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A question with three responses in random order; `right` of them are the answer."""

    question: Question
    responses: tuple[str, ...]

    @property
    def prompt(self) -> str:
        return aggregation_prompt(self.question.text, self.responses, MAX_CHARS)


def name_skills(question: Question) -> tuple[str, str]:
    """The turn that teaches to name a question's skills."""
    return keywords_prompt(question.text, MAX_CHARS), keywords_text([question.skill])


def panel(skill: Skill, rng: Random, right: int, held_out: bool = False) -> Panel:
    """A question with `right` right and else plausible wrong responses."""
    question = ask(skill, rng, held_out)
    responses = [question.answer] * right + [wrong_answer(question, rng) for _ in range(RESPONSES - right)]
    rng.shuffle(responses)
    return Panel(question, tuple(responses))


def draw_panel(skill: Skill, rng: Random) -> Panel:
    """A training panel, with one to three right responses."""
    return panel(skill, rng, rng.choices(RIGHT_COUNTS, RIGHT_SHARES)[0])


def wrong_answer(question: Question, rng: Random) -> str:
    """A plausible wrong answer: the other of two, a slip in the right one, or the answer to a similar question."""
    if other := BINARY.get(question.answer):
        return other
    while True:
        slipped = rng.random() < 0.5
        wrong = slip(question.answer, rng) if slipped else ask(SKILLS[question.skill], rng).answer
        if wrong != question.answer:
            return wrong


def slip(answer: str, rng: Random) -> str:
    """The answer with one small mistake, as experts make them: a digit off, two letters swapped; may be unchanged."""
    if answer.isdigit():
        return str(max(0, int(answer) + rng.choice((-10, -2, -1, 1, 2, 10))))
    at = rng.randrange(len(answer))
    if answer[at].isdigit():
        return answer[:at] + str((int(answer[at]) + rng.choice((-1, 1))) % 10) + answer[at + 1 :]
    return answer[:at] + answer[at : at + 2][::-1] + answer[at + 2 :]
