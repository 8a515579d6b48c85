"""Recorded answers of real models to multiple-choice questions, from parquet files: which questions, which models,
and what the book, the labelled questions and the configuration of `loadtest.panels` hold.

Reads files; asks nobody. Must not know how answers are compared.

Columns: questions `question_id, category, question, options, gold` (a letter); where there are `rev_open` (the key is
disputed) and `dup_stem` (asked in another row too), such rows are left out. Outcomes `question_id, model, pred` (the
letter; empty: none was found). Answers `question_id, model, answer_text, out_tokens`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from loadtest.recorded_world import RecordedServer

LETTERS = "ABCDEFGHIJ"
_ONE = r"\(?[A-J]\b\)?"  # what a mark names: one letter, or several
MARK = re.compile(rf"answer is:?\s*({_ONE}(?:,?\s*(?:and|or|&)?\s*{_ONE})*)", re.IGNORECASE)
DOUBTFUL = ("rev_open", "dup_stem")
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """One model's recorded answer: its letter ("" where none was found), its whole text, its length in tokens."""

    letter: str
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Item:
    """One question as it is asked, its right letter, and what each model answered."""

    text: str
    gold: str
    category: str
    given: Mapping[str, Given]

    @property
    def clear(self) -> bool:
        """Every text marks an answer, and the last one it marks is the letter recorded for it."""
        return all(marked(given.text) == given.letter for given in self.given.values())


def marked(text: str) -> str | None:
    """What the last mark names, as the benchmark's own grading looks for marks, without brackets; None without one."""
    names = MARK.findall(text)
    return names[-1].strip("()") if names else None


@dataclass(frozen=True, slots=True)
class Panel:
    """The models, the best first by training questions; questions to learn from, and others to be asked."""

    models: tuple[str, ...]
    training: tuple[Item, ...]
    test: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Files:
    questions: Path
    outcomes: Path
    answers: Path


def read(files: Files, models: Sequence[str] | None, count: int, sizes: tuple[int, int], seed: int) -> Panel:
    """A panel of `count` models: those named, else the best on training questions of those with every answer.

    Args:
        sizes: how many questions to learn from, and how many to ask.

    Raises:
        ValueError: a column is missing, a model has no answers, or there are too few questions.
    """
    asked = _questions(files.questions)
    given = _given(files, asked)
    models = tuple(models) if models else _complete(given, asked)
    if unknown := set(models) - given.keys():
        raise ValueError(f"no recorded answers of {', '.join(sorted(unknown))}; there are {', '.join(sorted(given))}")
    items = [
        Item(text, gold, category, {m: given[m][number] for m in models})
        for number, (text, gold, category) in asked.items()
        if all(number in given[m] for m in models)
    ]
    random.Random(seed).shuffle(items)
    training, test = sizes
    if len(items) < training + test:
        raise ValueError(f"{len(items)} questions with answers of all models, but {training} + {test} are wanted")
    learnt = items[:training]
    best = sorted(models, key=lambda m: (-sum(i.given[m].letter == i.gold for i in learnt), m))[:count]
    return Panel(tuple(best), tuple(learnt), tuple(items[training : training + test]))


def _questions(file: Path) -> dict[int, tuple[str, str, str]]:
    """Number -> (the question with its options, the right letter, category); each text once."""
    doubts = [name for name in DOUBTFUL if name in pq.ParquetFile(file).schema_arrow.names]
    rows = _rows(file, ["question_id", "category", "question", "options", "gold", *doubts])
    found: dict[str, tuple[int, str, str]] = {}
    for row in rows:
        if not any(row[doubt] for doubt in doubts):
            text = prompt(row["question"], row["options"])
            found.setdefault(text, (int(row["question_id"]), str(row["gold"]), str(row["category"])))
    return {number: (text, gold, category) for text, (number, gold, category) in found.items()}


def prompt(question: str, options: Sequence[str]) -> str:
    """The question with its choices, as a client would write them."""
    choices = (f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return "\n".join([question.strip(), *choices])


def _given(files: Files, asked: Mapping[int, object]) -> dict[str, dict[int, Given]]:
    """Model -> question -> its answer, where both the letter and the text are recorded."""
    letters = {
        (row["question_id"], row["model"]): row["pred"] or ""
        for row in _rows(files.outcomes, ["question_id", "model", "pred"])
        if row["question_id"] in asked
    }
    found: dict[str, dict[int, Given]] = {}
    for row in _rows(files.answers, ["question_id", "model", "answer_text", "out_tokens"]):
        key = row["question_id"], row["model"]
        if key in letters and row["answer_text"] is not None:
            answer = Given(letters[key], row["answer_text"], int(row["out_tokens"]))
            found.setdefault(row["model"], {})[row["question_id"]] = answer
    return found


def _complete(given: Mapping[str, Mapping[int, Given]], asked: Mapping[int, object]) -> tuple[str, ...]:
    return tuple(model for model, answers in given.items() if asked.keys() <= answers.keys())


def _rows(file: Path, columns: list[str]) -> Iterator[JsonObject]:
    parquet = pq.ParquetFile(file)
    if missing := set(columns) - set(parquet.schema_arrow.names):
        raise ValueError(f"{file}: no column {', '.join(sorted(missing))}")
    for batch in parquet.iter_batches(columns=columns):
        yield from batch.to_pylist()


def book_rows(panel: Panel) -> Iterator[tuple[str, str, str, int]]:
    """(question, model, answer, output tokens), as recorded experts read them."""
    for item in (*panel.training, *panel.test):
        for model in panel.models:
            answer = item.given[model]
            yield item.text, model, answer.text, answer.tokens


def write_labelled(file: Path, items: Sequence[Item]) -> None:
    """JSON lines for `symposium fit` and `symposium profile`."""
    with file.open("w", encoding="utf-8") as lines:
        for item in items:
            row = {"question": item.text, "category": item.category, "answer": item.gold}
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def policies(size: int) -> dict[str, JsonObject]:
    """What is compared, for a panel of `size`."""
    vote: JsonObject = {"max_experts": size, "aggregate": "vote", "min_share": 0}
    return {
        "single": {"max_experts": 1},
        "all": vote | {"decided_at": None},
        "majority": vote | {"decided_at": None, "votes": "equal"},
        "early": vote,
        "waves-2": vote | {"waves": [2, *[1] * (size - 2)]} if size > 2 else vote,
        "waves-1": vote | {"waves": [1] * size},
    }


def configuration(
    panel: Panel, server: RecordedServer, compared: Mapping[str, JsonObject], alternatives: float
) -> JsonObject:
    """The symposium over the panel. Nobody is hedged and no breaker opens: every call is one of the plan's."""
    limits = {"first_byte_s": 120, "total_s": 300}
    return {
        "version": 1,
        "experts": {model: server.expert(model, limits=limits) for model in panel.models},
        "routing": {
            "embedder": {"model": "static"},
            "fitted": "fitted.npz",
            "profiles": "profiles.json",
            "general_expert": panel.models[0],
            "min_confidence": 0,
            "skill_floor": -1,
        },
        "convening": {
            "hedge_quantile": None,
            "alternatives": alternatives,
            "breakers": {"failures_in_a_row": 1000, "min_calls": 1_000_000},
        },
        "policies": {"auto": {}, **compared},
    }
