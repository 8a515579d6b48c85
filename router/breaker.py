"""When one expert is left out for a while, and when it is tried again: a circuit breaker as a record. Pure.

Closed: asked like any other. Open: not asked. Half-open, once the wait is over: one call probes. The rules are those
of `Breakers` in the configuration. A call speaks of the expert as it was while the call ran: one that began before the
last wait was over changes nothing, so late ends neither close a breaker nor open it again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from router.config import Breakers

HISTORY_CALLS = 256  # a breaker remembers no more than these, or `min_calls` where that is more
MAX_DOUBLINGS = 64  # beyond any `max_open_s`; unbounded, the power would overflow after a day of failed probes
CLOCK_SLACK_S = 0.001  # a call's start and its breaker's clock are not read at the same instant

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call that came to its end.

    `first_token_s`: None where none came, or where a whole answer came at once. `cancelled`: cut by us, or the client
    went; also a call that failed by its own fault.
    """

    outcome: Literal["ok", "failed", "cancelled"]
    first_token_s: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What a breaker remembers of one call that ended `at`."""

    at: float
    failed: bool
    slow: bool


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one expert. Closed while `openings`, the times in a row that it opened, is 0.

    `heard`: the calls of the window while closed, the oldest first. `open_until` stays after closing: calls that began
    before it are of the past. `probed_at`: when the probe under way was sent.
    """

    heard: tuple[Heard, ...] = ()
    failures_in_a_row: int = 0
    openings: int = 0
    open_until: float = -math.inf
    probed_at: float | None = None


def state(breaker: Breaker, now: float) -> State:
    """Open turns to half-open by the passing of time alone."""
    if breaker.openings == 0:
        return "closed"
    return "open" if now < breaker.open_until else "half_open"


def admits(breaker: Breaker, now: float, settings: Breakers) -> bool:
    """Whether the expert may be asked.

    A probe whose end is not reported for `max_open_s` is given up: its expert must not be out for good.
    """
    match state(breaker, now):
        case "closed":
            return True
        case "open":
            return False
        case "half_open":
            return breaker.probed_at is None or now - breaker.probed_at >= settings.max_open_s


def asked(breaker: Breaker, now: float) -> Breaker:
    """The breaker once its expert was asked: a call in the half-open state is the probe, the latest if there are more.

    There are more where the expert is kept in for want of others, and where a client names it.
    """
    return replace(breaker, probed_at=now) if state(breaker, now) == "half_open" else breaker


def after(breaker: Breaker, call: Call, now: float, settings: Breakers) -> Breaker:
    """The breaker once a call has ended `now`."""
    if now < breaker.open_until or now - call.seconds < breaker.open_until - CLOCK_SLACK_S:
        return breaker
    failed, slow = call.outcome == "failed", _slow(call, settings)
    if call.outcome == "cancelled" and not slow:
        return replace(breaker, probed_at=None)
    if breaker.openings > 0:
        return _opened(breaker, now, settings) if failed or slow else Breaker(open_until=breaker.open_until)
    recent = (*(h for h in breaker.heard if h.at > now - settings.window_s), Heard(now, failed, slow))
    heard = recent[-max(HISTORY_CALLS, settings.min_calls) :]
    in_a_row = {"ok": 0, "failed": breaker.failures_in_a_row + 1, "cancelled": breaker.failures_in_a_row}
    closed = replace(breaker, heard=heard, failures_in_a_row=in_a_row[call.outcome])
    return _opened(closed, now, settings) if _too_bad(closed, settings) else closed


def left_out(breakers: Mapping[str, Breaker], able: Collection[str], now: float, settings: Breakers) -> frozenset[str]:
    """The experts of `able`, which a query could be asked otherwise, that their breakers leave out.

    At least `keep` of them stay, or all if there are fewer: a poor answer is better than none. Where breakers admit too
    few, those stay whose wait is over soonest.
    """
    names = frozenset(able)
    out = sorted(
        (name for name in names if not admits(breakers[name], now, settings)),
        key=lambda name: (breakers[name].open_until, name),
    )
    missing = settings.keep - (len(names) - len(out))
    return frozenset(out[max(missing, 0) :])


def _slow(call: Call, settings: Breakers) -> bool:
    """A call without a first token waited for it until its end; but of a whole answer nobody knows when it began."""
    waited_s = call.first_token_s
    if waited_s is None and call.outcome != "ok":
        waited_s = call.seconds
    return waited_s is not None and waited_s > settings.slow_first_token_s


def _too_bad(breaker: Breaker, settings: Breakers) -> bool:
    if breaker.failures_in_a_row >= settings.failures_in_a_row:
        return True
    calls = len(breaker.heard)
    if calls < settings.min_calls:
        return False
    failed, slow = sum(h.failed for h in breaker.heard), sum(h.slow for h in breaker.heard)
    return failed / calls >= settings.failure_share or slow / calls >= settings.slow_share


def _opened(breaker: Breaker, now: float, settings: Breakers) -> Breaker:
    wait_s = min(settings.open_s * 2.0 ** min(breaker.openings, MAX_DOUBLINGS), settings.max_open_s)
    return Breaker(openings=breaker.openings + 1, open_until=now + wait_s)
