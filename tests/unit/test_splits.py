"""What is learnt from and what is judged on: ids from files, folds, and no text on both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from router.outcomes import Outcomes
from router.splits import folds, read_ids, split_by_ids


def outcomes(
    groups: list[str], categories: list[str] | None = None, left_out: frozenset[str] = frozenset()
) -> Outcomes:
    """Questions q0, q1, … of these groups, asked of two experts."""
    count = len(groups)
    return Outcomes(
        ids=tuple(f"q{n}" for n in range(count)),
        texts=tuple(groups),
        categories=tuple(categories or ["c"] * count),
        groups=tuple(groups),
        experts=("ada", "bob"),
        right=np.zeros((count, 2)),
        answers=None,
        tokens=None,
        usd=np.ones((count, 2)),
        usd_from="calls",
        left_out=left_out,
    )


FIVE = outcomes(["a", "b", "c", "d", "e"], left_out=frozenset({"gone", "lost"}))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.txt", "7\r\n\n 12 \n7\n"),
        ("ids", "\ufeff7\n12"),
        ("ids.json", '[7, "12"]'),
        ("ids.csv", "note,question_id\nx,7\ny,12\n"),
    ],
)
def test_ids_are_read_from_what_is_at_hand(tmp_path: Path, name: str, content: str) -> None:
    """A line each, a JSON list, a column; each once, in the file's order."""
    (tmp_path / name).write_bytes(content.encode())
    assert read_ids(tmp_path / name) == ("7", "12")


def test_ids_are_read_from_parquet(tmp_path: Path) -> None:
    """Numbers there are the texts that they are written as."""
    parquet.write_table(pa.table({"x": [0, 0, 0], "question_id": [7, 12, 7]}), tmp_path / "ids.parquet")
    assert read_ids(tmp_path / "ids.parquet") == ("7", "12")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.txt", None, r"none\.txt: cannot be read: No such file or directory; check the path"),
        ("none.parquet", None, r"none\.parquet: cannot be read: No such file or directory; check the path"),
        ("ids.txt", b" \n", r"ids\.txt: holds no question ids; give one a line"),
        ("ids.txt", b"\xff", r"ids\.txt: not a text in UTF-8; save it as one, or as parquet"),
        ("ids.json", b"[1,", r"ids\.json: not JSON: .*; give a list of ids"),
        ("ids.json", b'{"a": 1}', r"ids\.json: not a list of texts or whole numbers; give a list of ids"),
        ("ids.json", b"[1.5]", r"ids\.json: not a list of texts or whole numbers"),
        ("ids.json", b"[]", r"ids\.json: holds no question ids"),
        (
            "ids.csv",
            b"id\n1\n",
            r"ids\.csv: no column 'question_id'; its columns are id: rename the one that is meant",
        ),
        ("ids.csv", b"question_id,x\n1,4,5\n", r"ids\.csv:2: more values than columns; write numbers with a decimal"),
        ("ids.parquet", b"text", r"ids\.parquet: not a parquet file: "),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    """With what is wrong and what would do."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_ids(tmp_path / name)


def test_a_parquet_without_ids_is_named(tmp_path: Path) -> None:
    """As every file that lacks a column."""
    parquet.write_table(pa.table({"id": [1]}), tmp_path / "ids.parquet")
    with pytest.raises(ValueError, match=r"ids\.parquet: no column 'question_id'; its columns are id: rename"):
        read_ids(tmp_path / "ids.parquet")


def test_ids_become_rows_in_their_order() -> None:
    """Questions of neither side are in neither."""
    (train, test), notes = split_by_ids(FIVE, ("q3", "q0"), ("q4", "q1"))
    assert (train.tolist(), test.tolist(), notes) == ([3, 0], [4, 1], ())
    assert train.dtype == test.dtype == np.int64


def test_ids_of_questions_that_were_left_out_are_skipped() -> None:
    """They are known, so it is no mistake to name them; it is said."""
    (train, test), notes = split_by_ids(FIVE, ("q0", "gone"), ("lost", "q1"))
    assert (train.tolist(), test.tolist()) == ([0], [1])
    assert notes == (
        "1 of 2 train ids skipped: their questions were left out",
        "1 of 2 test ids skipped: their questions were left out",
    )


def test_a_text_on_both_sides_is_learnt_from_alone() -> None:
    """Its test questions would be judged by what was learnt from the same words."""
    found = outcomes(["a", "b", "a", "c", "a", "b"])
    (train, test), notes = split_by_ids(found, ("q0", "q1"), ("q2", "q3", "q4", "q5"))
    assert (train.tolist(), test.tolist()) == ([0, 1], [3])
    assert notes == ("3 test questions left out: they share 2 texts with those to learn from",)


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (("q0", "x", "y"), ("q1",), "train ids: 2 of 3 belong to no question, as x; take them out"),
        (("q0",), ("q1", "z"), "test ids: 1 of 2 belong to no question, as z; take them out"),
        (("q0", "q1", "q2"), ("q2", "q1"), "train and test ids: 2 are in both, as q1; keep each on one side"),
        ((), ("q1",), "train ids: no question is left; name others"),
        (("q0",), ("gone",), r"test ids: no question is left \(1 of 1 test ids skipped: .*\); name others"),
    ],
)
def test_ids_that_make_no_split_are_a_mistake(train: tuple[str, ...], test: tuple[str, ...], words: str) -> None:
    """Counted, with one of them."""
    with pytest.raises(ValueError, match=f"^{words}$"):
        split_by_ids(FIVE, train, test)


def test_a_test_side_of_known_texts_alone_is_a_mistake() -> None:
    """Nothing would be judged."""
    with pytest.raises(
        ValueError,
        match=r"^test ids: no question is left \(1 test question left out: .* 1 text with .*\); name others$",
    ):
        split_by_ids(outcomes(["a", "a"]), ("q0",), ("q1",))


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40), st.integers(2, 8), st.data())
def test_folds_judge_every_question_once(groups: list[str], k: int, data: st.DataObject) -> None:
    """And none by its own text, however categories and texts are spread; one seed, one split."""
    categories = data.draw(st.lists(st.sampled_from("xyz"), min_size=len(groups), max_size=len(groups)))
    found = outcomes(groups, categories)
    if k > len(set(groups)):
        with pytest.raises(ValueError, match=rf"^{k} folds cannot be made of \d different questions; choose "):
            folds(found, k, 0)
        return
    made = folds(found, k, 0)
    assert len(made) == k
    assert sorted(row for _, test in made for row in test.tolist()) == list(range(len(groups)))
    for train, test in made:
        assert len(test)
        assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(groups)))
        assert not {groups[row] for row in train}.intersection(groups[row] for row in test)
    again = folds(found, k, 0)
    assert [test.tolist() for _, test in made] == [test.tolist() for _, test in again]


def test_folds_have_categories_in_equal_parts() -> None:
    """Two to one, as in the whole; the seed decides who is where."""
    found = outcomes([f"t{n}" for n in range(60)], ["x", "x", "y"] * 20)
    for _, test in folds(found, 5, 0):
        assert sorted(found.categories[row] for row in test) == ["x"] * 8 + ["y"] * 4
    assert [t.tolist() for _, t in folds(found, 5, 0)] != [t.tolist() for _, t in folds(found, 5, 1)]


@pytest.mark.parametrize("k", [-1, 0, 1, 6])
def test_a_number_of_folds_that_cannot_be_is_a_mistake(k: int) -> None:
    """One is no split; more than there are texts cannot be filled."""
    with pytest.raises(ValueError, match=f"^{k} folds cannot be made of 5 different questions; choose 2 to 5$"):
        folds(FIVE, k, 0)
    with pytest.raises(ValueError, match=r"^2 folds cannot be made of 1 different questions"):
        folds(outcomes(["a", "a"]), 2, 0)
