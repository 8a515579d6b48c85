"""The closed sets of values that labels of metrics have, beside the names in the configuration. Plain data.

A series that is there from the start, at zero, is what makes rates right: the first event of a series that appears with
it is invisible to `increase()`. Anything outside of these sets is counted as OTHER where it comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from router.budget import Rung

OTHER = "other"
NAMED = "expert"  # stands for the policy where a request names its expert
UNKNOWN = ""  # stands for the policy of a request that was over before one was known
NO_CATEGORY = "none"  # where nothing was classified

# How requests end, by how far they came: (outcome, status).
ENDINGS_EARLY = (
    *(("refused", status) for status in ("400", "401", "403", "404", "408", "409", "413", "422", "429", "504")),
    ("failed", "500"),
    ("failed", "503"),
    ("cancelled", "499"),
)
ENDINGS = (
    ("answered", "200"),
    *(("refused", status) for status in ("400", "429", "504")),
    *(("failed", status) for status in ("429", "500", "502", "503", "504")),
    ("cancelled", "499"),
)

# Why a plan has its size (router/plan.py); `named` belongs to NAMED alone.
REASONS = (
    "sure convened policy_single only_one others_too_weak unsure unfamiliar general_unavailable not_votable "
    "policy_structured structured completion no_aggregator"
).split()
# What became of replies (router/aggregate.py, router/pipeline.py): (how, why).
CONCLUSIONS_NAMED = (("single", "single"),)
CONCLUSIONS = (
    *CONCLUSIONS_NAMED,
    ("single", "one_reply"),
    *(("vote", why) for why in ("vote", "agreed", "sure", "too_few_texts", "no_aggregator", "aggregator_failed")),
    ("consensus", "consensus"),
    ("consensus", "open_ended"),
    ("synthesize", "synthesize"),
)
LEG_OUTCOMES = "answered stopped cut cancelled unreachable timeout refused broken busy unfunded deadline".split()
STREAM = ("true", "false")
EXTRA = ("retry", "hedge")
STATES = ("closed", "open", "half_open")
KEYWORDS = ("named", "unnamed", "failed")
TOKENS = tuple((kind, exact) for kind in ("prompt", "output") for exact in ("true", "false"))
# What was given up for a query's budget (router/budget.py).
RUNGS = tuple(rung for rung in get_args(Rung) if rung != "none")
# How requests with a deadline ended. `cut`: answered with what had come by then; `late`: more than LATE_S after it.
DEADLINES = ("met", "cut", "late", "missed", "failed")
LATE_S = 0.05
# Why requests are turned away before anything is spent: (code, reason).
REFUSALS = (
    *(("insufficient_quota", reason) for reason in ("cost", "tokens", "spent")),
    *(("rate_limit_exceeded", reason) for reason in ("held", "requests", "tokens")),
    *(("deadline_unreachable", reason) for reason in ("deadline", "overload")),
    *(("overloaded", reason) for reason in ("overload", "in_flight")),
    (OTHER, OTHER),
)
# What the ledger, and what is kept beside it, is asked for.
OPERATIONS = tuple(
    "reserve renew pass_on settle dropped beat standing take keys claim answer asked feedback prune".split()
)
PERIODS = ("day", "month")
QUEUE_REFUSED = ("full", "hopeless")
VERDICTS = ("right", "wrong")
DROPPED = ("queue_full", "write_failed", "broken", "closed", OTHER)

# What the metrics reference says of each label.
MEANING: Mapping[str, str] = {
    "policy": f"a policy of the configuration; `{NAMED}` where the request named its expert; empty where it was over "
    "before one was known",
    "outcome": "how it ended",
    "status": "HTTP status; 499 where the client left",
    "stream": "whether the client asked for a stream",
    "category": f"a category of the fitted classifier, `general`, or `{NO_CATEGORY}` where nothing was classified",
    "reason": "a word of a list in `router/labels.py`",
    "code": "the error's code, as the client is told it",
    "tenant": f"a tenant of the configuration, `default` where there is none, `{OTHER}`: one that has gone",
    "rung": "what was given up: a vote instead of a synthesis, fewer experts, one, a cheaper one, a shorter answer",
    "verdict": "`right` or `wrong`",
    "counted": "`false` where feedback moves no profile, as it is frozen",
    "operation": "what was asked for; `dropped`: bookings that other replicas will make in its place",
    "mode": "`open`: served without it; `closed`: refused, or tried again",
    "period": "`day` or `month`",
    "how": "what was done with the replies",
    "why": "what led to it",
    "expert": "an expert of the configuration",
    "kind": "`prompt` or `output`",
    "exact": "`false` where only an estimate exists",
    "state": ", ".join(f"`{state}`" for state in STATES),
    "version": "twelve hexadecimal digits, as `/version` says them",
    "queue": "`embed`",
}


def known(value: str, values: tuple[str, ...]) -> str:
    """The value if it is one of these, else OTHER."""
    return value if value in values else OTHER
