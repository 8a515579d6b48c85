"""Panels: what a candidate aggregator is measured on. Pure.

A panel is a calibration question with three responses that experts gave to it, one right and two that are wrong in
different ways, so that counting them decides nothing (Symbolic-MoE, arXiv 2503.05641, picks aggregators so). Responses
are never made up: a question without such three is left out. A panel is asked and counted like any other question.

Which questions, whom to ask first and the order of the responses come from hashes: the same on every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from experts.prompts import aggregation_prompt
from router.answers import extract
from router.calibration import Calibration, Graded
from router.questions import LabelledQuestion

WRONG = 2
CHANCE = 1 / (1 + WRONG)  # of picking the right response

Triple = tuple[str, ...]  # the right response, then the wrong ones


def sample(calibration: Calibration, per_skill: int) -> Calibration:
    """The first `per_skill` questions of each skill by hash, in the order of the file.

    A question with several skills is one of the first of each, and is in when it is for any of them.
    """
    first: dict[str, set[str]] = {}
    for question in sorted(calibration.questions, key=lambda q: _hash(q.question)):
        for skill in question.skills:
            texts = first.setdefault(skill, set())
            if len(texts) < per_skill:
                texts.add(question.question)
    chosen = {text for texts in first.values() for text in texts}
    return Calibration([q for q in calibration.questions if q.question in chosen], calibration.max_tokens)


def responders(question: str, experts: Iterable[str]) -> tuple[str, ...]:
    """The order in which experts are asked for responses to a question: each has its turns at the front."""
    return tuple(sorted(experts, key=lambda expert: _hash(f"{expert}\n{question}")))


def triple(responses: Sequence[Graded]) -> Triple | None:
    """One right and two wrong responses, the first of each kind; None as long as there are none.

    No two have the same comparable core, and one without any is no response.
    """
    right: list[str] = []
    wrong: dict[str, str] = {}
    for text, is_right in ((response.text or "", response.right) for response in responses):
        core = extract(text)
        if is_right:
            right.append(text)
        elif core:
            wrong.setdefault(core, text)
    return (right[0], *list(wrong.values())[:WRONG]) if right and len(wrong) >= WRONG else None


def panels(calibration: Calibration, triples: Mapping[str, Triple], max_chars: int) -> Calibration:
    """The panels of the questions that have a triple, to be asked like questions.

    Args:
        triples: key -> its three responses.
        max_chars: bound on the question and on each response, as when it is served.
    """
    found = [
        _panel(question, triples[key], max_chars)
        for key, question in zip(calibration.keys, calibration.questions, strict=True)
        if key in triples
    ]
    return Calibration(found, calibration.max_tokens)


def _panel(question: LabelledQuestion, responses: Triple, max_chars: int) -> LabelledQuestion:
    # Sorted first: who happened to be asked before whom does not make it another panel.
    shuffled = Random(question.question).sample(sorted(responses), len(responses))
    prompt = aggregation_prompt(question.question, shuffled, max_chars)
    return question.model_copy(update={"question": prompt})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
