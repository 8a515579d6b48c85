"""Worlds of experts with prices and paces, and every plan that a budget allows there, found by trying all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from router.affordable import affordable
from router.budget import Budget, Rung
from router.offers import RUNGS
from router.outlook import USUAL, Outlook, Pace
from router.prospects import Limits, Prospect, begins_within_s, in_time, prospect
from router.quality import expected_right
from router.records import Aggregator, Candidate, Plan, Query
from router.unaffordable import Unaffordable
from tests.unit.make import candidate, query

K = 2.0


@dataclass(frozen=True)
class World:
    """What a policy wants, of whom, and what asking them takes."""

    wish: Plan
    candidates: tuple[Candidate, ...]
    outlooks: Mapping[str, Outlook]
    writers: Mapping[str, Outlook]
    query: Query

    def plan(self, budget: Budget, elapsed_s: float = 0.0) -> Plan | Unaffordable:
        return affordable(
            self.wish,
            self.candidates,
            self.outlooks,
            budget,
            self.query,
            alternatives=K,
            elapsed_s=elapsed_s,
            writers=self.writers,
        )

    @property
    def quality(self) -> float:
        """Of the wish."""
        p = {c.expert: c.p_correct for c in self.candidates}
        rates = [p[name] for name in self.wish.experts]
        return right(rates, [1.0] * len(rates), equal=self.wish.equal) if len(rates) > 1 else rates[0]


def right(rates: list[float], chances: list[float], *, equal: bool = False) -> float:
    """Of a panel."""
    return float(expected_right(np.array([rates]), np.array([chances]), K, equal=equal)[0])


def outlook(name: str, nanos: float = 10.0, tokens: int = 100, seconds: float = 1.0, **fields: object) -> Outlook:
    """A call whose tokens cost so much each, and which takes so long in 95 of 100 cases; its prompt is free."""
    pace = [
        Pace(ttft_s=share * seconds / 2, tpot_s=share * seconds / 2 / max(tokens - 1, 1)) for share in (0.4, 0.6, 1)
    ]
    made = Outlook(name, token_nanos=nanos, tokens=tokens, mean_tokens=tokens, known=True)
    return replace(replace(made, early=pace[0], usual=pace[1], late=pace[2]), **fields)  # type: ignore[arg-type]


def wished(experts: str, aggregator: Aggregator = "vote", spares: str = "", **fields: object) -> Plan:
    """A plan of experts named by letters."""
    made = Plan((tuple(experts),), aggregator, tuple(spares), "convened", decided_at=0.98)
    return replace(made, **fields)  # type: ignore[arg-type]


def world(
    rates: Mapping[str, float], wish: Plan, *outlooks: Outlook, asked: Query | None = None, **writers: Outlook
) -> World:
    """Experts by their P(right); each is expected to do as `outlook` says unless another one is given."""
    told = {name: outlook(name) for name in rates} | {one.expert: one for one in outlooks}
    voting = replace(wish, p_correct=rates if len(wish.experts) > 1 else {})
    return World(voting, tuple(candidate(n, p) for n, p in rates.items()), told, writers, asked or query())


def random_world(seed: int, size: int) -> World:
    """Anything: waves, aggregators, unknown experts, excluded ones, several samples, streams."""
    rng = np.random.default_rng(seed)
    names = [chr(ord("a") + place) for place in range(size)]
    rates = {name: float(p) for name, p in zip(names, rng.choice(np.linspace(0.1, 0.95, 18), size), strict=True)}
    wanted = int(rng.integers(1, size + 1))
    kinds: list[Aggregator] = ["vote", "vote", "synthesize", "consensus"]
    aggregator: Aggregator = kinds[rng.integers(4)] if wanted > 1 else "single"
    order = rng.permutation(names).tolist()
    cut = int(rng.integers(1, wanted + 1))
    waves = tuple(wave for wave in (tuple(order[:cut]), tuple(order[cut:wanted])) if wave)
    wish = Plan(
        waves,
        aggregator,
        tuple(order[wanted:]),
        "convened",
        decided_at=None if rng.random() < 0.2 else 0.98,
        p_correct=rates if wanted > 1 else {},
        equal=bool(wanted > 1 and rng.random() < 0.2),
        synthesizers=("w", "v") if aggregator == "synthesize" else (),
        agreed_at=0.9 if aggregator == "synthesize" else None,
    )
    outlooks = {name: _random_outlook(rng, name) for name in names}
    writers = {name: _random_outlook(rng, name) for name in "wv"}
    asked = query(max_tokens=int(rng.integers(1, 300)) if rng.random() < 0.3 else None, stream=bool(rng.random() < 0.3))
    samples = int(rng.integers(1, 3)) if wanted == 1 else 1
    asked = replace(asked, needs=replace(asked.needs, samples=samples, json_schema=bool(rng.random() < 0.2)))
    return World(wish, tuple(candidate(n, p) for n, p in rates.items()), outlooks, writers, asked)


def _random_outlook(rng: np.random.Generator, name: str) -> Outlook:
    tokens = int(rng.integers(1, 300))
    paces = np.sort(rng.uniform(0, 1, (3, 2)), axis=0) * [1.0, 0.02]
    early, usual, late = (Pace(float(ttft), float(tpot)) for ttft, tpot in paces)
    return Outlook(
        name,
        prompt_tokens=10,
        prompt_nanos=int(rng.integers(0, 500)),
        token_nanos=float(rng.choice([0.0, 0.5, 1.7, 10.0, 33.3])),
        tokens=tokens,
        mean_tokens=tokens * float(rng.uniform(0.2, 1)),
        room=int(rng.integers(1, 2000)),
        wait_s=float(rng.choice([0.0, 0.0, 0.5])),
        early=early,
        usual=usual,
        late=late,
        known=bool(rng.random() < 0.85),
    )


def random_budget(seed: int) -> Budget:
    """Any fields, from nothing to plenty."""
    rng = np.random.default_rng(seed)

    def some(value: float) -> float | None:
        return value if rng.random() < 0.5 else None

    nanos, tokens, experts = (
        some(10 ** rng.uniform(0, 4.5)),
        some(10 ** rng.uniform(0, 3.3)),
        some(float(rng.integers(1, 6))),
    )
    return Budget(
        deadline_s=some(10 ** rng.uniform(-2, 1)),
        nanos=None if nanos is None else int(nanos),
        tokens=None if tokens is None else int(tokens),
        experts=None if experts is None else int(experts),
        min_confidence=some(rng.uniform(0.2, 0.95)),
        ttft_s=some(10 ** rng.uniform(-2, 1)),
        tpot_s=some(10 ** rng.uniform(-3, -1)),
    )


@dataclass(frozen=True)
class Possible:
    """A plan of whole answers that fits, and what it is worth."""

    experts: frozenset[str]
    aggregator: Aggregator
    rung: Rung
    worth: float
    usd_nanos: int


def possible(of: World, budget: Budget) -> Iterator[Possible]:
    """All of them."""
    limits, most = Limits.of(budget, of.query, 0.0), len(of.wish.experts)
    ones = {
        c.expert: prospect(of.outlooks[c.expert], c.p_correct, c.p_correct, limits, wished=c.expert in of.wish.experts)
        for c in of.candidates
    }
    whole = frozenset(of.wish.experts)
    for size in range(1, min(most, budget.experts or most) + 1):
        for names in combinations(ones, size):
            legs = [ones[name] for name in names]
            here = frozenset(names)
            if size == 1:
                rung: Rung = "one_expert" if most > 1 else "none"
                yield from _whole(of, limits, legs, here, "single", rung if here <= whole else "cheaper_expert")
                continue
            joined: Aggregator = "consensus" if of.wish.aggregator == "consensus" else "vote"
            rung = "cheaper_expert" if not here <= whole else "fewer_experts" if here < whole else "vote"
            if here == whole and of.wish.aggregator != "synthesize":
                rung = "none"
            yield from _whole(of, limits, legs, here, joined, rung)
            if here == whole and of.wish.aggregator == "synthesize":
                for writer in of.wish.synthesizers:
                    writes = prospect(of.writers[writer], 0, 0, limits, wished=True)
                    yield from _whole(of, limits, legs, here, "synthesize", "none", writes)


def _whole(
    of: World,
    limits: Limits,
    legs: list[Prospect],
    names: frozenset[str],
    aggregator: Aggregator,
    rung: Rung,
    writer: Prospect | None = None,
) -> Iterator[Possible]:
    every = [*legs, writer] if writer else legs
    nanos, tokens = sum(leg.nanos for leg in every), sum(leg.length for leg in every) * of.query.needs.samples
    if (limits.nanos is not None and nanos > limits.nanos) or (limits.tokens is not None and tokens > limits.tokens):
        return
    if aggregator == "single":
        worth = min(legs[0].p, of.quality) * legs[0].alone
        likely = legs[0].alone > 0
    else:
        left_s = begins_within_s(writer, limits) if writer else limits.together_s
        chances = [in_time(leg.outlook, leg.length, left_s) for leg in legs]
        worth = min(right([leg.trust for leg in legs], chances, equal=of.wish.equal), of.quality)
        likely = min(chances) >= USUAL
    if likely:
        yield Possible(names, aggregator, rung, worth, sum(leg.mean_nanos for leg in every))


def rung_of(plan: Plan) -> int:
    """How far down the ladder it is."""
    assert plan.fit is not None
    return RUNGS.index(plan.fit.rung)
