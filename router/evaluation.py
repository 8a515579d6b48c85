"""What a router learns from recorded outcomes, and how it then reads others: by the parts that serve requests.

Where questions are not labelled with skills, their skills are induced: clusters of the training questions' embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from router.classify import GENERAL
from router.correctness import Correctness, Reading
from router.fit import Labelled, centroids_of, classifier_of, labelled, splits_of
from router.fitted import Fitted
from router.learn import Answered, Settings, learn, read
from router.learned import Learned
from router.outcomes import Outcomes
from router.profiles import Count, Profile, Profiles
from router.questions import LabelledQuestion
from router.rates import Predicted, Rates
from router.records import Candidate, CategoryScores, Reply, SkillScores, Usage
from router.recruit import candidates
from router.skills import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.embed import Embedder

TOPICS = 40  # induced skills
CALIBRATION_FOLDS = 3
LEAST_QUESTIONS = 20
SETTINGS = Settings(strength=20.0, skill_floor=-1.0, max_skills=3, regularisation=10.0)
MIN_CONFIDENCE = 0.5  # the configuration's own default


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Embeddings of texts that were asked for before: an embedder without its model."""

    name: str
    vectors: NDArray[np.float32]
    rows: Mapping[str, int]

    @classmethod
    def of(cls, texts: Sequence[str], embed: Embedder) -> Embedded:
        """Each text once."""
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        return cls(embed.name, embed(list(rows)), rows)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.vectors[[self.rows[text] for text in texts]]


@dataclass(frozen=True, eq=False)
class World:
    """One split: what was learned from its training questions, and what that says of its test questions.

    Attributes:
        known, asked: the training and the test questions.
        vectors: embeddings of the training and of the test questions.
        profiles: counts of the training questions.
        learned: None where it is not recorded what was answered.
        categories, skills: of the test questions, as they are read when they are asked.
    """

    known: Outcomes
    asked: Outcomes
    vectors: tuple[NDArray[np.float32], NDArray[np.float32]]
    profiles: Profiles
    rates: Rates
    learned: Learned | None
    categories: Sequence[CategoryScores]
    skills: Sequence[SkillScores]
    predicted: Predicted
    seed: int

    @cached_property
    def best(self) -> int:
        """The expert that was right most often in training."""
        return int(self.known.right.mean(axis=0).argmax())

    @cached_property
    def usd(self) -> Mapping[str, tuple[float, float]]:
        """Expert -> price by token, such that a query's expected cost is what calls cost on average in training."""
        mean = self.known.usd.mean(axis=0)
        return {name: (0.0, float(cost)) for name, cost in zip(self.asked.experts, mean, strict=True)}

    @cached_property
    def candidates(self) -> Sequence[tuple[Candidate, ...]]:
        """What is known of each expert on each test question."""
        return [
            candidates(
                self.asked.experts,
                self.profiles,
                self.rates,
                self.predicted,
                usd_per_token=self.usd,
                prompt_tokens=0,
                excluded={},
                row=row,
            )
            for row in range(len(self.asked))
        ]

    @cached_property
    def replies(self) -> Sequence[Mapping[str, Reply]]:
        """What each expert says to each test question."""
        answers = self.asked.answers
        assert answers is not None, "asked only where answers are recorded"
        return [
            {name: _reply(name, text) for name, text in zip(self.asked.experts, row, strict=True)}
            for row in answers.tolist()
        ]


def world(outcomes: Outcomes, split: tuple[NDArray[np.int64], NDArray[np.int64]], embed: Embedder, seed: int) -> World:
    """Everything that is fitted is fitted on the training rows alone."""
    known, asked = outcomes.only(split[0]), outcomes.only(split[1])
    if len(set(known.categories)) < 2:
        raise ValueError(f"all questions to learn from are of category '{known.categories[0]}'; two are needed")
    if len(known) < LEAST_QUESTIONS:
        raise ValueError(f"{len(known)} questions are too few to learn from; {LEAST_QUESTIONS} are needed")
    with threadpool_limits(1):  # as in `fit`
        questions = _with_topics(known, embed, seed)
        data = labelled(questions, embed)
        fitted = _fitted(data, embed.name, seed)
        rates, profiles = _measured(known, data)
        learned = _learned(known, questions, fitted, embed, seed)
        vectors = embed(list(asked.texts))
        stages = [read(vector, fitted.classifier, fitted.vocabulary, SETTINGS) for vector in vectors]
    categories, skills = [_abstaining(scores) for scores, _ in stages], [found for _, found in stages]
    reading = Reading.of(asked.texts, vectors, categories, skills, rates.categories, rates.skills)
    predicted = Correctness(rates, learned.blend if learned else None).predict(reading)
    return World(
        known, asked, (data.vectors, vectors), profiles, rates, learned, categories, skills, predicted, seed
    )  # fmt: skip


def _with_topics(known: Outcomes, embed: Embedder, seed: int) -> list[LabelledQuestion]:
    vectors = embed(list(known.texts))
    found = KMeans(min(TOPICS, len(set(known.texts))), n_init=1, random_state=seed).fit_predict(vectors)
    return [
        LabelledQuestion(question=text, category=category, skills=(f"topic_{topic:02}",), group=group)
        for text, category, topic, group in zip(known.texts, known.categories, found, known.groups, strict=True)
    ]


def _fitted(data: Labelled, embedder: str, seed: int) -> Fitted:
    """Both stages, without the figures that `symposium fit` measures besides."""
    splits = splits_of(data, CALIBRATION_FOLDS, seed)
    classifier = classifier_of(data, splits, regularisation=SETTINGS.regularisation)
    names, centroids = centroids_of(data)
    return Fitted(embedder, classifier, Vocabulary(names, centroids, centroids), -1.0, {})


def _measured(known: Outcomes, data: Labelled) -> tuple[Rates, Profiles]:
    profiles = {}
    for column, name in enumerate(known.experts):
        right = known.right[:, column] > 0.5
        profiles[name] = Profile(
            expert_version="recorded",
            engine_version="recorded",
            questions="recorded",
            overall=Count(right=int(right.sum()), asked=len(right)),
            categories=_counts(data.categories.tolist(), right),
            skills=_counts([skills[0] for skills in data.skills], right),
            output_tokens=len(right),  # one a question: prices are by the call here
        )
    return Rates.of(profiles, SETTINGS.strength), Profiles(experts=profiles)


def _counts(labels: Sequence[str], right: NDArray[np.bool_]) -> dict[str, Count]:
    names, which = np.unique(np.array(labels), return_inverse=True)
    asked, good = np.bincount(which), np.bincount(which, weights=right)
    return {str(name): Count(right=int(good[i]), asked=int(asked[i])) for i, name in enumerate(names)}


def _learned(
    known: Outcomes, questions: Sequence[LabelledQuestion], fitted: Fitted, embed: Embedder, seed: int
) -> Learned | None:
    if known.answers is None:
        return None
    answered = Answered(questions, known.experts, known.right, known.answers)
    return learn(answered, fitted, embed, SETTINGS, seed)


def _abstaining(scores: CategoryScores) -> CategoryScores:
    """Composition of Experts: what is unsure is `general`. Benchmarks hold nothing unfamiliar."""
    confident = scores.probabilities[scores.category] >= MIN_CONFIDENCE
    category = scores.category if confident else GENERAL
    return CategoryScores(scores.probabilities, category, confident)


def _reply(expert: str, text: str) -> Reply:
    return Reply(expert, expert, ({"message": {"content": text}},), Usage(), 0.0)
