"""What holds of every plan under every budget: the bounds, the best that fits, and a ladder that only goes down."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.budget import Budget
from router.offers import LEAST_TOKENS, RUNGS
from router.records import Plan
from router.unaffordable import Unaffordable
from tests.unit.make_budgets import World, possible, random_budget, random_world, rung_of

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 6)
CLOSE = 1e-9


def worst(of: World, plan: Plan) -> tuple[float, float]:
    """Nanodollars and output tokens that the plan's calls may come to; without an aggregator's."""
    assert plan.fit is not None
    caps, samples = plan.fit.max_tokens, of.query.needs.samples
    own = {name: min(of.query.max_tokens or math.inf, of.outlooks[name].room) for name in plan.experts}
    bounds = {name: caps.get(name, own[name]) for name in plan.experts}
    assert all(1 <= bounds[name] <= own[name] for name in plan.experts)
    nanos = sum(of.outlooks[name].nanos(bound) for name, bound in bounds.items())
    return nanos, sum(bounds.values()) * samples


@given(SEEDS, SEEDS, SIZES)
@settings(max_examples=400, deadline=None)
def test_a_plan_never_exceeds_its_budget(world_seed: int, budget_seed: int, size: int) -> None:
    """In the worst case, to the nanodollar and the token, with what the aggregator needs; and in experts."""
    of, budget = random_world(world_seed, size), random_budget(budget_seed)
    plan = of.plan(budget)
    if isinstance(plan, Unaffordable):
        return
    nanos, tokens = worst(of, plan)
    if plan.aggregator == "synthesize":
        writer = of.writers[plan.synthesizers[0]]
        length = max(1, min(writer.tokens, writer.room, of.query.max_tokens or writer.room))
        nanos, tokens = nanos + writer.nanos(length), tokens + length
    assert nanos <= (math.inf if budget.nanos is None else budget.nanos)
    assert tokens <= (math.inf if budget.tokens is None else budget.tokens)
    assert len(plan.experts) <= (budget.experts or math.inf)
    assert len(plan.experts) <= len(of.wish.experts)


@given(SEEDS, SEEDS, SIZES)
@settings(max_examples=400, deadline=None)
def test_it_is_the_best_of_all_that_fit(world_seed: int, budget_seed: int, size: int) -> None:
    """Tried by hand: nothing that fits is worth more, or as much on an earlier rung; where enough is said, nothing that
    is worth enough is cheaper; and where whole answers fit, none is cut short.
    """
    of, budget = random_world(world_seed, size), random_budget(budget_seed)
    plan, every = of.plan(budget), list(possible(of, budget))
    if not every:
        assert isinstance(plan, Unaffordable) or rung_of(plan) == RUNGS.index("shorter_answer")
        return
    assert isinstance(plan, Plan)
    assert plan.fit is not None
    assert plan.fit.gap == 0
    taken = [p for p in every if p.experts == set(plan.experts) and p.aggregator == plan.aggregator]
    assert any(p.rung == plan.fit.rung and p.worth == pytest.approx(plan.fit.quality, abs=CLOSE) for p in taken)
    enough = budget.min_confidence
    reaching = [p for p in every if enough is not None and p.worth >= enough + CLOSE]
    if reaching and of.quality >= (enough or 0) + CLOSE:
        assert plan.fit.quality >= (enough or 0) - CLOSE
        assert plan.fit.usd_nanos <= min(p.usd_nanos for p in reaching)
        return
    best = max(p.worth for p in every)
    assert plan.fit.quality == pytest.approx(best, abs=CLOSE)
    if enough is None:
        earliest = min(RUNGS.index(p.rung) for p in every if p.worth >= best + CLOSE / 2 or p.worth == best)
        assert rung_of(plan) <= earliest


def tighter(budget: Budget, share: float) -> Iterator[Budget]:
    """The same with one field tightened, or said where it was not."""
    for name in ("deadline_s", "ttft_s", "tpot_s", "min_confidence"):
        known = getattr(budget, name)
        fields: dict[str, Any] = {name: 0.9 * share if known is None else known * share}
        yield replace(budget, **fields)
    for name, most in (("nanos", 3000), ("tokens", 300), ("experts", 4)):
        known = getattr(budget, name)
        fields = {name: max(1, int((most if known is None else known) * share))}
        yield replace(budget, **fields)


@given(SEEDS, SEEDS, SIZES, st.floats(0.05, 1))
@settings(max_examples=400, deadline=None)
def test_the_ladder_is_monotone(world_seed: int, budget_seed: int, size: int, share: float) -> None:
    """With any field tightened, or later, the plan is worth no more (than what is enough), and a refusal stays one."""
    of, budget = random_world(world_seed, size), random_budget(budget_seed)
    loose = of.plan(budget)
    less = [(of.plan(narrow), narrow) for narrow in tighter(budget, share)]
    less.append((of.plan(budget, elapsed_s=share), budget))
    for tight, narrow in less:
        if isinstance(loose, Unaffordable):
            assert isinstance(tight, Unaffordable)
        elif isinstance(tight, Plan):
            assert tight.fit is not None
            assert loose.fit is not None
            enough = narrow.min_confidence or budget.min_confidence or 1.0
            assert min(tight.fit.quality, enough) <= loose.fit.quality + CLOSE
            if loose.fit.rung == "shorter_answer":
                assert tight.fit.rung == "shorter_answer"


@given(SEEDS, SEEDS, SIZES)
@settings(max_examples=200, deadline=None)
def test_answers_that_have_to_be_whole_are_never_cut(world_seed: int, budget_seed: int, size: int) -> None:
    """JSON comes with all the tokens that it needs, or not at all; other answers with at least LEAST_TOKENS."""
    of, budget = random_world(world_seed, size), random_budget(budget_seed)
    plan = of.plan(budget)
    if isinstance(plan, Unaffordable):
        return
    assert plan.fit is not None
    longest = of.query.max_tokens or math.inf
    for name, cap in plan.fit.max_tokens.items():
        needed = max(1, min(of.outlooks[name].tokens, of.outlooks[name].room, longest))
        cut = cap < needed
        assert cut == (plan.fit.rung == "shorter_answer")
        assert cap >= min(LEAST_TOKENS, needed)
        assert not (cut and of.query.needs.json_schema)


@given(SEEDS, SIZES)
@settings(max_examples=100, deadline=None)
def test_without_a_budget_the_wish_stays_as_it_is(seed: int, size: int) -> None:
    """Only how it fits is added."""
    of = random_world(seed, size)
    plan = of.plan(Budget())
    assert isinstance(plan, Plan)
    assert replace(plan, fit=None) == of.wish
    assert plan.fit is not None
    assert (plan.fit.rung, plan.fit.max_tokens) == ("none", {})
    assert plan.fit.quality == pytest.approx(of.quality)
