"""Stage 1: calibrated category probabilities, and `general` when unsure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.classify import GENERAL, Classifier, classify

LOGITS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=6)


def by_logits(logits: list[float], temperature: float = 1.0) -> Classifier:
    """A classifier whose logits do not depend on the question."""
    labels = tuple(f"c{i}" for i in range(len(logits)))
    weights = np.zeros((len(logits), 2), dtype=np.float32)
    return Classifier(labels, weights, np.array(logits, dtype=np.float32), temperature)


ANYTHING = np.array([1, 0], dtype=np.float32)
KNOWN, FOREIGN = 0.95, 0.6  # cosines to the nearest skill, on both sides of the limit
LIMIT = 0.9


def test_probabilities_are_the_softmax_of_logits_over_temperature() -> None:
    """weights · vector + bias = (3 + 1, 2) = (4, 2); at temperature 2 the odds are e : 1."""
    classifier = Classifier(
        labels=("math", "text"),
        weights=np.array([[3, 7], [2, 7]], dtype=np.float32),
        bias=np.array([1, 0], dtype=np.float32),
        temperature=2.0,
    )
    found = classifier.probabilities(np.array([1, 0], dtype=np.float32))
    assert found == pytest.approx([math.e / (math.e + 1), 1 / (math.e + 1)])


def test_the_best_category_is_acted_on_when_it_reaches_the_threshold() -> None:
    """A probability of exactly `min_confidence` is enough."""
    scores = classify(by_logits([0.0, 0.0]), ANYTHING, KNOWN, LIMIT, min_confidence=0.5)
    assert (scores.category, scores.confident) == ("c0", True)


def test_unsure_means_general() -> None:
    """No category reaches the threshold: the question goes to `general`, with the probabilities kept."""
    scores = classify(by_logits([1.0, 0.0]), ANYTHING, KNOWN, LIMIT, min_confidence=0.8)
    assert (scores.category, scores.confident) == (GENERAL, False)
    assert scores.probabilities["c0"] == pytest.approx(math.e / (math.e + 1))


def test_unlike_anything_known_means_general_however_sure_the_classifier_is() -> None:
    """A linear classifier is sure far from its data too: an unfamiliar question is never confident."""
    scores = classify(by_logits([50.0, 0.0]), ANYTHING, FOREIGN, LIMIT, min_confidence=0.5)
    assert (scores.category, scores.confident, scores.familiar) == (GENERAL, False, False)
    assert scores.familiarity == FOREIGN


def test_a_cosine_of_exactly_the_limit_is_familiar() -> None:
    """As a probability of exactly the threshold is confident."""
    for familiarity in (LIMIT, KNOWN, 1.0):
        scores = classify(by_logits([9.0, 0.0]), ANYTHING, familiarity, LIMIT, min_confidence=0.5)
        assert (scores.confident, scores.familiar, scores.familiarity) == (True, True, familiarity)


def test_an_unsure_question_may_be_familiar() -> None:
    """The two reasons to abstain are told apart."""
    scores = classify(by_logits([0.0, 0.0]), ANYTHING, KNOWN, LIMIT, min_confidence=0.9)
    assert (scores.confident, scores.familiar) == (False, True)


@given(LOGITS, st.floats(0.05, 20), st.floats(0, 1))
def test_probabilities_are_a_distribution_and_the_category_their_best(
    logits: list[float], temperature: float, min_confidence: float
) -> None:
    """Whatever the logits, probabilities sum to 1 without overflow, and a confident category is the best one."""
    scores = classify(by_logits(logits, temperature), ANYTHING, KNOWN, LIMIT, min_confidence=min_confidence)
    values = scores.probabilities.values()
    assert sum(values) == pytest.approx(1)
    assert all(0 <= p <= 1 for p in values)
    assert scores.confident == (max(values) >= min_confidence)
    if scores.confident:
        assert scores.probabilities[scores.category] == max(values)
