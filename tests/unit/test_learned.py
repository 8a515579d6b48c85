"""The learned file: round trip bit for bit, and a remedy for every file that is another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from router.correctness import VIEWS, Blend, Linear
from router.jury import NOBODY_FEATURES, Jury
from router.learned import Learned
from router.stopping import FEATURES as STOPPING_FEATURES
from router.stopping import Stopping
from router.surface import FEATURES as SURFACE_FEATURES

EXPERTS = ("ada", "bob")


def learned() -> Learned:
    """Two experts, three dimensions, two prices and one answer to stop behind."""
    rng = np.random.default_rng(0)

    def line(inputs: int) -> Linear:
        return Linear(rng.normal(size=inputs), rng.normal(size=(inputs, 2)), rng.normal(size=2))

    shares = rng.random(len(VIEWS)), rng.random(len(VIEWS))
    mean, scale = rng.normal(size=len(SURFACE_FEATURES)), rng.random(len(SURFACE_FEATURES)) + 0.5
    blend = Blend(EXPERTS, line(3), line(len(SURFACE_FEATURES)), mean, scale, rng.random(2), *shares)
    jury = Jury(EXPERTS, rng.normal(size=2), rng.normal(size=2), 0.1 + 0.2, rng.normal(size=NOBODY_FEATURES))
    stopping = Stopping(np.array([0.0, 0.1]), rng.normal(size=(2, 1, STOPPING_FEATURES)))
    return Learned("minilm", {"ada": "v1", "bob": "v2"}, blend, jury, stopping, {"brier": 0.25, "views": ["a", "b"]})


def parts(of: Learned) -> list[Any]:
    """Every array and number in it."""
    blend, jury, stopping = of.blend, of.jury, of.stopping
    lines = [part for line in (blend.meaning, blend.form) for part in (line.mean, line.weights, line.bias)]
    return [
        *lines, blend.surface_mean, blend.surface_scale, blend.base, blend.difficulty, blend.relative,
        jury.bias, jury.slope, jury.shared, jury.nobody, stopping.prices, stopping.weights,
    ]  # fmt: skip


def rewritten(path: Path, **changes: Any) -> None:
    """A good file in which some arrays are others; None: missing."""
    learned().save(path)
    with np.load(path, allow_pickle=False) as arrays:
        found: dict[str, Any] = {name: arrays[name] for name in arrays.files} | changes
    np.savez(path, **{name: array for name, array in found.items() if array is not None})


def meta_with(old: str, new: str) -> Callable[[Path], None]:
    """Writes a good file in whose JSON one text is another."""

    def write(path: Path) -> None:
        learned().save(path)
        with np.load(path, allow_pickle=False) as arrays:
            text = str(arrays["meta"])
        assert old in text
        rewritten(path, meta=np.array(text.replace(old, new)))

    return write


def zeros(*shape: int) -> NDArray[np.float64]:
    """An array of this shape."""
    return np.zeros(shape)


@pytest.mark.parametrize("name", ["learned.npz", "deep/down/learned.npz", "learned"])
def test_what_was_saved_is_what_is_loaded(tmp_path: Path, name: str) -> None:
    """At the very path that was given, bit for bit."""
    made = learned()
    made.save(tmp_path / name)
    found = Learned.load(tmp_path / name, "minilm")
    assert found is not None
    assert (found.embedder, found.versions, found.report) == (made.embedder, made.versions, made.report)
    assert found.blend.experts == found.jury.experts == EXPERTS
    for one, other in zip(parts(made), parts(found), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_no_file_is_no_error(tmp_path: Path) -> None:
    """Nothing was learned yet: profiles are routed by."""
    assert Learned.load(tmp_path / "none.npz", "minilm") is None


def test_a_file_for_another_embedder_is_refused(tmp_path: Path) -> None:
    """Vectors of two models have nothing to do with each other: both are named, and the remedy."""
    learned().save(tmp_path / "l.npz")
    with pytest.raises(ValueError, match=r"'minilm'.*'other'.*run `symposium profile` again"):
        Learned.load(tmp_path / "l.npz", "other")


def test_the_tests_own_file_is_a_good_one(tmp_path: Path) -> None:
    """What the tests below change is all that is wrong with their files."""
    rewritten(tmp_path / "l.npz")
    assert Learned.load(tmp_path / "l.npz", "minilm") is not None


@pytest.mark.parametrize(
    "write",
    [
        lambda p: rewritten(p, base=None),
        lambda p: rewritten(p, meta=np.array("{")),
        meta_with('"format":1', '"format":2'),
        meta_with('"bob"', '"bob","cy"'),
        meta_with('"embedder"', '"embeder"'),
        meta_with('"bob":"v2"', '"cy":"v2"'),
        meta_with(',"bob":"v2"', ""),
        lambda p: rewritten(p, base=zeros(3)),
        lambda p: rewritten(p, base=np.array([0.5, np.nan])),
        lambda p: rewritten(p, base=np.array([0.5, np.inf])),
        lambda p: rewritten(p, base=np.zeros(2, dtype=np.float32)),
        lambda p: rewritten(p, base=np.array(0.5)),
        lambda p: rewritten(p, meaning_mean=np.array(0.5)),
        lambda p: rewritten(p, meaning_mean=zeros(0), meaning_weights=zeros(0, 2)),
        lambda p: rewritten(p, meaning_weights=zeros(4, 2)),
        lambda p: rewritten(p, form_mean=zeros(3)),
        lambda p: rewritten(p, surface_scale=zeros(len(SURFACE_FEATURES))),
        lambda p: rewritten(p, difficulty=zeros(2)),
        lambda p: rewritten(p, jury_bias=zeros(3)),
        lambda p: rewritten(p, jury_shared=zeros(2)),
        lambda p: rewritten(p, jury_nobody=zeros(NOBODY_FEATURES + 1)),
        lambda p: rewritten(p, stopping_weights=zeros(2, STOPPING_FEATURES)),
        lambda p: rewritten(p, stopping_weights=zeros(3)),
        lambda p: rewritten(p, stopping_prices=zeros(3)),
        lambda p: rewritten(p, stopping_prices=zeros(0), stopping_weights=zeros(0, 1, STOPPING_FEATURES)),
    ],
    ids=[
        "no base", "meta is no JSON", "another format", "three experts", "meta lacks keys", "versions of others",
        "too few versions", "base of three", "base that is none", "base without end", "base of float32",
        "base is a number", "a mean is a number", "no dimensions", "weights of other dimensions", "another form",
        "a form without deviation", "two shares", "three jurors", "two that are shared", "more about nobody",
        "weights without a horizon", "weights of one row", "three prices", "no prices",
    ],
)  # fmt: skip
def test_another_file_is_refused_by_name(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    """ValueError with the path and what to run: at start, not at the first question."""
    path = tmp_path / "l.npz"
    write(path)
    with pytest.raises(ValueError, match=r"(?s)l\.npz.*symposium profile"):
        Learned.load(path, "minilm")
