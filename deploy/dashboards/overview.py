"""What clients get, how the objectives stand, what runs."""

from __future__ import annotations

from deploy.dashboards.grafana import Dashboard, Panel
from deploy.dashboards.queries import quantiles, speed, total, worst

SPEND = "symposium:{}:ratio_rate{}"
BOARD = Dashboard(
    "symposium-overview",
    "Symposium / Overview",
    "What clients get, how the objectives stand, what runs.",
    {
        "What clients get": (
            Panel(
                "Responses",
                "Client requests of the time range by how they ended. Attempts of experts are counted apart.",
                {"{{outcome}}": total("symposium_requests_total", "outcome")},
                instant=True,
            ),
            Panel(
                "Requests per second",
                "By HTTP status; 499 where the client left.",
                {"{{status}}": speed("symposium_requests_total", "status")},
                "reqps",
            ),
            Panel(
                "Requests per second by policy",
                "`expert`: the request named its expert; empty: refused before a policy was known.",
                {"{{policy}}": speed("symposium_requests_total", "policy")},
                "reqps",
            ),
            Panel(
                "Request time (E2E)",
                "Arrival to last byte, of every request that had a policy.",
                quantiles("symposium_request_seconds", "policy", where='policy!=""'),
                "s",
                exemplars=True,
                width=12,
            ),
            Panel(
                "First byte of streams (TTFT)",
                "As the client sees it. A stream that has nothing to say for long begins with a comment.",
                quantiles("symposium_first_byte_seconds", "policy", where='stream="true"'),
                "s",
                exemplars=True,
                width=12,
            ),
        ),
        "Objectives": (
            Panel(
                "Share of failed requests",
                "Of those answered or failed. Objective: at most 0.5 % in 30 days.",
                {w: SPEND.format("request_errors", w) for w in ("5m", "1h", "6h", "3d")},
                "percentunit",
                width=12,
            ),
            Panel(
                "Share of slow requests",
                "Over 30 s from arrival to last byte. Objective: at most 5 % in 30 days.",
                {w: SPEND.format("request_slow", w) for w in ("5m", "1h", "6h", "3d")},
                "percentunit",
                width=12,
            ),
        ),
        "What runs": (
            Panel(
                "Targets",
                "1 where the scrape succeeds.",
                {"{{job}} {{replica}}{{engine}}": 'up{job=~"symposium-.*"}'},
                "bool",
            ),
            Panel(
                "Held requests",
                "Against the bound of admission, over all replicas; beyond it there is a 429.",
                {
                    "held": worst("symposium_in_flight", how="sum"),
                    "bound": worst("symposium_admission_limit", how="sum"),
                },
            ),
            Panel(
                "Queue age",
                "How long the oldest waits; the worst replica.",
                {"{{queue}}": worst("symposium_queue_age_seconds", "queue")},
                "s",
            ),
            Panel(
                "Configuration",
                "Replicas on each version.",
                {"{{version}}": worst("symposium_config_info", "version", how="sum")},
            ),
            Panel(
                "Last reload",
                "When the oldest replica's configuration was applied.",
                {"applied": f"1000 * {worst('symposium_config_last_success_timestamp_seconds', how='min')}"},
                "dateTimeAsIso",
                instant=True,
            ),
            Panel(
                "Reloads",
                "In the time range, summed over replicas.",
                {
                    "applied": total("symposium_config_applied_total"),
                    "rejected": total("symposium_config_rejected_total"),
                },
                instant=True,
            ),
            Panel(
                "Decision log",
                "Records of the time range: written, and lost by reason.",
                {
                    "written": total("symposium_decision_log_records_total"),
                    "lost: {{reason}}": total("symposium_decision_log_dropped_total", "reason"),
                },
                instant=True,
            ),
            Panel(
                "Alerts",
                "That are firing; each has a runbook in docs/runbooks/.",
                {"{{alertname}}": 'count by (alertname) (ALERTS{alertstate="firing"})'},
                instant=True,
            ),
        ),
    },
)
