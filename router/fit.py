"""Offline: labelled questions -> the fitted parts of both stages, with the figures that say how good they are.

The classifier is scikit-learn's logistic regression with temperature scaling, calibrated on folds that share no
wording (`group`) with what was trained on; its coefficients are what `router.classify` evaluates. From the same
folds comes the limit of what is familiar: known questions in wordings never seen say how near the known lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from experts.prompts import in_words
from router.classify import Classifier
from router.embed import Embedder
from router.fit_report import Scored, familiar_from, figures, foreign
from router.fitted import Fitted
from router.folds import Splits, frequent, grouped_folds
from router.questions import LabelledQuestion
from router.skills import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
REGULARISATION = 30.0  # scikit-learn's C; embeddings have length 1, so weights must be free to grow
KNOWN_ABSTAIN = 0.05  # at most this share of known questions goes to `general`, unless more are unsure by themselves
KNOWN_UNFAMILIAR = 0.01  # and this share may in any case, so that there is a limit of the familiar


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """N questions as arrays: what they mean, what they are labelled with, which of them are wordings of one."""

    vectors: NDArray[np.float32]  # [N, D]
    categories: NDArray[np.str_]  # [N]
    skills: tuple[tuple[str, ...], ...]  # N
    groups: NDArray[np.str_]  # [N]

    @property
    def first_skills(self) -> NDArray[np.str_]:
        return np.array([skills[0] for skills in self.skills])

    def only(self, rows: NDArray[np.int64]) -> Labelled:
        skills = tuple(self.skills[row] for row in rows)
        return Labelled(self.vectors[rows], self.categories[rows], skills, self.groups[rows])


def fit(
    questions: Sequence[LabelledQuestion],
    embed: Embedder,
    seed: int = 0,
    *,
    min_confidence: float = 0.5,
    test: Sequence[LabelledQuestion] = (),
    foreign_texts: Sequence[str] = (),
) -> Fitted:
    """Classifier, what is familiar, vocabulary and report.

    Args:
        min_confidence: below it a category is not acted on (`routing.min_confidence`).
        test: labelled questions that are only asked, after all of `questions` were fitted on.
        foreign_texts: questions about nothing that is known; only asked, too.

    Raises:
        ValueError: fewer than two categories, too few wordings to hold some out in every fold, or a test category
            that is not among the questions'.
    """
    data = labelled(questions, embed)
    _check(data)
    unknown = sorted({q.category for q in test} - set(data.categories.tolist()))
    if unknown:
        raise ValueError(f"test questions of category '{unknown[0]}', of which the questions to fit on hold none")
    with threadpool_limits(1):  # threads that wait for each other make so small a problem ten times slower
        splits = splits_of(data, FOLDS, seed)
        classifier = classifier_of(data, splits)
        never_seen = _cross_validated(data, splits, seed)
    names, centroids = centroids_of(data)
    limit = familiar_from(
        never_seen.confidence, never_seen.familiarity, min_confidence, KNOWN_ABSTAIN, KNOWN_UNFAMILIAR
    )
    name_vectors = embed([in_words(name) for name in names])
    vocabulary = Vocabulary(names, centroids, name_vectors)
    report = _about(data, names) | {
        "embedder": embed.name,
        "seed": seed,
        "min_confidence": min_confidence,
        "familiar_from": round(limit, 4),
        "cross_validated": figures(never_seen, limit, min_confidence),
        "test": None,
        "foreign": None,
    }
    if test:
        asked = labelled(test, embed)
        scored = _scored(classifier, names, centroids, asked, classifier.labels)
        seen = np.isin(asked.groups, data.groups)
        report["test"] = figures(scored, limit, min_confidence) | {"questions_of_wordings_fitted_on": int(seen.sum())}
    if foreign_texts:
        report["foreign"] = foreign(classifier, vocabulary, embed(foreign_texts), limit, min_confidence)
    return Fitted(embed.name, classifier, vocabulary, limit, report)


def texts_embedded(
    questions: Sequence[LabelledQuestion], test: Sequence[LabelledQuestion] = (), foreign_texts: Sequence[str] = ()
) -> int:
    """How many texts `fit` will have embedded; for showing progress."""
    skills = {skill for q in questions for skill in q.skills}
    return len(questions) + len(test) + len(foreign_texts) + len(skills)


def _about(data: Labelled, names: tuple[str, ...]) -> dict[str, Any]:
    categories, counts = np.unique(data.categories, return_counts=True)
    return {
        "questions": len(data.categories),
        "wordings": len(set(data.groups.tolist())),
        "categories": dict(zip(categories.tolist(), counts.tolist(), strict=True)),
        "skills": len(names),
    }


def labelled(questions: Sequence[LabelledQuestion], embed: Embedder) -> Labelled:
    return Labelled(
        vectors=embed([q.question for q in questions]),
        categories=np.array([q.category for q in questions]),
        skills=tuple(q.skills for q in questions),
        groups=np.array([q.group or q.question for q in questions]),
    )


def _check(data: Labelled) -> None:
    if len(set(data.categories)) < 2:
        raise ValueError("at least two categories are needed to classify")
    for category in sorted(set(data.categories)):
        wordings = len(set(data.groups[data.categories == category]))
        if wordings < FOLDS:
            raise ValueError(f"category '{category}' has {wordings} wordings (groups); {FOLDS} are needed")


def splits_of(data: Labelled, folds: int, seed: int) -> Splits:
    """(train, test) rows of each fold; no wording is on both sides, every skill on both where it is frequent enough."""
    strata = frequent(data.first_skills.tolist(), folds, data.categories.tolist())
    return grouped_folds(strata, data.groups.tolist(), folds, seed)


def classifier_of(data: Labelled, splits: Splits, *, regularisation: float = REGULARISATION) -> Classifier:
    """Fitted on everything, its temperature on the held-out parts of `splits`; checked against scikit-learn's own."""
    linear = LogisticRegression(C=regularisation, max_iter=2000)
    model = CalibratedClassifierCV(linear, method="temperature", cv=splits, ensemble=False)
    model.fit(data.vectors, data.categories)
    (calibrated,) = model.calibrated_classifiers_
    linear, (calibrator,) = calibrated.estimator, calibrated.calibrators
    classifier = _exported(linear, model.classes_, float(1.0 / calibrator.beta_))
    some = data.vectors[:: max(1, len(data.vectors) // 50)]
    ours = np.array([classifier.probabilities(v) for v in some])
    if not np.allclose(ours, model.predict_proba(some), atol=1e-3):
        raise ValueError("the exported classifier differs from scikit-learn's: check its version")
    return classifier


def uncalibrated(data: Labelled, temperature: float, *, regularisation: float = REGULARISATION) -> Classifier:
    """Fitted on everything, with another one's temperature: for folds, at a sixth of the time."""
    model = LogisticRegression(C=regularisation, max_iter=2000, tol=1e-3).fit(data.vectors, data.categories)
    return _exported(model, model.classes_, temperature)


def _exported(linear: LogisticRegression, classes: NDArray[np.str_], temperature: float) -> Classifier:
    """scikit-learn's fitted object -> plain arrays."""
    weights, bias = linear.coef_, linear.intercept_
    if len(classes) == 2:  # one row decides between two: written out as two
        weights, bias = np.vstack([-weights, weights]), np.concatenate([-bias, bias])
    labels = tuple(str(c) for c in classes)
    return Classifier(labels, weights.astype(np.float32), bias.astype(np.float32), temperature)


def centroids_of(data: Labelled) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Skill names, and the mean direction [S, D] of each one's questions; a question counts for all its skills."""
    names = tuple(sorted({skill for skills in data.skills for skill in skills}))
    centroids = np.stack([data.vectors[[name in skills for skills in data.skills]].mean(axis=0) for name in names])
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return names, centroids.astype(np.float32)


def _cross_validated(data: Labelled, splits: Splits, seed: int) -> Scored:
    """Every question, scored by parts that were fitted without its wording."""
    labels = tuple(sorted(set(data.categories.tolist())))
    folds = []
    for train, test in splits:
        known = data.only(train)
        classifier = classifier_of(known, splits_of(known, FOLDS - 1, seed))
        folds.append(_scored(classifier, *centroids_of(known), data.only(test), labels))
    return Scored(
        labels,
        np.concatenate([f.probabilities for f in folds]),
        np.concatenate([f.truth for f in folds]),
        np.concatenate([f.familiarity for f in folds]),
        np.concatenate([f.right_skill for f in folds]),
    )


def _scored(
    classifier: Classifier,
    names: tuple[str, ...],
    centroids: NDArray[np.float32],
    asked: Labelled,
    labels: tuple[str, ...],
) -> Scored:
    """`labels` are all categories: a fold may have trained on fewer, and gives the others probability 0."""
    probabilities = np.zeros((len(asked.vectors), len(labels)))
    columns = [labels.index(label) for label in classifier.labels]
    probabilities[:, columns] = [classifier.probabilities(v) for v in asked.vectors]
    cosines = asked.vectors @ centroids.T
    nearest = cosines.argmax(axis=1)
    return Scored(
        labels,
        probabilities,
        np.array([labels.index(category) for category in asked.categories.tolist()]),
        cosines.max(axis=1).astype(np.float64),
        np.array([names[n] in skills for n, skills in zip(nearest, asked.skills, strict=True)]),
    )
