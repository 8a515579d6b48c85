"""Which expert serves which category: the assignment of Composition of Experts (arXiv 2412.01868), under budgets. Pure.

A mixed-integer linear program, solved by HiGHS. Its binary variables are a_ce, whether expert e serves category c, and
y_u, whether u is resident:

    maximise    sum_c pi_c sum_e w_ce a_ce                         the rate of right answers
    subject to  sum_e a_ce = 1 for each c,  a_ce <= y_u for each unit u that e needs
                sum_u P_u y_u <= the resident budget
                sum_c pi_c sum_e C_e a_ce <= the budget of the mean cost

pi_c is the frequency of a category, w_ce the measured rate of an expert in it, P_u what a unit holds resident and C_e
what a query to an expert costs. Units are the experts themselves and the bases that adapters share. The answer depends
on the problem alone, never on the solver's path: where assignments are equal, further programs choose the smallest,
then the cheapest, then the first by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from router.assignment import Assignment, Problem

TIE = 1e-5  # qualities, and shares of a size or cost, that differ by less are equal; the solver may err by a millionth
SCALE = 1e3  # of rows and objectives: makes HiGHS' absolute tolerances of 1e-6 small beside TIE
INFEASIBLE = 2  # a status of scipy.optimize.milp
Vector = NDArray[np.float64]  # (C * E + U,): of each variable, a row by row, then y


def assign(problem: Problem, *, max_size: float | None = None, max_cost: float | None = None) -> Assignment:
    """The assignment of the highest quality within the budgets. Of equal ones (`TIE`) the smallest, then the cheapest,
    then the one whose experts come first by name, category by category.

    Args:
        max_size, max_cost: budgets of the resident size and of the mean cost; None: any. Kept to some millionths.

    Raises:
        ValueError: no assignment keeps the budgets; it says which one, and the smallest that can be kept.
    """
    if math.isnan(max_size or 0.0) or math.isnan(max_cost or 0.0):
        raise ValueError("a budget must be a number")
    program = _program(problem)
    found = program.within(max_size, max_cost).best()
    if found is None:
        raise ValueError(_why_infeasible(program, max_size, max_cost))
    return found


def pareto(problem: Problem, *, max_cost: float | None = None, max_points: int = 64) -> tuple[Assignment, ...]:
    """The front of resident size and quality, the smallest assignment first: no other is better in as much, nor as good
    in less. Each is what `assign` answers for its own size as budget.

    By the epsilon-constraint method: two assignments are neighbours on the front when a budget just below the larger
    buys nothing better than the smaller. The budget half-way between them is tried before, and the largest step in
    quality first, so that a front of more than `max_points` (2 or more) keeps its ends and points all over it.

    Raises:
        ValueError: no assignment keeps `max_cost`; it says the smallest that can be kept.
    """
    best = assign(problem, max_cost=max_cost)
    program = _program(problem).within(None, max_cost)
    least = program.least(program.size, best.resident_size)
    smallest = program.within(float(program.size @ least) * (1 + TIE), None).best()
    assert smallest is not None, "`least` is one"
    front, steps = [smallest, best], [(smallest, best)]
    while steps and len(front) < max_points:
        low, high = steps.pop(max(range(len(steps)), key=lambda i: steps[i][1].quality - steps[i][0].quality))
        for budget in ((low.resident_size + high.resident_size) / 2, high.resident_size * (1 - TIE)):
            if found := program.within(budget, None).best(above=low.quality + TIE):
                front.append(found)
                steps += [(low, found), (found, high)]
                break
    ordered = sorted(front, key=lambda point: point.resident_size)
    return tuple(ordered if smallest.resident_size < best.resident_size else ordered[:1])


@dataclass(frozen=True, slots=True, eq=False)
class _Program:
    """The mixed-integer program. An assignment x, 0 or 1 for each variable, has quality @ x, size @ x and cost @ x.

    `needs` [E, U] is 1 where an expert needs a unit.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    needs: NDArray[np.float64]
    quality: Vector
    size: Vector
    cost: Vector
    bounds: Bounds
    rows: tuple[LinearConstraint, ...]

    def where(self, values: Vector, *, least: float = -math.inf, most: float = math.inf) -> _Program:
        """Also with one bound on values @ x."""
        largest = float(values.max())  # what is 0, tiny or infinite beside it must not become a coefficient
        scale = SCALE / (min(max(abs(least), 1e-9 * largest), max(abs(most), 1e-9 * largest), 1e9 * largest) or 1.0)
        return replace(self, rows=(*self.rows, LinearConstraint(values * scale, least * scale, most * scale)))

    def within(self, max_size: float | None, max_cost: float | None) -> _Program:
        """Also within these budgets."""
        bounded = self if max_size is None else self.where(self.size, most=max_size)
        return bounded if max_cost is None else bounded.where(self.cost, most=max_cost)

    def solve(self, values: Vector) -> Vector | None:
        """The assignment with the least values @ x; None when there is none."""
        exact = {"mip_rel_gap": 0.0}
        found = milp(SCALE * values, integrality=1, bounds=self.bounds, constraints=self.rows, options=exact)
        if found.status == INFEASIBLE:
            return None
        if found.x is None:
            raise RuntimeError(f"HiGHS: {found.message}")
        pairs = self._pairs(found.x.round())
        return np.append(pairs, pairs.max(axis=0) @ self.needs > 0)  # what serves something is resident

    def least(self, values: Vector, known: float) -> Vector:
        """As `solve`, where an assignment with values @ x = `known` is known: scaled by it, small values count too."""
        found = self.where(values, most=known * (1 + TIE)).solve(values / (known or 1.0))
        assert found is not None, "one is known"
        return found

    def best(self, *, above: float = -math.inf) -> Assignment | None:
        """The one that `assign` promises; None when there is none, or none of a quality above this."""
        best, program = self.solve(-self.quality), self
        if best is None or self.quality @ best <= above:
            return None
        as_good = float(self.quality @ best) - TIE
        for values in (self.size, self.cost, *self._ranks()):
            rival = program._other_than(best).solve(-self.quality)
            if rival is None or self.quality @ rival < as_good:
                break
            best = program.where(self.quality, least=as_good).least(values, float(values @ best))
            program = program.where(values, most=float(values @ best) * (1 + TIE))
        served = self._pairs(best).argmax(axis=1)
        names = {category: self.experts[i] for category, i in zip(self.categories, served, strict=True)}
        return Assignment(names, *(math.fsum(values * best) for values in (self.quality, self.size, self.cost)))

    def _pairs(self, x: Vector) -> Vector:
        """[C, E], whether an expert serves a category."""
        return x[: len(self.categories) * len(self.experts)].reshape(len(self.categories), -1)

    def _other_than(self, x: Vector) -> _Program:
        pairs = np.append(self._pairs(x), np.zeros(self.needs.shape[1]))
        return self.where(pairs, most=len(self.categories) - 1)

    def _ranks(self) -> Iterator[Vector]:
        """Of each category: the rank of its expert among the names."""
        ranks = np.argsort(np.argsort(self.experts)).astype(float)
        for i in range(len(self.categories)):
            pairs = np.zeros((len(self.categories), len(self.experts)))
            pairs[i] = ranks
            yield np.append(pairs, np.zeros(self.needs.shape[1]))


def _program(problem: Problem) -> _Program:
    categories, experts = tuple(problem.frequencies), tuple(problem.sizes)
    shape = len(categories), len(experts)
    frequencies = np.array([[problem.frequencies[c]] for c in categories])
    rates = np.array([[problem.rates[c][e] for e in experts] for c in categories])
    on_base = np.array([[e in base.experts for base in problem.bases] for e in experts], dtype=float)
    needs = np.hstack([np.eye(shape[1]), on_base.reshape(shape[1], -1)])
    units = np.array([problem.sizes[e] for e in experts] + [base.size for base in problem.bases])
    nothing, no_pairs = np.zeros(len(units)), np.zeros(shape)
    lower, upper = np.zeros(shape), np.ones(shape)
    for pairs, bound, value in ((problem.forced, lower, 1.0), (problem.forbidden, upper, 0.0)):
        for category, expert in pairs:
            bound[categories.index(category), experts.index(expert)] = value
    each = sparse.kron(sparse.eye_array(shape[0]), np.ones((1, shape[1])))
    one_each = sparse.hstack([each, sparse.csr_array((shape[0], len(units)))])
    who, unit = np.nonzero(needs)  # a row for each need, of each category
    serving = sparse.csr_array((np.ones(len(who)), (range(len(who)), who)), (len(who), shape[1]))
    resident = sparse.csr_array((np.ones(len(unit)), (range(len(unit)), unit)), (len(unit), len(units)))
    needed = sparse.hstack(
        [sparse.kron(sparse.eye_array(shape[0]), serving), -sparse.kron(np.ones((shape[0], 1)), resident)]
    )
    return _Program(
        categories,
        experts,
        needs,
        quality=np.append(frequencies * rates, nothing),
        size=np.append(no_pairs, units),
        cost=np.append(frequencies * [problem.costs[e] for e in experts], nothing),
        bounds=Bounds(np.append(lower, nothing), np.append(upper, nothing + 1)),
        rows=(LinearConstraint(one_each, 1, 1), LinearConstraint(needed, -np.inf, 0)),
    )


def _why_infeasible(program: _Program, max_size: float | None, max_cost: float | None) -> str:
    """Which budgets cannot be kept, and the smallest that can: beside the other one where that can be kept alone."""

    def least(values: Vector, within: _Program) -> float | None:
        known = within.solve(-program.quality)
        return None if known is None else float(values @ within.least(values, float(values @ known)))

    said = []
    for what, values, budget, other in (
        ("resident size", program.size, max_size, program.within(None, max_cost)),
        ("mean cost", program.cost, max_cost, program.within(max_size, None)),
    ):
        beside, alone = least(values, other), least(values, program)
        smallest = beside if beside is not None else alone
        if budget is not None and smallest is not None and not smallest <= budget:
            both = ", beside the other budget," if beside != alone and beside is not None else ""
            said.append(f"a {what} of {budget:g} cannot be kept: the smallest that can{both} is {_above(smallest)}")
    return "; ".join(said)


def _above(value: float) -> str:
    """In six digits, rounded up: a budget that can be kept."""
    return f"{Context(prec=6, rounding=ROUND_CEILING).create_decimal(f'{value:.12g}'):f}"
