"""What `loadtest.routing` asks and hears, one frozen record each, and what counts as right. Pure,
but for the reading of a file.

Must not know: how questions travel, what is made of the answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PUNCTUATION = ".,;:!?"  # what may follow a right answer


@dataclass(frozen=True, slots=True)
class Question:
    """A labelled question; those of one wording share their `group`."""

    text: str
    answer: str
    category: str
    skill: str
    group: str


@dataclass(frozen=True, slots=True)
class Explained:
    """What the router says of its decision.

    Attributes:
        category, confidence: the likeliest category and its probability; None and 0 where it was not classified.
        abstained: why that category was not acted on, else None.
        skill: the weightiest skill, None where none is known; skills_from: how it was found.
        p_correct: candidate -> predicted correctness.
        called: every expert that was asked, in the end.
    """

    category: str | None
    confidence: float
    abstained: str | None
    skill: str | None
    skills_from: str | None
    p_correct: Mapping[str, float]
    called: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answered request; `failed` says why it was not, and then nothing else is known."""

    text: str = ""
    right: bool = False
    tokens: int = 0  # prompt and output, of all experts
    explained: Explained | None = None
    failed: str | None = None


def read(path: Path) -> list[Question]:
    """Questions of a JSON-lines file; one without a group is a group of its own.

    Raises:
        ValueError: empty, or a line that is no labelled question; with its number.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(_question(json.loads(line), f"line {number}"))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{path}, line {number}: no labelled question ({reason})") from error
    if not found:
        raise ValueError(f"{path} holds no questions")
    return found


def _question(row: Mapping[str, Any], group: str) -> Question:
    return Question(
        text=str(row["question"]),
        answer=str(row["answer"]),
        category=str(row["category"]),
        skill=str(row["skill"]),
        group=str(row.get("group") or group),
    )


def spread(questions: list[Question], limit: int | None) -> list[Question]:
    """At most `limit` questions, taken evenly from the whole file, which is sorted by skill."""
    if limit is None or limit >= len(questions):
        return questions
    return [questions[i * len(questions) // limit] for i in range(limit)]


def bare(text: str) -> str:
    """Case, blanks and closing punctuation do not matter; a sentence around the answer does: the zoo answers bare."""
    return " ".join(text.split()).rstrip(PUNCTUATION + " ").casefold()


def is_right(said: str, wanted: str) -> bool:
    return bare(said) == bare(wanted)


def heard(completion: Mapping[str, Any], wanted: str) -> Reply:
    """A chat completion -> what it said, whether it was right, what it cost, how it came to be.

    Raises:
        LookupError, TypeError, ValueError: it is no chat completion.
    """
    text = completion["choices"][0]["message"]["content"] or ""
    tokens = int(completion["usage"]["total_tokens"])
    explanation = completion.get("symposium") or {}
    explained = _explained(explanation) if "plan" in explanation else None  # legs are told without being asked for
    return Reply(text, is_right(text, wanted), tokens, explained)


def _explained(explanation: Mapping[str, Any]) -> Explained:
    categories, skills = explanation["categories"], explanation["skills"]
    category = max(categories, key=categories.__getitem__, default=None)
    legs = [leg for leg in explanation["legs"] if leg["role"] == "answer"]
    return Explained(
        category=category,
        confidence=float(categories[category]) if category else 0.0,
        abstained=explanation["abstained"],
        skill=max(skills, key=skills.__getitem__, default=None),
        skills_from=explanation.get("skills_from"),
        p_correct={c["expert"]: float(c["p_correct"]) for c in explanation["candidates"]},
        called=tuple(dict.fromkeys(leg["expert"] for leg in legs)),
    )
