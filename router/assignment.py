"""Which expert could serve which category, at what size and cost: the problem that `router/assign.py` solves. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from router.profiles import Profiles
from router.rates import Rates

Pairs = Collection[tuple[str, str]]  # (category, expert)


class Base(NamedTuple):
    """What is resident, once, as long as any of these experts serves anything."""

    experts: frozenset[str]
    size: float


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What there is to assign.

    Attributes:
        frequencies: category -> its share of the queries; above 0, together 1.
        rates: category -> expert -> rate of right answers, of every expert.
        sizes: expert -> what it holds resident if it serves anything, in any one unit (billions of parameters, GiB).
        bases: what experts share besides: the model that adapters are on.
        costs: expert -> mean cost of one query, in any one unit (US dollars, active parameters).
        forced, forbidden: pairs that must be, and must not be, part of the assignment.

    Raises:
        ValueError: numbers that are missing or impossible; pairs that name nobody or contradict each other.
    """

    frequencies: Mapping[str, float]
    rates: Mapping[str, Mapping[str, float]]
    sizes: Mapping[str, float]
    costs: Mapping[str, float]
    forced: Pairs = ()
    forbidden: Pairs = ()
    bases: Sequence[Base] = ()

    def __post_init__(self) -> None:
        if problems := [*_odd_numbers(self), *_odd_pairs(self)]:
            raise ValueError("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who serves what; what that is worth, holds resident and costs on the mean, in the problem's units."""

    experts: Mapping[str, str]  # category -> expert
    quality: float
    resident_size: float
    mean_cost: float


def problem_of(
    profiles: Profiles,
    experts: Sequence[str],
    sizes: Mapping[str, float],
    costs: Mapping[str, float],
    strength: float,
    *,
    forced: Pairs = (),
    forbidden: Pairs = (),
    bases: Sequence[Base] = (),
) -> Problem:
    """The problem of these experts as they were measured.

    A category is as frequent as among their calibration answers. Rates are the shrunken ones that recruitment by
    `category` goes by (`router/ranking.py`): an expert that was never measured has the pool's mean.

    Args:
        sizes, costs: of each of the experts, and bases: as in `Problem`.
        strength: observations that the prior of a shrunken rate counts as.

    Raises:
        ValueError: none of the experts was measured in any category; and as for `Problem`.
    """
    found = Rates.of(profiles.experts, strength)
    asked = found.by_category.asked[[found.places[name] for name in experts if name in found.places]].sum(axis=0)
    if not asked.any():
        raise ValueError("none of these experts was measured in any category; `symposium profile` measures them")

    frequencies = {
        name: float(count / asked.sum()) for name, count in zip(found.categories, asked, strict=True) if count
    }
    rates = {name: {expert: found.rate(expert, name) for expert in experts} for name in frequencies}
    return Problem(frequencies, rates, sizes, costs, forced, forbidden, bases)


def _odd_numbers(problem: Problem) -> Iterator[str]:
    if not (math.isclose(sum(problem.frequencies.values()), 1) and min(problem.frequencies.values()) > 0):
        yield "frequencies: each must be above 0, and all together 1"
    if problem.rates.keys() != problem.frequencies.keys():
        yield "rates: of the categories that have a frequency, and of no other"
    for what, numbers in (("costs", problem.costs), ("sizes", problem.sizes), *problem.rates.items()):
        if odd := sorted(numbers.keys() ^ problem.sizes.keys()):
            yield f"{what}: of the experts that have a size, and of no other; look at {', '.join(odd)}"
        if odd := sorted(expert for expert, number in numbers.items() if not 0 <= number < math.inf):
            yield f"{what}: finite numbers of at least 0; look at {', '.join(odd)}"
    for base in problem.bases:
        if base.experts - problem.sizes.keys() or not 0 <= base.size < math.inf:
            yield f"bases: finite sizes of at least 0, under known experts; look at {', '.join(sorted(base.experts))}"


def _odd_pairs(problem: Problem) -> Iterator[str]:
    for category, expert in sorted({*problem.forced, *problem.forbidden}):
        if category not in problem.frequencies or expert not in problem.sizes:
            yield f"{category}={expert}: there is no such category, or no such expert"
        if (category, expert) in problem.forced and (category, expert) in problem.forbidden:
            yield f"{category}={expert}: forced and forbidden"
    for category in problem.frequencies:
        if len(forced := sorted({e for c, e in problem.forced if c == category})) > 1:
            yield f"{category}: forced to {' and to '.join(forced)}; one expert serves a category"
        if {e for c, e in problem.forbidden if c == category} >= problem.sizes.keys():
            yield f"{category}: forbidden to every expert"
