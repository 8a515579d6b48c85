"""A known number of events of money, deadlines, queues and feedback is made by clients of a running router; every query
of their dashboard shows exactly that, in a real Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from router import labels, standings
from tests.observability import scenario_budgets as scenario
from tests.observability.harness import needs_prometheus
from tests.observability.shown import Name, Shown, check_exactly, check_quantiles, check_same, shown_of
from tests.support import Recorded

pytestmark = needs_prometheus


@pytest.fixture(scope="module")
def shown(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """After all has happened. The ledger is looked at more often than elsewhere; a busy machine is not late."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standings, "EVERY_S", 0.1)
        patch.setattr(labels, "LATE_S", 10)
        with shown_of(scenario, experts, tmp_path_factory.mktemp("budgets")) as found:
            yield found


@pytest.mark.parametrize("name", scenario.EXPECTED, ids=" ".join)
def test_a_panel_shows_exactly_what_happened(shown: Shown, name: Name) -> None:
    """By labels; nothing else is shown."""
    check_exactly(shown, name, scenario.EXPECTED[name])


@pytest.mark.parametrize("name", scenario.QUANTILES, ids=" ".join)
def test_a_panel_of_times_shows_the_replica_s_own_quantiles(shown: Shown, name: Name) -> None:
    """How long things take is not for a test to say."""
    check_quantiles(shown, name, *scenario.QUANTILES[name])


@pytest.mark.parametrize("name", scenario.SAME_AS, ids=" ".join)
def test_a_panel_of_sums_shows_the_replica_s_own(shown: Shown, name: Name) -> None:
    """How much is set aside is for those to say who set it aside."""
    check_same(shown, name, scenario.SAME_AS[name])


def test_every_series_was_there_from_the_start(shown: Shown) -> None:
    """Whatever has happened since: a series that appears with its first event hides it from `increase()`."""
    assert {family.name: family.values() for family in shown.router.service.telemetry.families} == shown.at_start


def test_no_key_is_in_what_is_scraped(shown: Shown) -> None:
    """Tenants are named, keys and their holders are not."""
    text = shown.router.scrape()
    assert not any(f'"{key}"' in text for key in scenario.KEYS.values())
