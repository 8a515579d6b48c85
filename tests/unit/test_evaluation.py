"""What is learned from recorded outcomes: of training questions alone, and read as it is served."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from router.classify import GENERAL
from router.evaluation import MIN_CONFIDENCE, SETTINGS, TOPICS, World, world
from router.outcomes import Outcomes
from router.rates import Rates
from tests.unit.make_evaluation import CATEGORIES, EXPERTS, USD, Words, outcomes, split

SPLIT = split()
LEARN, JUDGE = SPLIT


@pytest.fixture(scope="module", name="made")
def _made() -> World:
    return world(outcomes(), SPLIT, Words(), 0)


def same(left: Any, right: Any) -> bool:
    """Whether two values of dataclasses, sequences, mappings and arrays are equal to the last bit."""
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right))
    if is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in fields(left) if f.repr)
    if isinstance(left, tuple | list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def judged(changed: Outcomes, **others: Any) -> Outcomes:
    """With other values in the rows that are judged."""
    found: dict[str, Any] = {}
    for name, value in others.items():
        matrix = np.array(getattr(changed, name))
        matrix[JUDGE] = value
        found[name] = matrix
    return replace(changed, **found)


def learned(made: World) -> tuple[Any, ...]:
    """Everything that decisions are made by."""
    return made.profiles, made.rates, made.learned, made.categories, made.skills, made.predicted, made.usd, made.best


def test_a_world_is_of_its_split(made: World) -> None:
    """Known and asked questions are the rows' in their order; a row and a column for each."""
    whole = outcomes()
    assert made.known.ids == tuple(whole.ids[row] for row in LEARN)
    assert made.asked.ids == tuple(whole.ids[row] for row in JUDGE)
    assert made.predicted.p.shape == made.asked.right.shape == (len(JUDGE), len(EXPERTS))
    assert len(made.categories) == len(made.skills) == len(made.replies) == len(JUDGE)
    assert [len(vectors) for vectors in made.vectors] == [len(LEARN), len(JUDGE)]
    assert made.rates.experts == tuple(made.profiles.experts) == EXPERTS


def test_profiles_count_the_training_questions(made: World) -> None:
    """Overall, by label, and by induced skill; each adds up to all of them."""
    right = outcomes().right[LEARN]
    labels = np.array(made.known.categories)
    for column, profile in enumerate(made.profiles.experts.values()):
        assert (profile.overall.right, profile.overall.asked) == (right[:, column].sum(), len(LEARN))
        assert profile.categories.keys() == set(CATEGORIES)
        for label, count in profile.categories.items():
            assert (count.right, count.asked) == (right[labels == label, column].sum(), (labels == label).sum())
        assert len(profile.skills) == TOPICS
        assert sum(count.asked for count in profile.skills.values()) == len(LEARN)
        assert sum(count.right for count in profile.skills.values()) == right[:, column].sum()
    assert same(made.rates, Rates.of(made.profiles.experts, SETTINGS.strength))
    assert made.best == right.mean(axis=0).argmax()


def test_a_partly_right_answer_counts_from_one_half() -> None:
    """Profiles count whole answers: above one half is right."""
    right = np.tile([0.5, 0.51, 1.0, 0.0], (240, 1))
    made = world(outcomes(right=right, answers=None), SPLIT, Words(), 0)
    assert [p.overall.right for p in made.profiles.experts.values()] == [0, len(LEARN), len(LEARN), 0]


def test_no_outcome_of_a_test_question_is_looked_at(made: World) -> None:
    """Neither who was right, nor what was said, nor what it cost."""
    whole = outcomes()
    turned = judged(whole, right=1 - whole.right[JUDGE], answers="Z", usd=7.0)
    assert same(learned(world(turned, SPLIT, Words(), 0)), learned(made))
    taught = replace(whole, right=1 - whole.right)
    assert not same(learned(world(taught, SPLIT, Words(), 0)), learned(made)), "training outcomes are"


def test_no_test_question_is_read_before_everything_is_learned() -> None:
    """Their texts reach the embedder last, and their labels nothing: what is asked is unlabelled."""
    words = Words()
    whole = outcomes()
    labels = np.array(whole.categories)
    labels[JUDGE] = "other"
    made = world(replace(whole, categories=tuple(labels.tolist())), SPLIT, words, 0)
    asked = [whole.texts[row] for row in JUDGE]
    assert words.seen[-len(asked) :] == asked
    assert not set(words.seen[: -len(asked)]).intersection(asked)
    assert made.rates.categories == tuple(sorted(CATEGORIES))
    assert {scores.category for scores in made.categories} <= {*CATEGORIES, GENERAL}


def test_the_same_seed_learns_the_same(made: World) -> None:
    """To the last bit."""
    assert same(learned(world(outcomes(), SPLIT, Words(), 0)), learned(made))


def test_questions_are_read_by_what_they_mean(made: World) -> None:
    """Categories that differ are told apart, and the expert that is good at one is predicted to be."""
    told = [scores.category == label for scores, label in zip(made.categories, made.asked.categories, strict=True)]
    assert np.mean(told) > 0.95
    math = np.array(made.asked.categories) == "math"
    assert made.predicted.p[math, 0].mean() > made.predicted.p[math, 1].mean() + 0.2
    assert made.predicted.p[~math, 1].mean() > made.predicted.p[~math, 0].mean() + 0.2
    assert all(1 <= len(skills.weights) <= SETTINGS.max_skills for skills in made.skills)


def test_what_is_unsure_is_general() -> None:
    """Composition of Experts; benchmarks hold nothing unfamiliar."""
    vague = [f"topic {n} about something {n}" for n in range(240)]  # labels say nothing about such texts
    labels = [CATEGORIES[n] for n in np.random.default_rng(0).integers(2, size=240)]
    labels = [(*CATEGORIES, "art")[(n + place) % 3] for place, n in enumerate(map(CATEGORIES.index, labels))]
    made = world(outcomes(texts=tuple(vague), categories=tuple(labels)), SPLIT, Words(), 0)
    assert any(not scores.confident for scores in made.categories)
    for scores in made.categories:
        best = max(scores.probabilities, key=lambda name: scores.probabilities[name])
        assert scores.confident == (scores.probabilities[best] >= MIN_CONFIDENCE)
        assert scores.category == (best if scores.confident else GENERAL)
        assert scores.familiar


def test_a_query_is_expected_to_cost_what_calls_cost_in_training() -> None:
    """One output token a question: the price by token is the mean by call."""
    cost = np.broadcast_to(USD, (240, len(EXPERTS))) * np.arange(1, 241)[:, None]
    made = world(outcomes(usd=cost), SPLIT, Words(), 0)
    for name, expected in zip(EXPERTS, cost[LEARN].mean(axis=0), strict=True):
        assert made.usd[name] == pytest.approx((0.0, expected))
        assert made.profiles.experts[name].mean_output_tokens == 1


def test_replies_are_what_was_recorded(made: World) -> None:
    """Of each expert to each test question; silence is an empty text."""
    whole = outcomes()
    assert whole.answers is not None
    said = [[replies[name].text for name in EXPERTS] for replies in made.replies]
    assert said == whole.answers[JUDGE].tolist()
    assert any("" in row for row in said)


def test_without_answers_nothing_is_learned_of_votes() -> None:
    """Profiles alone predict, between certainty and nothing."""
    made = world(outcomes(answers=None), SPLIT, Words(), 0)
    assert made.learned is None
    assert ((made.predicted.p > 0) & (made.predicted.p < 1)).all()


def test_fewer_questions_than_topics_make_fewer() -> None:
    """A cluster for each of them at most."""
    made = world(outcomes(48), split(48), Words(), 0)
    assert len(made.rates.skills) == 28


def test_too_few_questions_are_said_to_be_too_few() -> None:
    """A mistake of the files, in words, rather than a trace."""
    with pytest.raises(ValueError, match=r"."):
        world(outcomes(8), split(8), Words(), 0)
