"""What holds of a query's budget: its own word, defaults and ceilings of four levels, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.budget import LEVELS, Budget, Wish, resolve
from router.config_budgets import Budgets, QueryBudget
from router.errors import BadRequest

LIMITS = st.none() | st.floats(1e-3, 1e6)


def says(default: dict[str, Any] | None = None, ceiling: dict[str, Any] | None = None) -> Budgets:
    """What one level says."""
    return Budgets(default=QueryBudget(**(default or {})), ceiling=QueryBudget(**(ceiling or {})))


def test_nothing_said_is_nothing_bounded() -> None:
    """By nobody."""
    found = resolve(Wish(), {level: Budgets() for level in LEVELS}, None)
    assert found == Budget(source={})
    assert not found.bounded


def test_a_querys_own_word_in_the_units_that_are_reckoned_in() -> None:
    """Seconds, nanodollars; all of it its own."""
    wish = Wish(deadline_ms=1500, max_cost_usd=0.02, max_tokens=900, max_experts=3, min_confidence=0.8)
    found = resolve(wish, {}, None)
    assert found == Budget(1.5, 20_000_000, 900, 3, 0.8, source=found.source)
    assert set((found.source or {}).values()) == {"query"}


def test_the_tightest_default_holds_and_says_whose_it_is() -> None:
    """Of levels that say the same, the first."""
    levels = {
        "server": says({"deadline_ms": 1000, "max_experts": 2}),
        "policy": says({"deadline_ms": 2000, "max_experts": 2}),
    }
    found = resolve(Wish(), levels, None)
    assert (found.deadline_s, found.experts) == (1.0, 2)
    assert found.source == {"deadline_s": "server", "experts": "policy"}


def test_a_wish_may_be_looser_than_a_default() -> None:
    """Defaults are for those who say nothing."""
    assert resolve(Wish(deadline_ms=9000), {"policy": says({"deadline_ms": 1000})}, None).deadline_s == 9.0


def test_a_default_of_one_level_is_clipped_by_anothers_ceiling() -> None:
    """And a ceiling bounds whoever says nothing; its level is the source."""
    levels = {"policy": says({"max_cost_usd": 1.0}), "tenant": says(ceiling={"max_cost_usd": 0.5, "max_tokens": 100})}
    found = resolve(Wish(), levels, None)
    assert (found.nanos, found.tokens) == (500_000_000, 100)
    assert found.source == {"nanos": "tenant", "tokens": "tenant"}


@pytest.mark.parametrize(
    ("field", "wished", "ceiling"),
    [("deadline_ms", 2001, 2000), ("max_cost_usd", 0.6, 0.5), ("max_tokens", 2, 1), ("min_confidence", 0.9, 0.8)],
)
def test_a_wish_above_a_ceiling_is_refused(field: str, wished: float, ceiling: float) -> None:
    """400 that names the field, the lowest ceiling and whose it is; at the ceiling is fine."""
    levels = {"tenant": says(ceiling={field: ceiling}), "server": says(ceiling={field: wished})}
    with pytest.raises(BadRequest, match=f"above the ceiling of your tenant, {ceiling:g}") as caught:
        resolve(Wish(**{field: wished}), levels, None)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.param) == ("invalid_value", f"symposium.budget.{field}")
    assert caught.value.details == {"ceiling": ceiling, "level": "tenant"}
    resolve(Wish(**{field: ceiling}), levels, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", Wish.__dataclass_fields__)
def test_what_cannot_be_is_refused(field: str, bad: float) -> None:
    """Nothing below or at zero, nothing that is not finite."""
    with pytest.raises(BadRequest) as caught:
        resolve(Wish(**{field: bad}), {}, None)  # type: ignore[arg-type]
    assert caught.value.code == "invalid_value"
    assert field.removesuffix("_ms") in (caught.value.param or "")


@pytest.mark.parametrize(
    ("field", "bad"), [("max_tokens", 1.5), ("max_experts", 0.5), ("min_confidence", 1), ("min_confidence", 1.5)]
)
def test_what_is_counted_is_whole_and_probabilities_are_below_one(field: str, bad: float) -> None:
    """Half a token is none, and nothing is ever certain."""
    with pytest.raises(BadRequest, match=field):
        resolve(Wish(**{field: bad}), {}, None)  # type: ignore[arg-type]


def test_enormous_numbers_are_numbers() -> None:
    """They bound nothing, and break nothing."""
    found = resolve(Wish(deadline_ms=10**400, max_cost_usd=1e300, max_tokens=10**400, tpot_ms=1e300, ttft_ms=1), {}, 9)
    assert found.deadline_s == 1e9
    assert found.nanos is not None
    assert found.tokens is not None


def test_ttft_and_tpot_together_are_a_deadline() -> None:
    """Of an answer of known length, where that is the tighter one; both stay bounds of their own."""
    slo = Wish(ttft_ms=200, tpot_ms=10)
    found = resolve(slo, {}, 101)
    assert (found.deadline_s, found.ttft_s, found.tpot_s) == (1.2, 0.2, 0.01)
    assert found.source == {"deadline_s": "query", "ttft_s": "query", "tpot_s": "query"}
    assert resolve(slo, {}, None).deadline_s is None
    assert resolve(slo, {"server": says({"deadline_ms": 500})}, 101).deadline_s == 0.5
    assert resolve(Wish(ttft_ms=200), {}, 101).deadline_s is None


@given(LIMITS, LIMITS, LIMITS, LIMITS)
def test_nothing_holds_that_is_looser_than_any_ceiling(
    wished: float | None, default: float | None, first: float | None, second: float | None
) -> None:
    """Whatever is said, by whom: what holds is the wish or the tightest default, within all ceilings."""
    bounds = [bound for bound in (first, second) if bound is not None]
    usual = None if default is None else min([default, *([first] if first is not None else [])])
    levels = {
        "key": says({"deadline_ms": usual} if usual else {}, {"deadline_ms": first} if first else {}),
        "server": says(ceiling={"deadline_ms": second} if second else {}),
    }
    if wished is not None and any(wished > bound for bound in bounds):
        with pytest.raises(BadRequest):
            resolve(Wish(deadline_ms=wished), levels, None)
        return
    found = resolve(Wish(deadline_ms=wished), levels, None).deadline_s
    said = [wished] if wished is not None else [*bounds, *([usual] if usual is not None else [])]
    assert found == (min(said) / 1000 if said else None)
