"""Admission by somebody who knows how long everything will take: what any other admission is compared with. Pure.

Requests come in their order; each is given a slot as soon as one is free, or refused when it comes. Whoever knows its
duration, and those of all before it, refuses just those that could not be through by their deadline. It does not know
what is still to come, and keeps no slot free for that.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: when it comes, how long its answer takes once it is begun, by when after coming it must be there."""

    at_s: float
    takes_s: float
    deadline_s: float


def admitted(arrivals: Sequence[Arrival], slots: int, overhead_s: float = 0.0) -> list[bool]:
    """Whether each request is served, by a server of so many slots.

    Args:
        arrivals: in the order of their coming.
        overhead_s: of each request, beside its slot's work: what a real system needs to pass it on.
    """
    free = [0.0] * slots  # when each slot is free
    served = []
    for arrival in arrivals:
        ends_s = max(free[0], arrival.at_s) + arrival.takes_s
        in_time = ends_s + overhead_s <= arrival.at_s + arrival.deadline_s
        if in_time:
            heapq.heapreplace(free, ends_s)
        served.append(in_time)
    return served
