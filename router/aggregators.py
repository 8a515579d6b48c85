"""Who reads the experts' responses and writes the answer: the one measured best at it. Pure.

Being right alone and telling right from wrong among others are two skills: aggregators have profiles of their own
(`symposium profile --aggregators`). As with P(correct), a rate in a category leans on the expert's overall rate, and
that on the mean of all that were measured; each level counts as `strength` observations.
"""

from __future__ import annotations

from collections.abc import Sequence

from router.profiles import Profiles


def best_aggregators(profiles: Profiles, able: Sequence[str], category: str, strength: float) -> tuple[str, ...]:
    """Those of `able`, the best at aggregating in the category first; unmeasured ones last; equal ones by name.

    Args:
        category: the one acted on; where nobody was measured in it, overall rates decide.
        strength: observations that the prior of a shrunken rate counts as.
    """
    rates = {name: aggregator_rate(profiles, name, category, strength) for name in able}

    def order(name: str) -> tuple[bool, float, str]:
        rate = rates[name]
        return (True, 0.0, name) if rate is None else (False, -rate, name)

    return tuple(sorted(rates, key=order))


def aggregator_rate(profiles: Profiles, name: str, category: str, strength: float) -> float | None:
    """The shrunken rate of right final answers in the category; None for an expert that was not measured."""
    profile = profiles.aggregators.get(name)
    if profile is None:
        return None
    overall = profile.overall.rate(_mean(profiles), strength)
    count = profile.categories.get(category)
    return count.rate(overall, strength) if count else overall


def _mean(profiles: Profiles) -> float:
    """Share of all final answers that were right, by Laplace's rule: never certain."""
    right = sum(p.overall.right for p in profiles.aggregators.values())
    asked = sum(p.overall.asked for p in profiles.aggregators.values())
    return (right + 1) / (asked + 2)
