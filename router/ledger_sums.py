"""The arithmetic of the ledger, the same for every store: what a leg is charged, how buckets fill. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from router.ledger import Level, Rate, Taken

SUM_MOST = 2**53 - 1  # whole numbers up to here are exact in a double, in Lua and in JSON
LEG_MOST = 2**43  # nanodollars, 8,796 dollars: no call costs that, whatever its server says; a thousand are a sum
EVEN = 1e-6  # of a unit: what the sum of two floats may be off


def within(number: int, most: int) -> int:
    """A number that some server has said, as one that can be booked."""
    return min(max(number, 0), most)


def chargeable(amount: int, held: int, rooms: Iterable[int]) -> int:
    """What of a leg's cost is charged. `rooms`: limit - settled - what other legs hold, of each meter with a limit.

    What was held is paid in any case; what goes beyond it, as far as all limits allow.
    """
    return min(amount, max(held, min(rooms, default=amount)))


def refilled(level: float, at: float, per_minute: int, now: float) -> float:
    """A bucket's level, which was `level` at that time; a clock that is behind another one's fills nothing twice."""
    return min(per_minute, level + max(0.0, now - at) * per_minute / 60)


def enough(levels: Sequence[float], units: Sequence[int]) -> bool:
    return all(level + EVEN >= wanted for level, wanted in zip(levels, units, strict=True))


def taken(rates: Sequence[Rate], units: Sequence[int], levels: Sequence[float], *, done: bool) -> Taken:
    """What is told of buckets that stand at `levels`, after units were taken of them or, not `done`, in vain."""
    told = tuple(
        Level(rate, math.floor(level + EVEN), max(0.0, (rate.per_minute - level) * 60 / rate.per_minute))
        for rate, level in zip(rates, levels, strict=True)
    )
    if done:
        return Taken(told)
    waits = [_wait_s(rate, wanted, level) for rate, wanted, level in zip(rates, units, levels, strict=True)]
    longest = max(waits)
    return Taken(told, longest, rates[waits.index(longest)])


def _wait_s(rate: Rate, wanted: int, level: float) -> float:
    """Until so many units are there; for ever where the bucket does not hold them."""
    if wanted > rate.per_minute:
        return math.inf
    return max(0.0, (wanted - level) * 60 / rate.per_minute)
