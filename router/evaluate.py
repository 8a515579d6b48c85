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
from router.baselines import at_random, by_neighbours, by_overall, by_regressions, by_true_category, majority
from router.config import MAX_EXPERTS, Convening, Policy
from router.evaluation import Embedded, Trial, trial
from router.evaluation_report import BEST_SINGLE, ORACLE, SINGLE_MODELS, Kind, Result
from router.outcomes import Outcomes
from router.pace import Pace
from router.plan import plan
from router.predictions import Predictions, judged, together
from router.ranking import ranked
from router.records import Candidate, Needs, Query
from router.replay import replay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.embed import Embedder
    from router.learned import Learned

ONE_BY_ONE = (1,) * MAX_EXPERTS
ALTERNATIVES = Convening().alternatives
GAINS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.1)  # what a call may have to add
WORTH_USD = (0.0003, 0.003, 0.01, 0.03, 0.1, 0.3)  # what a right answer may be worth
HELD = (0.25, 0.5, 1.0)  # shares of the best single expert's mean cost that queries may cost on the mean
QUERY = Query("evaluation", "auto", "", {}, Needs(), (), None)


class Choice(NamedTuple):
    """Of N questions: right [N], experts called [N], cost [N]."""

    right: NDArray[np.float64]
    calls: NDArray[np.float64]
    usd: NDArray[np.float64]


class Contender(NamedTuple):
    """`votes`: it needs to know what was answered, not only who was right."""

    kind: Kind
    choose: Callable[[Trial], Choice]
    votes: bool = False
    curve: str | None = None


def _one(of: Trial, scores: NDArray[np.float64]) -> Choice:
    """The expert with the best score answers."""
    every, chosen = np.arange(len(scores)), scores.argmax(axis=1)
    return Choice(of.asked.right[every, chosen], np.ones(len(every)), of.asked.usd[every, chosen])


def _majority(of: Trial, scores: NDArray[np.float64], count: int) -> Choice:
    every, (chosen, asked) = np.arange(len(scores)), majority(of, scores, count)
    usd = np.take_along_axis(of.asked.usd, asked, axis=1).sum(axis=1)
    return Choice(of.asked.right[every, chosen], np.full(len(every), float(asked.shape[1])), usd)


def _oracle(of: Trial) -> Choice:
    """Somebody is right, and it is known who is cheapest of them."""
    right, usd = of.asked.right, of.asked.usd
    best = right.max(axis=1)
    cheapest = np.where(right == best[:, None], usd, np.inf).min(axis=1)
    return Choice(best, np.ones(len(best)), cheapest)


def _served(policy: Policy, *, learned: bool = True) -> Callable[[Trial], Choice]:
    """A policy of the product, question by question, as it is served."""

    def choose(of: Trial) -> Choice:
        rows = range(len(of.asked))
        return _choice([_replayed(of, policy, row, of.learned if learned else None) for row in rows])

    return choose


def _replayed(of: Trial, policy: Policy, row: int, learned: Learned | None) -> tuple[float, float, float]:
    """Right, calls and cost of one test question."""
    asked = of.asked
    chosen = plan(policy, _order(of, policy, row), of.categories[row], QUERY, asked.experts[of.best])
    assert chosen is not None, "nobody is excluded"
    expert, called = replay(chosen, aggregation(chosen, QUERY.needs, ALTERNATIVES, learned), of.replies[row])
    columns = [of.places[name] for name in called]
    return asked.right[row, of.places[expert]], len(called), asked.usd[row, columns].sum()


def _choice(found: Sequence[tuple[float, float, float]]) -> Choice:
    return Choice(*np.array(found, dtype=np.float64).T)


def _order(of: Trial, policy: Policy, row: int) -> tuple[Candidate, ...]:
    """Of a test question."""
    if policy.recruit == "predicted" and policy.usd_per_right is None:
        return of.promising[row]
    category = of.categories[row].category
    return ranked(
        of.candidates[row],
        policy.recruit,
        of.rates,
        category,
        seed=f"{of.seed} {of.asked.ids[row]}",
        usd_per_right=policy.usd_per_right,
        assigned=of.assigned.get(category) if policy.recruit == "assigned" else None,
    )


def _held(share: float) -> Contender:
    """One after the other while it is worth its price, which moves so that queries cost a share of the best expert."""

    def choose(of: Trial) -> Choice:
        target = share * of.usd[of.asked.experts[of.best]][1]
        policy, found = _policy(max_experts=MAX_EXPERTS, waves=ONE_BY_ONE, min_gain=0.0), []
        pace = Pace.of(policy.model_copy(update={"target_usd_per_query": target}))
        assert pace is not None, "there is a target"
        for row in range(len(of.asked)):
            now = policy.model_copy(update={"usd_per_right": pace.usd_per_right})
            found.append(_replayed(of, now, row, of.learned))
            pace = pace.asked().spent(found[-1][2])
        return _choice(found)

    return Contender("policy", choose, votes=True)


def _policy(**fields: object) -> Policy:
    """Nobody is left out or left alone by a bound that was made for other pools."""
    known: dict[str, object] = {"aggregate": "vote", "min_share": 0.0, "enough": 1.0}
    return Policy.model_validate(known | fields)


def _equal(recruit: str, count: int) -> Contender:
    """A plain majority of so many experts."""
    policy = _policy(recruit=recruit, max_experts=count, votes="equal", decided_at=None)
    return Contender("policy" if recruit == "predicted" else "baseline", _served(policy), votes=True)


def _sequential(gain: float) -> Contender:
    """One after the other, as long as the next one is expected to add more than `gain`."""
    policy = _policy(max_experts=MAX_EXPERTS, waves=ONE_BY_ONE, min_gain=gain)
    return Contender("policy", _served(policy), votes=True, curve="sequential by calls")


def _worth(usd: float) -> Contender:
    """One after the other while it is worth its price, where a right answer is worth so much."""
    policy = _policy(max_experts=MAX_EXPERTS, waves=ONE_BY_ONE, min_gain=0.0, usd_per_right=usd)
    return Contender("policy", _served(policy), votes=True, curve="sequential by price")


POLICIES: Mapping[str, Contender] = {
    "random-1": Contender("baseline", lambda t: _one(t, at_random(t))),
    "random-3": Contender("baseline", lambda t: _majority(t, at_random(t), 3), votes=True),
    BEST_SINGLE: Contender("baseline", lambda t: _one(t, by_overall(t))),
    "fixed-3": Contender("baseline", lambda t: _majority(t, by_overall(t), 3), votes=True),
    "fixed-5": Contender("baseline", lambda t: _majority(t, by_overall(t), 5), votes=True),
    "majority of all": Contender("baseline", lambda t: _majority(t, by_overall(t), len(t.asked.experts)), votes=True),
    "true category map": Contender("baseline", lambda t: _one(t, by_true_category(t))),
    "category map": Contender("baseline", _served(_policy(recruit="category", aggregate="single"))),
    "kNN": Contender("baseline", lambda t: _one(t, by_neighbours(t))),
    "kNN-3": Contender("baseline", lambda t: _majority(t, by_neighbours(t), 3), votes=True),
    "logistic regressions": Contender("baseline", lambda t: _one(t, by_regressions(t))),
    "Symbolic-MoE adapted": _equal("symbolic", 3),
    "naive Bayes of all": Contender(
        "baseline",
        _served(_policy(recruit="overall", max_experts=MAX_EXPERTS, decided_at=None), learned=False),
        votes=True,
    ),
    ORACLE: Contender("baseline", _oracle),
    "recruited-1": Contender("policy", _served(_policy(aggregate="single", max_experts=1))),
    "recruited-3 majority": _equal("predicted", 3),
    "recruited-5 majority": _equal("predicted", 5),
    "recruited-3": Contender("policy", _served(_policy(max_experts=3, decided_at=None)), votes=True),
    "recruited-5": Contender("policy", _served(_policy(max_experts=5, decided_at=None)), votes=True),
    "all": Contender("policy", _served(_policy(max_experts=MAX_EXPERTS, decided_at=None)), votes=True),
    **{f"sequential gain {gain:g}": _sequential(gain) for gain in GAINS},
    "assigned": Contender("policy", _served(_policy(recruit="assigned", aggregate="single", max_experts=1))),
    **{f"held at {share:.0%} of best single": _held(share) for share in HELD},
    **{f"worth {usd:g} USD": _worth(usd) for usd in WORTH_USD},
}


class Judged(NamedTuple):
    """Results of the test questions in the order of `rows`, which are those of the outcomes; how far P(right) held on
    them; and notes for a person.
    """

    results: list[Result]
    rows: list[int]
    p_right: dict[str, float | None]
    notes: tuple[str, ...]


Job = tuple[Outcomes, tuple["NDArray[np.int64]", "NDArray[np.int64]"], Embedded, int, list[str]]
Done = tuple[dict[str, Choice], Predictions, tuple[str, ...]]
ALWAYS = tuple(name for name, contender in POLICIES.items() if contender.kind == "baseline")


def evaluate(
    outcomes: Outcomes,
    splits: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    embed: Embedder,
    *,
    seed: int,
    policies: Sequence[str] | None,
    on_step: Callable[[str], object],
) -> Judged:
    """Each policy, judged on all test questions.

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
    notes: dict[str, None] = {}  # each once, in order
    jobs = [(outcomes, split, embedded, seed + number, wanted) for number, split in enumerate(splits)]
    on_step(f"judging {len(jobs)} parts" if len(jobs) > 1 else "judging")
    held: list[Predictions] = []
    for choices, predictions, said in _each(jobs):
        notes |= dict.fromkeys(said)
        held.append(predictions)
        for name, choice in choices.items():
            found[name].append(choice)
    singles = [_result(name, "baseline", found[name], SINGLE_MODELS) for name in outcomes.experts]
    others = [_result(name, POLICIES[name].kind, found[name], POLICIES[name].curve) for name in wanted]
    return Judged(singles + others, rows, together(held), tuple(notes))


def _each(jobs: Sequence[Job]) -> Iterator[Done]:
    """In order; several at once where there are several, and cores for them. What is done does not depend on it."""
    if len(jobs) == 1:
        yield _judged(jobs[0])
        return
    fresh = get_context("spawn")  # forking a process whose libraries have threads can hang
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), mp_context=fresh) as pool:
        yield from pool.map(_judged, jobs)


def _judged(job: Job) -> Done:
    """What each expert alone and each policy wanted came to on the test part of one split; P(right); notes."""
    outcomes, split, embedded, seed, wanted = job
    made = trial(outcomes, split, embedded, seed)
    asked, ones = made.asked, np.ones(len(made.asked))
    alone = {
        name: Choice(asked.right[:, column], ones, asked.usd[:, column]) for column, name in enumerate(asked.experts)
    }
    return alone | {name: POLICIES[name].choose(made) for name in wanted}, _p_right(made), made.notes


def _p_right(of: Trial) -> Predictions:
    spread = np.array([[candidate.p_spread for candidate in row] for row in of.candidates])
    topics = [max(skills.weights, key=skills.weights.__getitem__, default="") for skills in of.skills]
    return judged(of.predicted.p, spread, of.asked.right, topics)


def _result(name: str, kind: Kind, parts: Sequence[Choice], curve: str | None) -> Result:
    right, calls, usd = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Result(name, kind, right, calls, usd, curve)
