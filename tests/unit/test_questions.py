"""Labelled questions: JSONL in, records out, mistakes by file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.questions import LabelledQuestion, read

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
    assert read(path) == [LabelledQuestion(**GOOD), LabelledQuestion(**GOOD, group="g")]


def test_lines_of_other_systems_are_read(tmp_path: Path) -> None:
    """CRLF line ends are line ends."""
    assert len(read(written(tmp_path, json.dumps(GOOD) + "\r", json.dumps(GOOD) + "\r"))) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line: Invalid JSON"),
        ("[]", "line: "),
        (json.dumps(GOOD | {"answer": ""}), "answer: "),
        (json.dumps(GOOD | {"more": 1}), "more: "),
        ('{"question": "x"}', "answer: Field required"),
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
    made = LabelledQuestion(question=question, answer=answer, category="c", skill="s")
    assert read(written(tmp_path_factory.getbasetemp(), made.model_dump_json())) == [made]
