"""How many additional calls may be made: retries or hedges, by their share of the requests. Knows no clock.

A bucket that is filled by what is asked, not by time: when everything fails, retries add their share to the load
instead of doubling it.
"""

from __future__ import annotations

RESERVE_CALLS = 3.0  # the first requests after a start can be helped too
CAP_CALLS = 10.0  # a quiet hour does not save up for a storm


class Allowance:
    """For one event loop; not for threads. Never allows more than `RESERVE_CALLS` + share × requests."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._calls = RESERVE_CALLS if share > 0 else 0.0

    def deposit(self) -> None:
        """One more request."""
        self._calls = min(self._calls + self.share, CAP_CALLS)

    def take(self) -> bool:
        """Whether one more additional call may be made; if so, it counts as made."""
        if self._calls < 1:
            return False
        self._calls -= 1
        return True
