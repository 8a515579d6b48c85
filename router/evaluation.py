"""What a router learns from recorded outcomes, and how it then reads others: by the parts that serve requests.

Where questions are not labelled with skills, their skills are induced: clusters of the training questions' embeddings.
So are their categories where all of them have the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from router import config
from router.assign import assign
from router.assignment import problem_of
from router.classify import GENERAL, Classifier
from router.correctness import Correctness, Reading
from router.fit import KNOWN_UNFAMILIAR, Labelled, centroids_of, classifier_of, labelled
from router.folds import grouped_folds
from router.learn import Answered, Settings, learn, read
from router.learned import Learned
from router.outcomes import RECORDED, Outcomes, profiles_of
from router.profiles import Profiles
from router.questions import LabelledQuestion
from router.ranking import ranked
from router.rates import Predicted, Rates
from router.records import Candidate, CategoryScores, Reply, SkillScores, Usage
from router.recruit import candidates
from router.skills import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.embed import Embedder

TOPICS = 40  # induced skills
TOPIC_QUESTIONS = 20  # for each induced category, on the mean
CALIBRATION_FOLDS = 3
LEAST_QUESTIONS = 20
LEAST_OF_CATEGORY = 8  # different texts: fewer would be missing in whole folds
REST = "topic_rest"


def _default(name: str) -> Any:
    """The configuration's own, where nobody says otherwise."""
    return config.Routing.model_fields[name].default


SETTINGS = Settings(
    strength=20.0,
    skill_floor=-1.0,
    max_skills=_default("max_skills"),
    max_chars=config.Embedder().max_chars,
    regularisation=10.0,
)
MIN_CONFIDENCE: float = _default("min_confidence")


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
class Trial:
    """One split: what was learned from its training questions, and what that says of its test questions.

    Attributes:
        known, asked: the training and the test questions; `known` with the categories that were learned.
        vectors: embeddings of the training and of the test questions.
        profiles: counts of the training questions.
        learned: its jury and its stopping are of no use where it is not recorded what was answered.
        categories, skills: of the test questions, as they are read when they are asked.
        notes: for a person: what stands in for categories.
    """

    known: Outcomes
    asked: Outcomes
    vectors: tuple[NDArray[np.float32], NDArray[np.float32]]
    profiles: Profiles
    rates: Rates
    learned: Learned
    categories: Sequence[CategoryScores]
    skills: Sequence[SkillScores]
    predicted: Predicted
    seed: int
    notes: tuple[str, ...] = ()

    @cached_property
    def best(self) -> int:
        """The expert that was right most often in training."""
        return int(self.known.right.mean(axis=0).argmax())

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Expert -> its column."""
        return {name: place for place, name in enumerate(self.asked.experts)}

    @cached_property
    def assigned(self) -> Mapping[str, str]:
        """Category -> the expert that serves it best, where a query may cost on the mean what the best expert does."""
        costs = {name: cost for name, (_, cost) in self.usd.items()}
        nothing = dict.fromkeys(costs, 0.0)
        problem = problem_of(self.profiles, self.asked.experts, nothing, costs, SETTINGS.strength)
        return assign(problem, max_cost=costs[self.asked.experts[self.best]]).experts

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
    def promising(self) -> Sequence[tuple[Candidate, ...]]:
        """They ranked by P(right), whatever they cost: what most policies begin with."""
        return [
            ranked(found, "predicted", self.rates, category.category, seed="")
            for found, category in zip(self.candidates, self.categories, strict=True)
        ]

    @cached_property
    def replies(self) -> Sequence[Mapping[str, Reply]]:
        """What each expert says to each test question; nothing where it is not recorded."""
        answers = _answers(self.asked)
        return [
            {name: _reply(name, text) for name, text in zip(self.asked.experts, row, strict=True)}
            for row in answers.tolist()
        ]


def trial(outcomes: Outcomes, split: tuple[NDArray[np.int64], NDArray[np.int64]], embed: Embedder, seed: int) -> Trial:
    """Everything that is fitted is fitted on the training rows alone.

    Raises:
        ValueError: there are too few questions to learn from, or they do not make two categories.
    """
    known, asked = outcomes.only(split[0]), outcomes.only(split[1])
    if len(set(known.groups)) < LEAST_QUESTIONS:
        raise ValueError(
            f"{len(set(known.groups))} different questions are too few to learn from; {LEAST_QUESTIONS} are needed"
        )
    with threadpool_limits(1):  # as in `fit`
        vectors = embed(list(known.texts))
        known, notes = _in_categories(known, vectors, seed)
        topics = _topics(vectors, min(TOPICS, len(set(known.texts))), seed)
        questions = [
            LabelledQuestion(question=text, category=category, skills=(topic,), group=group)
            for text, category, topic, group in zip(known.texts, known.categories, topics, known.groups, strict=True)
        ]
        data = labelled(questions, embed)
        classifier, vocabulary, limit = _stages(data, seed)
        profiles = profiles_of(known, topics)
        rates = Rates.of(profiles.experts, SETTINGS.strength)
        answered = Answered(questions, known.experts, known.right, _answers(known))
        versions = dict.fromkeys(known.experts, RECORDED)
        learned = learn(answered, versions, classifier.temperature, embed, SETTINGS, seed)
        new = embed(list(asked.texts))
        stages = [read(vector, classifier, vocabulary, SETTINGS, MIN_CONFIDENCE, limit) for vector in new]
    categories, skills = [scores for scores, _ in stages], [found for _, found in stages]
    reading = Reading.of(asked.texts, new, categories, skills, rates.categories, rates.skills)
    predicted = Correctness(rates, learned.blend).predict(reading)
    return Trial(known, asked, (vectors, new), profiles, rates, learned, categories, skills, predicted, seed, notes)


def _in_categories(known: Outcomes, vectors: NDArray[np.float32], seed: int) -> tuple[Outcomes, tuple[str, ...]]:
    """The training questions in at least two categories that can be learned, and what that took."""
    found = _frequent(known.categories, known.groups, GENERAL)
    if len(set(found)) > 1:
        note = f"categories with fewer than {LEAST_OF_CATEGORY} different questions to learn from count as '{GENERAL}'"
        return replace(known, categories=found), (note,) if found != known.categories else ()
    count = max(2, min(TOPICS, len(set(known.groups)) // TOPIC_QUESTIONS))
    found = _frequent(_topics(vectors, count, seed), known.groups, REST)
    if len(set(found)) < 2:
        raise ValueError(
            f"{len(known)} questions make no two categories, or topics, of {LEAST_OF_CATEGORY} different ones each; "
            "give more to learn from"
        )
    note = "too few categories to learn: clusters of the training questions' embeddings stand in for them"
    return replace(known, categories=found), (note,)


def _frequent(labels: Sequence[str], groups: Sequence[str], otherwise: str) -> tuple[str, ...]:
    """Labels, the rarest as `otherwise`: as many as it takes that each has LEAST_OF_CATEGORY different texts."""
    texts: dict[str, set[str]] = {}
    for label, group in zip(labels, groups, strict=True):
        texts.setdefault(label, set()).add(group)
    rest, rare = texts.pop(otherwise, set()), {otherwise}
    for label in sorted(texts, key=lambda label: (len(texts[label]), label)):
        if len(texts[label]) >= LEAST_OF_CATEGORY and (not rest or len(rest) >= LEAST_OF_CATEGORY):
            break
        rest, rare = rest | texts[label], rare | {label}
    return tuple(otherwise if label in rare else label for label in labels)


def _topics(vectors: NDArray[np.float32], count: int, seed: int) -> list[str]:
    """The cluster of each question."""
    found = KMeans(count, n_init=1, random_state=seed).fit_predict(vectors)
    return [f"topic_{topic:02}" for topic in found]


def _stages(data: Labelled, seed: int) -> tuple[Classifier, Vocabulary, float]:
    """Both stages and the limit of the familiar, without the figures that `symposium fit` measures besides.

    Benchmarks' own questions are often unsure: what `fit` leaves to unfamiliarity then is its least share.
    """
    splits = grouped_folds(data.categories, data.groups.tolist(), CALIBRATION_FOLDS, seed)
    classifier = classifier_of(data, splits, regularisation=SETTINGS.regularisation)
    names, centroids = centroids_of(data)
    nearest = [(data.vectors[test] @ centroids_of(data.only(train))[1].T).max(axis=1) for train, test in splits]
    limit = float(np.quantile(np.concatenate(nearest), KNOWN_UNFAMILIAR))
    return classifier, Vocabulary(names, centroids, centroids), limit


def _answers(outcomes: Outcomes) -> NDArray[np.str_]:
    """[N, E]; where nothing is recorded nobody says anything: P(right) is learned all the same."""
    return np.full(outcomes.right.shape, "") if outcomes.answers is None else outcomes.answers


def _reply(expert: str, text: str) -> Reply:
    return Reply(expert, expert, ({"message": {"content": text}},), Usage(), 0.0)
