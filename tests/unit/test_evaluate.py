"""Policies judged on recorded outcomes: a synthetic world in which it is known who ought to win."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from router.evaluate import ALWAYS, HELD, POLICIES, evaluate
from router.evaluation_report import BEST_SINGLE, ORACLE, SINGLE_MODELS, Result, report
from router.outcomes import Outcomes
from router.pace import FIRST, GAIN, MOST
from router.splits import folds
from tests.unit.make_evaluation import EXPERTS, USD, Words, outcomes, split

SPLIT = split()
LEARN, JUDGE = SPLIT
Found = dict[str, Result]


def run(
    recorded: Outcomes, splits: Sequence[Any] = (SPLIT,), policies: Sequence[str] | None = None, seed: int = 0
) -> tuple[Found, list[int]]:
    """Results by name, and their rows."""
    found, rows, p_right, notes = evaluate(
        recorded, splits, Words(), seed=seed, policies=policies, on_step=lambda _: None
    )
    assert notes == ()
    assert 0 <= (p_right["ece"] or 0.0) <= 1
    assert len({result.name for result in found}) == len(found)
    return {result.name: result for result in found}, rows


@pytest.fixture(scope="module", name="found")
def _found() -> Found:
    return run(outcomes())[0]


def accuracy(found: Found, name: str) -> float:
    return float(found[name].right.mean())


def test_every_policy_is_judged_beside_every_expert(found: Found) -> None:
    """Experts first, each a baseline on the curve of single models; then all policies in their order."""
    assert list(found) == [*EXPERTS, *POLICIES]
    for name in EXPERTS:
        assert (found[name].kind, found[name].curve) == ("baseline", SINGLE_MODELS)
    for name, contender in POLICIES.items():
        assert (found[name].kind, found[name].curve) == (contender.kind, contender.curve)


def test_each_result_is_of_every_test_question(found: Found) -> None:
    """Right or wrong, one to four calls, and a cost that is the sum of some calls."""
    for result in found.values():
        assert result.right.shape == result.calls.shape == result.usd.shape == (len(JUDGE),), result.name
        assert set(result.right) <= {0, 1}
        assert set(result.calls) <= {1, 2, 3, 4}
        assert (result.usd >= min(USD) * result.calls - 1e-12).all()
        assert (result.usd <= max(USD) * result.calls + 1e-12).all()


def test_a_single_expert_has_its_own_outcomes(found: Found) -> None:
    """In the order of the rows."""
    right = outcomes().right[JUDGE]
    for column, name in enumerate(EXPERTS):
        assert (found[name].right == right[:, column]).all()
        assert found[name].usd == pytest.approx(np.full(len(JUDGE), USD[column]))


def test_routing_beats_the_best_single_expert_where_there_is_something_to_route(found: Found) -> None:
    """Each category has its expert: who reads the category is nearly as good as who knows it."""
    best = accuracy(found, BEST_SINGLE)
    assert best == max(accuracy(found, n) for n in EXPERTS if (found[n].right == found[BEST_SINGLE].right).all())
    for name in ("true category map", "category map", "recruited-1", "kNN", "logistic regressions"):
        assert accuracy(found, name) > best + 0.05, name
    assert accuracy(found, "random-1") < accuracy(found, "recruited-1")
    assert accuracy(found, "all") > accuracy(found, "recruited-1"), "independent experts do better together"


def test_nobody_is_better_than_the_oracle(found: Found) -> None:
    """On any question, and by the cheapest of those that are right."""
    right, usd = outcomes().right[JUDGE], outcomes().usd[JUDGE]
    assert found[ORACLE].right.tolist() == right.max(axis=1).tolist()
    for result in found.values():
        assert (result.right <= found[ORACLE].right).all(), result.name
    for row, cost in enumerate(found[ORACLE].usd):
        able = usd[row][right[row] == right[row].max()]
        assert cost == able.min()


def test_so_many_are_called_as_a_name_says(found: Found) -> None:
    """Never more than there are; one after the other means fewer than all."""
    for name, count in {
        "random-1": 1, "random-3": 3, "fixed-3": 3, "fixed-5": 4, "majority of all": 4, "category map": 1, "kNN-3": 3,
        "Symbolic-MoE adapted": 3, "naive Bayes of all": 4, "recruited-1": 1, "recruited-3": 3, "recruited-5": 4,
        "all": 4,
    }.items():  # fmt: skip
        assert set(found[name].calls) == {count}, name
    means = [found[f"sequential gain {price:g}"].calls.mean() for price in (0, 0.01, 0.1)]
    assert 4 > means[0] > 1
    assert means == sorted(means, reverse=True), "the more a call must add, the fewer there are"
    assert found["all"].usd == pytest.approx(np.full(len(JUDGE), sum(USD)))


def test_more_worth_buys_more(found: Found) -> None:
    """Where a right answer is worth next to nothing the cheapest expert is asked; costs grow with the worth."""
    names = [name for name, contender in POLICIES.items() if contender.curve == "sequential by price"]
    means = [float(found[name].usd.mean()) for name in names]
    assert means == sorted(means)
    assert np.median(found[names[0]].usd) == min(USD)
    assert accuracy(found, names[-1]) > accuracy(found, names[0])


def test_a_mean_cost_is_held_whatever_it_is(found: Found) -> None:
    """The more may be spent, the more is; no further above the target than the pace's bound after so few questions."""
    best = float(found[BEST_SINGLE].usd.mean())
    means = [float(found[f"held at {share:.0%} of best single"].usd.mean()) for share in HELD]
    assert means == sorted(means)
    for share, mean in zip(HELD, means, strict=True):
        lowest = min(USD) / (share * best)  # nobody is cheaper
        assert mean / (share * best) <= max(1, lowest) + math.log(MOST / FIRST) / (GAIN * len(JUDGE))


def test_an_assignment_keeps_to_the_best_expert_s_cost(found: Found) -> None:
    """One expert a category. Here the best one is the cheapest, so that there is no other one to pay for."""
    assert (found["assigned"].right == found[BEST_SINGLE].right).all()
    assert (found["assigned"].usd == min(USD)).all()


def test_folds_judge_every_question_once() -> None:
    """Rows are those of the folds one after the other, each judged as it would be alone, by a seed of its own."""
    whole = outcomes()
    cut = folds(whole, 2, 0)
    found, rows = run(whole, cut, policies=["sequential gain 0"])
    assert rows == np.concatenate([test for _, test in cut]).tolist()
    assert sorted(rows) == list(range(240))
    parts = [run(whole, [part], policies=["sequential gain 0"], seed=number)[0] for number, part in enumerate(cut)]
    for name, result in found.items():
        for what in ("right", "calls", "usd"):
            alone = np.concatenate([getattr(part[name], what) for part in parts])
            assert np.array_equal(getattr(result, what), alone), name
    assert run(whole)[1] == JUDGE.tolist()


def test_a_seed_is_all_the_chance_there_is(found: Found) -> None:
    """The same one gives the same results, another one other random choices."""
    again, other = run(outcomes())[0], run(outcomes(), seed=5, policies=["recruited-1"])[0]
    for name, result in found.items():
        for part in ("right", "calls", "usd"):
            assert np.array_equal(getattr(again[name], part), getattr(result, part)), name
    assert not np.array_equal(other["random-1"].usd, found["random-1"].usd)
    assert np.array_equal(other[BEST_SINGLE].usd, found[BEST_SINGLE].usd)


def test_who_is_asked_does_not_depend_on_who_turns_out_to_be_right(found: Found) -> None:
    """With the test outcomes turned round, every call is the same and every cost; only the oracle knows."""
    whole = outcomes()
    right = whole.right.copy()
    right[JUDGE] = 1 - right[JUDGE]
    turned = run(replace(whole, right=right))[0]
    for name, result in found.items():
        if name != ORACLE:
            assert np.array_equal(turned[name].calls, result.calls), name
            assert np.array_equal(turned[name].usd, result.usd), name
            assert np.array_equal(turned[name].right, 1 - result.right), f"{name}: the same expert's answer"


def test_without_recorded_answers_nothing_is_voted_on() -> None:
    """Policies of one expert are judged all the same."""
    found, _ = run(outcomes(answers=None))
    assert list(found) == [*EXPERTS, *(name for name, contender in POLICIES.items() if not contender.votes)]
    assert {BEST_SINGLE, ORACLE, "category map", "recruited-1", "kNN"} <= found.keys()
    assert all(set(result.calls) == {1} for result in found.values())
    assert accuracy(found, "recruited-1") > accuracy(found, BEST_SINGLE)


def test_what_is_wanted_is_judged_besides_the_baselines() -> None:
    """In the usual order, and with the results that it has among all."""
    found, _ = run(outcomes(), policies=["recruited-3", "recruited-1"])
    named = [name for name in POLICIES if name in {*ALWAYS, "recruited-1", "recruited-3"}]
    assert list(found) == [*EXPERTS, *named]
    assert {BEST_SINGLE, ORACLE} <= set(ALWAYS)
    assert list(run(outcomes(), policies=[])[0]) == [*EXPERTS, *ALWAYS]


def test_what_stands_in_is_said_once() -> None:
    """One category, in two parts: topics take its place in both."""
    one = outcomes(categories=("c",) * 240)
    judged = evaluate(one, folds(one, 2, 0), Words(), seed=0, policies=["recruited-1"], on_step=lambda _: None)
    assert len(judged.notes) == 1
    right = {result.name: result.right.mean() for result in judged.results}
    assert right["recruited-1"] > right[BEST_SINGLE] + 0.05, "there is something to route by"
    assert right["true category map"] == right[BEST_SINGLE], "one category says nothing"


def test_names_can_be_told_apart_where_they_are_listed() -> None:
    """`--policies` parts them by commas."""
    assert not any("," in name for name in POLICIES)


def test_silence_is_judged_as_what_it_was() -> None:
    """Nobody answers: everybody is heard in vain, and what is returned is right where its expert was."""
    found, _ = run(outcomes(answers=np.full((240, 4), "")), policies=["all"])
    assert set(found["all"].calls) == set(found["majority of all"].calls) == {4}
    assert np.array_equal(found["fixed-3"].right, found[BEST_SINGLE].right)


def test_each_text_is_embedded_once() -> None:
    """Before anything is judged; what is done is told."""
    steps: list[str] = []
    words = Words()
    evaluate(outcomes(), [SPLIT], words, seed=0, policies=["recruited-1"], on_step=steps.append)
    assert sorted(words.seen) == sorted(outcomes().texts)
    assert steps == ["judging"]


def test_results_are_what_a_report_is_made_of(found: Found) -> None:
    """Baselines and policies together, with the gap that routing closes."""
    groups = [outcomes().groups[row] for row in JUDGE]
    figures = report(list(found.values()), groups, BEST_SINGLE, ORACLE, 0, resamples=50)
    assert (figures["n_test"], figures["pool"]) == (len(JUDGE), list(EXPERTS))
    assert set(figures["curves"]) == {SINGLE_MODELS, "sequential by calls", "sequential by price"}
    row = next(row for row in figures["policies"] if row["name"] == "recruited-1")
    assert 0 < row["gap_closed"] < 1
