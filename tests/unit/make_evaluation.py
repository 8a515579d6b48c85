"""A small synthetic world of recorded outcomes, and an embedder without a model."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from router.outcomes import Outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

CATEGORIES = ("math", "law")
EXPERTS = ("ada", "bob", "cat", "dan")
SKILL = {"math": (0.8, 0.4, 0.65, 0.6), "law": (0.4, 0.8, 0.65, 0.6)}  # P(right) of each expert
USD = (0.004, 0.004, 0.002, 0.001)  # a call
DIMENSIONS = 12


class Words:
    """A question means its category, its topic, and a little that is its own. `seen`: the texts, in their order."""

    name = "words"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen += texts
        vectors = np.stack([_vector(text) for text in texts])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _vector(text: str) -> NDArray[np.float64]:
    vector = np.random.default_rng(zlib.crc32(text.encode())).normal(scale=0.1, size=DIMENSIONS)
    words = text.split()
    vector[int("law" in words)] += 1.0
    vector[2 + int(words[1]) % 4] += 0.4
    return vector


def text(number: int) -> str:
    return f"topic {number // 2 % 4} of {CATEGORIES[number % 2]} number {number}"


def outcomes(count: int = 240, seed: int = 0, **fields: Any) -> Outcomes:
    """Each category has its expert; wrong ones scatter among three letters, and sometimes say nothing."""
    rng = np.random.default_rng(seed)
    categories = tuple(CATEGORIES[n % 2] for n in range(count))
    right = (rng.random((count, len(EXPERTS))) < [SKILL[category] for category in categories]).astype(np.float64)
    gold, off = rng.integers(4, size=(count, 1)), rng.integers(1, 4, size=right.shape)
    letters = np.array(list("ABCD"))[np.where(right == 1, gold, (gold + off) % 4)]
    known: dict[str, Any] = {
        "ids": tuple(f"q{n}" for n in range(count)),
        "texts": tuple(map(text, range(count))),
        "categories": categories,
        "groups": tuple(map(text, range(count))),
        "experts": EXPERTS,
        "right": right,
        "answers": np.where((right == 0) & (rng.random(right.shape) < 0.1), "", letters),
        "tokens": None,
        "usd": np.broadcast_to(USD, right.shape),
        "usd_from": "prices",
    }
    return Outcomes(**(known | fields))


def split(count: int = 240, seed: int = 1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Seven of twelve to learn from, in no order; the others to be judged on."""
    rows = np.random.default_rng(seed).permutation(count)
    return rows[: count * 7 // 12], rows[count * 7 // 12 :]
