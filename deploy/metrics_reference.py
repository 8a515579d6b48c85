"""`docs/metrics.md`, made of the code: `python -m deploy.metrics_reference` writes it."""

from __future__ import annotations

from pathlib import Path

from router import labels
from router.families import Family
from router.telemetry import Telemetry

PATH = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
_ABOUT = """\
# Metrics

<!-- Made by `python -m deploy.metrics_reference`; a test holds it equal to the code. -->

What a router replica shows on its own listener, and on `/metrics` of the public side where `server.public_metrics` is
on: Prometheus' text format, or OpenMetrics for who accepts it. There, durations and requests of a trace that is
recorded point to it by an exemplar `trace_id`.

Requests of clients (`symposium_requests_total`) are counted apart from calls of experts (`symposium_legs_total`), and
the router's own time (`symposium_overhead_seconds`) apart from the experts' (`symposium_engine_seconds`).

Labels have closed sets of values: names of the configuration, and words of the code. No label holds a user, a prompt or
a name that a client made up. Series are there from the start, at zero; those of a name that a new configuration no
longer has go. Engines show vLLM's own metrics (`vllm:*`), each as a target of its own.

Money is in US dollars. What is held and charged (`symposium_budget_…`) is counted by the replica that does it: sum over
replicas. How tenants stand (`symposium_tenant_…`) is the ledger's word, which every replica repeats: take the maximum.
"""


def reference() -> str:
    """The page's text."""
    families = Telemetry("", (), ()).families
    used = sorted({label for family in families for label in family.labels})
    rows = [_row(family) for family in sorted(families, key=lambda family: family.name)]
    words = {
        "`reason` of `symposium_decisions_total`": ("named", *labels.REASONS),
        "`reason` of `symposium_decision_log_dropped_total`": labels.DROPPED,
        "`how: why`": tuple(f"{how}: {why}" for how, why in labels.CONCLUSIONS),
        "`outcome` of `symposium_legs_total`": labels.LEG_OUTCOMES,
        "`outcome` of `symposium_keywords_total`": labels.KEYWORDS,
        "`outcome` of `symposium_deadlines_total`": labels.DEADLINES,
        "`rung` of `symposium_degraded_total`": labels.RUNGS,
        "`code: reason` of `symposium_refusals_total`": tuple(f"{code}: {why}" for code, why in labels.REFUSALS),
        "`reason` of `symposium_queue_refused_total`": labels.QUEUE_REFUSED,
        "`operation` of `symposium_ledger_lost_total`": (*labels.OPERATIONS, labels.OTHER),
        "`why` of `symposium_extra_legs_total`": labels.EXTRA,
        "`outcome status` of `symposium_requests_total`": tuple(
            sorted(" ".join(ending) for ending in {*labels.ENDINGS, *labels.ENDINGS_EARLY})
        ),
    }
    return "\n".join(
        [
            _ABOUT,
            "| metric | kind | labels | what it says |",
            "|---|---|---|---|",
            *rows,
            "\n## Labels\n",
            "| label | values |",
            "|---|---|",
            *(f"| `{label}` | {labels.MEANING[label]} |" for label in used),
            "\n## Words\n",
            "| of | words |",
            "|---|---|",
            *(f"| {of} | {', '.join(f'`{word}`' for word in values)} |" for of, values in words.items()),
            "",
        ]
    )


def _row(family: Family) -> str:
    names = ", ".join(f"`{name}`" for name in family.labels) or "–"
    return f"| `{family.name}` | {family.kind} | {names} | {family.about} |"


if __name__ == "__main__":
    PATH.write_text(reference(), encoding="utf-8")
