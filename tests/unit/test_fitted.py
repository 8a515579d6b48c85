"""The fitted file: round trip, and a remedy for every file that is another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.classify import Classifier
from router.fitted import Fitted
from router.skills import Vocabulary

META: dict[str, Any] = {
    "format": 2, "embedder": "minilm", "labels": ["a", "b"], "temperature": 1.5, "skills": ["s"],
    "familiar_from": 0.25, "report": {"x": 1},
}  # fmt: skip


def fitted() -> Fitted:
    """Two categories, one skill, three dimensions."""
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(2, 3)).astype(np.float32), np.array([0.5, -0.5], dtype=np.float32)
    centroids = np.array([[1, 0, 0]], dtype=np.float32)
    vocabulary = Vocabulary(("s",), centroids, name_vectors=centroids[:, ::-1].copy())
    return Fitted("minilm", Classifier(("a", "b"), weights, bias, 1.5), vocabulary, 0.25, {"x": 1})


def write_arrays(path: Path, **changes: Any) -> None:
    """A fitted file with other contents than `save` writes."""
    shapes = {"weights": (2, 3), "bias": (2,), "centroids": (1, 3), "name_vectors": (1, 3)}
    arrays: dict[str, Any] = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    arrays |= {"meta": np.array(json.dumps(META))} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize("name", ["fitted.npz", "deep/down/fitted.npz", "fitted", "fitted.bin"])
def test_what_was_saved_is_what_is_loaded(tmp_path: Path, name: str) -> None:
    """At the very path that was given; labels, arrays, temperature and report are the same."""
    made = fitted()
    made.save(tmp_path / name)
    found = Fitted.load(tmp_path / name, "minilm")
    assert (found.embedder, found.report) == (made.embedder, made.report)
    assert (found.classifier.labels, found.classifier.temperature) == (("a", "b"), 1.5)
    assert found.vocabulary.names == ("s",)
    np.testing.assert_array_equal(found.classifier.weights, made.classifier.weights)
    np.testing.assert_array_equal(found.classifier.bias, made.classifier.bias)
    np.testing.assert_array_equal(found.vocabulary.centroids, made.vocabulary.centroids)
    np.testing.assert_array_equal(found.vocabulary.name_vectors, made.vocabulary.name_vectors)
    assert found.familiar_from == 0.25


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    """The remedy is in the message."""
    with pytest.raises(ValueError, match="no such file; run `symposium fit`"):
        Fitted.load(tmp_path / "none.npz", "minilm")


def test_a_file_for_another_embedder_is_refused(tmp_path: Path) -> None:
    """Vectors of two models have nothing to do with each other: both are named."""
    fitted().save(tmp_path / "f.npz")
    with pytest.raises(ValueError, match=r"'minilm'.*'other'.*run `symposium fit` again"):
        Fitted.load(tmp_path / "f.npz", "other")


def test_the_tests_own_file_is_a_good_one(tmp_path: Path) -> None:
    """What the tests below change is all that is wrong with their files."""
    write_arrays(tmp_path / "f.npz")
    assert Fitted.load(tmp_path / "f.npz", "minilm").vocabulary.names == ("s",)


@pytest.mark.parametrize("number", [1, 3])
def test_a_file_of_another_format_is_refused(tmp_path: Path, number: int) -> None:
    """A file of an earlier or later version is not half-read, and the message says what to run."""
    write_arrays(tmp_path / "f.npz", meta=np.array(json.dumps(META | {"format": number})))
    with pytest.raises(ValueError, match=r"(?s)symposium fit.*format"):
        Fitted.load(tmp_path / "f.npz", "minilm")


@pytest.mark.parametrize(
    "write",
    [
        lambda p: write_arrays(p, bias=None),
        lambda p: write_arrays(p, meta=np.array("[]")),
        lambda p: write_arrays(p, meta=np.array("{")),
        lambda p: write_arrays(p, meta=np.array(json.dumps({"format": 2}))),
        lambda p: write_arrays(p, weights=np.zeros((3, 3), dtype=np.float32)),
        lambda p: write_arrays(p, weights=np.zeros(3, dtype=np.float32)),
        lambda p: write_arrays(p, weights=np.full((2, 3), np.nan, dtype=np.float32)),
        lambda p: write_arrays(p, weights=np.zeros((2, 3))),
        lambda p: write_arrays(p, centroids=np.zeros((2, 3), dtype=np.float32)),
        lambda p: write_arrays(p, name_vectors=np.zeros((1, 4), dtype=np.float32)),
        lambda p: write_arrays(p, name_vectors=None),
        lambda p: write_arrays(p, meta=np.array(json.dumps({k: v for k, v in META.items() if k != "familiar_from"}))),
    ],
    ids=[
        "no bias", "meta is a list",
        "meta is no JSON", "meta lacks keys", "weights of three labels",
        "weights of one row", "weights that are none", "weights of float64", "two centroids",
        "names of other dimensions", "no names", "no limit of the familiar",
    ],
)  # fmt: skip
def test_another_file_is_refused_by_name(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    """ValueError with the path: at start, not at the first question."""
    path = tmp_path / "f.npz"
    write(path)
    with pytest.raises(ValueError, match=r"f\.npz"):
        Fitted.load(path, "minilm")
