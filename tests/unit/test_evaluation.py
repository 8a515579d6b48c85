"""What is learned from recorded outcomes: of training questions alone, and read as it is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from router.classify import GENERAL
from router.config import Embedder
from router.evaluate import POLICIES
from router.evaluation import LEAST_OF_CATEGORY, MIN_CONFIDENCE, SETTINGS, TOPICS, Trial, trial
from router.outcomes import Outcomes, profiles_of
from router.rates import Rates
from tests.unit.make_evaluation import CATEGORIES, EXPERTS, USD, Words, outcomes, split, text

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPLIT = split()
LEARN, JUDGE = SPLIT


@pytest.fixture(scope="module", name="made")
def _made() -> Trial:
    return trial(outcomes(), SPLIT, Words(), 0)


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


def learned(made: Trial) -> tuple[Any, ...]:
    """Everything that decisions are made by."""
    return made.profiles, made.rates, made.learned, made.categories, made.skills, made.predicted, made.usd, made.best


def test_a_trial_is_of_its_split(made: Trial) -> None:
    """Known and asked questions are the rows' in their order; a row and a column for each."""
    whole = outcomes()
    assert made.known.ids == tuple(whole.ids[row] for row in LEARN)
    assert made.asked.ids == tuple(whole.ids[row] for row in JUDGE)
    assert made.predicted.p.shape == made.asked.right.shape == (len(JUDGE), len(EXPERTS))
    assert len(made.categories) == len(made.skills) == len(made.replies) == len(JUDGE)
    assert [len(vectors) for vectors in made.vectors] == [len(LEARN), len(JUDGE)]
    assert made.rates.experts == tuple(made.profiles.experts) == EXPERTS


def test_profiles_count_the_training_questions(made: Trial) -> None:
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
    topics = [max(skills.weights, key=lambda name: skills.weights[name]) for skills in made.skills]
    assert set(topics) <= set(made.rates.skills)
    assert same(made.profiles.experts["ada"].categories, profiles_of(made.known).experts["ada"].categories)
    assert same(made.rates, Rates.of(made.profiles.experts, SETTINGS.strength))
    assert made.best == right.mean(axis=0).argmax()


def test_partly_right_answers_add_up() -> None:
    """Who always draws is half as good as who always wins, in every profile and in what is predicted."""
    right = np.tile([0.5, 0.75, 1.0, 0.0], (240, 1))
    made = trial(outcomes(right=right, answers=None), SPLIT, Words(), 0)
    for profile in made.profiles.experts.values():
        assert profile.overall.asked == len(LEARN)
    assert [p.overall.right for p in made.profiles.experts.values()] == [70, 105, 140, 0]
    assert made.rates.overall_rates[[3, 0, 1, 2]].tolist() == sorted(made.rates.overall_rates)
    assert np.abs(made.predicted.p - [0.5, 0.75, 0.99, 0.01]).max() < 0.02


def test_no_outcome_of_a_test_question_is_looked_at(made: Trial) -> None:
    """Neither who was right, nor what was said, nor what it cost."""
    whole = outcomes()
    turned = judged(whole, right=1 - whole.right[JUDGE], answers="Z", usd=7.0)
    assert same(learned(trial(turned, SPLIT, Words(), 0)), learned(made))
    taught = replace(whole, right=1 - whole.right)
    assert not same(learned(trial(taught, SPLIT, Words(), 0)), learned(made)), "training outcomes are"


def test_no_test_question_is_read_before_everything_is_learned() -> None:
    """Their texts reach the embedder last, and their labels nothing: what is asked is unlabelled."""
    words = Words()
    whole = outcomes()
    labels = np.array(whole.categories)
    labels[JUDGE] = "other"
    made = trial(replace(whole, categories=tuple(labels.tolist())), SPLIT, words, 0)
    asked = [whole.texts[row] for row in JUDGE]
    assert words.seen[-len(asked) :] == asked
    assert not set(words.seen[: -len(asked)]).intersection(asked)
    assert made.rates.categories == tuple(sorted(CATEGORIES))
    assert {scores.category for scores in made.categories} <= {*CATEGORIES, GENERAL}


def test_the_same_seed_learns_the_same(made: Trial) -> None:
    """To the last bit."""
    assert same(learned(trial(outcomes(), SPLIT, Words(), 0)), learned(made))


def test_questions_are_read_by_what_they_mean(made: Trial) -> None:
    """Categories that differ are told apart, and the expert that is good at one is predicted to be."""
    told = [scores.category == label for scores, label in zip(made.categories, made.asked.categories, strict=True)]
    assert np.mean(told) > 0.95
    math = np.array(made.asked.categories) == "math"
    assert made.predicted.p[math, 0].mean() > made.predicted.p[math, 1].mean() + 0.2
    assert made.predicted.p[~math, 1].mean() > made.predicted.p[~math, 0].mean() + 0.2
    assert all(1 <= len(skills.weights) <= SETTINGS.max_skills for skills in made.skills)


def test_what_is_unsure_is_general() -> None:
    """Composition of Experts: a category below the bound is not acted on."""
    vague = [f"topic {n} about something {n}" for n in range(240)]  # labels say nothing about such texts
    labels = [CATEGORIES[n] for n in np.random.default_rng(0).integers(2, size=240)]
    labels = [(*CATEGORIES, "art")[(n + place) % 3] for place, n in enumerate(map(CATEGORIES.index, labels))]
    made = trial(outcomes(texts=tuple(vague), categories=tuple(labels)), SPLIT, Words(), 0)
    assert any(not scores.confident for scores in made.categories)
    for scores in made.categories:
        best = max(scores.probabilities, key=lambda name: scores.probabilities[name])
        assert scores.confident == (scores.probabilities[best] >= MIN_CONFIDENCE)
        assert scores.category == (best if scores.confident else GENERAL)


class Foreign(Words):
    """Texts that begin with "foreign" mean the opposite of all others."""

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        turned = np.array([-1.0 if text.startswith("foreign") else 1.0 for text in texts], dtype=np.float32)
        return super().__call__([text.removeprefix("foreign ") for text in texts]) * turned[:, None]


def test_what_is_unlike_all_that_was_learned_from_is_general() -> None:
    """As in the product, at the limit that leaves out the least likely hundredth of what is known: the best single
    expert is asked, whatever regressions make of such a text. Of known ones hardly any is unfamiliar.
    """
    new = set(SPLIT[1][::2].tolist())
    texts = tuple(f"foreign {text(n)}" if n in new else text(n) for n in range(240))
    made = trial(outcomes(texts=texts), SPLIT, Foreign(), 0)
    foreign = [t.startswith("foreign") for t in made.asked.texts]
    assert not any(scores.familiar for scores, odd in zip(made.categories, foreign, strict=True) if odd)
    assert np.mean([scores.familiar for scores, odd in zip(made.categories, foreign, strict=True) if not odd]) > 0.9
    right = POLICIES["recruited-1"].choose(made).right[foreign]
    assert right.tolist() == made.asked.right[foreign, made.best].tolist()


def test_a_query_is_expected_to_cost_what_calls_cost_in_training() -> None:
    """One output token a question: the price by token is the mean by call."""
    cost = np.broadcast_to(USD, (240, len(EXPERTS))) * np.arange(1, 241)[:, None]
    made = trial(outcomes(usd=cost), SPLIT, Words(), 0)
    for name, expected in zip(EXPERTS, cost[LEARN].mean(axis=0), strict=True):
        assert made.usd[name] == pytest.approx((0.0, expected))
        assert made.profiles.experts[name].mean_output_tokens == 1


def test_replies_are_what_was_recorded(made: Trial) -> None:
    """Of each expert to each test question; silence is an empty text."""
    whole = outcomes()
    assert whole.answers is not None
    said = [[replies[name].text for name in EXPERTS] for replies in made.replies]
    assert said == whole.answers[JUDGE].tolist()
    assert any("" in row for row in said)


def test_without_answers_nothing_is_learned_of_votes(made: Trial) -> None:
    """P(right) is, as it does not need them, and just the same."""
    silent = trial(outcomes(answers=None), SPLIT, Words(), 0)
    assert same(silent.learned.blend, made.learned.blend)
    assert same(silent.predicted, made.predicted)
    assert not same(silent.learned.jury, made.learned.jury)
    assert {reply.text for replies in silent.replies for reply in replies.values()} == {""}


def test_questions_are_read_as_far_as_the_router_reads_them() -> None:
    """The configuration's own bound, confidence and number of skills."""
    assert (SETTINGS.max_chars, SETTINGS.max_skills, MIN_CONFIDENCE) == (Embedder().max_chars, 3, 0.5)


def test_categories_that_are_too_rare_to_be_learned_are_general() -> None:
    """Together they are one that can be; it is said. What is asked of them is judged all the same."""
    whole = outcomes()
    labels = np.array(whole.categories, dtype=object)
    labels[LEARN[:6]], labels[LEARN[6:10]], labels[JUDGE[0]] = "art", "music", "art"
    found = trial(replace(whole, categories=tuple(labels.tolist())), SPLIT, Words(), 0)
    assert found.rates.categories == (GENERAL, *sorted(CATEGORIES))
    assert found.profiles.experts["ada"].categories[GENERAL].asked == 10
    assert len(found.predicted.p) == len(JUDGE)
    (note,) = found.notes
    assert "fewer than 8 different questions" in note
    assert "count as 'general'" in note


def test_general_takes_as_many_of_the_rarest_as_it_needs() -> None:
    """One question of art is no category, so the rarest of the others joins it; the texts count, not the rows."""
    whole = outcomes()
    labels, groups = np.array(whole.categories, dtype=object), list(whole.groups)
    labels[LEARN[0]], labels[LEARN[1:10]], labels[LEARN[10:30]] = "art", "music", "dance"
    for row in LEARN[10:30]:
        groups[row] = "one dance"
    found = trial(replace(whole, categories=tuple(labels.tolist()), groups=tuple(groups)), SPLIT, Words(), 0)
    assert found.rates.categories == (GENERAL, *sorted(CATEGORIES))
    assert found.profiles.experts["ada"].categories[GENERAL].asked == 30


@pytest.mark.parametrize("labels", [("c",) * 240, tuple(f"c{n}" for n in range(240))])
def test_one_category_is_parted_by_topics(labels: tuple[str, ...]) -> None:
    """Or as many as there are questions: clusters of what the training questions mean are as good; it is said."""
    found = trial(outcomes(categories=labels), SPLIT, Words(), 0)
    assert len(found.rates.categories) > 1
    assert all(name.startswith("topic_") for name in found.rates.categories)
    assert all(count.asked >= LEAST_OF_CATEGORY for count in found.profiles.experts["ada"].categories.values())
    law = np.array([" law " in text for text in found.asked.texts])
    assert found.predicted.p[law, 1].mean() > found.predicted.p[law, 0].mean() + 0.2
    (note,) = found.notes
    assert "clusters of the training questions' embeddings stand in" in note
    assert set(found.asked.categories) <= set(labels), "who is asked keeps its label"


def test_what_is_asked_has_no_part_in_topics() -> None:
    """Neither its text nor its label."""
    whole = outcomes(categories=("c",) * 240)
    labels, texts = np.array(whole.categories), np.array(whole.texts)
    labels[JUDGE], texts[JUDGE] = "other", "topic 1 of law number 9"
    one = trial(whole, SPLIT, Words(), 0)
    other = trial(replace(whole, categories=tuple(labels.tolist()), texts=tuple(texts.tolist())), SPLIT, Words(), 0)
    assert same((one.profiles, one.learned), (other.profiles, other.learned))


def test_too_few_for_two_topics_is_said() -> None:
    """All mean the same, so no two groups of them can be told apart."""

    def alike(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.tile(np.eye(2, dtype=np.float32)[0], (len(texts), 1))
        vectors[0] = [0, 1]
        return vectors

    alike.name = "alike"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"^28 questions make no two categories, or topics, of 8 different ones each;"):
        trial(outcomes(48, categories=("c",) * 48), split(48), cast(Any, alike), 0)


def test_nobody_or_everybody_is_right() -> None:
    """An expert that was never right, and a benchmark that all can do: nothing to learn is no obstacle."""
    right = outcomes().right.copy()
    right[:, 2] = 0
    assert trial(outcomes(right=right), SPLIT, Words(), 0).predicted.p[:, 2].max() < 0.1
    assert np.isfinite(trial(outcomes(right=np.ones_like(right)), SPLIT, Words(), 0).predicted.p).all()
    assert np.isfinite(trial(outcomes(right=np.zeros_like(right)), SPLIT, Words(), 0).predicted.p).all()


def test_fewer_questions_than_topics_make_fewer() -> None:
    """A cluster for each of them at most."""
    made = trial(outcomes(48), split(48), Words(), 0)
    assert len(made.rates.skills) == 28


def test_too_few_questions_are_said_to_be_too_few() -> None:
    """A mistake of the files, in words, rather than a trace."""
    with pytest.raises(ValueError, match=r"."):
        trial(outcomes(8), split(8), Words(), 0)
