"""What dashboards show of a running router, in a real Prometheus that found its targets as the shipped settings say.

A scenario says what happens and what each panel of its dashboards has to show of it; `check_*` hold one against the
other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from deploy.dashboards import DASHBOARDS
from deploy.dashboards.grafana import Panel
from tests.observability.exposition import Exposition
from tests.observability.harness import Observed, Prometheus, observed, prometheus
from tests.observability.settings import shipped, shipped_rules
from tests.observability.stand_in import BUSY, TOKEN, AdminStandIn
from tests.support import Recorded, eventually, on_a_port

RANGE_S = 3600  # of every query: holds all of the router's life
HOUR_S = 3600
Name = tuple[str, str]  # of a dashboard and a panel
PANELS = {(board.title.partition(" / ")[2], panel.title): panel for board in DASHBOARDS for panel in board.panels}
LAST_RECORDED = "symposium:deadline_missed:ratio_rate3d"
SPEED = re.compile(r"(3600 \* )?sum.*\(rate\(")


class Scenario(Protocol):
    """A module that says what happens, and what panels show of it.

    `EXPECTED`: panel -> for each query, label values in the order of the labels' names -> how many. `QUANTILES`: panel
    -> histogram, label ("" for none), and which of its series. `SAME_AS`: panel -> for each query metric, label and
    factor, of what is as the replica says it. `ALERTS`: so many fire in the end.
    """

    CHANGED: dict[str, Any]
    EXPECTED: dict[Name, list[dict[str, float]]]
    QUANTILES: dict[Name, tuple[str, str, dict[str, str]]]
    SAME_AS: dict[Name, list[tuple[str, str, float]]]
    ALERTS: int

    def happen(self, router: Observed) -> None:
        """Every event once, in an order that leaves nothing to chance."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the router itself says at the end, and Prometheus at the instants of the last scrapes."""

    router: Observed
    exposition: Exposition
    prometheus: Prometheus
    when: dict[str, float]  # job -> instant
    at_start: dict[str, set[tuple[str, ...]]]  # metric -> label values of its series

    def of(self, query: str) -> dict[str, float]:
        """A dashboard's query: label values -> how many. What is nothing is left out: 0, and 0/0."""
        at = next((at for job, at in self.when.items() if f'job="{job}"' in query), None)  # rules' own series: now
        whole = f"{RANGE_S}s"
        found = self.prometheus.query(query.replace("$__range", whole).replace("$__rate_interval", whole), at)
        return {",".join(v for _, v in labels): n for labels, n in found.items() if n and not math.isnan(n)}


@contextmanager
def shown_of(scenario: Scenario, experts: Recorded, folder: Path) -> Iterator[Shown]:
    """After all of it has happened."""
    (folder / "token").write_text(TOKEN)
    with observed(folder, experts, **scenario.CHANGED) as router:
        admin = AdminStandIn({"r1": router.metrics})
        with (
            on_a_port(admin.app()) as url,
            prometheus(folder, shipped(url, folder / "token"), shipped_rules()) as found,
        ):
            for job in ("symposium-router", "symposium-engine"):
                found.scraped(job)  # everything at zero
            at_start = {family.name: family.values() for family in router.service.telemetry.families}
            scenario.happen(router)
            admin.engine = BUSY
            when = {job: found.scraped(job) for job in ("symposium-router", "symposium-engine")}
            # Rules take their turns: those that record one after the other, the last of them at the end.
            recorded = f"timestamp({LAST_RECORDED})"
            eventually(lambda: max(found.query(recorded).values(), default=0.0) > when["symposium-router"])
            eventually(lambda: len(found.query('ALERTS{alertstate="firing"}')) >= scenario.ALERTS)
            yield Shown(router, Exposition.of(router.scrape()), found, when, at_start)


def scaled(panel: Panel, query: str, values: dict[str, float]) -> dict[str, float]:
    """How fast, as how many."""
    match = SPEED.match(query)
    if match is None or " / " in query:
        return values
    seconds = HOUR_S if match[1] else 1
    return {labels: n * RANGE_S / seconds for labels, n in values.items()}


def check_exactly(shown: Shown, name: Name, wanted: list[dict[str, float]]) -> None:
    """A panel shows what happened, by labels, and nothing else."""
    panel = PANELS[name]
    for query, expected in zip(panel.queries.values(), wanted, strict=True):
        assert scaled(panel, query, shown.of(query)) == pytest.approx(expected, rel=1e-9), query


def check_quantiles(shown: Shown, name: Name, metric: str, label: str, where: Mapping[str, str]) -> None:
    """As computed here from the buckets that the replica shows: how long things take is not for a test to say."""
    for legend, query in PANELS[name].queries.items():
        q = float(legend.rpartition("p")[2]) / 100
        expected = shown.exposition.quantiles(q, metric, label, where)
        assert expected
        assert shown.of(query) == pytest.approx(expected, rel=1e-6), query


def check_same(shown: Shown, name: Name, as_in: list[tuple[str, str, float]]) -> None:
    """What moves with time and money is shown as the replica says it."""
    panel = PANELS[name]
    for query, (metric, label, factor) in zip(panel.queries.values(), as_in, strict=True):
        expected = {value: factor * n for value, n in shown.exposition.sums(metric, label).items() if n}
        assert expected
        assert scaled(panel, query, shown.of(query)) == pytest.approx(expected, rel=1e-6), query
