"""A known number of events, made by clients of a running router, and what the dashboards have to show of them."""

from __future__ import annotations

from typing import Any

from tests.api.world import ODD, PATIENT, POLICIES, ask
from tests.observability.harness import Observed
from tests.observability.shown import Name
from tests.support import eventually

USED = ("auto", "solo", "hurt", "hurried", "dead", "named", "frugal")
CHANGED: dict[str, Any] = {
    "policies": {name: POLICIES[name] for name in USED},
    "decisions": {"flush_s": 0.05},
    # Two failures in a row open a breaker, for as long as the test lasts.
    "convening": PATIENT
    | {
        "breakers": {"failures_in_a_row": 2, "min_calls": 1_000_000, "open_s": 3600},
        "hedge_quantile": 0.95,
        "hedge_share": 1,
    },
}
LEGS = {"ant": 11, "bee": 7, "cat": 5, "late": 2, "mute": 2, "namer": 1, "numb": 1}
REQUESTS = {"answered": 15, "failed": 3, "refused": 5}
FIRING = ("NoExpert", "ErrorsBurnFast", "ErrorsBurnSlow", "ReloadRejected", "DecisionLogDrops")
ALERTS = len(FIRING)
RECORDS = sum(REQUESTS.values()) + sum(LEGS.values())  # a row for each request and for each call
HELD = (5, 6)  # prompt and output tokens that are held for an answer of 6: what is estimated of one that never came


def happen(router: Observed) -> None:
    """Every event once, in an order that leaves nothing to chance."""
    world, telemetry = router.world, router.service.telemetry
    router.reload(data=router.service.edition.config.data + "/another")  # of no effect, but another version
    for body, status in (
        *[(ask("auto"), 200)] * 3,  # a vote of ant, bee and cat
        (ask("auto", ODD), 200),  # unlike anything: the general expert, cat, alone
        *[(ask("solo"), 200)] * 2,  # ant
        *[(ask("solo", stream=True), 200)] * 2,
        *[(ask("bee"), 200)] * 3,  # named
        (ask("named"), 200),  # the keyword expert is asked, and knows; then a vote of ant, bee and cat
        (ask("hurt"), 200),  # mute fails, ant steps in
        (ask("hurried", max_tokens=6), 200),  # late has no first token in time, ant steps in
        (ask("dead"), 502),  # mute and numb: mute's second failure in a row opens its breaker
        *[(ask("gone"), 503)] * 2,  # nobody listens there
        *[(ask("no-such-model"), 404)] * 4,
        (ask("auto", 5), 400),
    ):
        assert world.post(body).status_code == status, body
    router.used_to_be_quick("late")
    # So that ant is asked beside it before its time is over.
    assert world.post(ask("hurried", max_tokens=6)).status_code == 200
    telemetry.log_dropped("queue_full", 2)
    telemetry.config_rejected()
    eventually(lambda: world.metric("symposium_in_flight") == 0)
    eventually(lambda: world.metric("symposium_legs_total") == sum(LEGS.values()))
    eventually(lambda: world.metric("symposium_tokens_total", expert="late") == 2 * sum(HELD))  # settled behind it
    eventually(lambda: world.metric("symposium_decision_log_records_total") == RECORDS)


EXPECTED: dict[Name, list[dict[str, float]]] = {
    ("Overview", "Responses"): [{name: float(n) for name, n in REQUESTS.items()}],
    ("Overview", "Requests per second"): [{"200": 15, "502": 1, "503": 2, "400": 1, "404": 4}],
    ("Overview", "Requests per second by policy"): [
        {"auto": 4, "solo": 4, "expert": 3, "named": 1, "hurt": 1, "hurried": 2, "dead": 1, "": 7}
    ],
    ("Overview", "Share of failed requests"): [{"": 3 / 18}] * 4,
    ("Overview", "Share of slow requests"): [{}] * 4,
    ("Overview", "Held requests"): [{}, {"": 512}],
    ("Overview", "Queue age"): [{}],
    ("Overview", "Reloads"): [{"": 1}, {"": 1}],
    ("Overview", "Decision log"): [{"": RECORDS}, {"queue_full": 2}],
    ("Overview", "Alerts"): [{f"Symposium{name}": 1 for name in FIRING}],
    ("Experts", "Calls"): [
        {
            **{f"{name},answered": LEGS[name] for name in ("ant", "bee", "cat", "namer")},
            **{f"{name},refused": LEGS[name] for name in ("mute", "numb")},
            **{"late,timeout": 1, "late,cut": 1},
        }
    ],
    ("Experts", "Calls per second"): [{name: float(legs) for name, legs in LEGS.items()}],
    ("Experts", "Tokens per second"): [
        {
            **{"ant,output": 11 * 6, "bee,output": 7, "cat,output": 4 * 3 + 2, "namer,output": 4},
            **{"ant,prompt": 11 * 4, "bee,prompt": 7 * 4, "cat,prompt": 4 * 4 + 3, "namer,prompt": 33},
            **{f"late,{kind}": 2 * tokens for kind, tokens in zip(("prompt", "output"), HELD, strict=True)},
        }
    ],
    ("Experts", "Breakers not closed"): [{"mute,open": 1}],
    ("Experts", "Breakers opened"): [{"mute": 1}],
    ("Experts", "Hedges and retries"): [{"late,retry": 1, "late,hedge": 1, "mute,retry": 1}],
    ("Experts", "Running"): [{"small": 3}],
    ("Experts", "Waiting"): [{"small": 2}],
    ("Experts", "KV cache"): [{"small": 0.25}],
    ("Experts", "Generated tokens per second"): [{"small": 120}],
    ("Experts", "Wait in the engine"): [{"small": 1.4}],  # of ten waits five are up to 0.5 s, five up to 1.5 s
    ("Experts", "Preemptions per second"): [{"small": 1}],
    ("Routing", "Why a plan has its size"): [
        {
            **{"auto,convened": 3, "auto,unfamiliar": 1, "named,convened": 1, "dead,convened": 1, "expert,named": 3},
            **{"solo,policy_single": 4, "hurt,policy_single": 1, "hurried,policy_single": 2},
        }
    ],
    ("Routing", "Categories"): [{"sums": 12, "general": 1, "none": 3}],
    ("Routing", "How answers were made"): [{"single,single": 11, "vote,vote": 4}],
    ("Routing", "Nobody to ask"): [{"expert": 2}],
    ("Routing", "Strangers"): [{"": 1}, {}],
    ("Routing", "Keyword expert"): [{"named": 1}],
    ("Routing", "Texts per embedding"): [{"": 1}],
}
QUANTILES: dict[Name, tuple[str, str, dict[str, str]]] = {
    ("Overview", "Request time (E2E)"): ("symposium_request_seconds", "policy", {}),
    ("Overview", "First byte of streams (TTFT)"): ("symposium_first_byte_seconds", "policy", {"stream": "true"}),
    ("Experts", "Duration of a call"): ("symposium_leg_seconds", "expert", {}),
    ("Experts", "First token of a call (TTFT)"): ("symposium_leg_first_token_seconds", "expert", {}),
    ("Experts", "Time per output token (TPOT)"): ("symposium_leg_per_token_seconds", "expert", {}),
    ("Routing", "Router's own work"): ("symposium_overhead_seconds", "policy", {}),
    ("Routing", "Experts' time"): ("symposium_engine_seconds", "policy", {}),
}
SAME_AS: dict[Name, list[tuple[str, str, float]]] = {
    ("Overview", "Last reload"): [("symposium_config_last_success_timestamp_seconds", "", 1000)],
    ("Routing", "Worth of a right answer"): [("symposium_usd_per_right", "policy", 1)],
    ("Routing", "Seconds per second"): [
        ("symposium_overhead_seconds_sum", "", 1),
        ("symposium_engine_seconds_sum", "", 1),
        ("symposium_request_seconds_sum", "", 1),
    ],
}
