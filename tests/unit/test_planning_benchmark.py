"""`loadtest.planning`: every plan that it times fits, and what it says of the best one was tried."""

from __future__ import annotations

import argparse

import numpy as np

from loadtest.planning import best, case, measure
from router.records import Plan


def test_a_small_pool_is_planned_as_well_as_can_be() -> None:
    """Of eight experts the best plan is always found, and no gap is stated."""
    options = argparse.Namespace(experts=8, convened=3, cases=20, tried=20, times=1, seed=1)
    figures = measure(options)
    assert figures["best_found"] == 1.0
    assert set(figures["missed"].values()) == set(figures["stated_gap"].values()) == {0.0}
    assert figures["ms"]["p100"] > 0


def test_what_is_best_is_no_less_than_what_is_planned() -> None:
    """Of a larger pool, within the gap that is stated."""
    one = case(np.random.default_rng(3), 16, 4)
    plan = one.plan()
    assert isinstance(plan, Plan)
    assert plan.fit is not None
    assert plan.fit.quality <= best(one) <= plan.fit.quality + plan.fit.gap + 1e-9
