"""Holding a mean cost: each step by hand, the bound on the mean's error, and a market whose prices change."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import Policy
from router.events import Concluded, Decided, LegSettled
from router.pace import FIRST, GAIN, LARGEST, LEAST, MOST, Pace, Paces
from router.ranking import price
from router.records import Usage
from tests.unit.make import candidate, decision

TARGET = 0.004


def pace(usd_per_right: float | None = None) -> Pace:
    """Of a policy that may spend `TARGET` a query."""
    found = Pace.of(Policy(target_usd_per_query=TARGET, usd_per_right=usd_per_right))
    assert found is not None
    return found


def test_without_a_target_there_is_no_pace() -> None:
    """What a right answer is worth is what the operator says."""
    assert Pace.of(Policy()) is None
    assert Pace.of(Policy(usd_per_right=0.5)) is None


def test_a_pace_begins_at_what_the_operator_says() -> None:
    """Otherwise a query of the target's cost must be worth a fiftieth of a right answer."""
    assert pace(0.5).usd_per_right == pytest.approx(0.5)
    assert pace().usd_per_right == pytest.approx(TARGET / FIRST)


def test_a_query_that_costs_the_target_moves_nothing() -> None:
    """In one leg or in several; one that costs nothing makes money cheaper by one step, one of twice as much dearer."""
    begun = pace(0.1)
    assert begun.asked().spent(TARGET).usd_per_right == pytest.approx(0.1)
    assert begun.asked().spent(TARGET / 4).spent(TARGET * 3 / 4).usd_per_right == pytest.approx(0.1)
    assert begun.asked().usd_per_right == pytest.approx(0.1 * math.exp(GAIN))
    assert begun.asked().spent(2 * TARGET).usd_per_right == pytest.approx(0.1 * math.exp(-GAIN))


def test_one_runaway_answer_counts_as_a_few() -> None:
    """However long it was."""
    assert pace().spent(1e9) == pace().spent(LARGEST * TARGET)


@given(st.lists(st.floats(0, 1e6)))
def test_money_is_never_beyond_price_nor_free(costs: Sequence[float]) -> None:
    """A target that nobody can hold does not carry the worth away from where it could ever come back soon."""
    now = pace()
    for usd in costs:
        now = now.asked().spent(usd * TARGET)
        assert TARGET / MOST * (1 - 1e-9) <= now.usd_per_right <= TARGET / LEAST * (1 + 1e-9)


def spending(now: Pace, market: Sequence[tuple[float, float]], queries: int, seed: int) -> tuple[Pace, float]:
    """The pace after so many queries, and their mean cost: each asks who is worth most less the price.

    Args:
        market: P(right) and US dollars a query of each expert; P(right) differs by chance from query to query.
    """
    rng, spent = np.random.default_rng(seed), []
    for _ in range(queries):
        asked = [candidate(str(i), p + rng.normal(0, 0.1), usd_per_query=usd) for i, (p, usd) in enumerate(market)]
        best = max(asked, key=lambda c: c.p_correct - price(c, now.usd_per_right))
        usd = best.usd_per_query * rng.exponential()  # answers are as long as they are
        spent.append(usd)
        now = now.asked().spent(usd)
    return now, float(np.mean(spent))


MARKET = ((0.5, 0.0005), (0.65, 0.003), (0.75, 0.02))


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_cost_comes_to_the_target(seed: int) -> None:
    """Without a pace the best would be asked at five times the target; and again when all prices double."""
    now, first = spending(pace(), MARKET, 1000, seed)
    assert first == pytest.approx(TARGET, rel=0.15)
    _, doubled = spending(now, [(p, 2 * usd) for p, usd in MARKET], 2000, seed + 50)
    assert doubled == pytest.approx(TARGET, rel=0.15)


def test_the_mean_s_error_is_what_dearness_has_moved_by() -> None:
    """ln(dearness now / then) / (GAIN N): the bound that the module promises."""
    begun = pace()
    now, mean = spending(begun, [(0.5, 0.002), (0.7, 0.005)], 500, 3)
    assert (mean / TARGET - 1) * GAIN * 500 == pytest.approx(now.dear - begun.dear)


def test_a_replica_s_paces_are_moved_by_what_happens() -> None:
    """A policy's own decisions and legs, whoever was asked, aborted ones too; nothing else."""
    told: list[tuple[str, float]] = []
    policy = Policy(target_usd_per_query=TARGET, usd_per_right=0.1)

    def usd(_: str, used: Usage) -> float:
        return used.prompt_tokens * 1e-4 + used.completion_tokens * 2e-4

    paces = Paces({"held": policy, "auto": Policy()}, lambda *moved: told.append(moved))
    assert [name for name, _ in told] == ["held"]
    assert told[0][1] == pytest.approx(0.1)
    for event in (
        Decided(decision(policy="auto")),
        Concluded("held", "vote", "decided"),
        LegSettled("ada", "l", Usage(10, 20), "auto"),
        LegSettled("ada", "l", Usage(10, 20)),
    ):
        paces.emit(event, usd)
    assert len(told) == 1
    paces.emit(Decided(decision(policy="held")), usd)
    paces.emit(LegSettled("ada", "l", Usage(10, 20), "held"), usd)
    cost = 10 * 1e-4 + 20 * 2e-4
    assert [usd for _, usd in told[1:]] == pytest.approx(
        [0.1 * math.exp(GAIN), 0.1 * math.exp(GAIN * (1 - cost / TARGET))]
    )
    assert paces.priced("held", policy).usd_per_right == told[-1][1]
    assert paces.priced("auto", Policy()) == Policy()


def test_another_configuration_keeps_what_was_learned_of_targets_that_stay() -> None:
    """A policy with the same target goes on from where it was; one with another begins anew; one that went is gone."""
    told: dict[str, float] = {}
    kept, moved = Policy(target_usd_per_query=TARGET), Policy(target_usd_per_query=2 * TARGET)
    paces = Paces({"kept": kept, "moved": kept, "gone": kept}, lambda name, usd: told.update({name: usd}))
    begun = dict(told)
    for name in begun:
        paces.emit(Decided(decision(policy=name)), lambda *_: 0.0)
    paces.configured({"kept": kept, "moved": moved})
    assert paces.priced("kept", kept).usd_per_right == pytest.approx(begun["kept"] * math.exp(GAIN))
    assert paces.priced("moved", moved).usd_per_right == pytest.approx(2 * begun["moved"])
    assert paces.priced("gone", kept) == kept
