"""What one query may spend, of what it says itself and what its policy, tenant, key and the server say. Pure.

The tightest holds. A wish that cannot be, or that goes beyond a ceiling, is refused with the level whose ceiling it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from router.config_budgets import Budgets, QueryBudget
from router.errors import BadRequest
from router.money import nanos

REPLY_S = 0.02  # of a deadline, that is kept for making one answer of what has come, and for sending it
Stopped = Literal["deadline", "budget"]
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

    def ends_at(self, arrived_at: float) -> float | None:
        """When experts must have answered, on the clock of the arrival: a little before the client's deadline."""
        limit_s = self.deadline_s
        return None if limit_s is None else arrived_at + limit_s - min(REPLY_S, limit_s / 10)


UNBOUNDED = Budget()
NO_WISH = Wish()


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


# Of levels that say the same, the first counts.
LEVELS = {"policy": "the policy", "key": "your key", "tenant": "your tenant", "server": "the server"}
QUERY = "query"
PARAM = {
    **{name: f"symposium.budget.{name}" for name in QueryBudget.model_fields},
    "ttft_ms": "x-llm-d-slo-ttft-ms",
    "tpot_ms": "x-llm-d-slo-tpot-ms",
}
MOST = 1e12  # more bounds nothing; sums of it stay finite
WHOLE = frozenset({"max_tokens", "max_experts"})
HELD_AS = {"deadline_ms": "deadline_s", "max_cost_usd": "nanos", "max_tokens": "tokens", "max_experts": "experts"}


class _Said(NamedTuple):
    value: float
    level: str


def resolve(wish: Wish, levels: Mapping[str, Budgets], output_tokens: int | None) -> Budget:
    """What holds of what a query says, and its policy, key, tenant and the server: the tightest.

    A query's own word stands in place of defaults; nobody's goes beyond a ceiling. TTFT and TPOT together bound the
    whole answer where it is known how long it may be.

    Args:
        levels: of LEVELS -> what it says.
        output_tokens: that the answer may have, at least 1, where the client bounds it.

    Raises:
        BadRequest: a wish that cannot be, or that is above a ceiling.
    """
    for name, param in PARAM.items():
        _check(name, getattr(wish, name), param)
    levels = {level: budgets for level, budgets in levels.items() if budgets.model_fields_set}  # what says something
    names = [name for name in QueryBudget.model_fields if levels or getattr(wish, name) is not None]
    held = {name: said for name in names if (said := _held(name, getattr(wish, name), levels))}
    if wish.ttft_ms is not None and wish.tpot_ms is not None and output_tokens is not None:
        whole = _Said(wish.ttft_ms + wish.tpot_ms * (min(output_tokens, MOST) - 1), QUERY)
        held["deadline_ms"] = min(held.get("deadline_ms", whole), whole, key=lambda said: said.value)
    value = {name: said.value for name, said in held.items()}
    source = {HELD_AS.get(name, name): said.level for name, said in held.items()}
    own = {"ttft_s": wish.ttft_ms, "tpot_s": wish.tpot_ms}
    return Budget(
        deadline_s=_seconds(value.get("deadline_ms")),
        nanos=nanos(value["max_cost_usd"]) if "max_cost_usd" in value else None,
        tokens=int(value["max_tokens"]) if "max_tokens" in value else None,
        experts=int(value["max_experts"]) if "max_experts" in value else None,
        min_confidence=value.get("min_confidence"),
        ttft_s=_seconds(wish.ttft_ms),
        tpot_s=_seconds(wish.tpot_ms),
        source=source | {name: QUERY for name, said in own.items() if said is not None},
    )


def _held(name: str, wished: float | None, levels: Mapping[str, Budgets]) -> _Said | None:
    """One field's value. Raises BadRequest where the query's own is above a ceiling."""
    ceilings = tuple(_said(levels, "ceiling", name))
    lowest = min(ceilings, key=lambda said: said.value, default=None)
    if wished is None:
        return min((*_said(levels, "default", name), *ceilings), key=lambda said: said.value, default=None)
    if lowest is not None and wished > lowest.value:
        raise BadRequest(
            f"{PARAM[name]} is {min(wished, MOST):g}, above the ceiling of {LEVELS[lowest.level]}, {lowest.value:g}. "
            "Ask for at most that, or leave it out.",
            code="invalid_value",
            param=PARAM[name],
            details={"ceiling": lowest.value, "level": lowest.level},
        )
    return _Said(min(wished, MOST), QUERY)


def _said(levels: Mapping[str, Budgets], kind: Literal["default", "ceiling"], name: str) -> Iterator[_Said]:
    for level in LEVELS:
        if level in levels and (value := getattr(getattr(levels[level], kind), name)) is not None:
            yield _Said(min(value, MOST), level)


def _check(name: str, value: float | None, param: str) -> None:
    if value is None:
        return
    wrong = "a finite number above 0" if not 0 < value < math.inf else None
    if name in WHOLE and (wrong or value != int(value)):
        wrong = "a whole number of 1 or more"
    if name == "min_confidence" and (wrong or value >= 1):
        wrong = "a number between 0 and 1"
    if wrong:
        raise BadRequest(f"{param} must be {wrong}.", code="invalid_value", param=param)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else min(ms, MOST) / 1000
