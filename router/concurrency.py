"""How many calls of one expert may be under way, found by the delay of their first tokens. Pure.

A gradient on the delay, as in Netflix's concurrency-limits (`Gradient2Limit`): undisturbed and recent delay, tolerance,
sqrt(limit) more for as long as nothing waits, smoothing; and a limit that is not reached does not grow. Where it
differs:

* What waits inside the expert is counted, by Little's law: limit · (recent - tolerance · undisturbed delay) / duration.
  So many calls fewer, and nothing waits there. Where a call is over with its first token that is Netflix's gradient;
  where answers take far longer than first tokens, that would swing between far too many and far too few.
* Delays are means of windows: single ones are heavy-tailed, by their prompts alone.
* Undisturbed is what calls took that were sent while few were under way. A long average would learn from the very queue
  inside the expert that the limit is there to prevent, and the limit would creep up for as long as an overload lasts.
  Where no such call has been seen for long, few are sent on purpose for a moment: a probe.
* A call that was sent before the last change says nothing of what came of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import fmean, median_low

from router.config_budgets import Concurrency

CALM_CALLS = 8  # of a window; the first to be heard of are those that waited least
LEAST_CALLS, MOST_CALLS = 8, 32  # of a window under pressure, and else half the limit
PROBE_ROUNDS = 1024  # times the limit, in calls: a probe delays about two rounds
DOUBTED_WINDOWS = 6  # in a row in which a lower limit did not help: the delay may have become another one
SMOOTHING = 0.2  # of the headroom, more with each window in a row; what waits is taken back at once
LEARNING = 0.25  # weight of one window in the undisturbed delay
OURS_S = 0.01  # of a delay, may be this process being busy
IN_USE = 0.75  # of the limit, under way: where fewer are, nothing says that more would be well


@dataclass(frozen=True, slots=True)
class Call:
    """One call whose first token came, or will not. `load`: how many were under way when it was sent, with it.

    `first_token_s`: infinite where the expert failed or was too slow. Clients that leave tell nothing of the expert.
    `duration_s`: that calls take in all on the mean; None: not known yet.
    """

    sent_at: float
    load: int
    first_token_s: float
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """What is known of one expert. `calls`: the limit. `undisturbed_s`: None until it was seen.

    `calm` and `pressed`: delays of the windows that are being filled, sent while few or many were under way; `peak` is
    the highest load of the latter. `unprobed`: calls at the limit since the undisturbed delay was last seen. `grown`:
    windows in a row that raised the limit; `shrunk`: that lowered it, without one between them in which nothing waited.
    """

    calls: float
    undisturbed_s: float | None = None
    calm: tuple[float, ...] = ()
    pressed: tuple[float, ...] = ()
    peak: int = 0
    changed_at: float = -math.inf
    unprobed: float = 0
    grown: int = 0
    shrunk: int = 0

    def within(self, settings: Concurrency) -> Limit:
        """The limit under these settings, which may be others than it was found under."""
        return replace(self, calls=min(max(self.calls, settings.least), settings.most))

    @property
    def due(self) -> bool:
        """Whether the undisturbed delay has to be seen again."""
        return self.unprobed >= PROBE_ROUNDS * self.calls or self.shrunk >= DOUBTED_WINDOWS


def begun(settings: Concurrency) -> Limit:
    """The limit of an expert that nothing is known of."""
    return Limit(float(settings.first))


def few(limit: Limit, settings: Concurrency) -> int:
    """So many calls under way are few.

    Inside an expert that is full, the delay grows with the load; where the load is this much lower, it has to be lower
    by more than what is tolerated.
    """
    return max(1, int(limit.calls / (2 * settings.tolerance)))


def probing(limit: Limit, settings: Concurrency) -> bool:
    """Whether only `few` calls should be under way now; never where the limit is fixed."""
    return limit.due and settings.least < settings.most


def after(limit: Limit, call: Call, now: float, settings: Concurrency) -> Limit:
    """The limit once more is known of a call."""
    if call.sent_at < limit.changed_at:
        return limit
    if call.load <= few(limit, settings):
        calm = (*limit.calm, call.first_token_s)
        return replace(limit, calm=calm) if len(calm) < CALM_CALLS else _learned(limit, calm, now)
    limit = replace(limit, pressed=(*limit.pressed, call.first_token_s), peak=max(limit.peak, call.load))
    full = len(limit.pressed) >= min(max(limit.calls / 2, LEAST_CALLS), MOST_CALLS)
    return _moved(limit, call.duration_s, now, settings) if full else limit


def _learned(limit: Limit, calm: tuple[float, ...], now: float) -> Limit:
    known_s, seen_s = limit.undisturbed_s, fmean(calm)
    if seen_s == math.inf:  # it fails even so
        return replace(limit, calm=())
    # The first may have filled the expert at once, and half of them waited; or single ones take long by themselves.
    learned_s = (median_low(calm) + seen_s) / 2 if known_s is None else known_s + LEARNING * (seen_s - known_s)
    # What was sent before a probe's end was sent in its shadow, and tells nothing of the limit.
    changed_at = now if limit.due else limit.changed_at
    return replace(limit, undisturbed_s=learned_s, calm=(), changed_at=changed_at, unprobed=0, shrunk=0)


def _moved(limit: Limit, duration_s: float | None, now: float, settings: Concurrency) -> Limit:
    used, calls = limit.peak >= IN_USE * limit.calls, len(limit.pressed)
    emptied = replace(limit, pressed=(), peak=0, unprobed=limit.unprobed + calls * used)
    if limit.undisturbed_s is None:
        return replace(emptied, unprobed=math.inf if used else 0)
    came = [seconds for seconds in limit.pressed if seconds < math.inf]
    failed, recent_s = 1 - len(came) / calls, fmean(came) if came else math.inf
    usual_s = max(settings.tolerance * limit.undisturbed_s, limit.undisturbed_s + OURS_S)
    waits = 1.0 if recent_s == math.inf else max(recent_s - usual_s, 0.0) / max(duration_s or 0.0, recent_s)
    if waits * limit.calls < 1 and failed == 0:
        doubted = limit.shrunk if waits else 0  # nothing waits at all: less has helped
        if not used:
            return replace(emptied, shrunk=doubted)
        grown = limit.grown + 1
        more = min(grown * SMOOTHING, 1.0) * math.sqrt(limit.calls)
        return replace(emptied, calls=limit.calls + more, changed_at=now, grown=grown, shrunk=doubted).within(settings)
    left = max(1 - waits, 0.5) * (1 - failed / 2)
    return replace(emptied, calls=limit.calls * left, changed_at=now, grown=0, shrunk=limit.shrunk + 1).within(settings)
