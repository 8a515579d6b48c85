"""How long it takes to fit a plan into a budget, and how far from the best possible plan it is.

    python -m loadtest.planning

Pools of random experts, the dearer mostly the better, under random budgets of money, and of tokens and time beside it.
What is timed is the whole decision for one query; each is made several times, in turn with the others, and its quickest
time counts, so that what else the machine does is left out. What is best is found by trying all panels.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from loadtest.report import tell
from router.affordable import affordable
from router.budget import Budget
from router.offers import Menu
from router.outlook import USUAL, Outlook, Pace
from router.panel_search import PLACES
from router.prospects import Limits
from router.quality import expected_right
from router.records import Candidate, Needs, Plan, Query

QUERY = Query("planning", "auto", "", {}, Needs(), (), None)
ALTERNATIVES = 2.0
QUANTILES = (0.5, 0.9, 0.99, 1.0)
AT_ONCE = 20_000  # panels that are tried in one piece
JsonObject = dict[str, Any]


class Case(NamedTuple):
    """One query that does not get all that its policy wants."""

    wish: Plan
    candidates: tuple[Candidate, ...]
    outlooks: dict[str, Outlook]
    budget: Budget

    def plan(self) -> object:
        return affordable(
            self.wish, self.candidates, self.outlooks, self.budget, QUERY, alternatives=ALTERNATIVES, elapsed_s=0.0
        )

    @property
    def menu(self) -> Menu:
        limits = Limits.of(self.budget, QUERY, 0.0)
        return Menu(self.wish, self.candidates, self.outlooks, {}, limits, self.budget, QUERY, ALTERNATIVES)


def case(rng: np.random.Generator, experts: int, convened: int) -> Case:
    """P(right) of 0.2 - 0.9; a token costs about exp(4 P(right)) nanodollars, and takes 5 - 50 ms."""
    names = [f"expert-{number:02}" for number in range(experts)]
    p = np.sort(rng.uniform(0.2, 0.9, experts))[::-1].tolist()
    nanos = np.exp(rng.normal(4 * np.array(p), 1.0)).tolist()
    outlooks = {name: _outlook(rng, name, price) for name, price in zip(names, nanos, strict=True)}
    rates = dict(zip(names, p, strict=True))
    wish = Plan((tuple(names[:convened]),), "vote", tuple(names[convened:]), "convened", p_correct=rates)
    whole = sum(outlooks[name].nanos(outlooks[name].tokens) for name in wish.experts)
    budget = Budget(
        nanos=int(whole * rng.uniform(0.02, 1)),
        deadline_s=float(rng.uniform(1, 30)) if rng.random() < 0.5 else None,
        tokens=int(rng.integers(300, 4000)) if rng.random() < 0.3 else None,
    )
    return Case(wish, tuple(Candidate(name, rates[name], 10, 0.0) for name in names), outlooks, budget)


def _outlook(rng: np.random.Generator, name: str, nanos: float) -> Outlook:
    tpot_s, tokens = float(rng.uniform(0.005, 0.05)), int(rng.integers(100, 1000))
    return Outlook(
        name,
        prompt_tokens=100,
        prompt_nanos=int(30 * nanos),
        token_nanos=nanos,
        tokens=tokens,
        mean_tokens=tokens / 3,
        room=4000,
        early=Pace(0.05, 0.7 * tpot_s),
        usual=Pace(0.1, tpot_s),
        late=Pace(0.3, 1.5 * tpot_s),
        known=True,
    )


def best(of: Case) -> float:
    """What the best of all panels and single experts is worth."""
    menu = of.menu
    pool, names = menu.pool, len(menu.prospects)
    single = menu.single(menu.prospects)
    found = single.worth if single else 0.0
    for size in range(2, len(of.wish.experts) + 1):
        every = np.array(list(combinations(range(names), size)))
        for sets in np.array_split(every, max(1, len(every) // AT_ONCE)):
            fits = (pool.costs[:, sets].sum(axis=2) <= pool.bounds[:, None]).all(axis=0)
            able = sets[fits & (pool.in_time[sets].min(axis=1) >= USUAL)]
            if len(able):
                right = expected_right(pool.trust[able], pool.in_time[able], ALTERNATIVES)
                found = max(found, float(np.minimum(right, menu.quality).max()))
    return round(found, PLACES)


def measure(options: argparse.Namespace) -> JsonObject:
    rng = np.random.default_rng(options.seed)
    cases = [case(rng, options.experts, options.convened) for _ in range(options.cases)]
    ms = np.full(len(cases), np.inf)
    for _ in range(options.times):
        for number, one in enumerate(cases):
            began = time.perf_counter()
            one.plan()
            ms[number] = min(ms[number], 1000 * (time.perf_counter() - began))
    offers = [(one, one.menu.best()) for one in cases[: options.tried]]
    told = [(offer.worth, offer.gap, best(one)) for one, offer in offers if offer is not None]
    worth, stated, most = np.array(told).T
    if (beyond := float((most - worth - stated).max())) > 1e-9:
        raise ValueError(f"the stated bound does not hold: {beyond:g} more is possible")
    return {
        "experts": options.experts,
        "convened": options.convened,
        "cases": options.cases,
        "ms": _quantiles(ms),
        "tried": len(told),
        "best_found": float((most - worth < 1e-9).mean()),
        "missed": _quantiles(np.maximum(most - worth, 0)),
        "stated_gap": _quantiles(stated),
    }


def _quantiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {f"p{100 * q:g}": round(float(np.quantile(values, q)), 4) for q in QUANTILES}


def show(figures: JsonObject, console: Console) -> None:
    console.print(
        f"{figures['experts']} experts, up to {figures['convened']} convened: "
        f"{figures['ms']['p50']:.2f} ms, p99 {figures['ms']['p99']:.2f} ms; the best plan in "
        f"{figures['best_found']:.0%} of {figures['tried']}, at most {figures['missed']['p100']:.4f} below it"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--experts", type=int, default=32)
    add("--convened", type=int, default=5, help="by the policy, without a budget; 5 at most, to try all")
    add("--cases", type=int, default=500)
    add("--tried", type=int, default=100, help="of these cases, all plans")
    add("--times", type=int, default=7, help="that each is timed")
    add("--seed", type=int, default=0)
    add("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    if not 2 <= options.convened <= min(5, options.experts):
        parser.error("--convened must be from 2 to 5, and no more than there are experts")
    tell(lambda _: measure(options), show, options.json)


if __name__ == "__main__":
    main()
