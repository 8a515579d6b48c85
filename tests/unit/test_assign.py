"""Which expert serves which category: the solver against all assignments of small problems, ties, errors, the front."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.assign import TIE, assign, pareto
from router.assignment import Assignment, Base, Pairs, Problem

EXPERTS = ("cy", "ada", "dan", "bob")  # not in the order of the names
CATEGORIES = ("math", "law", "art")
BUDGETS = st.none() | st.integers(0, 14)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Up to four experts and three categories. Few different numbers: ties are common, and differ by much or not."""
    experts = EXPERTS[: draw(st.integers(1, 4))]
    categories = CATEGORIES[: draw(st.integers(1, 3))]
    asked = [draw(st.integers(1, 4)) for _ in categories]
    tenths, small = st.integers(0, 10), st.integers(0, 4)
    pairs = st.sets(st.tuples(st.sampled_from(categories), st.sampled_from(experts)), max_size=3)
    forced = dict(draw(pairs))
    left = {(c, e) for c, e in draw(pairs) if forced.get(c) != e}
    full = {c for c in categories if {(c, e) for e in experts} <= left}
    return Problem(
        frequencies={c: n / sum(asked) for c, n in zip(categories, asked, strict=True)},
        rates={c: {e: draw(tenths) / 10 for e in experts} for c in categories},
        sizes={e: draw(small) * 1.1 for e in experts},
        costs={e: draw(small) * 0.01 for e in experts},
        forced=set(forced.items()),
        forbidden={(c, e) for c, e in left if c not in full},
        bases=[Base(frozenset(draw(st.sets(st.sampled_from(experts)))), draw(small) * 1.1) for _ in range(2)],
    )


def everything(problem: Problem, max_size: float | None = None, max_cost: float | None = None) -> Iterator[Assignment]:
    """All assignments that keep the pairs and the budgets, by enumeration."""
    for names in itertools.product(problem.sizes, repeat=len(problem.frequencies)):
        served = dict(zip(problem.frequencies, names, strict=True))
        pairs = set(served.items())
        if not set(problem.forced) <= pairs or pairs & set(problem.forbidden):
            continue
        found = Assignment(
            served,
            sum(share * problem.rates[c][served[c]] for c, share in problem.frequencies.items()),
            sum(problem.sizes[e] for e in set(names))
            + sum(base.size for base in problem.bases if base.experts & set(names)),
            sum(share * problem.costs[served[c]] for c, share in problem.frequencies.items()),
        )
        if (max_size is None or found.resident_size <= max_size + 1e-9) and (
            max_cost is None or found.mean_cost <= max_cost + 1e-9
        ):
            yield found


def first(found: Assignment) -> tuple[object, ...]:
    """The better of two assignments is less; nine digits, so that floating point does not matter."""
    numbers = (-found.quality, found.resident_size, found.mean_cost)
    return (*(round(number, 9) for number in numbers), *found.experts.values())


def problem(
    rates: Mapping[str, tuple[float, ...]],
    sizes: tuple[float, ...] = (1, 1),
    costs: tuple[float, ...] = (1, 1),
    forced: Pairs = (),
    forbidden: Pairs = (),
) -> Problem:
    """Categories that are equally frequent, with the rates of the first of `ada`, `bob` and `cy`."""
    names = ("ada", "bob", "cy")
    return Problem(
        dict.fromkeys(rates, 1 / len(rates)),
        {c: dict(zip(names, found, strict=False)) for c, found in rates.items()},
        dict(zip(names, sizes, strict=False)),
        dict(zip(names, costs, strict=False)),
        forced,
        forbidden,
    )


def served(found: Assignment) -> list[str]:
    """The experts, in the order of the categories."""
    return list(found.experts.values())


def large(seed: int) -> Problem:
    """34 experts and 14 categories, drawn: the larger an expert, the better and dearer on the mean."""
    rng = Random(seed)
    sizes = {f"e{i:02}": round(0.5 * 144 ** rng.random(), 2) for i in range(34)}
    shares = [rng.random() + 0.2 for _ in range(14)]
    return Problem(
        {f"c{i}": share / sum(shares) for i, share in enumerate(shares)},
        {f"c{i}": {e: 0.4 + 0.005 * s + 0.1 * rng.random() for e, s in sizes.items()} for i in range(14)},
        sizes,
        {e: s * 2e-5 * (0.7 + 0.6 * rng.random()) for e, s in sizes.items()},
    )


@given(problems(), BUDGETS, BUDGETS)
def test_the_solver_finds_what_enumeration_finds(asked: Problem, tenths: int | None, hundredths: int | None) -> None:
    """Of all assignments within budgets and pairs the first by quality, size, cost and names; an error if none is."""
    max_size = None if tenths is None else tenths * 1.1
    max_cost = None if hundredths is None else hundredths * 0.005
    able = list(everything(asked, max_size, max_cost))
    if not able:
        with pytest.raises(ValueError, match="cannot be kept: the smallest that can"):
            assign(asked, max_size=max_size, max_cost=max_cost)
        return
    assert first(assign(asked, max_size=max_size, max_cost=max_cost)) == first(min(able, key=first))


@given(problems(), BUDGETS)
def test_the_front_is_all_that_nothing_dominates(asked: Problem, hundredths: int | None) -> None:
    """By enumeration: no other is better in as much, nor as good in less; of equal ones the cheaper, then by name."""
    max_cost = None if hundredths is None else hundredths * 0.005
    able = sorted(everything(asked, None, max_cost), key=first)
    if not able:
        with pytest.raises(ValueError, match="mean cost"):
            pareto(asked, max_cost=max_cost)
        return
    front: list[Assignment] = []
    for one in able:  # the best first
        if not front or one.resident_size < front[-1].resident_size - 1e-9:
            front.append(one)
    found = pareto(asked, max_cost=max_cost)
    assert [first(point) for point in found] == [first(point) for point in reversed(front)]


@given(problems(), st.permutations(EXPERTS))
def test_the_order_in_which_experts_are_given_changes_nothing(asked: Problem, order: list[str]) -> None:
    """Another order takes the solver another way; ties are not its to break."""
    sizes = {e: asked.sizes[e] for e in order if e in asked.sizes}
    other = Problem(asked.frequencies, asked.rates, sizes, asked.costs, asked.forced, asked.forbidden, asked.bases)
    assert assign(other) == assign(asked)


def test_equal_quality_goes_to_the_smaller_then_the_cheaper_then_by_name() -> None:
    """Each example is a tie in all that comes before."""
    alike = {"math": (0.8, 0.8), "law": (0.6, 0.6)}
    assert served(assign(problem(alike, sizes=(2, 1), costs=(1, 9)))) == ["bob", "bob"]
    assert served(assign(problem(alike, sizes=(1, 1), costs=(2, 1)))) == ["bob", "bob"]
    assert served(assign(problem(alike))) == ["ada", "ada"]
    assert served(assign(problem(alike, sizes=(0, 0), costs=(0, 0)))) == ["ada", "ada"]
    both = problem({"math": (0.8, 0.8, 0.1), "law": (0.1, 0.1, 0.9)}, sizes=(2, 1, 3), costs=(1, 1, 1))
    assert served(assign(both)) == ["bob", "cy"]


def test_a_lead_that_no_measurement_shows_is_a_tie() -> None:
    """Less than `TIE` in quality: the smaller expert serves."""
    assert served(assign(problem({"math": (0.8 + TIE / 2, 0.8)}, sizes=(2, 1)))) == ["bob"]
    assert served(assign(problem({"math": (0.8 + TIE * 2, 0.8)}, sizes=(2, 1)))) == ["ada"]


def test_an_expert_is_held_once_however_much_it_serves() -> None:
    """Two that are each the best at something cost their sum; within less, one of them serves both."""
    asked = problem({"math": (0.9, 0.4), "law": (0.4, 0.8)}, sizes=(7.0, 8.0))
    free, tight = assign(asked), assign(asked, max_size=14.9)
    assert (served(free), free.resident_size) == (["ada", "bob"], 15.0)
    assert (served(tight), tight.resident_size) == (["ada", "ada"], 7.0)
    assert tight.quality == pytest.approx(0.65)


def test_the_budget_of_the_mean_cost_is_spent_where_it_helps_most() -> None:
    """The dear expert serves the frequent category only as far as its queries can be paid."""
    rates = {"math": {"ada": 0.9, "bob": 0.5}, "law": {"ada": 0.9, "bob": 0.8}}
    asked = Problem({"math": 0.25, "law": 0.75}, rates, {"ada": 1, "bob": 1}, {"ada": 1.0, "bob": 0.2})
    found = assign(asked, max_cost=0.5)
    assert served(found) == ["ada", "bob"]
    assert found.mean_cost == pytest.approx(0.25 + 0.15)
    assert served(assign(asked, max_cost=0.81)) == ["ada", "bob"]
    assert served(assign(asked, max_cost=1.0)) == ["ada", "ada"]


@given(problems())
def test_what_an_assignment_takes_is_a_budget_that_it_keeps(asked: Problem) -> None:
    """Its own size and cost, given back as budgets, to the last digit."""
    best = assign(asked)
    assert assign(asked, max_size=best.resident_size, max_cost=best.mean_cost) == best
    for point in pareto(asked):
        assert assign(asked, max_size=point.resident_size) == point


def test_the_smallest_budget_that_an_error_names_can_be_kept() -> None:
    """Each alone and both together; a thousandth less of it cannot."""
    asked = problem({"math": (0.9, 0.4), "law": (0.4, 0.8)}, (7.123456789, 8.0), (0.002, 0.0012345678))
    with pytest.raises(ValueError, match=r"^a resident size of 7 cannot be kept: the smallest that can is 7\.12346$"):
        assign(asked, max_size=7)
    with pytest.raises(ValueError, match=r"^a mean cost of 0\.001 cannot .* is 0\.00123457$"):
        assign(asked, max_cost=0.001)
    with pytest.raises(ValueError, match=r"size of 1 .* that can is 7\.12346; a mean cost of 0 .* is 0\.00123457$"):
        assign(asked, max_size=1, max_cost=0)
    with pytest.raises(ValueError, match="beside the other budget, is") as together:
        assign(asked, max_size=7.5, max_cost=0.0013)
    size, cost = (float(number) for number in re.findall(r"is ([\d.]+)", str(together.value)))
    assert served(assign(asked, max_size=size, max_cost=0.0013)) == ["bob", "bob"]
    assert served(assign(asked, max_size=7.5, max_cost=cost)) == ["ada", "ada"]
    for budgets in ({"max_size": size * 0.999, "max_cost": 0.0013}, {"max_size": 7.5, "max_cost": cost * 0.999}):
        with pytest.raises(ValueError, match="cannot be kept"):
            assign(asked, **budgets)


def test_any_number_is_a_budget() -> None:
    """Infinite is none at all; tiny, and less than nothing, cannot be kept; and what is no number is refused."""
    asked = problem({"math": (0.9, 0.4)}, sizes=(7, 0))
    assert assign(asked, max_size=float("inf"), max_cost=float("inf")) == assign(asked)
    assert served(assign(asked, max_size=0)) == ["bob"]
    assert served(assign(asked, max_size=1e-300)) == ["bob"]
    for budget in (1e-300, -1.0):
        with pytest.raises(ValueError, match=r"cannot be kept: the smallest that can is 1$"):
            assign(asked, max_cost=budget)
    with pytest.raises(ValueError, match="must be a number"):
        assign(asked, max_size=float("nan"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"forced": [("math", "ada"), ("math", "bob")]}, "math: forced to ada and to bob"),
        ({"forced": [("math", "ada")], "forbidden": [("math", "ada")]}, "math=ada: forced and forbidden"),
        ({"forbidden": [("law", "ada"), ("law", "bob")]}, "law: forbidden to every expert"),
        ({"forced": [("math", "dan")]}, "math=dan: there is no such category, or no such expert"),
        ({"forbidden": [("art", "ada")]}, "art=ada: there is no such category"),
        ({"sizes": {"ada": 1.0, "bob": -1.0}}, "sizes: finite numbers of at least 0; look at bob"),
        ({"costs": {"ada": 1.0, "bob": float("nan")}}, "costs: finite numbers of at least 0; look at bob"),
        ({"costs": {"ada": 1.0}}, "costs: of the experts that have a size, and of no other; look at bob"),
        ({"rates": {"math": {"ada": 1.0, "bob": 1.0}}}, "rates: of the categories that have a frequency"),
        ({"frequencies": {"math": 0.5, "law": 0.6}}, "frequencies: each must be above 0, and all together 1"),
        ({"frequencies": {"math": 1.0, "law": 0.0}}, "frequencies: each must be above 0"),
        ({"frequencies": {}, "rates": {}}, "frequencies: "),
    ],
)
def test_a_problem_that_cannot_be_one_says_why(fields: dict[str, object], words: str) -> None:
    """Before anything is solved, with the names to look at."""
    known: dict[str, object] = {
        "frequencies": {"math": 0.5, "law": 0.5},
        "rates": {c: {"ada": 0.5, "bob": 0.5} for c in ("math", "law")},
        "sizes": {"ada": 1.0, "bob": 1.0},
        "costs": {"ada": 1.0, "bob": 1.0},
    }
    with pytest.raises(ValueError, match=re.escape(words)):
        Problem(**(known | fields))  # type: ignore[arg-type]


def test_a_large_problem_keeps_its_budgets() -> None:
    """34 experts, 14 categories, both budgets: each costs quality, and the smallest sizes and costs are not lost."""
    asked = large(0)
    free = assign(asked)
    small = assign(asked, max_size=24)
    cheap = assign(asked, max_size=24, max_cost=small.mean_cost / 4)
    assert free.quality > small.quality > cheap.quality
    assert max(small.resident_size, cheap.resident_size) <= 24 * (1 + TIE)
    assert cheap.mean_cost <= small.mean_cost / 4 * (1 + TIE)
    for found in (free, small, cheap):
        assert found.resident_size == pytest.approx(sum(asked.sizes[e] for e in set(served(found))))


def test_a_front_of_too_many_points_is_cut_down_to_some_all_over_it() -> None:
    """At most so many, both ends among them, each what `assign` answers within its size."""
    asked = large(1)
    some = pareto(asked, max_points=5)
    assert len(some) == 5
    assert some[-1] == assign(asked)
    assert some[0].resident_size == min(asked.sizes.values())
    assert some[2] == assign(asked, max_size=some[2].resident_size)
    steps = [b.quality - a.quality for a, b in itertools.pairwise(some)]
    assert min(steps) > 0
    assert max(steps) < (some[-1].quality - some[0].quality) / 2
