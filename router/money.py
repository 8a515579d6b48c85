"""Money as whole numbers of nanodollars (1e-9 US dollars): sums and comparisons are exact, on any machine. Pure.

A leg's cost is rounded up once, to a whole nanodollar; everything after that adds integers. The largest sum that a
double still holds exactly (Redis' scripts compute in doubles) is nine million dollars.
"""

from __future__ import annotations

import math

from experts.spec import Price

NANOS = 1_000_000_000  # of one US dollar
EVEN = 1e-6  # of a nanodollar: what the sum of two floats may be off, not a part that is charged


def cost(price: Price, prompt_tokens: int, output_tokens: int) -> int:
    """What so many tokens cost, nanodollars, rounded up."""
    return math.ceil(price.usd(prompt_tokens, output_tokens) * NANOS - EVEN)


def nanos(usd: float) -> int:
    """A limit in US dollars as nanodollars, rounded down but for what a float is off."""
    return math.floor(usd * NANOS + EVEN)


def usd(amount: int) -> float:
    """Nanodollars as US dollars, for people and JSON."""
    return amount / NANOS
