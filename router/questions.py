"""Labelled questions: the JSONL that `fit` and `profile` read. One object a line; pure records."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from experts.spec import Spec


class LabelledQuestion(Spec):
    """`group` ties questions together that must not be split (the same wording, the same source text)."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    category: str = Field(min_length=1)
    skill: str = Field(min_length=1)
    group: str | None = None


def read(path: Path) -> list[LabelledQuestion]:
    """Raises ValueError naming file and line."""
    questions = []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            questions.append(LabelledQuestion.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "line"
            raise ValueError(f"{path}:{number}: {where}: {first['msg']}") from error
    if not questions:
        raise ValueError(f"{path}: holds no questions")
    return questions
