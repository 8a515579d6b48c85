"""How many calls of one expert may be under way, found by the delay of their first tokens. Pure.

A gradient on the delay, as in Netflix's concurrency-limits (`Gradient2Limit`): undisturbed and recent delay, tolerance,
sqrt(limit) more for as long as nothing waits, smoothing; and a limit that is not reached does not grow. Where it
differs:

* What waits inside the expert is counted, by Little's law: limit · (recent - undisturbed delay) / duration. So many
  calls fewer, and nothing waits there. Where a call is over with its first token that is Netflix's gradient; where
  answers take far longer than first tokens, that would swing between far too many and far too few.
* Delays are means of windows: single ones are heavy-tailed, by their prompts alone.
* Undisturbed is what calls took that were sent while few were under way. A long average would learn from the very queue
  inside the expert that the limit is there to prevent, and the limit would creep up for as long as an overload lasts.
  Few are sent on purpose for a moment, a probe, where no such call was seen yet; seldom, where none was seen for long;
  and where a much lower limit has not made the delay lower, as for longer prompts, or a slower engine.
* A call that was sent before the last change says nothing of what came of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import fmean, median_low

from router.config_budgets import Concurrency

LEAST_CALM, MOST_CALM = 4, 8  # of a window of calls beside few others
LEAST_CALLS, MOST_CALLS = 8, 32  # of a window under pressure, and else half the limit
PROBE_ROUNDS, MOST_DOUBLINGS = 128, 6  # times the limit, in calls; twice as many with each window it was seen in
DOUBTED_WINDOWS = 6  # that lowered the limit, until it is asked whether that has helped
LOWER, HELPED = 0.7, 0.8  # of the limit; of the delay, below which it must be then, if it was the limit's doing
SMOOTHING = 0.05  # of the headroom, more with each window in a row; what waits is taken back at once
LEARNING = 0.25  # weight of one window in the undisturbed delay; the first ones count alike
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
class Fall:
    """A limit that is being lowered: from how many calls, in how many windows, the longest delay since."""

    calls: float
    windows: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Limit:
    """What is known of one expert. `calls`: the limit. `undisturbed_s`: None until it was seen.

    `seen`: in how many windows, of late. `calm` and `pressed`: delays of the windows that are being filled, sent while
    few or many were under way; `peak` is the highest load of the latter. `grown`: windows in a row that raised the
    limit. `fall`: since when it is lowered, until nothing waits. `since_calm`: calls at the limit since the last calm
    window. `probing`: only few calls should be under way now.
    """

    calls: float
    undisturbed_s: float | None = None
    seen: int = 0
    calm: tuple[float, ...] = ()
    pressed: tuple[float, ...] = ()
    peak: int = 0
    changed_at: float = -math.inf
    grown: int = 0
    fall: Fall | None = None
    since_calm: int = 0
    probing: bool = False

    def within(self, settings: Concurrency) -> Limit:
        """The limit under these settings, which may be others than it was found under."""
        return replace(self, calls=min(max(self.calls, settings.least), settings.most))


def begun(settings: Concurrency) -> Limit:
    """The limit of an expert that nothing is known of."""
    return Limit(float(settings.first))


def few(limit: Limit, settings: Concurrency) -> int:
    """So many calls under way are few.

    Inside an expert that is full, the delay grows with the load; where the load is this much lower, it has to be lower
    by more than what is tolerated.
    """
    return max(1, int(limit.calls / (2 * settings.tolerance)))


def after(limit: Limit, call: Call, now: float, settings: Concurrency) -> Limit:
    """The limit once more is known of a call."""
    if call.sent_at < limit.changed_at:
        return limit
    if call.load <= few(limit, settings):
        calm = (*limit.calm, call.first_token_s)
        enough = min(max(few(limit, settings), LEAST_CALM), MOST_CALM)
        return replace(limit, calm=calm) if len(calm) < enough else _learned(limit, calm, now)
    limit = replace(limit, pressed=(*limit.pressed, call.first_token_s), peak=max(limit.peak, call.load))
    full = len(limit.pressed) >= min(max(limit.calls / 2, LEAST_CALLS), MOST_CALLS)
    return _moved(limit, call.duration_s, now, settings) if full else limit


def _learned(limit: Limit, calm: tuple[float, ...], now: float) -> Limit:
    known_s, delay_s = limit.undisturbed_s, fmean(calm)
    if delay_s == math.inf:  # it fails even so
        return replace(limit, calm=())
    if known_s is None:
        # They may have filled the expert at once, and half of them waited; or some take long by themselves.
        learned_s = (median_low(calm) + delay_s) / 2
    else:
        learned_s = known_s + max(LEARNING, 1 / (limit.seen + 1)) * (delay_s - known_s)
    # What was sent before a probe's end was sent in its shadow, and tells nothing of the limit.
    changed_at = now if limit.probing else limit.changed_at
    seen = replace(limit, undisturbed_s=learned_s, seen=limit.seen + 1, calm=())
    return replace(seen, since_calm=0, fall=None, changed_at=changed_at, probing=False)


def _moved(limit: Limit, duration_s: float | None, now: float, settings: Concurrency) -> Limit:
    calls = len(limit.pressed)
    came = [seconds for seconds in limit.pressed if seconds < math.inf]
    failed, recent_s = 1 - len(came) / calls, fmean(came) if came else math.inf
    used = limit.peak >= IN_USE * int(limit.calls)
    limit = replace(limit, pressed=(), peak=0, since_calm=limit.since_calm + calls * used)
    if settings.least < settings.most:
        limit = _doubted(limit, recent_s, settings)
    if limit.probing or limit.undisturbed_s is None:
        return limit
    tolerated_s = max(settings.tolerance * limit.undisturbed_s, limit.undisturbed_s + OURS_S)
    waits = 1.0 if recent_s == math.inf else max(recent_s - limit.undisturbed_s, 0) / max(duration_s or 0, recent_s)
    well = recent_s <= tolerated_s
    if well:
        limit = replace(limit, fall=None)
    if (well or waits * limit.calls < 1) and failed == 0:
        if not used:
            return limit
        grown = limit.grown + 1
        more = min(grown * SMOOTHING, 1.0) * math.sqrt(limit.calls)
        return replace(limit, calls=limit.calls + more, changed_at=now, grown=grown).within(settings)
    left = max(1 - waits, 0.5) * (1 - failed / 2)
    fall = limit.fall or Fall(limit.calls, 0, 0.0)
    fall = Fall(fall.calls, fall.windows + 1, max(fall.delay_s, recent_s))
    return replace(limit, calls=limit.calls * left, changed_at=now, grown=0, fall=fall).within(settings)


def _doubted(limit: Limit, recent_s: float, settings: Concurrency) -> Limit:
    """Probing, where the undisturbed delay has to be seen: for the first time, after long, or as another one."""
    rounds = PROBE_ROUNDS * 2 ** min(limit.seen - 1, MOST_DOUBLINGS) if limit.seen else 0
    if limit.since_calm > rounds * limit.calls:
        return replace(limit, probing=True)
    fall = limit.fall
    if fall is None or fall.windows < DOUBTED_WINDOWS or recent_s < HELPED * fall.delay_s:
        return limit
    lower = limit.calls <= max(LOWER * fall.calls, settings.least)
    return replace(limit, probing=True, seen=0) if lower else limit
