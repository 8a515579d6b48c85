"""Every way of choosing experts that is judged on recorded outcomes, by name; offline.

The product's own policies are `Policy` objects, carried out by the very functions that serve requests: rank, plan,
aggregate, learned votes and stopping. Baselines are next to them, always.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.aggregate import aggregation
from router.baselines import (
    at_random,
    by_neighbours,
    by_overall,
    by_regressions,
    by_true_category,
    majority,
)  # fmt: skip
from router.config import Policy
from router.evaluation import Embedded, World, world
from router.evaluation_report import BEST_SINGLE, ORACLE, SINGLE_MODELS, Kind, Result
from router.learn_stopping import PRICES
from router.outcomes import Outcomes
from router.plan import plan
from router.ranking import ranked
from router.records import Needs, Query
from router.replay import replay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.embed import Embedder

ALL = 16  # as many as a policy may convene
ONE_BY_ONE = (1,) * ALL
ALTERNATIVES = 2.0  # the configuration's own default
WORTH_USD = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # what a right answer may be worth
QUERY = Query("evaluation", "auto", "", {}, Needs(), (), None)


class Choice(NamedTuple):
    """Of N questions: right [N], experts called [N], cost [N]."""

    right: NDArray[np.float64]
    calls: NDArray[np.float64]
    usd: NDArray[np.float64]


class Contender(NamedTuple):
    """`votes`: it needs to know what was answered, not only who was right."""

    kind: Kind
    choose: Callable[[World], Choice]
    votes: bool = False
    curve: str | None = None


def _one(world_of: World, scores: NDArray[np.float64]) -> Choice:
    """The expert with the best score answers."""
    every, chosen = np.arange(len(scores)), scores.argmax(axis=1)
    return Choice(world_of.asked.right[every, chosen], np.ones(len(every)), world_of.asked.usd[every, chosen])


def _majority(world_of: World, scores: NDArray[np.float64], count: int) -> Choice:
    every, count = np.arange(len(scores)), min(count, scores.shape[1])
    asked = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    usd = world_of.asked.usd[every[:, None], asked].sum(axis=1)
    chosen = majority(world_of, scores, count)
    return Choice(world_of.asked.right[every, chosen], np.full(len(every), float(count)), usd)


def _oracle(world_of: World) -> Choice:
    """Somebody is right, and it is known who is cheapest of them."""
    right, usd = world_of.asked.right, world_of.asked.usd
    best = right.max(axis=1)
    cheapest = np.where(right == best[:, None], usd, np.inf).min(axis=1)
    return Choice(best, np.ones(len(best)), cheapest)


def _served(policy: Policy, *, learned: bool = True) -> Callable[[World], Choice]:
    """A policy of the product, question by question, as it is served."""

    def choose(world_of: World) -> Choice:
        asked, experts = world_of.asked, world_of.asked.experts
        places = {name: place for place, name in enumerate(experts)}
        general = experts[world_of.best]
        right, calls, usd = (np.zeros(len(asked)) for _ in range(3))
        for row, found in enumerate(world_of.candidates):
            category = world_of.categories[row]
            order = ranked(
                found,
                policy.recruit,
                world_of.rates,
                category.category,
                seed=f"{world_of.seed} {asked.ids[row]}",
                usd_per_right=policy.usd_per_right,
            )
            chosen = plan(policy, order, category, QUERY, general)
            assert chosen is not None, "nobody is excluded"
            if chosen.aggregator == "single":
                expert, called = chosen.experts[0], chosen.experts[:1]
            else:
                how = aggregation(chosen, QUERY.needs, ALTERNATIVES, world_of.learned if learned else None)
                expert, called = replay(chosen, how, world_of.replies[row])
            columns = [places[name] for name in called]
            right[row], calls[row] = asked.right[row, places[expert]], len(called)
            usd[row] = asked.usd[row, columns].sum()
        return Choice(right, calls, usd)

    return choose


def _policy(**fields: object) -> Policy:
    """Nobody is left out or left alone by a bound that was made for other pools."""
    known: dict[str, object] = {"aggregate": "vote", "min_share": 0.0, "enough": 1.0}
    return Policy.model_validate(known | fields)


def _equal(recruit: str, count: int) -> Contender:
    """A plain majority of so many experts."""
    policy = _policy(recruit=recruit, max_experts=count, votes="equal", decided_at=None)
    return Contender("policy" if recruit == "predicted" else "baseline", _served(policy), votes=True)


def _sequential(price: float) -> Contender:
    """One after the other, as long as the next one is expected to add more than `price`."""
    policy = _policy(max_experts=ALL, waves=ONE_BY_ONE, min_gain=price)
    return Contender("policy", _served(policy), votes=True, curve="sequential, by calls")


def _worth(usd: float) -> Contender:
    """One after the other while it is worth its price, where a right answer is worth so much."""
    policy = _policy(max_experts=ALL, waves=ONE_BY_ONE, min_gain=0.0, usd_per_right=usd)
    return Contender("policy", _served(policy), votes=True, curve="sequential, by price")


POLICIES: Mapping[str, Contender] = {
    "random-1": Contender("baseline", lambda w: _one(w, at_random(w))),
    "random-3": Contender("baseline", lambda w: _majority(w, at_random(w), 3), votes=True),
    BEST_SINGLE: Contender("baseline", lambda w: _one(w, by_overall(w))),
    "fixed-3": Contender("baseline", lambda w: _majority(w, by_overall(w), 3), votes=True),
    "fixed-5": Contender("baseline", lambda w: _majority(w, by_overall(w), 5), votes=True),
    "majority of all": Contender("baseline", lambda w: _majority(w, by_overall(w), len(w.asked.experts)), votes=True),
    "category map, true": Contender("baseline", lambda w: _one(w, by_true_category(w))),
    "category map": Contender("baseline", _served(_policy(recruit="category", aggregate="single"))),
    "kNN": Contender("baseline", lambda w: _one(w, by_neighbours(w))),
    "kNN-3": Contender("baseline", lambda w: _majority(w, by_neighbours(w), 3), votes=True),
    "logistic regressions": Contender("baseline", lambda w: _one(w, by_regressions(w))),
    "Symbolic-MoE, adapted": _equal("symbolic", 3),
    "naive Bayes of all": Contender(
        "baseline", _served(_policy(recruit="overall", max_experts=ALL, decided_at=None), learned=False), votes=True
    ),
    ORACLE: Contender("baseline", _oracle),
    "recruited-1": Contender("policy", _served(_policy(aggregate="single", max_experts=1))),
    "recruited-3, majority": _equal("predicted", 3),
    "recruited-5, majority": _equal("predicted", 5),
    "recruited-3": Contender("policy", _served(_policy(max_experts=3, decided_at=None)), votes=True),
    "recruited-5": Contender("policy", _served(_policy(max_experts=5, decided_at=None)), votes=True),
    "all": Contender("policy", _served(_policy(max_experts=ALL, decided_at=None)), votes=True),
    **{f"sequential, gain {price:g}": _sequential(price) for price in PRICES},
    **{f"worth {1000 * usd:g} USD per 1,000": _worth(usd) for usd in WORTH_USD},
}
Job = tuple[Outcomes, tuple["NDArray[np.int64]", "NDArray[np.int64]"], Embedded, int, list[str]]
ALWAYS = tuple(name for name, contender in POLICIES.items() if contender.kind == "baseline")


def evaluate(
    outcomes: Outcomes,
    splits: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    embed: Embedder,
    *,
    seed: int,
    policies: Sequence[str] | None,
    on_step: Callable[[str], object],
) -> tuple[list[Result], list[int]]:
    """Each policy's results on all test questions, and the rows that these are, in the results' order.

    Args:
        splits: rows to learn from and rows to be judged on, each of `outcomes`.
        policies: of POLICIES; the baselines are judged besides. None: all.
        on_step: told what is being done.

    Raises:
        ValueError: a policy is asked for that needs recorded answers, and there are none; an expert is called like a
            policy; there is too little to learn from.
    """
    if both := sorted(POLICIES.keys() & set(outcomes.experts)):
        raise ValueError(f"'{both[0]}' is a policy's name; rename the model")
    if outcomes.answers is None and (votes := [n for n in policies or () if POLICIES[n].votes]):
        raise ValueError(f"policy '{votes[0]}' compares answers, and the outcomes have no column `pred`")
    wanted = [name for name in POLICIES if policies is None or name in policies or name in ALWAYS]
    wanted = [name for name in wanted if outcomes.answers is not None or not POLICIES[name].votes]
    embedded = Embedded.of(outcomes.texts, embed)
    rows = [row for _, test in splits for row in test.tolist()]
    found: dict[str, list[Choice]] = {name: [] for name in [*outcomes.experts, *wanted]}
    jobs = [(outcomes, split, embedded, seed + number, wanted) for number, split in enumerate(splits)]
    on_step(f"judging {len(jobs)} parts" if len(jobs) > 1 else "judging")
    for judged in _each(jobs):
        for name, choice in judged.items():
            found[name].append(choice)
    singles = [_result(name, "baseline", found[name], SINGLE_MODELS) for name in outcomes.experts]
    return singles + [_result(name, POLICIES[name].kind, found[name], POLICIES[name].curve) for name in wanted], rows


def _each(jobs: Sequence[Job]) -> Iterator[dict[str, Choice]]:
    """In order; several at once where there are several, and cores for them. What is done does not depend on it."""
    if len(jobs) == 1:
        yield _judged(jobs[0])
        return
    fresh = get_context("spawn")  # forking a process whose libraries have threads can hang
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), mp_context=fresh) as pool:
        yield from pool.map(_judged, jobs)


def _judged(job: Job) -> dict[str, Choice]:
    """What each expert alone and each policy wanted came to on the test part of one split."""
    outcomes, split, embedded, seed, wanted = job
    made = world(outcomes, split, embedded, seed)
    asked, ones = made.asked, np.ones(len(made.asked))
    alone = {
        name: Choice(asked.right[:, column], ones, asked.usd[:, column]) for column, name in enumerate(asked.experts)
    }
    return alone | {name: POLICIES[name].choose(made) for name in wanted}


def _result(name: str, kind: Kind, parts: Sequence[Choice], curve: str | None) -> Result:
    right, calls, usd = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Result(name, kind, right, calls, usd, curve)
