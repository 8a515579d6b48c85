"""Stage 2a (Symbolic-MoE, arXiv 2503.05641, section 3.2): which skills a question calls for. Pure.

The paper asks a small model for keywords and maps them to known ones by embedding; here the question itself
is compared with each skill's centroid (mean embedding of its labelled questions), with a floor below which
nothing counts: an unknown skill is shown as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from experts.prompts import in_words
from router.records import SkillScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARPNESS = 20.0  # softmax inverse temperature over cosines: 0.05 apart weighs e:1


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Known skills, in the order of `names`.

    Attributes:
        centroids: [S, D], rows of length 1: the mean direction of each skill's labelled questions.
        name_vectors: [S, D], rows of length 1: each skill's name itself, with blanks for underscores.
    """

    names: tuple[str, ...]
    centroids: NDArray[np.float32]
    name_vectors: NDArray[np.float32]

    @cached_property
    def by_words(self) -> dict[str, str]:
        """A skill's name as a keyword is written -> the name."""
        return {in_words(name).casefold(): name for name in self.names}

    def cosines(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embedding [D], or embeddings [N, D], of length 1 -> cosines to the centroids, [S] or [N, S]."""
        return vector @ self.centroids.T


def infer(vocabulary: Vocabulary, cosines: NDArray[np.float32], floor: float, max_skills: int) -> SkillScores:
    """The up to `max_skills` nearest skills with cosine >= `floor`, weighted by softmax of their cosines.

    Args:
        cosines: [S], the question's to the centroids (`Vocabulary.cosines`).
    """
    order = np.argsort(-cosines, kind="stable")[:max_skills]
    nearest = (vocabulary.names[order[0]], float(cosines[order[0]]))
    kept = [int(i) for i in order if cosines[i] >= floor]
    if not kept:
        return SkillScores(weights={}, nearest=nearest)
    odds = np.exp(SHARPNESS * (cosines[kept] - cosines[kept[0]]).astype(np.float64))
    shares = odds / odds.sum()
    weights = {vocabulary.names[i]: float(share) for i, share in zip(kept, shares, strict=True)}
    return SkillScores(weights=weights, nearest=nearest)
