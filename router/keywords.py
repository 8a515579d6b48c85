"""Stage 2a by asking (Symbolic-MoE, arXiv 2503.05641, section 3.2): a keyword expert's samples -> skills. Pure.

The paper's rules: the expert is asked several times, a keyword stays when more than one sample names it, and one
that is not in the vocabulary counts as the nearest one that is. Here the nearest must also be near enough: a skill
that nobody was measured on stays visible as unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experts.prompts import parse_keywords
from router.records import SkillScores
from router.skills import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray


def repeated(samples: Sequence[str], min_repeats: int) -> dict[str, int]:
    """Keyword -> in how many samples it stands, most often first; only those in at least `min_repeats`."""
    counts = Counter(word for sample in samples for word in parse_keywords(sample))
    return {word: count for word, count in counts.most_common() if count >= min_repeats}


def strange(vocabulary: Vocabulary, keywords: Mapping[str, int]) -> tuple[str, ...]:
    """The keywords that are no skill's name: these have to be embedded."""
    return tuple(word for word in keywords if word not in vocabulary.by_words)


def named_skills(
    vocabulary: Vocabulary,
    keywords: Mapping[str, int],
    vectors: Mapping[str, NDArray[np.float32]],
    floor: float,
    max_skills: int,
) -> SkillScores:
    """The up to `max_skills` skills named most often, weighted by how often; none when no keyword is near any.

    Args:
        keywords: keyword -> samples that name it (`repeated`).
        vectors: embedding [D], of length 1, of each keyword of `strange`.
        floor: least cosine between a strange keyword and a skill's name.
    """
    votes, unknown = Counter[str](), []
    for word, count in keywords.items():
        skill = vocabulary.by_words.get(word) or _nearest(vocabulary, vectors[word], floor)
        if skill is None:
            unknown.append(word)
        else:
            votes[skill] += count
    kept = votes.most_common(max_skills)
    total = sum(count for _, count in kept)
    return SkillScores(
        weights={skill: count / total for skill, count in kept}, source="keywords", unknown=tuple(unknown)
    )


def _nearest(vocabulary: Vocabulary, vector: NDArray[np.float32], floor: float) -> str | None:
    cosines = vocabulary.name_vectors @ vector
    best = int(cosines.argmax())
    return vocabulary.names[best] if cosines[best] >= floor else None
