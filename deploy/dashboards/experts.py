"""How experts and the engines behind them do."""

from __future__ import annotations

from deploy.dashboards.grafana import Dashboard, Panel
from deploy.dashboards.queries import ENGINES, quantile, quantiles, speed, total, worst

BOARD = Dashboard(
    "symposium-experts",
    "Symposium / Experts",
    "How experts and the engines behind them do.",
    {
        "Calls": (
            Panel(
                "Up",
                "Whether the expert's server answers, as any replica sees it.",
                {"{{expert}}": worst("symposium_expert_up", "expert")},
                "bool",
            ),
            Panel(
                "Calls",
                "Of the time range, by how they ended; `cut` was not needed any more.",
                {"{{expert}} {{outcome}}": total("symposium_legs_total", "expert", "outcome")},
                instant=True,
            ),
            Panel("Calls per second", "", {"{{expert}}": speed("symposium_legs_total", "expert")}, "reqps"),
            Panel("Duration of a call", "", quantiles("symposium_leg_seconds", "expert"), "s", exemplars=True),
            Panel(
                "First token of a call (TTFT)",
                "As the router sees it.",
                quantiles("symposium_leg_first_token_seconds", "expert"),
                "s",
                exemplars=True,
            ),
            Panel(
                "Time per output token (TPOT)",
                "After the first one.",
                quantiles("symposium_leg_per_token_seconds", "expert"),
                "s",
                exemplars=True,
            ),
            Panel(
                "Tokens per second",
                "Settled: also those of calls that were cut.",
                {"{{expert}} {{kind}}": speed("symposium_tokens_total", "expert", "kind")},
            ),
        ),
        "Resilience": (
            Panel(
                "Breakers not closed",
                "Replicas that leave the expert out, or try it again.",
                {
                    "{{expert}} {{state}}": worst(
                        "symposium_breaker_state", "expert", "state", where='state!="closed"', how="sum"
                    )
                },
            ),
            Panel(
                "Breakers opened",
                "In the time range.",
                {"{{expert}}": total("symposium_breaker_opened_total", "expert")},
                instant=True,
            ),
            Panel(
                "Hedges and retries",
                "Of the time range, under the expert that was late or failed.",
                {"{{expert}} {{why}}": total("symposium_extra_legs_total", "expert", "why")},
                instant=True,
            ),
            Panel(
                "Stale profiles",
                "1 where another version was measured.",
                {"{{expert}}": worst("symposium_stale_profile", "expert")},
                "bool",
            ),
        ),
        "Engines": (
            Panel(
                "Running",
                "Requests in the engine's batch.",
                {"{{engine}}": worst("vllm:num_requests_running", "engine", job=ENGINES, how="sum")},
            ),
            Panel(
                "Waiting",
                "Requests that wait for room in it.",
                {"{{engine}}": worst("vllm:num_requests_waiting", "engine", job=ENGINES, how="sum")},
            ),
            Panel(
                "KV cache",
                "Share in use.",
                {"{{engine}}": worst("vllm:kv_cache_usage_perc", "engine", job=ENGINES)},
                "percentunit",
            ),
            Panel(
                "Generated tokens per second",
                "",
                {"{{engine}}": speed("vllm:generation_tokens_total", "engine", job=ENGINES)},
            ),
            Panel(
                "Wait in the engine",
                "Before its first step.",
                {"{{engine}} p95": quantile(0.95, "vllm:request_queue_time_seconds", "engine", job=ENGINES)},
                "s",
            ),
            Panel(
                "Preemptions per second",
                "For want of KV cache.",
                {"{{engine}}": speed("vllm:num_preemptions_total", "engine", job=ENGINES)},
            ),
        ),
    },
)
