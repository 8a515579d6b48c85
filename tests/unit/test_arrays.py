"""Files of arrays: whatever is in one, it is read, or refused with its name and what to run; it never runs code."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from router.arrays import Meta, check, load, save

ARRAY = np.arange(6, dtype=np.float64).reshape(2, 3)
META = np.array('{"embedder": "minilm"}')


def loaded(path: Path, embedder: str = "minilm") -> NDArray[np.float64]:
    """The array of a file that holds one."""

    def build(meta: Meta, found: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        check(found, {"a": (2, 3)}, np.float64)
        return found["a"]

    return load(path, Meta, build, embedder=embedder, made_by="symposium make", remedy="make it again")


def write_one_array(path: Path) -> None:
    """NumPy's format for a single array, which is no archive."""
    with path.open("wb") as file:
        np.save(file, ARRAY)


def written(path: Path, **arrays: Any) -> None:
    """An archive of these arrays; `a` and `meta` are good unless they are given. None: missing."""
    found = {"meta": META, "a": ARRAY} | arrays
    np.savez(path, **{name: array for name, array in found.items() if array is not None})


@pytest.mark.parametrize("name", ["f.npz", "deep/down/f.npz", "f", "f.bin"])
def test_what_was_saved_is_what_is_loaded(tmp_path: Path, name: str) -> None:
    """At the very path that was given, bit for bit."""
    save(tmp_path / name, Meta(embedder="minilm"), {"a": ARRAY})
    np.testing.assert_array_equal(loaded(tmp_path / name), ARRAY, strict=True)


def test_no_file_is_for_the_caller_to_judge(tmp_path: Path) -> None:
    """One kind of file must be there, another need not."""
    with pytest.raises(FileNotFoundError):
        loaded(tmp_path / "none.npz")


def test_a_file_for_another_embedder_is_refused(tmp_path: Path) -> None:
    """Vectors of two models have nothing to do with each other: both are named, and the remedy."""
    written(tmp_path / "f.npz")
    with pytest.raises(ValueError, match=r"f\.npz.*'minilm'.*'other'; make it again"):
        loaded(tmp_path / "f.npz", "other")


@pytest.mark.parametrize(
    "write",
    [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(b"not a zip file"),
        lambda p: p.write_bytes(b"PK\x03\x04"),
        lambda p: p.mkdir(),
        lambda p: p.write_bytes(pickle.dumps({"format": 1})),
        write_one_array,
        lambda p: written(p, a=None),
        lambda p: written(p, meta=None),
        lambda p: written(p, meta=np.array("{")),
        lambda p: written(p, meta=np.array("[]")),
        lambda p: written(p, meta=np.array('{"embedder": "minilm", "more": 1}')),
        lambda p: written(p, a=np.array([{}], dtype=object)),
        lambda p: written(p, a=ARRAY[:, :2]),
        lambda p: written(p, a=np.float64(1)),
        lambda p: written(p, a=ARRAY.astype(np.float32)),
        lambda p: written(p, a=np.where(ARRAY == 1, np.nan, ARRAY)),
        lambda p: written(p, a=np.where(ARRAY == 1, np.inf, ARRAY)),
    ],
    ids=[
        "empty", "text", "half a zip", "a folder", "a pickle", "one array", "a missing array", "no meta",
        "meta is no JSON", "meta is a list", "meta of another format", "an array of objects", "another shape",
        "a number", "float32", "none", "infinite",
    ],
)  # fmt: skip
def test_another_file_is_refused(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    """ValueError with the path, what makes such files and the remedy."""
    path = tmp_path / "f.npz"
    write(path)
    with pytest.raises(ValueError, match=r"(?s)f\.npz.*`symposium make`.*; make it again"):
        loaded(path)


def test_arrays_of_no_size_are_refused() -> None:
    """Also where nothing is what was expected."""
    with pytest.raises(ValueError, match="a has shape"):
        check({"a": np.zeros((0, 3))}, {"a": (0, 3)}, np.float64)


def test_a_damaged_file_is_refused_or_read(tmp_path: Path) -> None:
    """Whichever byte a disk flips, loading gives arrays or a ValueError."""
    path = tmp_path / "f.npz"
    save(path, Meta(embedder="minilm"), {"a": ARRAY})
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x15]) + whole[position + 1 :])
        with suppress(ValueError):
            loaded(path)


def test_loading_runs_no_code(tmp_path: Path) -> None:
    """A pickled object in the file is refused, not called."""
    called = tmp_path / "called"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (called,))

    written(tmp_path / "f.npz", a=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match=r"f\.npz"):
        loaded(tmp_path / "f.npz")
    assert not called.exists()
