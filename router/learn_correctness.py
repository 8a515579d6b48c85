"""Offline: which experts were right on which calibration questions -> the blend that predicts it (`Correctness`).

Everything that a blend's shares are chosen by is predicted for questions that it was not fitted on: folds that share no
wording (`group`). Shares are non-negative least squares, so a view that did not help has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import nnls

from router.correctness import VIEWS, Blend, Linear, Reading, blended, standardised
from router.rates import Counts, Rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEANING_PENALTIES = (30.0, 100.0, 300.0)  # ridge; embeddings have length 1, so squares sum to N
FORM_PENALTIES = (100.0, 300.0, 1000.0)  # of features with unit variance: N each


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What E experts made of N calibration questions.

    Attributes:
        reading: the questions as they are read when they are asked. Categories and skills are inferred by parts that
            were fitted without the question's own wording.
        categories, skills: what the questions were labelled with: 1 where a label applies, [N, C] and [N, S], in the
            order of their names.
        right: [N, E], 1 or 0 (or a judge's score between).
        folds: [N], numbers of the folds; a wording is in one fold only.
    """

    experts: tuple[str, ...]
    category_names: tuple[str, ...]
    skill_names: tuple[str, ...]
    reading: Reading
    categories: NDArray[np.float64]
    skills: NDArray[np.float64]
    right: NDArray[np.float64]
    folds: NDArray[np.int64]

    def rates(self, rows: NDArray[np.int64], strength: float) -> Rates:
        """Profiles of the given questions alone."""
        right = self.right[rows]
        asked = np.ones_like(right)
        overall, by_category, by_skill = (
            Counts(right.T @ labels, asked.T @ labels)
            for labels in (np.ones(len(rows)), self.categories[rows], self.skills[rows])
        )
        return Rates(self.experts, self.category_names, self.skill_names, overall, by_category, by_skill, strength)


@dataclass(frozen=True, slots=True, eq=False)
class LearnedBlend:
    """A blend, and what it, and profiles alone, predict of the questions it was learned from, each by parts fitted
    without it: [N, E] each.
    """

    blend: Blend
    out_of_fold: NDArray[np.float64]
    by_profiles: NDArray[np.float64]


def learn_correctness(lesson: Lesson, strength: float) -> LearnedBlend:
    """Args: strength: observations that the prior of a shrunken rate counts as (`routing.prior_strength`)."""
    everything = np.arange(len(lesson.right))
    folds = [(everything[lesson.folds != f], everything[lesson.folds == f]) for f in np.unique(lesson.folds)]
    base = lesson.right.mean(axis=0)
    surfaces = lesson.reading.surfaces
    surface_mean, surface_scale = surfaces.mean(axis=0), np.maximum(surfaces.std(axis=0), 1e-6)
    forms = standardised(surfaces, surface_mean, surface_scale)
    meaning, meaning_penalty = _out_of_fold(lesson.reading.vectors.astype(np.float64), lesson, folds, MEANING_PENALTIES)
    form, form_penalty = _out_of_fold(forms, lesson, folds, FORM_PENALTIES)
    profile = np.zeros_like(lesson.right)
    for train, test in folds:
        rates = lesson.rates(train, strength)
        profile[test] = rates.predict(lesson.reading.categories[test], lesson.reading.skills[test]).rate
    views = np.stack([profile, meaning, form])
    difficulty, relative = _shares(views, lesson.right, base)
    blend = Blend(
        experts=lesson.experts,
        meaning=_ridge(lesson.reading.vectors.astype(np.float64), lesson.right, meaning_penalty),
        form=_ridge(forms, lesson.right, form_penalty),
        surface_mean=surface_mean,
        surface_scale=surface_scale,
        base=base,
        difficulty=difficulty,
        relative=relative,
    )
    return LearnedBlend(blend, blended(views, base, difficulty, relative), profile)


def _out_of_fold(
    features: NDArray[np.float64],
    lesson: Lesson,
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    penalties: Sequence[float],
) -> tuple[NDArray[np.float64], float]:
    """Predictions [N, E] of the penalty that tells experts apart best on questions not fitted on, and that penalty."""
    found = np.zeros((len(penalties), *lesson.right.shape))
    for train, test in folds:
        for place, model in enumerate(_ridges(features[train], lesson.right[train], penalties)):
            found[place, test] = model(features[test])
    apart = lesson.right - lesson.right.mean(axis=1, keepdims=True)
    errors = [np.square(p - p.mean(axis=1, keepdims=True) - apart).sum() for p in found]
    best = int(np.argmin(errors))
    return found[best], penalties[best]


def _ridge(features: NDArray[np.float64], targets: NDArray[np.float64], penalty: float) -> Linear:
    return _ridges(features, targets, (penalty,))[0]


def _ridges(features: NDArray[np.float64], targets: NDArray[np.float64], penalties: Sequence[float]) -> list[Linear]:
    """One regression for each penalty, from one decomposition; scikit-learn's Ridge would make one for each."""
    mean, bias = features.mean(axis=0), targets.mean(axis=0)
    centred = features - mean
    values, axes = np.linalg.eigh(centred.T @ centred)
    projected = axes.T @ (centred.T @ (targets - bias))
    return [Linear(mean, axes @ (projected / (values + penalty)[:, None]), bias) for penalty in penalties]


def _shares(
    views: NDArray[np.float64], right: NDArray[np.float64], base: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far each view moves the pool's mean, and the experts apart: [len(VIEWS)] each."""
    moves, wanted = views - base, right - base
    common, wanted_common = moves.mean(axis=2), wanted.mean(axis=1)
    apart = (moves - common[:, :, None]).reshape(len(VIEWS), -1)
    wanted_apart = (wanted - wanted_common[:, None]).ravel()
    return nnls(common.T, wanted_common)[0], nnls(apart.T, wanted_apart)[0]
