"""Stage 2b: P(right | question, expert): measured profiles, corrected by what questions like this one were like. Pure.

Three views of a question are blended: the profiles' rates in its categories and skills (`router/rates.py`), a linear
regression on its meaning (embedding) and one on its form (`router/surface.py`). How hard a question is for everybody
and who is better at it than usual are blended apart: the first decides how many are convened, the second who. Both
lean on each expert's overall rate as far as the views did not hold on questions that they were not fitted on: in a pool
that one expert dominates nothing is left but its lead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from router.rates import Predicted, Rates, vector
from router.records import CategoryScores, SkillScores
from router.surface import surface

if TYPE_CHECKING:
    from numpy.typing import NDArray

VIEWS = ("profile", "meaning", "form")
LEAST, MOST = 0.005, 0.995  # no question is certain
EDGE = 0.01  # from certainty: beyond it distances shrink
FORM_BOUND = 3.0  # standard deviations; beyond it a text is unlike those that were learned from


@dataclass(frozen=True, eq=False)
class Reading:
    """N questions as the views see them: texts, embeddings [N, D], categories [N, C] and skills [N, S] in the order of
    the rates.
    """

    texts: Sequence[str]
    vectors: NDArray[np.float32]
    categories: NDArray[np.float64]
    skills: NDArray[np.float64]

    @cached_property
    def surfaces(self) -> NDArray[np.float64]:
        """[N, F]; made where something was learned of them."""
        return surface(self.texts)

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        vectors: NDArray[np.float32],
        categories: Sequence[CategoryScores],
        skills: Sequence[SkillScores],
        category_names: Sequence[str],
        skill_names: Sequence[str],
    ) -> Reading:
        """What both stages said of N questions, in the order of the given names."""
        return cls(
            texts,
            vectors,
            np.concatenate([vector(category_names, scores.probabilities) for scores in categories]),
            np.concatenate([vector(skill_names, scores.weights) for scores in skills]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """x -> (x - mean) @ weights + bias: mean [D], weights [D, E], bias [E]."""

    mean: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def __call__(self, x: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((x - self.mean) @ self.weights + self.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """What was learned about E experts from their answers to calibration questions.

    Attributes:
        meaning, form: the regressions, on embeddings and on standardised surfaces.
        surface_mean, surface_scale: [F], what surfaces are standardised by.
        base: [E], each expert's share of right answers.
        difficulty, relative: [len(VIEWS)], how far each view moves the pool's mean, and an expert from the mean.
    """

    experts: tuple[str, ...]
    meaning: Linear
    form: Linear
    surface_mean: NDArray[np.float64]
    surface_scale: NDArray[np.float64]
    base: NDArray[np.float64]
    difficulty: NDArray[np.float64]
    relative: NDArray[np.float64]

    def predict(self, profile: NDArray[np.float64], reading: Reading) -> NDArray[np.float64]:
        """[N, E]. `profile`: what the experts' profiles predict, [N, E]."""
        form = self.form(standardised(reading.surfaces, self.surface_mean, self.surface_scale))
        views = np.stack([profile, self.meaning(reading.vectors), form])
        return blended(views, self.base, self.difficulty, self.relative)

    def newcomers(
        self, p: NDArray[np.float64], overall: NDArray[np.float64], apart: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """[N, M]: as the mean expert is predicted, where meaning and form set nobody apart.

        By its plain rate a newcomer would be preferred for whatever is hard, as only the others are thought to fail.

        Args:
            p: [N, E] what is predicted of the blend's experts.
            overall: [M] the newcomers' rates; apart: [N, M] how far their profiles set them apart from the mean expert.
        """
        common = p.mean(axis=1, keepdims=True) - self.base.mean()
        share = self.relative.max()  # views that say the same divide theirs: the profile's own may be a part of it
        return bounded(overall + common + share * apart)


@dataclass(frozen=True, eq=False)
class Correctness:
    """What requests are routed by. Without a blend, the profiles alone."""

    rates: Rates
    blend: Blend | None = None

    @cached_property
    def _columns(self) -> tuple[list[int], list[int]]:
        """Of the blend's experts among the rates', and of the newcomers: those that it was not learned with."""
        learned = self.blend.experts if self.blend else ()
        places = self.rates.places
        return [places[name] for name in learned], [places[name] for name in places if name not in learned]

    def predict(self, reading: Reading) -> Predicted:
        """Of N questions and the rates' experts; of a newcomer by its profile and by how hard a question is for all."""
        found = self.rates.predict(reading.categories, reading.skills)
        if self.blend is None:
            return found
        known, new = self._columns
        p = found.rate.copy()
        p[:, known] = self.blend.predict(found.rate[:, known], reading)
        if new:
            apart = self._apart(found.rate, reading)
            p[:, new] = self.blend.newcomers(p[:, known], self.rates.overall_rates[new], apart)
        return found._replace(p=p)

    def _apart(self, rate: NDArray[np.float64], reading: Reading) -> NDArray[np.float64]:
        """[N, M]: how far newcomers' profiles move them beyond what is usual there, of all rates [N, E].

        A profile with few answers in a category cannot show what is usual in it: that is nothing against its expert.
        """
        known, new = self._columns
        moves, asked = rate - self.rates.overall_rates, self.rates.by_category.asked[new]
        shown = reading.categories @ (asked / (asked + self.rates.strength)).T
        return np.asarray(moves[:, new] - shown * moves[:, known].mean(axis=1, keepdims=True))


def standardised(
    surfaces: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Deviations in units of `scale`, bounded: nothing is extrapolated from a text of a form never seen."""
    return np.clip((surfaces - mean) / scale, -FORM_BOUND, FORM_BOUND)


def blended(
    views: NDArray[np.float64],
    base: NDArray[np.float64],
    difficulty: NDArray[np.float64],
    relative: NDArray[np.float64],
) -> NDArray[np.float64]:
    """[V, N, E] -> [N, E]: the pool's mean and the experts' distances from it, each moved from `base` by the views."""
    moves = views - base
    common = moves.mean(axis=2, keepdims=True)
    mean = base.mean() + np.tensordot(difficulty, common, axes=1)
    apart = base - base.mean() + np.tensordot(relative, moves - common, axes=1)
    return bounded(mean + apart)


def bounded(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between LEAST and MOST. Squashed rather than cut: on easy questions all of a strong pool are beyond the edge, and
    the best must stay the first of them.
    """
    inside = np.clip(p, EDGE, 1 - EDGE)
    return np.asarray(inside + (EDGE - LEAST) * np.tanh(p - inside))
