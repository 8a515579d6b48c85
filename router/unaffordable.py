"""Why a query's budget allows no plan, what would have done, and the error that says so. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from router.budget import LEVELS, PARAM, Budget
from router.errors import DeadlineUnreachable, InsufficientQuota, SymposiumError
from router.money import usd
from router.prospects import Limits, Prospect, alone_in_time

Why = Literal["cost", "tokens", "deadline"]
WHYS: tuple[Why, ...] = ("cost", "tokens", "deadline")
SAID_AS: dict[Why, tuple[str, str]] = {  # in a request, and in a Budget
    "cost": ("max_cost_usd", "nanos"),
    "tokens": ("max_tokens", "tokens"),
    "deadline": ("deadline_ms", "deadline_s"),
}


@dataclass(frozen=True, slots=True)
class Unaffordable:
    """No plan fits. `why`: what leaves no room.

    `cheapest` and `fastest`: whole answers, as JSON: {"experts", "cost_usd", "seconds", "max_tokens"}; that it costs
    and has at most in 95 of 100 cases, and takes from the query's arrival on. `hopeless`: the same request cannot
    succeed later either; otherwise it would be in time without the queue, in which it would wait for `wait_s`.
    """

    why: Why
    cheapest: dict[str, Any]
    fastest: dict[str, Any]
    hopeless: bool
    wait_s: float = 0.0


class _Allowed(NamedTuple):
    """Whether each limit allows an expert's answer, in the order of WHYS; and time, if it had no queue."""

    cost: bool
    tokens: bool
    deadline: bool
    unqueued: bool

    def but(self, why: Why) -> bool:
        """Whether everything else does."""
        return all(allowed for name, allowed in zip(WHYS, self[:3], strict=True) if name != why)


def unaffordable(
    prospects: Mapping[str, Prospect], limits: Limits, least: int | None, elapsed_s: float
) -> Unaffordable:
    """Args:
    prospects: at least one.
    least: tokens of the shortest answer that may be cut; None: none may.
    """
    allowed = {name: _allowed(one, limits, least) for name, one in prospects.items()}
    alone = [why for why in WHYS if any(found.but(why) for found in allowed.values())]
    never = [why for why in WHYS if not any(getattr(found, why) for found in allowed.values())]
    why = [*alone, *never, WHYS[0]][0]
    waits = [prospects[name].outlook.wait_s for name, a in allowed.items() if a.cost and a.tokens and a.unqueued]
    quick = [name for name, found in allowed.items() if found.deadline] or list(prospects)
    paid = [name for name, found in allowed.items() if found.cost and found.tokens] or list(prospects)
    cheapest = min(quick, key=lambda name: (prospects[name].nanos, prospects[name].length, prospects[name].late_s))
    fastest = min(paid, key=lambda name: (prospects[name].late_s, prospects[name].nanos))
    return Unaffordable(
        why=why,
        cheapest=_told(cheapest, prospects[cheapest], limits, elapsed_s),
        fastest=_told(fastest, prospects[fastest], limits, elapsed_s),
        hopeless=why != "deadline" or not waits,
        wait_s=min(waits, default=0.0),
    )


def _allowed(one: Prospect, limits: Limits, least: int | None) -> _Allowed:
    outlook, length = one.outlook, one.length if least is None else min(least, one.length)
    return _Allowed(
        cost=limits.nanos is None or outlook.nanos(length) <= limits.nanos,
        tokens=limits.tokens is None or length * limits.samples <= limits.tokens,
        deadline=alone_in_time(outlook, length, limits) > 0,
        unqueued=alone_in_time(replace(outlook, wait_s=0.0), length, limits) > 0,
    )


def _told(name: str, one: Prospect, limits: Limits, elapsed_s: float) -> dict[str, Any]:
    return {
        "experts": [name],
        "cost_usd": usd(one.nanos),
        "seconds": round(elapsed_s + one.late_s, 3),
        "max_tokens": one.length * limits.samples,
    }


def refusal(found: Unaffordable, budget: Budget) -> SymposiumError:
    """429 for money and tokens, 504 for time; nothing was spent."""
    said, held = SAID_AS[found.why] if found.why != "deadline" else _time(budget, found.fastest["seconds"])
    level = (budget.source or {}).get(held, "")
    whose = f", which {LEVELS[level]} sets" if level in LEVELS else ""
    told: dict[str, Any] = {"param": PARAM[said], "details": {"cheapest": found.cheapest, "fastest": found.fastest}}
    limit = _limit(held, budget)
    if found.why == "deadline":
        return DeadlineUnreachable(
            f"No expert is likely to answer within {limit}{whose}: the fastest takes {found.fastest['seconds']:g} s.",
            code="deadline_unreachable",
            retryable=not found.hopeless,
            retry_after_s=None if found.hopeless else found.wait_s,
            **told,
        )
    least = f"{found.cheapest['cost_usd']:g} USD and {found.cheapest['max_tokens']} tokens"
    return InsufficientQuota(
        f"No expert's answer fits into {limit}{whose}: the cheapest takes up to {least}.",
        code="insufficient_quota",
        **told,
    )


def _time(budget: Budget, fastest_s: float) -> tuple[str, str]:
    """Which bound on time is too tight, as in a request and as in a Budget: the whole answer's, or that of a stream."""
    whole, first, pace = SAID_AS["deadline"], ("ttft_ms", "ttft_s"), ("tpot_ms", "tpot_s")
    if budget.deadline_s is not None and budget.deadline_s < fastest_s:
        return whole
    return next((bound for bound in (first, pace) if getattr(budget, bound[1]) is not None), whole)


def _limit(held: str, budget: Budget) -> str:
    if held == "nanos":
        return f"a cost of {usd(budget.nanos or 0):g} USD"
    if held == "tokens":
        return f"{budget.tokens} tokens"
    within = f"{1000 * (getattr(budget, held) or 0.0):g} ms"
    return f"{within} a token" if held == "tpot_s" else within
