"""What one query may spend, of what it says itself and what its policy, tenant, key and the server say. Pure.

The tightest holds. A wish that cannot be, or that goes beyond a ceiling, is refused with the level whose ceiling it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Rung = Literal["none", "vote", "fewer_experts", "one_expert", "cheaper_expert", "shorter_answer"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a query says of its own budget. `ttft_ms` and `tpot_ms`: to the first token, and per token after it."""

    deadline_ms: float | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_experts: int | None = None
    min_confidence: float | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What holds. None: not bounded.

    `deadline_s`: from the query's arrival to the end of its answer. `nanos`: nanodollars of all its calls together.
    `tokens`: that all experts together may generate. `experts`: that may be convened. `min_confidence`: P(right) from
    which no more is spent. `ttft_s` and `tpot_s`: what a streamed answer has to keep to. `source`: field -> the level
    that it comes from: "query", "policy", "key", "tenant" or "server".
    """

    deadline_s: float | None = None
    nanos: int | None = None
    tokens: int | None = None
    experts: int | None = None
    min_confidence: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    source: Mapping[str, str] | None = None

    @property
    def bounded(self) -> bool:
        """Whether anything is."""
        return self != Budget(source=self.source)


UNBOUNDED = Budget()


@dataclass(frozen=True, slots=True)
class Fit:
    """How a plan keeps to its query's budget. Money in nanodollars, times in seconds.

    `rung`: what was given up for it. `quality`: the expected P(right), `gap` at most so far below the best that fits.
    `usd_nanos`: the expected cost; `late_s`: in how long it is through in 95 of 100 cases, None where nothing is known.
    `max_tokens`: expert -> output tokens of each sample that its call may take, where anything bounds them.
    `answers_within_s`: from dispatch on, after which no reply is waited for, so that an aggregating expert has time.
    """

    rung: Rung = "none"
    quality: float = 0.0
    gap: float = 0.0
    usd_nanos: int = 0
    late_s: float | None = None
    max_tokens: Mapping[str, int] = field(default_factory=dict)
    answers_within_s: float | None = None
