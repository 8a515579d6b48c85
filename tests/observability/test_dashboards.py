"""A known number of events is made on a running router; every query of every dashboard shows exactly that, in a real
Prometheus that found its targets as the shipped settings say. Of money, queues and deadlines: `test_dashboard_budgets`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.api.world import KNOWS, ROWS
from tests.observability import scenario, scenario_budgets
from tests.observability.harness import needs_prometheus
from tests.observability.shown import PANELS, Name, Shown, check_exactly, check_quantiles, check_same, shown_of
from tests.support import Recorded

pytestmark = needs_prometheus
GAUGES_OF_EXPERTS = {
    ("Experts", "Up"): dict.fromkeys({model for _, model, _, _ in ROWS}, 1.0),
    ("Experts", "Stale profiles"): dict.fromkeys(KNOWS, 1.0),
}
EXACTLY = scenario.EXPECTED | {name: [values] for name, values in GAUGES_OF_EXPERTS.items()}


@pytest.fixture(scope="module")
def shown(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """After all has happened."""
    with shown_of(scenario, experts, tmp_path_factory.mktemp("dashboards")) as found:
        yield found


@pytest.mark.parametrize("name", EXACTLY, ids=" ".join)
def test_a_panel_shows_exactly_what_happened(shown: Shown, name: Name) -> None:
    """By labels; nothing else is shown."""
    check_exactly(shown, name, EXACTLY[name])


@pytest.mark.parametrize("name", scenario.QUANTILES, ids=" ".join)
def test_a_panel_of_times_shows_the_replica_s_own_quantiles(shown: Shown, name: Name) -> None:
    """How long things take is not for a test to say."""
    check_quantiles(shown, name, *scenario.QUANTILES[name])


@pytest.mark.parametrize("name", scenario.SAME_AS, ids=" ".join)
def test_a_panel_of_gauges_and_sums_shows_the_replica_s_own(shown: Shown, name: Name) -> None:
    """What moves with time and money is shown as the replica says it."""
    check_same(shown, name, scenario.SAME_AS[name])


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
    held = (EXACTLY, scenario.QUANTILES, scenario.SAME_AS)
    budgets = (scenario_budgets.EXPECTED, scenario_budgets.QUANTILES, scenario_budgets.SAME_AS)
    assert PANELS.keys() == by_hand.union(*held, *budgets)


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
