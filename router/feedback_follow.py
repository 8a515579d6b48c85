"""Keeps one router replica's profiles where feedback has moved them. Async shell around `feedback_tally`.

Each replica reads what was said, counts it and moves what was measured, by itself: the same outcomes make the same
profiles, whatever their order. It looks twice a second, and works on profiles off the event loop, for at most a fifth
of the time. While the registry cannot be reached, profiles stay as they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from router.config import Config
from router.events import Emit, LedgerLost
from router.feedback_tally import Tally
from router.knowledge import Knowledge
from router.ledger import LedgerUnavailable
from router.registry import FeedbackState, Registry

log = logging.getLogger(__name__)
POLL_S = 0.5
SHARE = 0.2  # of the time, for work on profiles
TOGETHER = 500  # are read at once


class FeedbackFollower:
    """Of one replica.

    `known`: the sources that count one by one, by a configuration and what keys there are now. `current`: what requests
    are decided by, and `move` puts it elsewhere: the same configuration with other profiles.
    """

    def __init__(
        self,
        registry: Registry,
        known: Callable[[Config], frozenset[str]],
        *,
        current: Callable[[], Knowledge],
        move: Callable[[Knowledge], None],
        clock: Callable[[], float],
        emit: Emit,
    ) -> None:
        self._registry, self._known = registry, known
        self._current, self._move, self._clock, self._emit = current, move, clock, emit
        self._tally = Tally()
        self._state = FeedbackState()
        self._made: tuple[int, int, frozenset[str], Knowledge] | None = None
        self._rest_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """With what there is by now, as far as that can be read; and follows it from then on."""
        await self.look()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def frozen(self) -> bool:
        """As it was last heard."""
        return self._state.frozen is not None

    def moved(self, knowledge: Knowledge) -> Knowledge:
        """By all that counts now: of a configuration that is to come into force. Blocking."""
        return self._moved_by(knowledge, self._known(knowledge.config))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(max(POLL_S, self._rest_s))
            await self.look()

    async def look(self) -> None:
        """Once: reads what is new, and moves profiles where that changes anything. Fails nobody."""
        try:
            await self._look()
        except LedgerUnavailable:
            self._emit(LedgerLost("feedback", open=True))
        except Exception:  # the outer shell of this task: without it profiles would stay where they are for good
            log.exception("feedback could not be followed")

    async def _look(self) -> None:
        self._state = state = await self._registry.feedback_state()
        if not self._tally.whole(state):
            await self._read(state)
        before = self._current()
        known = self._known(before.config)
        made_of = self._tally.epoch, self._tally.number, known
        nothing = self._tally.number == before.feedback == 0
        if nothing or self._made == (*made_of, before):
            return
        began = self._clock()
        knowledge = await asyncio.to_thread(self._moved_by, before, known)
        self._rest_s = (self._clock() - began) * (1 / SHARE - 1)
        if self._current() is before:  # else another configuration has come into force: next time
            self._move(knowledge)
            self._made = (*made_of, knowledge)

    def _moved_by(self, knowledge: Knowledge, known: frozenset[str]) -> Knowledge:
        tally, strength = self._tally, knowledge.config.routing.prior_strength
        return knowledge.moved(tally.moved(knowledge.measured, known, strength=strength), tally.number)

    async def _read(self, state: FeedbackState) -> None:
        """All that there was in this state, and nothing from after a freeze; or nothing, where it has changed since."""
        tally = self._tally if self._tally.epoch == state.epoch else Tally(epoch=state.epoch)
        while found := await self._registry.judged(tally.read, TOGETHER):
            tally = await asyncio.to_thread(tally.plus, found, state)
            if len(found) < TOGETHER or tally.read < found[-1].number:
                break
        now = await self._registry.feedback_state()
        if (now.epoch, now.frozen) == (state.epoch, state.frozen):
            self._tally = tally.upto(state)
