"""Recorded questions asked under a budget: what a plan would have cost, taken and answered.

Questions are planned by the functions that serve (rank, plan, afford, vote), and replayed: each call costs and takes
what it did, no further than its `max_tokens` and the deadline. Beside that, what needs no router: the experts that were
right most often in training, as many as fit; or any at all.

Experts' paces (`router/outcome_times.py`) are known to plans as well as their last calls would tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.affordable import affordable
from router.aggregate import Aggregation, aggregation
from router.budget import Budget
from router.config import Convening, Policy
from router.evaluation import Trial
from router.outcome_times import CLOCK, Costs
from router.outlook import EARLY, LATE, USUAL, Outlook, Pace
from router.plan import plan
from router.prospects import Limits, in_time
from router.quality import elected_right
from router.records import Aggregator, Candidate, Needs, Plan, Query, Reply, Standing
from router.unaffordable import Unaffordable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.learned import Learned

QUERY = Query("evaluation", "auto", "", {}, Needs(), (), None)
ALTERNATIVES = Convening().alternatives
MOST_EXPERTS = 5
PLANNED = "planned"
FIXED = (1, 3, 5)
RANDOM = 3
POLICY = Policy(aggregate="vote", max_experts=MOST_EXPERTS, min_share=0.0, enough=1.0)


class Outcome(NamedTuple):
    """Of one question under one bound. `rung`: what the plan gave up; "refused" where there was none, "late" where
    nothing had come by the deadline.
    """

    right: float
    nanos: int
    calls: int
    rung: str


@dataclass(frozen=True)
class World:
    """One split: what was learned of the training questions, and what asking about the test questions takes."""

    trial: Trial
    known: Costs
    asked: Costs

    @cached_property
    def experts(self) -> tuple[str, ...]:
        return self.trial.asked.experts

    @cached_property
    def overall(self) -> Mapping[str, float]:
        """Expert -> share of right answers in training, the best first."""
        rates = dict(zip(self.experts, self.trial.known.right.mean(axis=0).tolist(), strict=True))
        return dict(sorted(rates.items(), key=lambda item: -item[1]))

    @cached_property
    def lengths(self) -> Mapping[str, NDArray[np.float64]]:
        """Category -> [2, E]: tokens of the mean answer in training, and that 95 of 100 do not exceed."""
        labels = np.array(self.trial.known.categories)
        read = {scores.category for scores in self.trial.categories}
        found = {}
        for category in read:
            rows = self.known.tokens[labels == category] if (labels == category).any() else self.known.tokens
            found[category] = np.stack([rows.mean(axis=0), np.quantile(rows, LATE, axis=0)])
        return found

    def outlooks(self, row: int) -> dict[str, Outlook]:
        """What a router expects of asking about a test question."""
        mean, p95 = self.lengths[self.trial.categories[row].category].tolist()
        return {
            name: Outlook(
                name,
                prompt_nanos=int(self.asked.prompt_nanos[row, place]),
                token_nanos=float(self.asked.token_nanos[place]),
                tokens=math.ceil(p95[place]),
                mean_tokens=mean[place],
                early=self.paces[place][0],
                usual=self.paces[place][1],
                late=self.paces[place][2],
                known=True,
            )
            for place, name in enumerate(self.experts)
        }

    @cached_property
    def paces(self) -> Sequence[tuple[Pace, Pace, Pace]]:
        params = self.asked.params_b.tolist()
        return [(CLOCK.pace(b, EARLY), CLOCK.pace(b, USUAL), CLOCK.pace(b, LATE)) for b in params]


def world(trial: Trial, split: tuple[NDArray[np.int64], NDArray[np.int64]], of: Costs) -> World:
    """`of`: all questions'."""
    known, asked = (
        Costs(of.prompt_nanos[rows], of.tokens[rows], of.token_nanos, of.slower[rows], of.params_b) for rows in split
    )
    return World(trial, known, asked)


Way = Callable[[World, int, Mapping[str, Outlook], Budget], Plan | None]


def _planned(of: World, row: int, outlooks: Mapping[str, Outlook], budget: Budget) -> Plan | None:
    """As the product does."""
    trial = of.trial
    wish = plan(POLICY, trial.promising[row], trial.categories[row], QUERY, of.experts[trial.best])
    assert wish is not None, "nobody is excluded"
    return _afforded(wish, trial.promising[row], outlooks, budget)


def _fixed(count: int) -> Way:
    """Those with most right answers in training, if they are in time; a plain majority of `count` at most."""

    def way(of: World, _: int, outlooks: Mapping[str, Outlook], budget: Budget) -> Plan | None:
        limits = Limits.of(budget, QUERY, 0.0)
        promise = {name: rate * _in_time(outlooks[name], limits) for name, rate in of.overall.items()}
        return _majority(of, sorted(promise, key=lambda name: -promise[name]), outlooks, budget, count)

    return way


def _by_chance(of: World, row: int, outlooks: Mapping[str, Outlook], budget: Budget) -> Plan | None:
    order = np.random.default_rng([of.trial.seed, row]).permutation(of.experts).tolist()
    return _majority(of, order, outlooks, budget, RANDOM)


def _in_time(outlook: Outlook, limits: Limits) -> float:
    return in_time(outlook, limits.length(outlook), limits.left_s)


def _majority(
    of: World, order: Sequence[str], outlooks: Mapping[str, Outlook], budget: Budget, count: int
) -> Plan | None:
    """Those first in the order that fit beside those before them, by the same forecasts and within the same bounds on
    answers as any plan; where nobody is likely to be in time, the first who may be.
    """
    limits = Limits.of(budget, QUERY, 0.0)
    chances = {name: _in_time(outlooks[name], limits) for name in order}
    likely = [name for name in order if chances[name] >= USUAL] or [name for name in order if chances[name] > 0][:1]
    taken: list[str] = []
    for name in likely:
        legs = [(outlooks[one], limits.length(outlooks[one])) for one in (*taken, name)]
        if len(legs) <= count and limits.pays(sum(o.nanos(n) for o, n in legs), sum(n for _, n in legs)):
            taken.append(name)
    if not taken:
        return None
    aggregator: Aggregator = "vote" if len(taken) > 1 else "single"
    wish = Plan((tuple(taken),), aggregator, (), "convened", p_correct=of.overall, equal=True)
    found = _afforded(wish, (), outlooks, replace(budget, deadline_s=None))
    assert found is not None, "it fits, and so stays as it is, with bounds on its answers"
    return found


def _afforded(wish: Plan, able: Sequence[Candidate], outlooks: Mapping[str, Outlook], budget: Budget) -> Plan | None:
    found = affordable(wish, able, outlooks, budget, QUERY, alternatives=ALTERNATIVES, elapsed_s=0.0)
    return None if isinstance(found, Unaffordable) else found


WAYS: Mapping[str, Way] = {
    PLANNED: _planned,
    **{f"fixed-{count}": _fixed(count) for count in FIXED},
    f"random-{RANDOM}": _by_chance,
}


def judged(of: World, way: Way, budget: Budget) -> Iterator[Outcome]:
    """Each test question under the bound."""
    for row in range(len(of.trial.asked)):
        found = way(of, row, of.outlooks(row), budget)
        if found is None:
            yield Outcome(0.0, 0, 0, "refused")
            continue
        learned = of.trial.learned if way is _planned else None
        yield _replayed(of, row, found, _aggregation(found, learned), budget)


def _aggregation(found: Plan, learned: Learned | None) -> Aggregation:
    return aggregation(found, QUERY.needs, ALTERNATIVES, learned)


def _replayed(of: World, row: int, found: Plan, how: Aggregation, budget: Budget) -> Outcome:
    """Wave by wave, until it is decided or the deadline is there; then the answer is made of what has come."""
    assert found.fit is not None
    ends_at, now = budget.ends_at(0.0) or math.inf, 0.0
    heard: list[Reply] = []
    left, nanos, calls = list(found.waves), 0, 0
    while left and now < ends_at:
        wave = [_call(of, row, name, found.fit.max_tokens.get(name), ends_at - now) for name in left.pop(0)]
        nanos, calls = nanos + sum(call.nanos for call in wave), calls + len(wave)
        heard += [call.reply for call in wave if call.reply is not None]
        now += max(call.seconds for call in wave)
        if how.move(Standing(tuple(heard), (), tuple(left))) == "stop":
            break
    if not heard:
        return Outcome(0.0, nanos, calls, "late")
    answer = how.conclude(heard).answer
    said = answer.expert if answer else heard[0].expert
    whole = any(reply.expert == said and reply.text for reply in heard)
    right = float(of.trial.asked.right[row, of.trial.places[said]]) if whole else 0.0
    return Outcome(right, nanos, calls, found.fit.rung)


class _Call(NamedTuple):
    """`reply`: None where it was not there in time; without a text where it was cut at its `max_tokens`."""

    reply: Reply | None
    nanos: int
    seconds: float


def _call(of: World, row: int, name: str, cap: int | None, left_s: float) -> _Call:
    """What happens on asking this expert about a test question."""
    place = of.trial.places[name]
    tokens, slower = int(of.asked.tokens[row, place]), float(of.asked.slower[row, place])
    said = tokens if cap is None else min(tokens, cap)
    usual = of.paces[place][1]
    seconds = slower * usual.seconds(said)
    if late := seconds > left_s:
        said = min(said, 1 + max(0, math.floor((left_s / slower - usual.ttft_s) / usual.tpot_s)))
    nanos = int(of.asked.prompt_nanos[row, place]) + math.ceil(of.asked.token_nanos[place] * said)
    if late:
        return _Call(None, nanos, left_s)
    reply = of.trial.replies[row][name]
    if said < tokens:
        reply = replace(reply, choices=({"message": {"content": ""}},))
    return _Call(reply, nanos, seconds)


class Gained(NamedTuple):
    """By how much panels are better than their best members, added up: as independent votes would be, and as it was."""

    independent: float
    actual: float


def gained(of: World, members: int) -> Gained:
    """A panel by chance votes on each test question."""
    rng, trial = np.random.default_rng([of.trial.seed, members]), of.trial
    independent = actual = 0.0
    for row, candidates in enumerate(trial.candidates):
        chosen = [candidates[place] for place in rng.choice(len(candidates), members, replace=False).tolist()]
        rates = {c.expert: c.p_correct for c in chosen}
        vote = Plan((tuple(rates),), "vote", (), "convened", p_correct={c.expert: c.p_correct for c in candidates})
        answer = _aggregation(vote, trial.learned).conclude([trial.replies[row][name] for name in rates]).answer
        best, said = max(rates, key=lambda name: rates[name]), answer.expert if answer else next(iter(rates))
        right = trial.asked.right[row, [trial.places[said], trial.places[best]]].tolist()
        independent += float(elected_right(np.array([list(rates.values())]), ALTERNATIVES)[0]) - rates[best]
        actual += right[0] - right[1]
    return Gained(independent, actual)
