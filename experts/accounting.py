"""What each leg cost, counted where the tokens are made.

vLLM does not report what an aborted request generated, so the host counts per leg id of ours: a leg is
opened when its HTTP request arrives, each engine request of it is started and settled, and the leg is
final when the HTTP side has ended and every engine request is settled. Pure bookkeeping that imports no vLLM;
waiting is the only thing that touches asyncio. Bounded: the oldest final legs are forgotten first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any


@dataclass(frozen=True, slots=True)
class LegCount:
    """Tokens of one leg so far. `final` once nothing can be added any more."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    engine_running: int = 0  # engine requests started and not settled
    http_open: bool = False
    aborted: bool = False
    http_ended_at: float = 0.0  # Unix seconds; 0 while open
    engine_ended_at: float = 0.0

    @property
    def final(self) -> bool:
        return not self.http_open and self.engine_running == 0


class LegLedger:
    """Counts per leg id; `capacity` bounds how many final legs are remembered."""

    def __init__(self, clock: Callable[[], float], capacity: int = 65_536) -> None:
        self._clock = clock
        self._capacity = capacity
        self._legs: OrderedDict[str, LegCount] = OrderedDict()
        self._waiters: dict[str, set[asyncio.Event]] = {}

    def http_opened(self, leg_id: str) -> None:
        self._put(leg_id, replace(self.get(leg_id) or LegCount(), http_open=True))

    def http_closed(self, leg_id: str, *, aborted: bool) -> None:
        leg = self.get(leg_id) or LegCount()
        self._put(
            leg_id,
            replace(leg, http_open=False, aborted=leg.aborted or aborted, http_ended_at=self._clock()),
        )

    def engine_started(self, leg_id: str, prompt_tokens: int) -> None:
        leg = self.get(leg_id) or LegCount()
        self._put(
            leg_id,
            replace(
                leg,
                engine_running=leg.engine_running + 1,
                # Parallel samples (n > 1) share one prompt: it is paid once.
                prompt_tokens=max(leg.prompt_tokens, prompt_tokens),
            ),
        )

    def engine_settled(self, leg_id: str, output_tokens: int) -> None:
        leg = self.get(leg_id) or LegCount()
        self._put(
            leg_id,
            replace(
                leg,
                engine_running=max(0, leg.engine_running - 1),
                output_tokens=leg.output_tokens + output_tokens,
                engine_ended_at=self._clock(),
            ),
        )

    def get(self, leg_id: str) -> LegCount | None:
        return self._legs.get(leg_id)

    def latest(self, count: int) -> dict[str, LegCount]:
        """The `count` legs that changed last, newest first."""
        return dict(islice(reversed(self._legs.items()), count))

    async def final(self, leg_id: str, wait_s: float) -> LegCount | None:
        """The leg once it is final, or as it stands after `wait_s` seconds; None if it never arrived."""
        leg = self.get(leg_id)
        if leg is None or not leg.final:
            event = asyncio.Event()
            self._waiters.setdefault(leg_id, set()).add(event)
            try:
                await asyncio.wait_for(event.wait(), wait_s)
            except TimeoutError:
                pass
            finally:
                self._leave(leg_id, event)
        return self.get(leg_id)

    def _put(self, leg_id: str, leg: LegCount) -> None:
        self._legs[leg_id] = leg
        self._legs.move_to_end(leg_id)
        if leg.final:
            for event in self._waiters.get(leg_id, ()):
                event.set()
        while len(self._legs) > self._capacity:
            self._forget_one()

    def _leave(self, leg_id: str, event: asyncio.Event) -> None:
        waiters = self._waiters[leg_id]
        waiters.discard(event)
        if not waiters:
            del self._waiters[leg_id]

    def _forget_one(self) -> None:
        oldest = next((key for key, leg in self._legs.items() if leg.final), None)
        del self._legs[oldest if oldest is not None else next(iter(self._legs))]


class ObservedRequests(dict[str, Any]):
    """vLLM's table of running requests, reporting each one that enters and leaves to the ledger.

    Every way out of the engine (finished, stopped, aborted) takes the request from this table, and its
    `stats` hold the very numbers that vLLM adds to `vllm:generation_tokens_total`. `generate()` itself
    cannot tell: a request without streaming yields nothing before it is complete.
    """

    def __init__(self, ledger: LegLedger) -> None:
        super().__init__()
        self._ledger = ledger

    def __setitem__(self, key: str, state: Any) -> None:
        if key not in self:
            self._ledger.engine_started(leg_of(state), state.prompt_len)
        super().__setitem__(key, state)

    def pop(self, key: str, *default: Any) -> Any:
        if key in self:
            state = self[key]
            generated = state.stats.num_generation_tokens if state.stats is not None else 0
            self._ledger.engine_settled(leg_of(state), generated)
        return super().pop(key, *default)


def leg_of(state: Any) -> str:
    """`chatcmpl-<leg>` / `cmpl-<leg>-0` as vLLM builds it from our header -> `<leg>`."""
    external: str = state.external_req_id
    kind, _, leg = external.partition("-")
    return leg.rsplit("-", 1)[0] if kind == "cmpl" else leg
