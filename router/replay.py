"""A convening replayed over answers that are known: the plan's waves, the aggregator's own moves, its conclusion. Pure.

For evaluation and what-if: what is decided is decided by the objects that serve requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from router.aggregate import Aggregation
from router.records import Plan, Reply, Standing


class Replayed(NamedTuple):
    """Whose words were returned, and who was asked for it."""

    expert: str
    asked: tuple[str, ...]


def replay(plan: Plan, how: Aggregation, said: Mapping[str, Reply]) -> Replayed:
    """Every expert answers, those of a wave at once.

    Where open-ended answers would be compared by meaning, the first one stands: there are none in benchmarks with
    letters or numbers.
    """
    heard: list[Reply] = []
    left = list(plan.waves)
    while left:
        heard += [said[expert] for expert in left.pop(0)]
        if how.move(Standing(tuple(heard), (), tuple(left))) == "stop":
            break
    answer = how.conclude(heard).answer
    return Replayed(answer.expert if answer else heard[0].expert, tuple(reply.expert for reply in heard))
