"""How sure a measured share is. Pure."""

from __future__ import annotations

import math

Z_95 = 1.959964  # 97.5 % quantile of the normal distribution


def wilson(hits: int, asked: int) -> tuple[float, float]:
    """The ends of Wilson's 95 % score interval of a share (Wilson 1927); (0, 1) where nothing was asked."""
    if not asked:
        return 0.0, 1.0
    p, widening = hits / asked, Z_95**2 / asked
    middle = (p + widening / 2) / (1 + widening)
    half = Z_95 * math.sqrt(p * (1 - p) / asked + widening / (4 * asked)) / (1 + widening)
    return max(0.0, middle - half), min(1.0, middle + half)
