"""The figures of `loadtest.faults`: what one fault cost under one way of asking. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.faults_world import BAD, LIMIT_S
from loadtest.report import quantile

JsonObject = dict[str, Any]
Counts = Mapping[str, Mapping[str, int]]
WANTED_ATTEMPTS = 1.2
SLACK_S = 0.5  # two busy cores: what a client sees of a limit that was kept


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `outcome` is "answered", or what came instead."""

    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Opened:
    """When the breaker was seen open after the fault's begin, and how often the bad expert had been asked by then."""

    after_s: float
    calls: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault under one way of asking.

    Attributes:
        before, after: counts of the recorded experts around the load; router_legs: calls by the router's own count.
        usual: requests before the fault; recovered_s: from the fault's end to the first answer of the bad expert.
    """

    fault: str
    mode: str
    seats: int
    usual: Sequence[Asked]
    asked: Sequence[Asked]
    before: Counts
    after: Counts
    router_legs: float
    took_s: float
    opened: Opened | None
    recovered_s: float | None


def metric(text: str, name: str, **labels: str) -> float:
    """A counter or gauge of an exposition in Prometheus' format, summed over the labels that are not given."""
    total = 0.0
    for line in text.splitlines():
        if line.partition("{")[0].split(" ")[0] == name and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


def grown(before: Counts, after: Counts, key: str, *models: str) -> int:
    """How much a count has grown, over the named models or all."""
    return sum(after[model][key] - before[model][key] for model in models or after)


def figures(cell: Cell) -> JsonObject:
    """What is published of one cell."""
    planned = cell.seats * len(cell.asked)
    reached = grown(cell.before, cell.after, "started")
    attempts = max(reached, round(cell.router_legs))  # a hedge may be cut before it arrives
    longest_s = max(a.seconds for a in cell.asked)
    failures = Counter(a.outcome for a in cell.asked if a.outcome != "answered")
    return {
        "requests": len(cell.asked),
        "answered": round(1 - failures.total() / len(cell.asked), 4),
        "failures": dict(failures),
        "planned_calls": planned,
        "calls": attempts,
        "calls_that_arrived": reached,
        "calls_per_planned": round(attempts / planned, 3),
        "calls_within": attempts <= WANTED_ATTEMPTS * planned,
        "calls_of_bad": grown(cell.before, cell.after, "started", BAD),
        "breaker_open_after_s": None if cell.opened is None else round(cell.opened.after_s, 2),
        "breaker_open_after_calls": None if cell.opened is None else cell.opened.calls,
        "p50_s": round(quantile([a.seconds for a in cell.asked], 0.5), 3),
        "p99_s": round(quantile([a.seconds for a in cell.asked], 0.99), 3),
        "longest_s": round(longest_s, 2),
        "within_limit": longest_s <= LIMIT_S + SLACK_S,
        "usual_p50_s": round(quantile([a.seconds for a in cell.usual], 0.5), 3),
        "took_s": round(cell.took_s, 1),
        "asked_again_after_s": None if cell.recovered_s is None else round(cell.recovered_s, 2),
    }
