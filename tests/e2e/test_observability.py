"""A real Prometheus on a whole system: the shipped settings find every replica and engine, and vLLM's own metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from deploy.dashboards import experts
from loadtest.server import REPOSITORY, Served
from router.config_file import load
from tests.observability.harness import needs_prometheus, prometheus
from tests.observability.settings import shipped, shipped_rules
from tests.support import eventually_equal

pytestmark = [pytest.mark.engine, needs_prometheus]


def test_every_replica_and_engine_of_a_whole_system_is_scraped(served: Served, tmp_path: Path) -> None:
    """With the token that the system itself has written; each of vLLM's metrics that a dashboard shows is there."""
    config = load(REPOSITORY / "configs" / "quickstart.yaml")
    door = json.loads((served.data / "admin.json").read_text())
    (tmp_path / "token").write_text(door["token"])
    body = {"model": "auto", "messages": [{"role": "user", "content": "What is 17 + 25?"}]}
    assert httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
    queries = [query for panel in experts.BOARD.panels for query in panel.queries.values()]
    names = sorted({name for query in queries for name in re.findall(r"vllm:\w+", query)})
    assert names
    with prometheus(tmp_path, shipped(door["url"], tmp_path / "token"), shipped_rules()) as found:
        there = {("symposium-engine",): len(config.engines), ("symposium-router",): config.server.router_replicas}
        eventually_equal(
            lambda: {tuple(v for _, v in labels): n for labels, n in found.query("count by (job) (up == 1)").items()},
            there,
        )
        for name in names:
            eventually_equal(
                lambda name=name: {dict(labels)["engine"] for labels in found.query(name)},  # type: ignore[misc]
                set(config.engines),
            )
        decided = 'sum(symposium_requests_total{policy="auto", outcome="answered"})'
        assert found.query(decided)[()] >= 1
