"""How far P(right) holds on questions that it was not learned from."""

from __future__ import annotations

import numpy as np
import pytest

from router.predictions import Predictions, judged, together

TOPICS = ["sums"] * 20 + ["words"] * 20 + ["rare"] * 5


def drawn(p: float, off: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """[45, 1]: what is predicted, and as many right answers as its chance, moved by `off`, says."""
    shares = [round(len(block) * (p + off)) for block in (TOPICS[:20], TOPICS[20:40], TOPICS[40:])]
    right = [[1.0] * good + [0.0] * (size - good) for good, size in zip(shares, (20, 20, 5), strict=True)]
    return np.full((45, 1), p), np.concatenate(right)[:, None]


def test_what_holds_is_within_its_intervals() -> None:
    """Predicted as it came: no calibration error, every topic within, no better than the mean rate: it is that."""
    p, right = drawn(0.6)
    found = judged(p, np.full_like(p, 0.02), right, TOPICS)
    assert found.ece == pytest.approx(0.0, abs=1e-9)
    assert found.brier == pytest.approx(0.24)
    assert found.brier_of_means == pytest.approx(0.24)
    assert found.within_95 == 1.0


def test_what_is_far_off_is_told_by_every_figure() -> None:
    """Said 0.9, came 0.3: the error is 0.6, no topic lies within; a spread as large as the error would have held it."""
    p, right = drawn(0.9, off=-0.6)
    found = judged(p, np.full_like(p, 0.02), right, TOPICS)
    assert found.ece == pytest.approx(0.6, abs=0.02)
    assert found.within_95 == 0.0
    assert judged(p, np.full_like(p, 0.4), right, TOPICS).within_95 == 1.0


def test_topics_with_few_questions_say_nothing() -> None:
    """Five answers are chance: without another topic there is no share at all."""
    p, right = drawn(0.6)
    assert judged(p[40:], p[40:] * 0, right[40:], TOPICS[40:]).within_95 is None


def test_parts_count_by_their_questions() -> None:
    """Means over questions; parts without a share of intervals leave the others'."""
    found = together([Predictions(30, 0.1, 0.2, 0.3, 0.9), Predictions(10, 0.5, 0.6, 0.7, None)])
    assert found["ece"] == pytest.approx(0.2)
    assert found["brier"] == pytest.approx(0.3)
    assert found["brier_of_means"] == pytest.approx(0.4)
    assert found["within_95"] == pytest.approx(0.9)
    assert together([Predictions(10, 0.5, 0.6, 0.7, None)])["within_95"] is None
