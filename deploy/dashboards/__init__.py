"""The Grafana dashboards, described briefly: the JSON in `deploy/observability/grafana/dashboards/` is made of this."""

from __future__ import annotations

from deploy.dashboards import budgets, experts, overview, routing

DASHBOARDS = (overview.BOARD, experts.BOARD, routing.BOARD, budgets.BOARD)
