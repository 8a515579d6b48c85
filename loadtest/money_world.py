"""The world of `loadtest.money`: equal recorded experts of which one fails now and then, three of them convened for
each question, and tenants whose budgets pay for exactly so many requests. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from loadtest.recorded_world import RecordedServer
from loadtest.server import REPOSITORY

JsonObject = dict[str, Any]
QUICKSTART = REPOSITORY / "configs" / "quickstart"
EXPERTS = ("ant", "bee", "cat", "dog", "elk")
FAN_OUT = 3
QUESTION = "Is the sky blue on a clear day at noon?!"  # 40 bytes: ten tokens, as recorded experts count them
OUTPUT_TOKENS = 40
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
CALL_NANOS = 10 * 1000 + OUTPUT_TOKENS * 2000
REQUEST_NANOS = FAN_OUT * CALL_NANOS
PAID = 10  # requests that a tenant's budget pays for
BEHAVIOUR: JsonObject = {"ttft_s": 0.05, "tokens_per_s": 400, "tokens_per_chunk": 4, "jitter": 0.5}
BEHAVIOURS = {"*": BEHAVIOUR, "elk": BEHAVIOUR | {"fail_always": True}}  # it is always replaced: retries are on


def key(tenant: str) -> str:
    return f"sk-sym-{tenant}"


def tenants(repetitions: int) -> list[str]:
    """Of all at once, then of all with clients that leave."""
    return [f"{way}-{n:02d}" for way in ("all", "leave") for n in range(repetitions)]


def book_rows() -> Iterator[tuple[str, str, str, int]]:
    for expert in EXPERTS:
        yield QUESTION, expert, "It is blue. " * 10, OUTPUT_TOKENS


def profiles() -> JsonObject:
    """The one that fails is trusted most, so it is asked every time."""

    def profile(right: int) -> JsonObject:
        about = dict.fromkeys(("expert_version", "engine_version", "questions"), "recorded")
        return about | {"overall": {"right": right, "asked": 100}, "output_tokens": 100 * OUTPUT_TOKENS}

    rights = {"elk": 90, "ant": 80, "bee": 79, "cat": 78, "dog": 77}
    return {"format": 2, "experts": {name: profile(right) for name, right in rights.items()}}


def configuration(server: RecordedServer, ledger: str, names: list[str]) -> JsonObject:
    """Two router replicas on one ledger."""
    budget = {"usd_per_month": PAID * REQUEST_NANOS / 1e9}
    digests: Mapping[str, str] = {name: hashlib.sha256(key(name).encode()).hexdigest() for name in names}
    return {
        "version": 1,
        "data": "${SYMPOSIUM_DATA}",
        "ledger": ledger,
        "server": {
            "router_replicas": 2,
            "api_keys": [{"name": name, "tenant": name, "sha256": digest} for name, digest in digests.items()],
        },
        "tenants": dict.fromkeys(names, budget),
        "experts": {name: server.expert(name, price=PRICE, bytes_per_token=4) for name in EXPERTS},
        "routing": {
            "fitted": str(QUICKSTART / "fitted.npz"),
            "profiles": "profiles.json",
            "general_expert": "ant",
            "min_confidence": 0,
        },
        "convening": {
            "retry_share": 1,
            "hedge_quantile": None,
            "breakers": {"failures_in_a_row": 1_000_000, "min_calls": 1_000_000},
        },
        "policies": {
            "auto": {"max_experts": FAN_OUT, "aggregate": "vote", "min_share": 0, "decided_at": None, "enough": 1}
        },
    }
