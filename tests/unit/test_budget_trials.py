"""Recorded questions under budgets: what a plan costs and answers when it is replayed, and the figures made of that."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from router.budget import Budget, Fit
from router.budget_trials import PLANNED, WAYS, Outcome, World, gained, judged, world
from router.budgets_plot import plot
from router.evaluation import trial
from router.evaluation_budgets import BOUNDS, STEPS, budget_of, judge, limits_of, table
from router.money import NANOS
from router.outcome_costs import Model
from router.outcome_times import CLOCK, Costs, costs
from router.outcomes import Outcomes
from router.outlook import LATE, USUAL
from router.records import Plan
from tests.unit.make_evaluation import EXPERTS, Words, outcomes, split

COUNT = 240
PROMPT_TOKENS = 50
MODELS = {
    "ada": Model(4.0, 8.0, 70.0),
    "bob": Model(4.0, 8.0, 70.0),
    "cat": Model(2.0, 4.0, 30.0),
    "dan": Model(1.0, 2.0, 3.0),
}
PNG = b"\x89PNG\r\n\x1a\n"


def recorded() -> Outcomes:
    """With the length of each answer, and what it cost."""
    tokens = np.random.default_rng(5).integers(20, 200, (COUNT, len(EXPERTS))).astype(np.float64)
    prices = np.array([[MODELS[name].price_in, MODELS[name].price_out] for name in EXPERTS], dtype=np.float64)
    return outcomes(COUNT, tokens=tokens, usd=(PROMPT_TOKENS * prices[:, 0] + tokens * prices[:, 1]) / 1e6)


@pytest.fixture(scope="module", name="asked")
def _asked() -> World:
    made = recorded()
    return world(trial(made, split(COUNT), Words(), 0), split(COUNT), costs(made, MODELS, 0))


def test_costs_are_taken_apart_again() -> None:
    """What was recorded as one sum: the prompt's part, exactly, and the price of a token."""
    found = costs(recorded(), MODELS, 0)
    assert found.prompt_nanos[0].tolist() == [PROMPT_TOKENS * 1000 * int(MODELS[n].price_in or 0) for n in EXPERTS]
    assert found.token_nanos.tolist() == [8000.0, 8000.0, 4000.0, 2000.0]
    assert abs(float(np.log(found.slower).std()) - CLOCK.spread) < 0.05


@pytest.mark.parametrize("lacking", ["tokens", "answers", "prices"])
def test_what_is_not_recorded_is_said(lacking: str) -> None:
    """Lengths, answers and prices cannot be made up."""
    fields: dict[str, Any] = {"usd_from": "parameters"} if lacking == "prices" else {lacking: None}
    made = replace(recorded(), **fields)
    with pytest.raises(ValueError, match="budgets need recorded answers and output tokens, and prices"):
        costs(made, MODELS, 0)


def test_a_model_without_a_size_has_no_speed() -> None:
    """Its name is told."""
    with pytest.raises(ValueError, match="none of 'cat'"):
        costs(recorded(), MODELS | {"cat": Model(2.0, 4.0, None)}, 0)


def test_larger_models_are_slower() -> None:
    """By the weights that are read for each token; the late quantile is the slower one."""
    small, large = CLOCK.pace(3, USUAL), CLOCK.pace(70, USUAL)
    assert small.tpot_s == pytest.approx(0.003 + 3 * 0.0005)
    assert large.tpot_s == pytest.approx(0.003 + 70 * 0.0005)
    assert CLOCK.pace(3, LATE).seconds(100) == pytest.approx(math.exp(0.3 * 1.645) * small.seconds(100), rel=1e-3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("usd", [1e-5, 3e-4, 1e-3, 1.0])
def test_no_way_ever_costs_more_than_it_may(asked: World, way: str, usd: float) -> None:
    """Of no question, not by a nanodollar."""
    budget = Budget(nanos=int(usd * NANOS))
    found = list(judged(asked, WAYS[way], budget))
    assert len(found) == len(asked.trial.asked)
    assert max(outcome.nanos for outcome in found) <= usd * NANOS


@pytest.mark.parametrize("way", WAYS)
def test_with_plenty_everything_is_answered(asked: World, way: str) -> None:
    """Nothing is given up but by who convenes fewer anyway."""
    found = list(judged(asked, WAYS[way], Budget(nanos=NANOS, deadline_s=1000.0)))
    assert {outcome.rung for outcome in found} == {"none"}
    assert {outcome.calls for outcome in found} == {4 if way in (PLANNED, "fixed-5") else int(way[-1])}


def test_planning_is_no_worse_than_what_needs_no_router(asked: World) -> None:
    """Where one can be paid for: two experts who each know one category, the best single one does not."""
    budget = Budget(nanos=1_900_000)
    accuracy = {name: np.mean([o.right for o in judged(asked, way, budget)]) for name, way in WAYS.items()}
    assert accuracy[PLANNED] > max(value for name, value in accuracy.items() if name != PLANNED)


def replayed(asked: World, found: Plan, budget: Budget) -> Outcome:
    """The first question by this plan."""
    return next(judged(asked, lambda *_: found, budget))


def test_who_is_late_is_not_heard_and_costs_what_it_has_said(asked: World) -> None:
    """Nobody in time: late, and the tokens up to then are paid."""
    usual = asked.outlooks(0)["ada"].usual.seconds(int(asked.asked.tokens[0, 0])) * float(asked.asked.slower[0, 0])
    alone = Plan((("ada",),), "single", (), "convened", fit=Fit())
    whole = replayed(asked, alone, Budget(deadline_s=usual + 0.1))
    cut = replayed(asked, alone, Budget(deadline_s=usual / 2))
    assert (whole.rung, whole.right) == ("none", asked.trial.asked.right[0, 0])
    assert (cut.rung, cut.right) == ("late", 0.0)
    assert 0 < cut.nanos < whole.nanos
    assert whole.nanos == asked.asked.prompt_nanos[0, 0] + 8000 * asked.asked.tokens[0, 0]


def test_an_answer_that_is_cut_is_no_answer(asked: World) -> None:
    """It costs its tokens, and says nothing that could be voted for."""
    row = int(asked.trial.asked.right[:, 0].argmax())
    one = World(asked.trial, asked.known, asked.asked)
    cap = int(asked.asked.tokens[row, 0]) - 1
    plan = Plan((("ada",),), "single", (), "convened", fit=Fit("shorter_answer", max_tokens={"ada": cap}))
    found = list(judged(one, lambda *_: plan, Budget(nanos=NANOS)))[row]
    assert (found.right, found.rung) == (0.0, "shorter_answer")
    assert found.nanos == asked.asked.prompt_nanos[row, 0] + 8000 * cap


def test_what_votes_add_is_measured_against_the_model(asked: World) -> None:
    """Of independent experts, as these are, it is about what the model says."""
    found = gained(asked, 4)
    assert found.independent > 0
    assert found.actual == pytest.approx(found.independent, abs=0.1 * len(asked.trial.asked))


def test_limits_go_from_hardly_anything_to_everything() -> None:
    """Rising, of two digits each."""
    of: Costs = costs(recorded(), MODELS, 0)
    for bound in BOUNDS:
        limits = limits_of(of, bound)
        assert len(limits) == STEPS
        assert limits == sorted(set(limits))
        assert all(limit == float(f"{limit:.2g}") for limit in limits)
    assert budget_of("cost", 0.001) == Budget(nanos=1_000_000)
    assert budget_of("deadline", 2.0) == Budget(deadline_s=2.0)


def test_figures_table_and_picture(tmp_path: Path) -> None:
    """All ways under all limits, what planning adds with its interval, plain JSON; rows as many as limits."""
    rows = split(COUNT)
    figures = judge(recorded(), MODELS, [rows], Words(), seed=0, on_step=lambda _: None)
    assert json.loads(json.dumps(figures)) == figures
    assert figures["n_test"] == len(rows[1])
    assert figures["gain"].keys() == {"3", "4", "5"}
    for bound in BOUNDS:
        told = figures["bounds"][bound]
        assert [set(row["ways"]) for row in told] == [set(WAYS)] * STEPS
        for row in told:
            accuracy = {name: way["accuracy"] for name, way in row["ways"].items()}
            assert row["difference"] == pytest.approx(accuracy[PLANNED] - accuracy[row["beside"]])
            assert row["ci"][0] <= row["difference"] <= row["ci"][1]
            assert sum(row["ways"][PLANNED]["rungs"].values()) == pytest.approx(1)
        screen = Console(width=110, record=True)
        screen.print(table(figures, bound))
        assert len([line for line in screen.export_text().splitlines() if line.strip()]) >= STEPS + 2
    plot(figures, tmp_path / "budgets.png")
    assert (tmp_path / "budgets.png").read_bytes().startswith(PNG)
