"""How differently experts err: correlations by hand."""

from __future__ import annotations

import numpy as np
import pytest

from router.diversity import correlations, mean_correlation

RIGHT = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=np.float64)


def test_phi_by_hand() -> None:
    """(both right - shares' product) / spreads: (1/2 - 1/2 · 3/4) / sqrt(1/4 · 3/16) = 0.577; opposites have -1."""
    found = correlations(RIGHT)
    assert found[0, 1] == pytest.approx((1 / 2 - 3 / 8) / np.sqrt(3 / 64))
    assert found[0, 2] == pytest.approx(-1)
    np.testing.assert_allclose(np.diag(found)[:3], 1)
    np.testing.assert_allclose(found, found.T)


def test_who_is_never_wrong_goes_with_nobody() -> None:
    """No warning, no NaN: there is nothing to go by."""
    np.testing.assert_array_equal(correlations(RIGHT)[3], 0)


def test_the_mean_is_of_pairs() -> None:
    """Each once, nobody with itself; no pair has 0."""
    phi = (1 / 2 - 3 / 8) / np.sqrt(3 / 64)
    assert mean_correlation(RIGHT[:, :3]) == pytest.approx((phi - 1 - phi) / 3)
    assert mean_correlation(RIGHT[:, :1]) == 0.0
