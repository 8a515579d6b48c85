"""How long experts take to their first token: the last calls of each, and their quantiles. Knows no clock."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

LAST_CALLS = 256
MIN_CALLS = 20  # a quantile of fewer would be a guess


class FirstTokens:
    """The last `LAST_CALLS` times to first token of each expert, in seconds."""

    def __init__(self) -> None:
        self._by_age: dict[str, deque[float]] = {}
        self._by_length: dict[str, list[float]] = {}  # the same: quantiles are asked for more often than times come

    def add(self, expert: str, seconds: float) -> None:
        """One more time; the oldest goes when there are too many."""
        by_age = self._by_age.setdefault(expert, deque())
        by_length = self._by_length.setdefault(expert, [])
        if len(by_age) == LAST_CALLS:
            del by_length[bisect_left(by_length, by_age.popleft())]
        by_age.append(seconds)
        insort(by_length, seconds)

    def quantile(self, expert: str, q: float) -> float | None:
        """The shortest time that a share `q` of the calls, in (0, 1), did not exceed; None: fewer than `MIN_CALLS`."""
        times = self._by_length.get(expert, [])
        return times[math.ceil(q * len(times)) - 1] if len(times) >= MIN_CALLS else None
