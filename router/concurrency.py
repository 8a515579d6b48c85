"""How many calls of one expert may be under way, found by the delay of their first tokens. Pure.

A gradient as in Netflix's concurrency-limits (`Gradient2Limit`): limit · min(1, tolerance · undisturbed / recent
delay), and sqrt(limit) more, so that a limit that is too low is found out. Three things differ:

* Delays are medians of windows: single ones are heavy-tailed, by their prompts alone.
* Undisturbed is what calls took that were sent while few were under way. A long average would learn from the very queue
  inside the expert that the limit is there to prevent, and the limit would creep up for as long as an overload lasts.
  Where no such call has been seen for long, few are sent on purpose for a moment: a probe.
* A call that was sent before the last change says nothing of what came of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median

from router.config_budgets import Concurrency

WINDOW_CALLS = 16
PROBE_AFTER_WINDOWS = 50  # a probe costs about half of what the expert does while one answer is given
MOST_SHRUNK = 0.5  # by one window, before smoothing
SMOOTHING = 0.5  # of a step that is taken: windows are noisy
LEARNING = 0.25  # weight of one window in the undisturbed delay
IN_USE = 0.5  # of the limit, under way: where fewer are, nothing says that more would be well


@dataclass(frozen=True, slots=True)
class Call:
    """One call that came to its end. `load`: how many were under way when it was sent, itself included.

    `first_token_s`: infinite where the expert failed or was too slow. Clients that leave tell nothing of the expert.
    """

    sent_at: float
    load: int
    first_token_s: float


@dataclass(frozen=True, slots=True)
class Limit:
    """What is known of one expert. `calls`: the limit, but for probes. `undisturbed_s`: None until it was seen.

    `calm` and `pressed`: delays of the windows that are being filled, sent while few or many were under way; `peak` is
    the highest load of the latter. `unprobed`: windows at the limit since the undisturbed delay was last seen.
    """

    calls: float
    undisturbed_s: float | None = None
    calm: tuple[float, ...] = ()
    pressed: tuple[float, ...] = ()
    peak: int = 0
    changed_at: float = -math.inf
    unprobed: int = 0

    def within(self, settings: Concurrency) -> Limit:
        """The limit under these settings, which may be others than it was found under."""
        return replace(self, calls=min(max(self.calls, settings.least), settings.most))


def begun(settings: Concurrency) -> Limit:
    """The limit of an expert that nothing is known of."""
    return Limit(float(settings.first))


def allowed(limit: Limit, settings: Concurrency) -> int:
    """How many calls may be under way now. While it probes that may be fewer than `least`."""
    return _few(limit, settings) if _probing(limit, settings) else int(limit.calls)


def after(limit: Limit, call: Call, now: float, settings: Concurrency) -> Limit:
    """The limit once a call has ended `now`."""
    if call.sent_at < limit.changed_at:
        return limit
    if call.load <= _few(limit, settings):
        calm = (*limit.calm, call.first_token_s)
        return replace(limit, calm=calm) if len(calm) < WINDOW_CALLS else _learned(limit, calm, now)
    limit = replace(limit, pressed=(*limit.pressed, call.first_token_s), peak=max(limit.peak, call.load))
    return limit if len(limit.pressed) < WINDOW_CALLS else _moved(limit, now, settings)


def _few(limit: Limit, settings: Concurrency) -> int:
    """So many calls under way are few.

    Inside an expert that is full, the delay grows with the load; where the load is this much lower, it has to be lower
    by more than what is tolerated.
    """
    return max(1, int(limit.calls / (2 * settings.tolerance)))


def _probing(limit: Limit, settings: Concurrency) -> bool:
    return limit.unprobed >= PROBE_AFTER_WINDOWS and settings.least < settings.most


def _learned(limit: Limit, calm: tuple[float, ...], now: float) -> Limit:
    seen_s, known_s = median(calm), limit.undisturbed_s
    if seen_s == math.inf:  # it fails even so
        return replace(limit, calm=())
    learned_s = seen_s if known_s is None else known_s + LEARNING * (seen_s - known_s)
    # What was sent before a probe's end was sent in its shadow, and tells nothing of the limit.
    changed_at = now if limit.unprobed >= PROBE_AFTER_WINDOWS else limit.changed_at
    return replace(limit, undisturbed_s=learned_s, calm=(), changed_at=changed_at, unprobed=0)


def _moved(limit: Limit, now: float, settings: Concurrency) -> Limit:
    emptied = replace(limit, pressed=(), peak=0)
    if _probing(limit, settings):
        return emptied
    used = limit.peak >= IN_USE * limit.calls
    if limit.undisturbed_s is None:
        return replace(emptied, unprobed=PROBE_AFTER_WINDOWS if used else limit.unprobed)
    failed = sum(map(math.isinf, limit.pressed)) / len(limit.pressed)
    gradient = min(1.0, settings.tolerance * limit.undisturbed_s / max(median(limit.pressed), 1e-9))
    gradient = max(gradient * (1 - failed), MOST_SHRUNK)
    wanted = limit.calls * gradient + math.sqrt(limit.calls)
    if wanted > limit.calls and not used:
        return emptied
    calls = limit.calls + SMOOTHING * (wanted - limit.calls)
    return replace(emptied, calls=calls, changed_at=now, unprobed=limit.unprobed + used).within(settings)
