"""The closed sets of values that labels of metrics have, beside the names in the configuration. Plain data.

A series that is there from the start, at zero, is what makes rates right: the first event of a series that appears with
it is invisible to `increase()`. Anything outside of these sets is counted as OTHER where it comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

OTHER = "other"
NAMED = "expert"  # stands for the policy where a request names its expert
UNKNOWN = ""  # stands for the policy of a request that was over before one was known
NO_CATEGORY = "none"  # where nothing was classified

# How requests end, by how far they came: (outcome, status).
ENDINGS_EARLY = (
    *(("refused", status) for status in ("400", "401", "404", "408", "413", "429")),
    ("failed", "500"),
    ("failed", "503"),
    ("cancelled", "499"),
)
ENDINGS = (("answered", "200"), ("refused", "400"), ("failed", "500"), ("failed", "502"), ("cancelled", "499"))

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
LEG_OUTCOMES = "answered cut cancelled unreachable timeout refused broken".split()
STREAM = ("true", "false")
EXTRA = ("retry", "hedge")
STATES = ("closed", "open", "half_open")
KEYWORDS = ("named", "unnamed", "failed")
TOKENS = tuple((kind, exact) for kind in ("prompt", "output") for exact in ("true", "false"))
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
