"""Vectors kept on disk: each text is computed once, and whatever happens to the file, the vectors are right."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from router.vectors import Cached, cache_folder


class Counting:
    """An embedder that gives each text its length and a constant, and remembers what it was asked."""

    name = "counting"

    def __init__(self, dimensions: int = 2) -> None:
        self.asked: list[str] = []
        self._dimensions = dimensions

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([[len(text)] + [0.5] * (self._dimensions - 1) for text in texts], dtype=np.float32)


def execute(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "vectors.sqlite")) as database, database:
        database.execute(statement, values)


def test_a_text_is_computed_once(tmp_path: Path) -> None:
    """In order, repeated ones too, and by another process as well; a new text is all that is computed."""
    first, second = Counting(), Counting()
    assert Cached(first, tmp_path)(["a", "bb", "a"]).tolist() == [[1, 0.5], [2, 0.5], [1, 0.5]]
    cached = Cached(second, tmp_path)
    assert cached(["ccc", "bb", "a"]).tolist() == [[3, 0.5], [2, 0.5], [1, 0.5]]
    assert (first.asked, second.asked, cached.name) == (["a", "bb"], ["ccc"], "counting")
    assert cached(["a"]).dtype == np.float32


def test_no_text_is_no_vector(tmp_path: Path) -> None:
    """Nothing is computed, and the folder is not needed."""
    assert len(Cached(Counting(), tmp_path / "none")([])) == 0


def test_texts_of_any_kind_are_told_apart(tmp_path: Path) -> None:
    """Empty, long, with half a surrogate pair: each is its own text; more than SQLite takes parameters at once."""
    embed = Counting()
    texts = ["", " ", "\ud800", "é", "e\u0301", *("x" * n for n in range(1, 1200))]
    Cached(embed, tmp_path)(texts)
    assert Cached(Counting(), tmp_path)(texts).tolist() == [[len(t), 0.5] for t in texts]
    assert embed.asked == texts


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "vectors.sqlite").write_bytes(b"no database at all" * 100),
        lambda folder: (folder / "vectors.sqlite").write_bytes(b""),
        lambda folder: (folder / "vectors.sqlite").unlink(),
        lambda folder: execute(folder, "UPDATE vectors SET vector = x'00'"),
        lambda folder: execute(folder, "UPDATE vectors SET vector = 'text'"),
        lambda folder: execute(folder, "UPDATE vectors SET vector = zeroblob(12)"),
        lambda folder: execute(folder, "ALTER TABLE vectors RENAME COLUMN vector TO other"),
        lambda folder: Cached(Counting(dimensions=3), folder)(["of another model"]),
    ],
    ids=["text", "empty", "gone", "short rows", "rows of text", "flipped bits", "other columns", "other dimensions"],
)
def test_damage_costs_time_and_nothing_else(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """What cannot be trusted is computed again."""
    Cached(Counting(), tmp_path)(["a", "bb"])
    damage(tmp_path)
    texts = ["a", "bb", "ccc", "of another model"]
    for _ in range(2):
        found = Cached(Counting(), tmp_path)(texts)[:3]
        assert found.tolist() == [[1, 0.5], [2, 0.5], [3, 0.5]]


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    """A file stands where the folder should be: the vectors come all the same."""
    (tmp_path / "file").write_text("")
    assert Cached(Counting(), tmp_path / "file")(["a"]).tolist() == [[1, 0.5]]


def test_the_oldest_go_first(tmp_path: Path) -> None:
    """The file holds a bounded number of vectors."""
    cached = Cached(Counting(), tmp_path, max_rows=3)
    for text in ("a", "bb", "ccc", "dddd"):
        cached([text])
    again = Counting()
    Cached(again, tmp_path, max_rows=3)(["bb", "ccc", "dddd", "a"])
    assert again.asked == ["a"]


def test_each_model_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another name, another cut or new weights in the same place: another folder; readable, below the user's cache."""
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model").write_bytes(b"1")
    found = [cache_folder("org/model", 10, None, tmp_path), cache_folder("org/model", 20, None, tmp_path)]
    found += [cache_folder("org-model", 10, None, tmp_path), cache_folder("org/model", 10, weights, tmp_path)]
    (weights / "model").write_bytes(b"22")
    found.append(cache_folder("org/model", 10, weights, tmp_path))
    assert len(set(found)) == 5
    assert all(f.parent == tmp_path and f.name.startswith("org-model-") for f in found)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("minilm", 10, None).parent == tmp_path / "symposium" / "vectors"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("minilm", 10, None).parent == Path.home() / ".cache" / "symposium" / "vectors"
