"""Panels and dashboards, and Grafana's JSON of them. Knows nothing of what they show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent.parent / "observability" / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
Unit = Literal["short", "s", "reqps", "percentunit", "currencyUSD", "dateTimeAsIso", "bool"]
COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `queries`: legend -> PromQL; `instant`: one number each, of the time range, not a course."""

    title: str
    about: str
    queries: dict[str, str]
    unit: Unit = "short"
    instant: bool = False
    exemplars: bool = False
    width: int = 8


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    about: str
    rows: dict[str, tuple[Panel, ...]]

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows.values() for panel in row)


def document(board: Dashboard) -> dict[str, Any]:
    """Grafana's JSON model."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["symposium"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source_variable()]},
        "links": [{"type": "dashboards", "tags": ["symposium"], "title": "Symposium", "asDropdown": False}],
        "panels": _laid_out(board),
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}}


def _laid_out(board: Dashboard) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in board.rows.items():
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}, "panels": []})
        x, y = 0, y + 1
        for panel in row:
            if x + panel.width > COLUMNS:
                x, y = 0, y + 8
            panels.append(_panel(panel, {"x": x, "y": y, "w": panel.width, "h": 8}))
            x += panel.width
        y += 8
    return [{"id": number, **panel} for number, panel in enumerate(panels, 1)]


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + i),
            "datasource": SOURCE,
            "expr": query,
            "legendFormat": legend,
            "instant": panel.instant,
            "range": not panel.instant,
            "exemplar": panel.exemplars,
        }
        for i, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "type": "bargauge" if panel.instant and panel.unit != "dateTimeAsIso" else _course(panel),
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _course(panel: Panel) -> str:
    return "stat" if panel.instant else "timeseries"


def text(board: Dashboard) -> str:
    """The file's content."""
    return json.dumps(document(board), indent=2) + "\n"


def path(board: Dashboard) -> Path:
    """The file's place."""
    return FOLDER / f"{board.uid.removeprefix('symposium-')}.json"
