"""What is spent, held and refused, how tenants' budgets stand, which deadlines are kept, who waits for a turn."""

from __future__ import annotations

from deploy.dashboards.grafana import Dashboard, Panel
from deploy.dashboards.queries import quantile, quantiles, speed, total, worst

MISSED = "symposium:deadline_missed:ratio_rate{}"
IN_TIME = 'outcome=~"met|cut"'


def of_tenant(what: str) -> str:
    """As every replica repeats it after the ledger."""
    return worst(f"symposium_tenant_{what}_usd", "tenant", "period")


BOARD = Dashboard(
    "symposium-budgets",
    "Symposium / Budgets & SLA",
    "What is spent, held and refused, how tenants' budgets stand, which deadlines are kept, who waits for a turn.",
    {
        "Money": (
            Panel(
                "Spent",
                "Charged in the time range.",
                {"{{tenant}}": total("symposium_budget_settled_usd_total", "tenant")},
                "currencyUSD",
                instant=True,
            ),
            Panel(
                "Spending per hour",
                "At the pace of the moment.",
                {"{{tenant}}": f"3600 * {speed('symposium_budget_settled_usd_total', 'tenant')}"},
                "currencyUSD",
            ),
            Panel(
                "Set aside, and used",
                "In the time range. Far apart where answers are much shorter than they might be.",
                {
                    "set aside": total("symposium_budget_reserved_usd_total"),
                    "used": total("symposium_budget_settled_usd_total"),
                },
                "currencyUSD",
                instant=True,
            ),
            Panel(
                "Budgets used",
                "Charged and held, of what a tenant may spend in the running day or month (UTC).",
                {"{{tenant}} {{period}}": f"({of_tenant('settled')} + {of_tenant('held')}) / {of_tenant('limit')}"},
                "percentunit",
                width=12,
            ),
            Panel(
                "Held",
                "For calls under way or not settled yet, over all replicas; nothing once all is quiet.",
                {"{{tenant}}": worst("symposium_budget_held_usd", "tenant", how="sum")},
                "currencyUSD",
                width=12,
            ),
            Panel(
                "Estimated",
                "Of what was charged in the time range: nobody counted these tokens exactly.",
                {"{{tenant}}": total("symposium_budget_estimated_usd_total", "tenant")},
                "currencyUSD",
                instant=True,
            ),
            Panel(
                "Overrun",
                "In the time range: used beyond what was held and what was left. Nobody pays for it.",
                {"{{tenant}}": total("symposium_budget_overrun_usd_total", "tenant")},
                "currencyUSD",
                instant=True,
            ),
            Panel(
                "Settle lag",
                "The end of a call to its booking.",
                {f"p{100 * q:g}": quantile(q, "symposium_settle_lag_seconds") for q in (0.5, 0.99)},
                "s",
            ),
            Panel(
                "Ledger",
                "1 where it does what every replica asks it for.",
                {"up": worst("symposium_ledger_up", how="min")},
                "bool",
                width=12,
            ),
            Panel(
                "Ledger not reached",
                "Times in the time range. `open`: requests were served without it.",
                {"{{operation}} {{mode}}": total("symposium_ledger_lost_total", "operation", "mode")},
                instant=True,
                width=12,
            ),
        ),
        "Given up and refused": (
            Panel(
                "Degraded",
                "Plans of the time range for which the budget did not allow what the policy wanted.",
                {"{{policy}} {{rung}}": total("symposium_degraded_total", "policy", "rung")},
                instant=True,
            ),
            Panel(
                "Refused before anything was spent",
                "Requests of the time range.",
                {"{{code}} {{reason}}": total("symposium_refusals_total", "code", "reason")},
                instant=True,
            ),
            Panel(
                "Refusals per second",
                "",
                {"{{tenant}}": speed("symposium_refusals_total", "tenant")},
                "reqps",
            ),
        ),
        "Deadlines": (
            Panel(
                "Requests with a deadline",
                "Of the time range. `cut`: answered in time with what had come; `late`, `missed`: not in time.",
                {"{{outcome}}": total("symposium_deadlines_total", "outcome")},
                instant=True,
            ),
            Panel(
                "Answered in time",
                "Of the requests with a deadline.",
                {
                    "{{policy}}": f"{speed('symposium_deadlines_total', 'policy', where=IN_TIME)} / "
                    f"{speed('symposium_deadlines_total', 'policy')}"
                },
                "percentunit",
            ),
            Panel(
                "Share not answered in time",
                "Objective: at most 1 % in 30 days.",
                {window: MISSED.format(window) for window in ("5m", "1h", "6h", "3d")},
                "percentunit",
            ),
        ),
        "Queues": (
            Panel(
                "Wait for a turn",
                "At the expert; no wait where a turn is free.",
                quantiles("symposium_queue_wait_seconds", "expert"),
                "s",
                width=12,
            ),
            Panel(
                "Waiting",
                "Calls without a turn, over all replicas.",
                {"{{expert}}": worst("symposium_queue_waiting", "expert", how="sum")},
                width=12,
            ),
            Panel(
                "Under way",
                "Calls with their turn, over all replicas.",
                {"{{expert}}": worst("symposium_calls_under_way", "expert", how="sum")},
            ),
            Panel(
                "Limit of calls under way",
                "Over all replicas; it moves with the first tokens' delay.",
                {"{{expert}}": worst("symposium_calls_limit", "expert", how="sum")},
            ),
            Panel(
                "No turn",
                "Calls of the time range: `full`, too many waited; `hopeless`, it would have come too late.",
                {"{{expert}} {{reason}}": total("symposium_queue_refused_total", "expert", "reason")},
                instant=True,
            ),
        ),
        "Feedback": (
            Panel(
                "Judged answers",
                "Of the time range. Not counted: feedback is frozen.",
                {
                    "{{policy}} {{verdict}}": total(
                        "symposium_feedback_total", "policy", "verdict", where='counted="true"'
                    ),
                    "not counted": total("symposium_feedback_total", where='counted="false"'),
                },
                instant=True,
                width=24,
            ),
        ),
    },
)
