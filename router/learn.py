"""Offline: who answered which calibration question how -> what experts are convened by (`Learned`).

The order: read the questions by parts fitted without them, learn P(right) from that, votes from what it predicts, and
when to stop from votes. Figures in the report are of questions that the parts were not fitted on, but for base rates,
penalties and shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from router.calibration import Calibration, Graded
from router.classify import Classifier, classify
from router.correctness import VIEWS, Reading
from router.dialogue import cut
from router.fit import REGULARISATION, Labelled, centroids_of, labelled, splits_of, uncalibrated
from router.fit_report import expected_calibration_error, reliability
from router.learn_correctness import LearnedBlend, Lesson, learn_correctness
from router.learn_jury import learn_jury, votes
from router.learn_stopping import learn_stopping
from router.learned import Learned
from router.questions import LabelledQuestion
from router.rates import vector
from router.records import CategoryScores, SkillScores
from router.skills import Vocabulary, infer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.embed import Embedder

FOLDS = 4
FAMILIAR_FROM = -1.0  # a cosine: everything


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What E experts answered to N questions: `right` [N, E], 1 or 0; `answers` [N, E], the comparable cores."""

    questions: Sequence[LabelledQuestion]
    experts: tuple[str, ...]
    right: NDArray[np.float64]
    answers: NDArray[np.str_]


def answered(calibration: Calibration, answers: Mapping[str, Mapping[str, Graded]]) -> Answered:
    """What a measurement kept, as arrays: each question once.

    Raises:
        ValueError: answers of an earlier version, which did not keep what was said.
    """
    given = [[answers[name][key] for name in answers] for key in calibration.by_key]
    if any(answer.said is None for row in given for answer in row):
        raise ValueError("some answers were taken over from an earlier version, which did not keep what was said")
    return Answered(
        list(calibration.by_key.values()),
        tuple(answers),
        np.array([[float(answer.right) for answer in row] for row in given]),
        np.array([[answer.said or "" for answer in row] for row in given]),
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's own, of `routing`: what is learned must be read as it is served."""

    strength: float
    skill_floor: float
    max_skills: int
    max_chars: int
    regularisation: float = REGULARISATION


def learn(
    given: Answered,
    versions: Mapping[str, str],
    temperature: float,
    embed: Embedder,
    settings: Settings,
    seed: int = 0,
) -> Learned:
    """What is to be saved beside the profiles.

    Args:
        versions: of what answered, by expert (`Profile.expert_version`).
        temperature: the fitted classifier's.

    Raises:
        ValueError: there are too few questions or wordings to hold some out in every fold.
    """
    data = labelled(given.questions, embed)
    if len(set(data.groups.tolist())) < 2 * FOLDS:
        raise ValueError(f"{len(set(data.groups.tolist()))} wordings are too few to learn from; {2 * FOLDS} are needed")
    with threadpool_limits(1):  # as in `fit`
        lesson = _lesson(given, data, temperature, settings, seed)
        learned = learn_correctness(lesson, settings.strength)
        ballots, p = votes(given.answers, given.right), learned.out_of_fold
        jury = learn_jury(given.experts, ballots, p, seed)
        stopping = learn_stopping(given.experts, ballots, p, lesson.folds, seed)
    report = _report(lesson, learned)
    report["category_of_skill"] = category_of_skill(given.questions)
    return Learned(embed.name, versions, learned.blend, jury, stopping, report)


def _lesson(given: Answered, data: Labelled, temperature: float, settings: Settings, seed: int) -> Lesson:
    folds = np.zeros(len(data.categories), dtype=np.int64)
    names = tuple(sorted(set(data.categories.tolist())))
    skill_names = tuple(sorted({skill for skills in data.skills for skill in skills}))
    found: dict[int, tuple[CategoryScores, SkillScores]] = {}
    for number, (train, test) in enumerate(splits_of(data, FOLDS, seed)):
        folds[test] = number
        known = data.only(train)
        classifier = uncalibrated(known, temperature, regularisation=settings.regularisation)
        topics, centroids = centroids_of(known)
        vocabulary = Vocabulary(topics, centroids, centroids)  # nobody names skills here
        found |= {int(row): read(data.vectors[row], classifier, vocabulary, settings) for row in test}
    reading = Reading.of(
        [cut(question.question, settings.max_chars) for question in given.questions],
        data.vectors,
        [found[row][0] for row in range(len(folds))],
        [found[row][1] for row in range(len(folds))],
        names,
        skill_names,
    )
    return Lesson(
        given.experts,
        names,
        skill_names,
        reading,
        np.concatenate([vector(names, {category: 1.0}) for category in data.categories.tolist()]),
        np.concatenate([vector(skill_names, dict.fromkeys(own, 1.0)) for own in data.skills]),
        given.right,
        folds,
    )


def read(
    embedding: NDArray[np.float32],
    classifier: Classifier,
    vocabulary: Vocabulary,
    settings: Settings,
    min_confidence: float = 0.0,
    familiar_from: float = FAMILIAR_FROM,
) -> tuple[CategoryScores, SkillScores]:
    """What both stages say of a question; by default it is familiar, as calibration questions are."""
    cosines = vocabulary.cosines(embedding)
    categories = classify(classifier, embedding, float(cosines.max()), familiar_from, min_confidence)
    return categories, infer(vocabulary, cosines, settings.skill_floor, settings.max_skills)


def category_of_skill(questions: Iterable[LabelledQuestion]) -> dict[str, str]:
    """Skill -> the category of most of its questions; of as many in two, the one that came first."""
    counts = Counter((skill, question.category) for question in questions for skill in question.skills)
    return {skill: category for (skill, category), _ in reversed(counts.most_common())}


def _report(lesson: Lesson, learned: LearnedBlend) -> dict[str, Any]:
    p, base = learned.out_of_fold, learned.blend.base
    every = np.arange(len(p))
    best = int(base.argmax())
    return {
        "questions": len(p),
        "views": list(VIEWS),
        "brier": round(float(np.square(p - lesson.right).mean()), 4),
        "brier_of_base_rates": round(float(np.square(base - lesson.right).mean()), 4),
        "best_single": round(float(lesson.right[:, best].mean()), 4),
        "chosen": round(float(lesson.right[every, p.argmax(axis=1)].mean()), 4),
        "calibration": {
            "profiles": _calibration(learned.by_profiles, lesson.right),
            "learned": _calibration(p, lesson.right),
        },
    }


def _calibration(p: NDArray[np.float64], right: NDArray[np.float64]) -> dict[str, Any]:
    """Predicted against observed, over the answers of all experts: [N, E] each."""
    predicted, observed = p.ravel(), right.ravel().astype(np.bool_)
    return {"ece": round(expected_calibration_error(predicted, observed), 4), **reliability(predicted, observed)}
