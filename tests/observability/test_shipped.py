"""What is shipped for Prometheus and Grafana, looked at as files: nothing here starts a server."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.dashboards import DASHBOARDS
from deploy.dashboards.grafana import COLUMNS, Dashboard, path, text
from deploy.metrics_reference import PATH, reference
from router.telemetry import Telemetry
from tests.observability.harness import needs_prometheus
from tests.observability.settings import FOLDER, SCALE, hurried, shipped_rules

REPOSITORY = FOLDER.parents[1]
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
RULES = [rule for group in shipped_rules()["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
OURS = {family.name for family in Telemetry("", (), ()).families}
boards = pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)


def metrics_in(expr: str) -> set[str]:
    """Names of our metrics in a query, without what a histogram's series add."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bsymposium_\w+", expr)}


@boards
def test_a_dashboard_s_file_is_what_the_code_makes(board: Dashboard) -> None:
    """`python -m deploy.dashboards` was run."""
    assert path(board).read_text() == text(board)


def test_there_are_no_other_dashboards() -> None:
    """One that was renamed leaves no file behind, and no two have one id."""
    assert {file.name for file in (FOLDER / "grafana" / "dashboards").iterdir()} == {path(b).name for b in DASHBOARDS}
    assert len({board.uid for board in DASHBOARDS}) == len(DASHBOARDS)


@boards
def test_a_dashboard_has_the_shape_that_grafana_reads(board: Dashboard) -> None:
    """Ids, places without overlap, and in every query the variable for the source of its data."""
    shown = json.loads(path(board).read_text())
    assert [v["name"] for v in shown["templating"]["list"] if v["type"] == "datasource"] == ["datasource"]
    panels = shown["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < COLUMNS
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert target["instant"] != target["range"]
            assert target["expr"]


@boards
def test_a_dashboard_asks_for_metrics_that_there_are(board: Dashboard) -> None:
    """Ours are in the code's list; vLLM's in the source of the version that is locked; rules' among the rules."""
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    spec = find_spec("vllm")
    assert spec is not None
    assert spec.submodule_search_locations
    vllm = (Path(spec.submodule_search_locations[0]) / "v1" / "metrics" / "loggers.py").read_text()
    for panel in board.panels:
        for query in panel.queries.values():
            assert metrics_in(query) <= OURS, query
            assert set(re.findall(r"\bsymposium:\w+:\w+", query)) <= recorded
            for name in re.findall(r"vllm:\w+", query):
                assert f'"{re.sub("_(total|bucket)$", "", name)}"' in vllm, name


def test_grafana_is_provisioned_with_the_source_and_the_dashboards() -> None:
    """As files that it reads at its start."""
    found = FOLDER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((found / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((found / "dashboards" / "symposium.yml").read_text())["providers"]
    assert provider["type"] == "file"


def test_every_metric_is_used_or_at_least_listed() -> None:
    """The reference is what the code makes: `python -m deploy.metrics_reference` was run."""
    assert PATH.read_text() == reference()
    assert all(f"`{name}`" in reference() for name in OURS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_runbook(alert: str) -> None:
    """It names its page, which says what it means, how to confirm it and what to do."""
    annotations: dict[str, Any] = ALERTS[alert]["annotations"]
    page = REPOSITORY / annotations["runbook_url"]
    assert page == RUNBOOKS / f"{alert}.md"
    written = page.read_text()
    assert written.startswith(f"# {alert}\n")
    assert re.findall("^## (.*)$", written, re.MULTILINE) == ["What it means", "How to confirm", "What to do"]
    assert metrics_in(written) <= OURS, "a runbook names a metric that there is not"


def test_a_runbook_has_an_alert() -> None:
    """One that is dropped takes its page along."""
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == ALERTS.keys()


def test_alerts_look_at_metrics_that_there_are() -> None:
    """A metric that is renamed would silence them for good."""
    for rule in RULES:
        assert metrics_in(rule["expr"]) <= OURS, rule


def test_what_runs_faster_is_the_same_but_for_durations() -> None:
    """The copy that the tests run: every range is divided, `for` too, nothing else."""
    rule = {"alert": "A", "expr": 'rate(x_total{a="5m"}[5m]) > 0.5', "for": "2m", "labels": {"severity": "page"}}
    (group,) = hurried({"groups": [{"name": "g", "rules": [rule]}]})["groups"]
    assert SCALE == 120
    assert group["rules"] == [rule | {"expr": 'rate(x_total{a="5m"}[2500ms]) > 0.5', "for": "1000ms"}]


@needs_prometheus
@pytest.mark.parametrize("what", ["rules", "tests", "config"])
def test_promtool_agrees(tmp_path: Path, what: str) -> None:
    """Rules and settings are well-formed, and rules do what their tests say."""
    rules = [str(file) for file in sorted((FOLDER / "rules").glob("*.yml"))]
    tests = [str(file) for file in sorted((FOLDER / "rules_tests").glob("*.yml"))]
    settings = tmp_path / "prometheus.yml"
    settings.write_text((FOLDER / "prometheus.yml").read_text().replace("rules/*.yml", f"{FOLDER}/rules/*.yml"))
    (tmp_path / "admin-token").write_text("secret")
    commands = {
        "rules": ["check", "rules", *rules],
        "tests": ["test", "rules", *tests],
        "config": ["check", "config", str(settings)],
    }
    done = subprocess.run(["promtool", *commands[what]], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_names_and_helps_are_as_prometheus_wants_them() -> None:
    """promtool's linter finds nothing, but for what the client library adds by itself."""
    shown = Telemetry("abc", ("ada",), ("auto",), categories=("math",)).exposition()
    done = subprocess.run(["promtool", "check", "metrics"], input=shown, capture_output=True, check=False, timeout=60)
    found = [line for line in done.stderr.decode().splitlines() if "_created" not in line]
    assert found == []
