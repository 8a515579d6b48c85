"""How the experts do, as far as calls have shown: who is left out, when to hedge, how many more calls there may be.

Thin shell around `breaker`, `latency` and `allowance`: holds what they say of each expert, and reads the clock.
Whether servers answer at all is the business of `watch`. One per router replica, on its event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from router import breaker
from router.allowance import Allowance
from router.breaker import Breaker, Call, State
from router.config import Convening
from router.latency import FirstTokens

MIN_HEDGE_AFTER_S = 0.02  # sooner, a hedge costs more than it can win


class Health:
    """The breaker and first-token times of each expert. `clock` is monotonic, in seconds.

    `on_change` is told an expert and its breaker's state whenever that is seen to differ from before; all start closed.
    That an open breaker is half-open is seen when somebody asks.
    """

    def __init__(
        self,
        experts: Iterable[str],
        settings: Convening,
        clock: Callable[[], float],
        on_change: Callable[[str, str], None],
    ) -> None:
        self._settings, self._clock, self._on_change = settings, clock, on_change
        self._breakers = {expert: Breaker() for expert in experts}
        self._seen: dict[str, State] = dict.fromkeys(self._breakers, "closed")
        self._first_tokens = FirstTokens()
        self.retries = Allowance(settings.retry_share)
        self.hedges = Allowance(settings.hedge_share)

    def configured(self, experts: Iterable[str], settings: Convening) -> None:
        """Goes by these settings from now on; what is known of experts stays, also of those that are not there now."""
        for expert in experts:
            self._breakers.setdefault(expert, Breaker())
            self._seen.setdefault(expert, "closed")
        self._settings = settings
        self.retries.share, self.hedges.share = settings.retry_share, settings.hedge_share

    def asked(self, expert: str) -> None:
        """A call of this expert is about to be sent."""
        now = self._clock()
        self._breakers[expert] = breaker.asked(self._breakers[expert], now)
        self._see(expert, now)

    def ended(self, expert: str, outcome: str, first_token_s: float | None, seconds: float, *, failed: bool) -> None:
        """A call of this expert came to its end.

        Args:
            outcome: as in `LegEnded`: "answered", "cancelled", "cut" or an expert error's reason.
            first_token_s: None where none came.
            failed: whether it is the expert that failed: an error that is `replaceable`. Any other says no more than
                a call that was cut.
        """
        now, answered = self._clock(), outcome == "answered"
        call = Call("ok" if answered else "failed" if failed else "cancelled", first_token_s, seconds)
        self._breakers[expert] = breaker.after(self._breakers[expert], call, now, self._settings.breakers)
        self._see(expert, now)
        self._measure(expert, call)

    def left_out(self, able: Collection[str]) -> frozenset[str]:
        """Those of the experts that a query could be asked otherwise, that their breakers leave out."""
        now = self._clock()
        for expert in able:
            self._see(expert, now)
        return breaker.left_out(self._breakers, able, now, self._settings.breakers)

    def hedge_after_s(self, expert: str) -> float | None:
        """How long to wait for this expert's first token before another is asked beside it.

        None: hedging is off, or too few calls were measured.
        """
        q = self._settings.hedge_quantile
        usual_s = None if q is None else self._first_tokens.quantile(expert, q)
        return None if usual_s is None else max(usual_s, MIN_HEDGE_AFTER_S)

    def state(self, expert: str) -> State:
        """The state of this expert's breaker now."""
        return self._see(expert, self._clock())

    def _measure(self, expert: str, call: Call) -> None:
        """Also of a call that had none, where the first token would have come later than is usual.

        Without the calls that a hedge has cut, only the fast ones would be known: the quantile would sink, and hedges
        would come ever sooner.
        """
        if call.first_token_s is not None:
            self._first_tokens.add(expert, call.first_token_s)
        elif call.outcome != "ok":
            usual_s = self.hedge_after_s(expert)
            if usual_s is not None and call.seconds > usual_s:
                self._first_tokens.add(expert, call.seconds)

    def _see(self, expert: str, now: float) -> State:
        seen = breaker.state(self._breakers[expert], now)
        if seen != self._seen[expert]:
            self._seen[expert] = seen
            self._on_change(expert, seen)
        return seen
