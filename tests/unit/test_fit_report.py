"""Figures by hand: what a report says of known cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.intervals import wilson
from router.classify import Classifier
from router.fit_report import (
    Scored,
    abstained,
    abstention_curve,
    expected_calibration_error,
    familiar_from,
    figures,
    foreign,
    most_confused,
    reliability,
)
from router.skills import Vocabulary

# Four questions of two categories: right at 0.9, right at 0.6, wrong at 0.8, right at 0.7.
FOUR = Scored(
    labels=("math", "text"),
    probabilities=np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7]]),
    truth=np.array([0, 1, 1, 1]),
    familiarity=np.array([0.9, 0.8, 0.2, 0.7]),
    right_skill=np.array([True, True, False, True]),
)
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def test_the_figures_of_four_questions() -> None:
    """Accuracy 3/4; Brier and log loss of the probabilities given to what was true; rows of the confusion are true."""
    found = figures(FOUR, familiar_from=0.5, min_confidence=0.65)
    assert found["questions"] == 4
    assert found["category_accuracy"]["value"] == found["skill_accuracy"]["value"] == 0.75
    assert found["brier"] == pytest.approx((0.02 + 0.32 + 1.28 + 0.18) / 4, abs=1e-4)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.2, 0.7]).mean(), abs=1e-4)
    assert found["confusion"] == {"labels": ["math", "text"], "counts": [[1, 0], [1, 2]]}
    assert most_confused(found["confusion"]) == [("text", "math", 1)]
    assert found["abstained"] == {
        "questions": 4,
        "share": {"value": 0.5, "interval": [0.15, 0.85]},
        "unfamiliar": 0.25,
        "unsure": 0.25,
    }


def test_wilsons_interval_of_known_cases() -> None:
    """9 of 10 by the published formula; a share of nothing may be anything; 0 and 1 stay inside."""
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[1] == pytest.approx(1.0)
    assert wilson(0, 10)[0] == 0.0


@given(st.integers(1, 500), st.data())
def test_wilsons_interval_holds_the_share(asked: int, data: st.DataObject) -> None:
    """It lies in [0, 1], and the share lies in it."""
    hits = data.draw(st.integers(0, asked))
    low, high = wilson(hits, asked)
    assert 0 <= low <= hits / asked + 1e-12
    assert hits / asked - 1e-12 <= high <= 1


def test_the_calibration_error_of_a_known_case() -> None:
    """Two bins with half of the answers each and gaps of 0.45: 0.45; confidence 1 lies in the last bin."""
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    assert expected_calibration_error(confidence, np.array([True, False, True, True])) == pytest.approx(0.45)
    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0.0
    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([False, False])) == 1.0
    assert expected_calibration_error(np.array([0.75] * 4), np.array([True, True, True, False])) == 0.0


def test_reliability_keeps_what_a_plot_needs() -> None:
    """Ten bins with their edges; an empty one has no confidence and no accuracy."""
    found = reliability(np.array([0.95, 0.91, 0.55]), np.array([True, False, True]))
    assert (found["edges"][0], found["edges"][-1], len(found["edges"])) == (0.0, 1.0, 11)
    assert found["counts"] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert (found["confidence"][9], found["accuracy"][9]) == (0.93, 0.5)
    assert (found["confidence"][0], found["accuracy"][0]) == (None, None)


def test_the_abstention_curve_of_four_questions() -> None:
    """At 0.65 one abstains and two of three are right; at 0.95 nobody acts, and there is no accuracy."""
    curve = {p["threshold"]: (p["abstained"], p["accuracy"]) for p in abstention_curve(FOUR.confidence, FOUR.right)}
    assert curve[0.0] == (0.0, 0.75)
    assert curve[0.65] == (0.25, 0.6667)
    assert curve[0.9] == (0.75, 1.0)
    assert curve[0.95] == (1.0, None)


@given(SHARES, st.data(), st.floats(0, 0.3), st.floats(0, 1))
def test_the_limit_lets_no_more_than_the_set_share_go(
    familiarity: list[float], data: st.DataObject, most: float, min_confidence: float
) -> None:
    """Whatever the questions, at most `most` of them abstain beyond those that are unsure by themselves."""
    n = len(familiarity)
    confidence = np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    limit = familiar_from(confidence, np.array(familiarity), min_confidence, most, least=0.0)
    sure = confidence >= min_confidence
    gone = (~sure | (np.array(familiarity) < limit)).sum() if sure.any() else (~sure).sum()
    assert gone <= max(int(most * n + 1e-9), int((~sure).sum()))


def test_unsure_questions_leave_a_limit_all_the_same() -> None:
    """Where they use the whole share up, the least share still falls below it; else a foreign one never would."""
    confidence, familiarity = np.array([0.1] * 50 + [0.9] * 50), np.arange(100) / 100
    limit = familiar_from(confidence, familiarity, 0.5, most=0.04, least=0.02)
    assert limit == 0.52
    assert abstained(confidence, familiarity, limit, 0.5)["share"]["value"] == 0.52


def test_foreign_questions_are_counted_by_reason() -> None:
    """Far ones are unfamiliar, even sure ones; near ones of which the classifier is unsure are unsure."""
    classifier = Classifier(
        ("a", "b"), np.array([[4, 4], [0, 0]], dtype=np.float32), np.zeros(2, dtype=np.float32), 1.0
    )
    known = np.array([[1, 0]], dtype=np.float32)
    vectors = np.array([[0, 1], [1, 0], [0.8, -0.6]], dtype=np.float32)
    found = foreign(classifier, Vocabulary(("x",), known, known), vectors, 0.5, 0.9)
    assert (found["questions"], found["unfamiliar"], found["unsure"]) == (3, 0.3333, 0.3333)
