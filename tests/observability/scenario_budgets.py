"""A known number of events of money, deadlines, queues and feedback, and what their dashboard has to show of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.world import PATIENT, POLICIES, ROWS, ask
from tests.observability.harness import Observed, locked
from tests.observability.shown import Name
from tests.support import eventually, raw_post

KEYS = {name: f"sk-{name}" for name in ("acme", "poor", "quick", "paced")}
ALL_HEARD = {"decided_at": None, "min_share": 0, "enough": 1}
BOARD = "Budgets & SLA"
CHANGED: dict[str, Any] = {
    "policies": {
        "auto": POLICIES["auto"],
        "solo": POLICIES["solo"],
        "halting": ALL_HEARD | {"experts": ["ant", "bee", "stuck"]},
        "blocked": ALL_HEARD | {"experts": ["ant", "bee", "slow3"]},
    },
    # One call of each expert at a time, and nobody waits.
    "convening": PATIENT | {"concurrency": {"least": 1, "first": 1, "most": 1, "queued_requests": 0}},
    "server": {
        "limits": {"max_tokens": 4096, "max_body_bytes": 65_536},
        "api_keys": [
            {"name": name, "tenant": name, "sha256": hashlib.sha256(key.encode()).hexdigest()}
            for name, key in KEYS.items()
        ],
    },
    "tenants": {
        "acme": {"usd_per_day": 1, "usd_per_month": 10},
        "poor": {"usd_per_month": 1e-8},
        "quick": {"requests_per_minute": 1},
        "paced": {"requests_per_minute": 100},
    },
    "ledger": {"lease_s": 3600},  # nobody asks anything of it behind the requests' backs meanwhile
}
PROMPT, OUTPUT = 1e-6, 2e-6  # US dollars of a token
ANT, BEE = 4 * PROMPT + 6 * OUTPUT, 4 * PROMPT + OUTPUT
HELD = 5 * PROMPT + 6 * OUTPUT  # the router, which has no tokenizer of theirs, counts a token more
ESTIMATED = 3 * HELD  # of calls that were sent and of which nobody ever said what they used
SETTLED = {"acme": 6 * ANT + 2 * BEE + ESTIMATED, "poor": 1e-8, "quick": ANT}
OVERRUN = 1e-3


def happen(router: Observed) -> None:
    """Every event once, in an order that leaves nothing to chance."""
    world = router.world

    def told(model: str, status: int, tenant: str = "acme", **budget: float) -> httpx.Response:
        body = ask(model, max_tokens=6, **({"symposium": {"budget": budget}} if budget else {}))
        answer = world.post(body, authorization=f"Bearer {KEYS[tenant]}")
        assert answer.status_code == status, (model, answer.text)
        return answer

    first, second = told("solo", 200), told("solo", 200)
    told("solo", 200, deadline_ms=20_000)  # met
    told("auto", 200, max_cost_usd=1.5 * ANT)  # one expert instead of three
    told("auto", 429, max_cost_usd=1e-9)  # too little for any answer
    told("solo", 429, "poor")  # spent
    told("solo", 200, "quick")
    told("solo", 429, "quick")  # too many a minute
    told("halting", 200, deadline_ms=800)  # answered without the one that got stuck
    told("late", 504, deadline_ms=150)  # missed
    with raw_post(world.url, ask("slow3", max_tokens=6), {"authorization": f"Bearer {KEYS['acme']}"}):
        eventually(lambda: world.metric("symposium_calls_under_way", expert="slow3") == 1)
        told("slow3", 429)  # no turn
        told("slow3", 504, deadline_ms=5_000)  # none in time
        told("blocked", 200)  # two of three have one
    for answer, right in ((first, True), (second, False)):
        given = {"request_id": answer.headers["x-symposium-decision-id"], "right": right}
        headers = {"authorization": f"Bearer {KEYS['acme']}"}
        assert world.http.post("/v1/feedback", json=given, headers=headers).status_code == 200
    with locked(Path(router.service.edition.config.data)):
        told("solo", 503, "paced")  # whether it may come cannot be looked up
    router.paid("poor", 10, held=5, used=10 + round(OVERRUN * 1e9))
    eventually(lambda: world.metric("symposium_budget_held_usd") == 0)
    bounded = pytest.approx(SETTLED["acme"] + SETTLED["poor"])
    eventually(lambda: world.metric("symposium_tenant_settled_usd", period="month") == bounded)


_EXPECTED: dict[str, list[dict[str, float]]] = {
    "Spent": [SETTLED],
    "Spending per hour": [SETTLED],
    "Budgets used": [
        {"day,acme": SETTLED["acme"], "month,acme": SETTLED["acme"] / 10, "month,poor": 1},
    ],
    "Held": [{}],
    "Estimated": [{"acme": ESTIMATED}],
    "Overrun": [{"poor": OVERRUN}],
    "Ledger": [{"": 1}],
    "Ledger not reached": [{"closed,take": 1}],
    "Degraded": [{"auto,one_expert": 1}],
    "Refused before anything was spent": [
        {
            "insufficient_quota,cost": 1,
            "insufficient_quota,spent": 1,
            "rate_limit_exceeded,requests": 1,
            "overloaded,overload": 1,
            "deadline_unreachable,overload": 1,
        }
    ],
    "Refusals per second": [{"acme": 3, "poor": 1, "quick": 1}],
    "Requests with a deadline": [{"met": 1, "cut": 1, "missed": 1}],
    "Answered in time": [{"solo": 1, "halting": 1}],
    "Share not answered in time": [{"": 1 / 3}] * 4,
    "Waiting": [{}],
    "Under way": [{}],
    "Limit of calls under way": [dict.fromkeys([*{model for _, model, _, _ in ROWS}, "gone"], 1)],
    "No turn": [{"slow3,full": 1}],
    "Judged answers": [{"solo,right": 1, "solo,wrong": 1}, {}],
}
EXPECTED: dict[Name, list[dict[str, float]]] = {(BOARD, panel): queries for panel, queries in _EXPECTED.items()}
QUANTILES: dict[Name, tuple[str, str, dict[str, str]]] = {
    (BOARD, "Settle lag"): ("symposium_settle_lag_seconds", "", {}),
    (BOARD, "Wait for a turn"): ("symposium_queue_wait_seconds", "expert", {}),
}
SAME_AS: dict[Name, list[tuple[str, str, float]]] = {
    (BOARD, "Set aside, and used"): [
        ("symposium_budget_reserved_usd_total", "", 1),
        ("symposium_budget_settled_usd_total", "", 1),
    ],
}
# The errors that were made are too many for the objectives, a budget is spent, and more was used than that.
ALERTS = len(
    ("ErrorsBurnFast", "ErrorsBurnSlow", "DeadlineBurnFast", "DeadlineBurnSlow", "BudgetNearlySpent", "Overrun")
)
