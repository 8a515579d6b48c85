"""Labelled questions: the files that `fit` and `profile` read, as pure records.

JSON lines, one object a line, or parquet with columns of the same names. A parquet file often comes from elsewhere
and may hold more columns; an unknown key in JSON lines is a slip of the pen, and refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import Field, ValidationError, model_validator

from experts.spec import Spec

Text = Annotated[str, Field(min_length=1)]
ALIASES = {"skill": "skills", "gold": "answer"}  # other names that files have


class LabelledQuestion(Spec):
    """One question. In files `skill: x` stands for `skills: [x]`, and `gold` for `answer`.

    Attributes:
        skills: what it calls for (Symbolic-MoE); without any, the category's name is its skill.
        answer: what is right; `profile` needs it, `fit` does not.
        group: ties questions together that must not be split (the same wording, the same source text).
    """

    question: Text
    category: Text
    skills: Annotated[tuple[Text, ...], Field(min_length=1)]
    answer: Text | None = None
    group: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_name_each(cls, row: Any) -> Any:
        if not isinstance(row, Mapping):
            return row
        found = dict(row)
        for alias, name in ALIASES.items():
            if alias in found and name in found:
                raise ValueError(f"`{alias}` and `{name}` are two names of one thing; give one of them")
        if "gold" in found:
            found["answer"] = found.pop("gold")
        if "skill" in found:
            found["skills"] = [found.pop("skill")]
        if "skills" not in found and isinstance(found.get("category"), str):
            found["skills"] = [found["category"]]
        return found


KEYS = (*LabelledQuestion.model_fields, *ALIASES)


def read(path: Path) -> list[LabelledQuestion]:
    """Raises ValueError naming file and row."""
    questions = []
    for number, row in _rows(path, KEYS):
        try:
            questions.append(LabelledQuestion.model_validate(row))
        except ValidationError as error:
            raise ValueError(f"{path}:{number}: {_first(error)}") from error
    if not questions:
        raise ValueError(f"{path}: holds no questions")
    return questions


def read_texts(path: Path) -> list[str]:
    """Only the questions, of a file with whatever labels or none. Raises ValueError naming file and row."""
    texts = []
    for number, row in _rows(path, ("question",)):
        text = row.get("question") if isinstance(row, dict) else None
        if not isinstance(text, str) or not text:
            raise ValueError(f"{path}:{number}: question: a text is needed")
        texts.append(text)
    if not texts:
        raise ValueError(f"{path}: holds no questions")
    return texts


def _rows(path: Path, keys: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    """(line or row from 1, its JSON); of parquet the columns in `keys` alone, without nulls."""
    return _parquet(path, keys) if path.suffix.lower() == ".parquet" else _json_lines(path)


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: not JSON: {error}") from error
        yield number, row


def _parquet(path: Path, keys: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    from router.outcome_files import open_source  # with pyarrow, which nothing else here needs

    source = open_source(path)
    source.need("question")
    for number, row in enumerate(source.read(map(source.maybe, keys)).to_pylist(), 1):
        yield number, {name: _plain(name, value) for name, value in row.items() if value is not None}


def _plain(name: str, value: Any) -> Any:
    """A column of numbers is a column of answers or labels all the same."""
    return str(value) if name not in ("question", "skills") and isinstance(value, int | float) else value


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, by the name it has in the file."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "row"
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg'].removeprefix('Value error, ')}"
    near = difflib.get_close_matches(where, KEYS, n=1)
    return f"{where}: unknown; " + (f"did you mean '{near[0]}'?" if near else f"known are {', '.join(KEYS)}")
