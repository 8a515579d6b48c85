"""Labelled questions: JSON lines or parquet in, records out, mistakes by file and row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from router.questions import LabelledQuestion, read, read_texts

GOOD = {"question": "1 + 1?", "answer": "2", "category": "math", "skill": "sums"}
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)


def written(folder: Path, *lines: str | bytes) -> Path:
    """A file of these lines."""
    path = folder / "questions.jsonl"
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return path


def test_one_question_a_line(tmp_path: Path) -> None:
    """Empty lines do not count; `group` is optional."""
    path = written(tmp_path, json.dumps(GOOD), "", json.dumps(GOOD | {"group": "g"}), "")
    one = LabelledQuestion(question="1 + 1?", answer="2", category="math", skills=("sums",))
    assert read(path) == [one, one.model_copy(update={"group": "g"})]


@pytest.mark.parametrize(
    ("labels", "skills", "answer"),
    [
        ({"skill": "sums"}, ("sums",), None),
        ({"skills": ["sums", "money"], "answer": "2"}, ("sums", "money"), "2"),
        ({"gold": "2"}, ("math",), "2"),
    ],
)
def test_labels_have_two_spellings_and_only_the_category_must_be(
    tmp_path: Path, labels: dict[str, Any], skills: tuple[str, ...], answer: str | None
) -> None:
    """One skill or several, `answer` or `gold` or none; without a skill the category's name is it."""
    (found,) = read(written(tmp_path, json.dumps({"question": "1 + 1?", "category": "math"} | labels)))
    assert (found.skills, found.answer) == (skills, answer)


def test_lines_of_other_systems_are_read(tmp_path: Path) -> None:
    """CRLF line ends are line ends."""
    assert len(read(written(tmp_path, json.dumps(GOOD) + "\r", json.dumps(GOOD) + "\r"))) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON: "),
        ("[]", "row: "),
        (json.dumps(GOOD | {"skills": ["sums"]}), "row: `skill` and `skills` are two names of one thing"),
        (json.dumps(GOOD | {"gold": "2"}), "row: `gold` and `answer` are two names of one thing"),
        ('{"question": "x", "category": "c", "skills": []}', "skills: "),
        ('{"question": "x", "category": "c", "skill": 5}', "skills.0: "),
        (json.dumps(GOOD | {"categroy": "x"}), "categroy: unknown; did you mean 'category'?"),
        (json.dumps(GOOD | {"answer": ""}), "answer: "),
        (json.dumps(GOOD | {"zzz": 1}), "zzz: unknown; known are question, category, "),
        ('{"question": "x"}', "category: Field required"),
        (b"\xff", ""),
    ],
)
def test_a_mistake_is_named_by_file_and_line(tmp_path: Path, line: str | bytes, words: str) -> None:
    """The second line is wrong, and the message says so."""
    path = written(tmp_path, json.dumps(GOOD), line)
    with pytest.raises(ValueError, match=r"questions\.jsonl") as caught:
        read(path)
    assert f"{path}:2: {words}" in str(caught.value)


@pytest.mark.parametrize("name", ["none.jsonl", "."])
def test_no_file_is_a_value_error(tmp_path: Path, name: str) -> None:
    """A missing file or a folder is named with the system's reason."""
    with pytest.raises(ValueError, match="cannot be read"):
        read(tmp_path / name)


def test_no_questions_is_a_mistake(tmp_path: Path) -> None:
    """An empty file would fit nothing."""
    with pytest.raises(ValueError, match="holds no questions"):
        read(written(tmp_path, "", "  "))


@given(TEXT, TEXT)
def test_any_text_survives_the_file(tmp_path_factory: pytest.TempPathFactory, question: str, answer: str) -> None:
    """Whatever Unicode a question holds (other line separators too), the file gives it back."""
    made = LabelledQuestion(question=question, answer=answer, category="c", skills=("s",))
    assert read(written(tmp_path_factory.getbasetemp(), made.model_dump_json())) == [made]


def parquet_file(folder: Path, **columns: Any) -> Path:
    """A parquet file of these columns."""
    path = folder / "questions.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


def test_parquet_has_columns_of_the_same_names(tmp_path: Path) -> None:
    """Columns nobody asked for are ignored, a null is no value, and a number is an answer as good as a text."""
    path = parquet_file(
        tmp_path,
        question=["1 + 1?", "Who?"],
        category=["math", "facts"],
        gold=[2, None],
        skills=[["sums", "money"], None],
        options=[["2", "3"], None],
    )
    assert read(path) == [
        LabelledQuestion(question="1 + 1?", category="math", skills=("sums", "money"), answer="2"),
        LabelledQuestion(question="Who?", category="facts", skills=("facts",)),
    ]


def test_a_mistake_in_parquet_is_named_by_file_and_row(tmp_path: Path) -> None:
    """Rows count from 1; a file that is none, or lacks the questions, says what it has."""
    with pytest.raises(ValueError, match=r"questions\.parquet:2: category: Field required"):
        read(parquet_file(tmp_path, question=["a", "b"], category=["c", None]))
    with pytest.raises(ValueError, match=r"no column 'question'; its columns are instruction"):
        read(parquet_file(tmp_path, instruction=["a"]))
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match=r"text\.parquet: not a parquet file"):
        read(tmp_path / "text.parquet")
    with pytest.raises(ValueError, match=r"none\.parquet: cannot be read"):
        read(tmp_path / "none.parquet")


def test_texts_need_no_labels(tmp_path: Path) -> None:
    """Foreign questions may have any labels or none; a row without a question is named."""
    path = written(tmp_path, '{"question": "Why?"}', '{"question": "How?", "topic": "x"}')
    assert read_texts(path) == ["Why?", "How?"]
    assert read_texts(parquet_file(tmp_path, question=["Why?"], topic=["x"])) == ["Why?"]
    for bad in ('{"topic": "x"}', "[]", '{"question": 5}', '{"question": ""}'):
        with pytest.raises(ValueError, match=r"questions\.jsonl:1: question: a text is needed"):
            read_texts(written(tmp_path, bad))
    with pytest.raises(ValueError, match="holds no questions"):
        read_texts(written(tmp_path, ""))
