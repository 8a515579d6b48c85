"""Calibration: which question is which, and how answers become counts. Pure.

A question counts once overall, once for its category and once for each of its skills. Two lines of a file that ask the
same are asked once and counted twice: with temperature 0 the second answer would be the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from experts.spec import Spec
from router.answers import extract
from router.profiles import Count, Profile
from router.questions import LabelledQuestion

MAX_CORE_CHARS = 64
UNKNOWN = "unknown"  # version of an engine that names none


class Graded(Spec):
    """One answer of one expert.

    Attributes:
        engine_version: what the server calls itself; empty where none was asked.
        question: its key.
        text: what was said, where it will be read again.
        said: the comparable core of it (a digest of a long one): what answers are compared by. None in journals of
            earlier versions.
    """

    expert: str
    expert_version: str
    engine_version: str
    question: str
    right: bool
    output_tokens: int
    text: str | None = None
    said: str | None = None


@dataclass(frozen=True)
class Calibration:
    """The questions of one file, and how they are asked: each expert the same, greedily, `max_tokens` at most."""

    questions: Sequence[LabelledQuestion]
    max_tokens: int

    def __post_init__(self) -> None:
        """Raises ValueError when a question has no answer: nobody could be right."""
        bare = [q.question for q in self.questions if q.answer is None]
        if bare:
            raise ValueError(
                f"{len(bare)} of {len(self.questions)} questions have no `answer`, so nobody could be right; "
                f"the first: {bare[0][:80]!r}"
            )

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What decides the answer and whether it is right, of each question; labels may change meanwhile."""
        return tuple(_digest([q.question, q.answer, self.max_tokens], 16) for q in self.questions)

    @cached_property
    def by_key(self) -> dict[str, LabelledQuestion]:
        """Each question once, in the order of the file."""
        return dict(zip(self.keys, self.questions, strict=True))

    @cached_property
    def cores(self) -> dict[str, str]:
        """What a right answer is compared by, of each question: the vote's own measure."""
        return {key: core(question.answer or "") for key, question in self.by_key.items()}

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that change with any question, label or bound, not with their order."""
        rows = ([key, q.category, sorted(q.skills)] for key, q in zip(self.keys, self.questions, strict=True))
        return _digest(sorted(rows), 12)


def _digest(value: object, digits: int) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:digits]


def core(text: str) -> str:
    """What an answer is compared by; of a long one a digest. Empty where nothing was answered."""
    found = extract(text)
    return found if len(found) <= MAX_CORE_CHARS else _digest(found, 24)


def usable(
    answers: Iterable[Graded], calibration: Calibration, versions: Mapping[str, str]
) -> dict[str, dict[str, Graded]]:
    """Expert -> key -> its latest answer to a question of this calibration, by the version that answers now.

    Args:
        versions: expert -> version now. Answers of other experts, versions or questions are left out.
    """
    found: dict[str, dict[str, Graded]] = {expert: {} for expert in versions}
    for answer in answers:
        if versions.get(answer.expert) == answer.expert_version and answer.question in calibration.by_key:
            found[answer.expert][answer.question] = answer
    return found


def profile_of(calibration: Calibration, answers: Mapping[str, Graded]) -> Profile:
    """One expert's counts.

    Args:
        answers: key -> answer, one for each question; all by the same version of the expert.
    """
    overall, categories, skills = Count(), dict[str, Count](), dict[str, Count]()
    for key, question in zip(calibration.keys, calibration.questions, strict=True):
        right = answers[key].right
        overall = overall.plus(right)
        categories[question.category] = categories.get(question.category, Count()).plus(right)
        for skill in dict.fromkeys(question.skills):
            skills[skill] = skills.get(skill, Count()).plus(right)
    given = [answers[key] for key in calibration.keys]
    return Profile(
        expert_version=given[0].expert_version,
        engine_version=", ".join(sorted({answer.engine_version for answer in given} - {""})) or UNKNOWN,
        questions=calibration.digest,
        overall=overall,
        categories=categories,
        skills=skills,
        output_tokens=sum(answer.output_tokens for answer in given),
    )
