"""A known number of events is made on a running router; every query of every dashboard shows exactly that, in a real
Prometheus that found its targets as the shipped settings say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deploy.dashboards import DASHBOARDS
from deploy.dashboards.grafana import Panel
from tests.api.world import KNOWS, ROWS
from tests.observability.exposition import Exposition
from tests.observability.harness import Observed, Prometheus, needs_prometheus, observed, prometheus
from tests.observability.scenario import CHANGED, EXPECTED, QUANTILES, SAME_AS, happen
from tests.observability.settings import shipped, shipped_rules
from tests.observability.stand_in import BUSY, TOKEN, AdminStandIn
from tests.support import Recorded, eventually, on_a_port

pytestmark = needs_prometheus
RANGE_S = 3600  # of every query: holds all of the router's life
PANELS = {(board.title.rpartition(" ")[2], panel.title): panel for board in DASHBOARDS for panel in board.panels}
UP = {model for _, model, _, _ in ROWS}
GAUGES_OF_EXPERTS = {
    ("Experts", "Up"): dict.fromkeys(UP, 1.0),
    ("Experts", "Stale profiles"): dict.fromkeys(KNOWS, 1.0),
}


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


@pytest.fixture(scope="module")
def shown(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """After all has happened."""
    folder = tmp_path_factory.mktemp("dashboards")
    (folder / "token").write_text(TOKEN)
    with observed(folder, experts, **CHANGED) as router:
        admin = AdminStandIn({"r1": router.metrics})
        with (
            on_a_port(admin.app()) as url,
            prometheus(folder, shipped(url, folder / "token"), shipped_rules()) as found,
        ):
            for job in ("symposium-router", "symposium-engine"):
                found.scraped(job)  # everything at zero
            at_start = {family.name: family.values() for family in router.service.telemetry.families}
            happen(router)
            admin.engine = BUSY
            when = {job: found.scraped(job) for job in ("symposium-router", "symposium-engine")}
            (alerts,) = EXPECTED["Overview", "Alerts"]
            eventually(lambda: len(found.query('ALERTS{alertstate="firing"}')) >= len(alerts))  # rules take their turns
            yield Shown(router, Exposition.of(router.scrape()), found, when, at_start)


def scaled(panel: Panel, query: str, values: dict[str, float]) -> dict[str, float]:
    """How fast, as how many."""
    per_second = re.match(r"sum.*\(rate\(", query) and " / " not in query
    return {labels: n * RANGE_S if per_second else n for labels, n in values.items()}


@pytest.mark.parametrize("name", [*EXPECTED, *GAUGES_OF_EXPERTS], ids=" ".join)
def test_a_panel_shows_exactly_what_happened(shown: Shown, name: tuple[str, str]) -> None:
    """By labels; nothing else is shown."""
    panel = PANELS[name]
    wanted = EXPECTED.get(name) or [GAUGES_OF_EXPERTS[name]]
    for query, expected in zip(panel.queries.values(), wanted, strict=True):
        assert scaled(panel, query, shown.of(query)) == pytest.approx(expected, rel=1e-9), query


@pytest.mark.parametrize("name", QUANTILES, ids=" ".join)
def test_a_panel_of_times_shows_the_replica_s_own_quantiles(shown: Shown, name: tuple[str, str]) -> None:
    """As computed here from the buckets that the replica shows: how long things take is not for a test to say."""
    metric, label, where = QUANTILES[name]
    for legend, query in PANELS[name].queries.items():
        q = float(legend.rpartition("p")[2]) / 100
        expected = shown.exposition.quantiles(q, metric, label, where)
        assert expected
        assert shown.of(query) == pytest.approx(expected, rel=1e-6), query


@pytest.mark.parametrize("name", SAME_AS, ids=" ".join)
def test_a_panel_of_gauges_and_sums_shows_the_replica_s_own(shown: Shown, name: tuple[str, str]) -> None:
    """What moves with time and money is shown as the replica says it."""
    panel = PANELS[name]
    for query, (metric, label, factor) in zip(panel.queries.values(), SAME_AS[name], strict=True):
        expected = {value: factor * n for value, n in shown.exposition.sums(metric, label).items() if n}
        assert expected
        assert scaled(panel, query, shown.of(query)) == pytest.approx(expected, rel=1e-6), query


def test_targets_show_by_name(shown: Shown) -> None:
    """Each replica and each engine is one of its own, found through service discovery."""
    found = shown.of(*PANELS["Overview", "Targets"].queries.values())
    assert {re.sub(r"127.0.0.1:\d+", "*", labels): n for labels, n in found.items()} == {
        "*,symposium-router,r1": 1,
        "small,*,symposium-engine": 1,
    }


def test_the_running_configuration_shows_by_its_version(shown: Shown) -> None:
    """The same that /version says."""
    version = shown.router.world.http.get("/version").json()["config"]
    assert shown.of(*PANELS["Overview", "Configuration"].queries.values()) == {version: 1}


def test_no_panel_is_left_out() -> None:
    """A panel that is added is held to what it shows."""
    by_hand = {("Overview", "Targets"), ("Overview", "Configuration")}
    assert PANELS.keys() == EXPECTED.keys() | GAUGES_OF_EXPERTS.keys() | QUANTILES.keys() | SAME_AS.keys() | by_hand


def test_an_engine_keeps_the_name_that_the_configuration_gives_it(shown: Shown) -> None:
    """vLLM has a label `engine` of its own: it moves aside."""
    found = shown.prometheus.query("vllm:num_requests_running")
    assert [dict(labels)["engine"] for labels in found] == ["small"]
    assert [dict(labels)["exported_engine"] for labels in found] == ["0"]


def test_when_a_series_began_is_not_stored(shown: Shown) -> None:
    """The shipped settings drop it: as many series again for nothing."""
    assert shown.prometheus.query('{__name__=~"symposium_.*_created"}') == {}


def test_every_series_was_there_from_the_start(shown: Shown) -> None:
    """Whatever has happened since: a series that appears with its first event hides it from `increase()`."""
    now = {family.name: family.values() for family in shown.router.service.telemetry.families}
    del now["symposium_config_info"], shown.at_start["symposium_config_info"]  # moves to the version in force
    assert now == shown.at_start


def test_no_label_comes_from_a_client(shown: Shown) -> None:
    """Neither the model that was made up nor anything of a question is in what is scraped."""
    text = shown.router.scrape()
    assert "no-such-model" not in text
    assert "What is" not in text
