"""Prometheus finds what there is through the real admin side: each router replica and each engine, none by hand."""

from __future__ import annotations

from pathlib import Path

from tests.api.reload_world import TOKEN, fleet
from tests.api.world import ask
from tests.observability.harness import Prometheus, needs_prometheus, prometheus
from tests.observability.settings import shipped, shipped_rules
from tests.support import Recorded, eventually_equal

pytestmark = needs_prometheus


def up(found: Prometheus) -> list[tuple[str, float]]:
    """Job and whether it can be scraped, for each target."""
    return sorted((dict(labels)["job"], value) for labels, value in found.query("up").items())


def test_every_replica_and_every_engine_is_a_target_of_its_own(experts: Recorded, tmp_path: Path) -> None:
    """A third replica is found by itself, an engine that does not answer is down, and counts are each replica's own.

    A configuration that is refused shows in every replica, and says so.
    """
    (tmp_path / "token").write_text(TOKEN)
    with fleet(tmp_path, experts) as running:
        url = str(running.admin.base_url).rstrip("/").removesuffix("/admin")
        with prometheus(tmp_path, shipped(url, tmp_path / "token"), shipped_rules()) as found:
            engines = [("symposium-engine", 0.0), ("symposium-engine", 1.0)]  # `dead` and `old`
            eventually_equal(lambda: up(found), [*engines, *[("symposium-router", 1.0)] * 2])
            running.replica()
            eventually_equal(lambda: up(found), [*engines, *[("symposium-router", 1.0)] * 3])
            for world, times in zip(running.worlds, (1, 2, 3), strict=True):
                assert all(world.post(ask("solo")).status_code == 200 for _ in range(times))
            answered = 'sum by (replica) (symposium_requests_total{policy="solo", outcome="answered"})'
            eventually_equal(lambda: sorted(found.query(answered).values()), [1, 2, 3])
            assert running.put(running.policies(wrong={"experts": ["nobody"]})).status_code == 422
            eventually_equal(lambda: found.query("sum(symposium_config_rejected_total)"), {(): 3})
            eventually_equal(lambda: "SymposiumReloadRejected" in found.firing(), True)


def test_without_the_token_nothing_is_found(experts: Recorded, tmp_path: Path) -> None:
    """And that is what the alert is for."""
    (tmp_path / "token").write_text("not it")
    with fleet(tmp_path, experts, replicas=1) as running:
        url = str(running.admin.base_url).rstrip("/").removesuffix("/admin")
        rules = shipped_rules()
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        with prometheus(tmp_path, shipped(url, tmp_path / "token"), rules) as found:
            eventually_equal(lambda: "SymposiumNoTargets" in found.firing(), True)
            assert up(found) == []
