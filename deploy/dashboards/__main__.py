"""`python -m deploy.dashboards` writes the dashboards' JSON."""

from __future__ import annotations

from deploy.dashboards import DASHBOARDS
from deploy.dashboards.grafana import path, text

for board in DASHBOARDS:
    path(board).write_text(text(board), encoding="utf-8")
