"""Stage 2b: measured profiles as arrays: how often each expert is right in each category and skill, shrunken. Pure.

A hierarchy: an expert's skill rate leans on its category rate, that on its overall rate, that on the pool's mean; each
level counts as `strength` observations, so that thin profiles stay close to what is known one level up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.profiles import Count, Profile
from router.records import Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS: tuple[Evidence, ...] = ("skill", "category", "overall")


class Predicted(NamedTuple):
    """Of N questions and E experts, [N, E] each: P(right); the rate that the profiles alone give; how many calibration
    answers stand behind that, and on which of `LEVELS` they were found.
    """

    p: NDArray[np.float64]
    rate: NDArray[np.float64]
    observations: NDArray[np.int64]
    level: NDArray[np.int64]


class Counts(NamedTuple):
    """`right` of `asked` answers, arrays of one shape."""

    right: NDArray[np.float64]
    asked: NDArray[np.float64]


@dataclass(frozen=True)
class Rates:
    """Counts of E experts overall, in C categories and in S skills: [E], [E, C] and [E, S].

    Attributes:
        strength: observations that each level's prior counts as.
    """

    experts: tuple[str, ...]
    categories: tuple[str, ...]
    skills: tuple[str, ...]
    overall: Counts
    by_category: Counts
    by_skill: Counts
    strength: float

    @classmethod
    def of(cls, profiles: Mapping[str, Profile], strength: float) -> Rates:
        """The rates of all profiled experts."""
        found = list(profiles.values())
        categories = _names(p.categories for p in found)
        skills = _names(p.skills for p in found)
        overall = _counts([[p.overall] for p in found], 1)
        return cls(
            tuple(profiles),
            categories,
            skills,
            Counts(overall.right[:, 0], overall.asked[:, 0]),
            _counts([[p.categories.get(c, Count()) for c in categories] for p in found], len(categories)),
            _counts([[p.skills.get(s, Count()) for s in skills] for p in found], len(skills)),
            strength,
        )

    @cached_property
    def places(self) -> dict[str, int]:
        """Expert -> its row or column."""
        return {name: place for place, name in enumerate(self.experts)}

    @cached_property
    def right(self) -> dict[str, float]:
        """Expert -> how many answers were right."""
        return dict(zip(self.experts, self.overall.right.tolist(), strict=True))

    @cached_property
    def mean(self) -> float:
        """Share of all answers that were right, by Laplace's rule: never certain; 0.5 when nobody was asked."""
        right, asked = self.overall
        return float((right.sum() + 1) / (asked.sum() + 2))

    @cached_property
    def overall_rates(self) -> NDArray[np.float64]:
        """[E]"""
        right, asked = self.overall
        return np.asarray((right + self.strength * self.mean) / (asked + self.strength))

    @cached_property
    def category_rates(self) -> NDArray[np.float64]:
        """[E, C]"""
        right, asked = self.by_category
        return np.asarray((right + self.strength * self.overall_rates[:, None]) / (asked + self.strength))

    @cached_property
    def _skill_rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What was measured in each skill, and how far the rate leans on the category's: [S, E] each."""
        right, asked = self.by_skill
        return (right / (asked + self.strength)).T, (self.strength / (asked + self.strength)).T

    def rate(self, expert: str, category: str | None = None) -> float:
        """The shrunken rate in a category, else overall; the pool's mean of an expert that was never measured."""
        if (place := self.places.get(expert)) is None:
            return self.mean
        if category not in self.categories:
            return float(self.overall_rates[place])
        return float(self.category_rates[place, self.categories.index(category)])

    def predict(self, categories: NDArray[np.float64], skills: NDArray[np.float64]) -> Predicted:
        """Skills decide where an expert was measured on them; otherwise the categories, else what it does overall.

        Args:
            categories: probabilities [N, C], in the order of `self.categories`; what is missing to 1 counts as overall.
            skills: weights [N, S], in the order of `self.skills`; a question without skills has none. What is missing
                to 1 counts as the categories.
        """
        overall = self.overall_rates[None, :]
        rest = np.maximum(1 - categories.sum(axis=1, keepdims=True), 0)
        category = categories @ self.category_rates.T + rest * overall
        rest = np.maximum(1 - skills.sum(axis=1, keepdims=True), 0)
        measured, lean = self._skill_rates
        skill = skills @ measured + (skills @ lean + rest) * category
        in_skills = (skills > 0).astype(np.float64) @ self.by_skill.asked.T
        in_category = (categories > 0).astype(np.float64) @ self.by_category.asked.T
        known = [in_skills > 0, in_category > 0]
        rate = np.select(known, [skill, category], overall)
        observations = np.select(known, [in_skills, in_category], self.overall.asked[None, :]).astype(np.int64)
        return Predicted(rate, rate, observations, np.select(known, [0, 1], 2))


def vector(names: Sequence[str], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Weights by name -> [1, len(names)]; names without a weight have 0, weights without a name are left out."""
    return np.array([[weights.get(name, 0.0) for name in names]])


def _names(found: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    return tuple(sorted({name for names in found for name in names}))


def _counts(rows: Sequence[Sequence[Count]], width: int) -> Counts:
    shape = (len(rows), width)
    right = np.array([[c.right for c in row] for row in rows], dtype=np.float64).reshape(shape)
    asked = np.array([[c.asked for c in row] for row in rows], dtype=np.float64).reshape(shape)
    return Counts(right, asked)
