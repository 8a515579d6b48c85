"""Offline: labelled questions -> the fitted parts of both stages, with the figures that say how good they are.

The classifier is scikit-learn's logistic regression with temperature scaling, calibrated on folds that share no
wording (`group`) with what was trained on; its coefficients are what `router.classify` evaluates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from router.classify import Classifier
from router.embed import Embedder
from router.fitted import Fitted
from router.questions import LabelledQuestion
from router.skills import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
BINS = 10
REGULARISATION = 30.0  # scikit-learn's C; embeddings have length 1, so weights must be free to grow


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    vectors: NDArray[np.float32]  # [N, D]
    categories: NDArray[np.str_]  # [N]
    skills: NDArray[np.str_]  # [N]
    groups: NDArray[np.str_]  # [N]


def fit(questions: Sequence[LabelledQuestion], embed: Embedder, seed: int = 0) -> Fitted:
    """Classifier, vocabulary and report.

    Raises:
        ValueError: fewer than two categories, or too few wordings to hold some out in every fold.
    """
    data = _Data(
        vectors=embed([q.question for q in questions]),
        categories=np.array([q.category for q in questions]),
        skills=np.array([q.skill for q in questions]),
        groups=np.array([q.group or q.question for q in questions]),
    )
    _check(data)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    splits = list(folds.split(data.vectors, data.skills, data.groups))
    model = CalibratedClassifierCV(_linear(), method="temperature", cv=splits, ensemble=False)
    model.fit(data.vectors, data.categories)
    return Fitted(
        embedder=embed.name,
        classifier=_export(model, data),
        vocabulary=_vocabulary(data.vectors, data.skills),
        report=_report(data, splits, seed),
    )


def _linear() -> LogisticRegression:
    return LogisticRegression(C=REGULARISATION, max_iter=2000)


def _check(data: _Data) -> None:
    if len(set(data.categories)) < 2:
        raise ValueError("at least two categories are needed to classify")
    for category in sorted(set(data.categories)):
        wordings = len(set(data.groups[data.categories == category]))
        if wordings < FOLDS:
            raise ValueError(f"category '{category}' has {wordings} wordings (groups); {FOLDS} are needed")


def _export(model: CalibratedClassifierCV, data: _Data) -> Classifier:
    """scikit-learn's fitted objects -> plain arrays; checked to give the same probabilities."""
    (calibrated,) = model.calibrated_classifiers_
    linear, (calibrator,) = calibrated.estimator, calibrated.calibrators
    weights, bias = linear.coef_, linear.intercept_
    if len(linear.classes_) == 2:  # one row decides between two: written out as two
        weights, bias = np.vstack([-weights, weights]), np.concatenate([-bias, bias])
    classifier = Classifier(
        labels=tuple(str(c) for c in model.classes_),
        weights=weights.astype(np.float32),
        bias=bias.astype(np.float32),
        temperature=float(1.0 / calibrator.beta_),
    )
    some = data.vectors[:: max(1, len(data.vectors) // 50)]
    ours = np.array([classifier.probabilities(v) for v in some])
    if not np.allclose(ours, model.predict_proba(some), atol=1e-3):
        raise ValueError("the exported classifier differs from scikit-learn's: check its version")
    return classifier


def _vocabulary(vectors: NDArray[np.float32], skills: NDArray[np.str_]) -> Vocabulary:
    names = tuple(sorted(set(skills.tolist())))
    centroids = np.stack([vectors[skills == name].mean(axis=0) for name in names])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return Vocabulary(names, centroids.astype(np.float32))


def _report(data: _Data, splits: list[Any], seed: int) -> dict[str, Any]:
    """Figures on wordings that the scored model never saw."""
    inner = StratifiedGroupKFold(FOLDS - 1, shuffle=True, random_state=seed)
    probabilities = np.zeros((len(data.categories), len(set(data.categories))))
    nearest, right_skill = np.zeros(len(data.skills)), np.zeros(len(data.skills), dtype=bool)
    for train, test in splits:
        inner_splits = list(inner.split(data.vectors[train], data.skills[train], data.groups[train]))
        model = CalibratedClassifierCV(_linear(), method="temperature", cv=inner_splits, ensemble=False)
        model.fit(data.vectors[train], data.categories[train])
        probabilities[test] = model.predict_proba(data.vectors[test])
        vocabulary = _vocabulary(data.vectors[train], data.skills[train])
        cosines = data.vectors[test] @ vocabulary.centroids.T
        nearest[test] = cosines.max(axis=1)
        right_skill[test] = np.array(vocabulary.names)[cosines.argmax(axis=1)] == data.skills[test]
    labels = np.array(sorted(set(data.categories.tolist())))
    right = labels[probabilities.argmax(axis=1)] == data.categories
    return {
        "questions": len(data.categories),
        "wordings": len(set(data.groups.tolist())),
        "category_accuracy": round(float(right.mean()), 4),
        "category_ece": round(expected_calibration_error(probabilities.max(axis=1), right), 4),
        "skill_accuracy": round(float(right_skill.mean()), 4),
        "nearest_cosine_percentiles": {str(p): round(float(np.percentile(nearest, p)), 4) for p in (1, 5, 25, 50)},
    }


def expected_calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mean gap between confidence and accuracy over `BINS` equal-width bins (Guo et al. 2017, eq. 3)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(np.sum(gaps))
