"""The embedding models: one contract for all, and plain words for a model that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from router import config
from router.embedders import PACKAGED, InBatches, model_folder, open_embedder

TEXTS = ["What is the capital of France?", "Which city is France's capital?", "Add 3 to 4.", "é " * 3000]


@pytest.mark.parametrize("name", PACKAGED)
def test_a_model_keeps_the_contract(name: str) -> None:
    """Float32 rows of length 1 in the order of the texts, alone or in company; like texts are near each other."""
    embed = open_embedder(config.Embedder(model=name))
    vectors = embed(TEXTS)
    assert (embed.name, vectors.shape, str(vectors.dtype)) == (name, (4, 384), "float32")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embed([TEXTS[2]])[0], vectors[2], atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3


@pytest.mark.parametrize("name", PACKAGED)
def test_a_text_without_tokens_is_no_error(name: str) -> None:
    """Nothing to go by: a finite row, of length 0 or 1."""
    assert np.isfinite(open_embedder(config.Embedder(model=name))(["", " ", "\x00"])).all()


def test_text_beyond_the_limit_does_not_count() -> None:
    """`max_chars` bounds what one question costs."""
    embed = open_embedder(config.Embedder(model="static", max_chars=11))
    np.testing.assert_array_equal(*embed(["Add 3 to 4.", "Add 3 to 4. Capitals of France!"]))


def test_a_model_is_loaded_once() -> None:
    """However often, and with whatever limits, it is opened."""
    one, other = (open_embedder(config.Embedder(model="static", max_chars=n)) for n in (10, 20))
    assert vars(one)["_model"] is vars(other)["_model"]


def test_a_folder_is_a_model(tmp_path: Path) -> None:
    """A saved sentence-transformers model is opened by its path, and gives the vectors it was saved with."""
    folder = model_folder("minilm")
    assert folder is not None
    by_path = open_embedder(config.Embedder(model=str(folder)))
    assert by_path.name == str(folder)
    np.testing.assert_allclose(by_path(TEXTS[:1]), open_embedder(config.Embedder())(TEXTS[:1]), atol=1e-6)
    assert model_folder("org/on-a-hub") is None


def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder holds no model: a ValueError with the setting, the reason and what may be named instead."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"(?s)routing\.embedder\.model: '.*' cannot be loaded .*minilm, static"):
        open_embedder(config.Embedder(model=str(tmp_path)))


def test_batches_are_of_like_length_and_give_the_order_back() -> None:
    """However the texts were sorted, each gets its own vector; what was done is reported."""

    class Lengths:
        name = "lengths"
        batches: list[list[str]] = []  # noqa: RUF012  # one test, one instance

        def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
            self.batches.append(list(texts))
            return np.array([[len(text)] for text in texts], dtype=np.float32)

    done: list[int] = []
    embed = InBatches(Lengths(), 2, done.append)
    assert embed(["dddd", "a", "ccc", "bb", ""]).tolist() == [[4], [1], [3], [2], [0]]
    assert Lengths.batches == [["", "a"], ["bb", "ccc"], ["dddd"]]
    assert (done, embed.name, len(embed([]))) == ([2, 2, 1], "lengths", 0)
