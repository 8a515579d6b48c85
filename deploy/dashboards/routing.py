"""What is decided and why, and what deciding takes."""

from __future__ import annotations

from deploy.dashboards.grafana import Dashboard, Panel
from deploy.dashboards.queries import quantiles, speed, total, worst

BOARD = Dashboard(
    "symposium-routing",
    "Symposium / Routing",
    "What is decided and why, and what deciding takes.",
    {
        "Decisions": (
            Panel(
                "Why a plan has its size",
                "Of the time range.",
                {"{{policy}} {{reason}}": total("symposium_decisions_total", "policy", "reason")},
                instant=True,
            ),
            Panel(
                "Categories",
                "Of the time range.",
                {"{{category}}": total("symposium_categories_total", "category")},
                instant=True,
            ),
            Panel(
                "How answers were made",
                "Of the time range: of what experts said, and why so.",
                {"{{how}}: {{why}}": total("symposium_conclusions_total", "how", "why")},
                instant=True,
            ),
            Panel(
                "Nobody to ask",
                "Requests of the time range that no capable expert was up for.",
                {"{{policy}}": total("symposium_unserved_total", "policy")},
                instant=True,
            ),
            Panel(
                "Strangers",
                "Of the time range: queries with an unknown skill, candidates without a profile.",
                {
                    "unknown skill": total("symposium_unknown_skill_total"),
                    "unprofiled: {{expert}}": total("symposium_unprofiled_candidate_total", "expert"),
                },
                instant=True,
            ),
            Panel(
                "Keyword expert",
                "Questions of the time range.",
                {"{{outcome}}": total("symposium_keywords_total", "outcome")},
                instant=True,
            ),
            Panel(
                "Worth of a right answer",
                "Of policies that hold a mean cost.",
                {"{{policy}}": worst("symposium_usd_per_right", "policy", how="avg")},
                "currencyUSD",
            ),
        ),
        "Time": (
            Panel(
                "Router's own work",
                "Admission to dispatch.",
                quantiles("symposium_overhead_seconds", "policy"),
                "s",
                width=12,
            ),
            Panel(
                "Experts' time",
                "Of answered requests.",
                quantiles("symposium_engine_seconds", "policy"),
                "s",
                exemplars=True,
                width=12,
            ),
            Panel(
                "Seconds per second",
                "How much of the time goes where.",
                {
                    "router": speed("symposium_overhead_seconds_sum"),
                    "experts": speed("symposium_engine_seconds_sum"),
                    "requests": speed("symposium_request_seconds_sum"),
                },
            ),
            Panel(
                "Texts per embedding",
                "Mean size of a batch.",
                {
                    "mean": f"{speed('symposium_embed_batch_size_sum')} / {speed('symposium_embed_batch_size_count')}",
                },
            ),
        ),
    },
)
