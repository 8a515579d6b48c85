"""What is known of one expert's turns, and what follows for calls that come. No clock, no waiting.

How many calls may be under way is found in `concurrency.py`, who is next in `fair_queue.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from router import concurrency
from router.caller import Caller
from router.concurrency import Limit
from router.config import Concurrency
from router.fair_queue import FairQueue

KEPT = 8  # one turn in so many is only for tenants that have less than their part
MARGIN, MARGIN_TURNED_AWAY = 1.1, 1.5  # of foreseen waits; and so much more where all are turned away
LEARNING = 1 / 32  # weight of one call in how long calls take
LEARNING_TURNED = 1 / 64  # weight of one call in how many are turned away
LATE = ("cut", "deadline")  # outcomes of calls that had to go before their first token, not by the client's will


@dataclass(slots=True, eq=False)
class Turn:
    """One call's turn: it may be sent now. To be given back once, by `Lanes.ended`.

    `load`: calls under way at the expert as it was given, itself included. `began`: when, on the lanes' clock.
    """

    expert: str
    tenant: str
    tokens: int
    load: int
    began: float
    over: bool = False
    heard: bool = False


@dataclass(slots=True)
class Lane:
    """One expert. `hold_s` and `tokens`: how long its calls take, and how many tokens, on the mean; None and 0 before
    one has ended. `turned_away`: the share of the latest calls that were turned away as they came.
    """

    queue: FairQueue
    limit: Limit
    settings: Concurrency
    hold_s: float | None = None
    tokens: float = 0.0
    turned_away: float = 0.0

    @classmethod
    def begun(cls, settings: Concurrency) -> Lane:
        """Of an expert that nothing is known of."""
        queue = FairQueue(settings.queued_requests, settings.queued_tokens)
        return cls(queue, concurrency.begun(settings), settings)

    def configured(self, settings: Concurrency) -> None:
        """What is known stays, within these bounds."""
        self.settings, self.limit = settings, self.limit.within(settings)
        self.queue.requests, self.queue.tokens = settings.queued_requests, settings.queued_tokens

    @property
    def shared(self) -> int:
        """Of the calls that may be under way, those that may be whoever's.

        By simulation: where answers vary in length, a flood moves another tenant's p99 half as far as without the kept
        turns, and the expert does as much: the limit grows by those that are not used.
        """
        allowed = int(self.limit.calls)
        return allowed - allowed // KEPT

    def bounds(self) -> tuple[int, int]:
        """How many calls may be under way; and so many whoever's they are."""
        if self.limit.probing:
            few = concurrency.few(self.limit, self.settings)
            return few, few
        return int(self.limit.calls), self.shared

    def opens(self, caller: Caller) -> bool:
        """Whether its call need not wait."""
        return self.queue.opens(caller.tenant, caller.weight, *self.bounds())

    def wait_s(self, caller: Caller, ends_at: float) -> float:
        """How long its call would wait, were it to come now, as far as known."""
        if self.hold_s is None or self.opens(caller):
            return 0.0
        turns = 1 + self.queue.tokens_before(caller.tenant, caller.weight, ends_at) / max(self.tokens, 1.0)
        return turns * self.hold_s / self.shared

    @property
    def margin(self) -> float:
        """What foreseen waits are taken times, before somebody may wait.

        One that turns out too long is a refusal that came late, or an answer that is cut off: a turn that was wasted,
        which somebody else could have used. The more come, the less is lost with one that is turned away.
        """
        return MARGIN + MARGIN_TURNED_AWAY * self.turned_away

    def through_s(self, caller: Caller, ends_at: float, needs_s: float) -> float:
        """In how long its call would be through, with the margin that decides whether it may wait."""
        return self.margin * self.wait_s(caller, ends_at) + needs_s

    def admits(self, caller: Caller) -> bool:
        """Whether there is room for it to wait."""
        return self.queue.admits(caller.tenant, caller.weight, max(1, int(self.tokens)))

    def arrived(self, *, turned_away: bool, weight: float = 1.0) -> None:
        """A call has come. `weight`: less where so many others might have taken it."""
        self.turned_away += LEARNING_TURNED * weight * (turned_away - self.turned_away)

    def ended(self, turn: Turn, seconds: float, tokens: int | None) -> None:
        """A call is through."""
        self.queue.ended(turn.tenant, 0 if tokens is None else tokens - turn.tokens)
        weight = 1.0 if self.hold_s is None else LEARNING
        self.hold_s = (self.hold_s or 0.0) + weight * (seconds - (self.hold_s or 0.0))
        self.tokens += weight * (turn.tokens - self.tokens)

    def heard(self, turn: Turn, delay_s: float, now: float) -> None:
        """How late its first token came, or that it did not; once."""
        if not turn.heard:
            turn.heard = True
            call = concurrency.Call(turn.began, turn.load, delay_s, self.hold_s)
            self.limit = concurrency.after(self.limit, call, now, self.settings)

    def delay_s(self, outcome: str, first_token_s: float | None, seconds: float) -> float | None:
        """What a call that is through tells of the delay, if anything.

        One that went before its first token came has waited at least so long: were only those known that were in time,
        the limit would grow with every deadline that is missed.
        """
        if first_token_s is not None:
            return first_token_s
        usual_s = self.limit.undisturbed_s
        return seconds if outcome in LATE and usual_s is not None and seconds > usual_s else None
