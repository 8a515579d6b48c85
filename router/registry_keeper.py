"""What a replica does for the registry beside its requests: writes down what was answered, so that feedback may be
given on it, and lets go of what is over. Nothing here keeps a request waiting, or makes one fail.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import islice
from random import Random

from router.edition import Edition
from router.events import Emit, Event, Finished, LedgerLost
from router.ledger import LedgerUnavailable
from router.records import Reply
from router.registry import Asked, Registry
from router.response import Response

log = logging.getLogger(__name__)
DAY_S = 86_400.0
FEEDBACK_S = 7 * DAY_S  # after so long no feedback is taken any more
ENDED_S = 30 * DAY_S  # for so long keys are listed after their end
WAITING = 10_000  # answered requests that are not written down yet; beyond, the oldest never are
TOGETHER = 256
PRUNE_S = 60.0
AGAIN_S = 1.0
LAST_S = 2.0  # at the end


class Keeper:
    """Of one replica. `now`: unix seconds."""

    def __init__(self, registry: Registry, now: Callable[[], float], emit: Emit) -> None:
        self._registry, self._now, self._emit = registry, now, emit
        self._waiting: deque[Asked] = deque(maxlen=WAITING)
        self._some, self._written = asyncio.Event(), asyncio.Event()
        self._written.set()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self) -> None:
        self._tasks = asyncio.create_task(self._write()), asyncio.create_task(self._prune())

    async def stop(self) -> None:
        """Once what was heard is written down, if that is soon."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.written(), LAST_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def heard(self, event: Event, edition: Edition) -> None:
        """Of anything that happened: what may be judged later is written down soon."""
        if isinstance(event, Finished) and (asked := asked_of(event, edition.knowledge.versions, self._now())):
            self._waiting.append(asked)
            self._some.set()
            self._written.clear()

    async def written(self) -> None:
        """Once all that was heard is."""
        await self._written.wait()

    async def _write(self) -> None:
        while True:
            await self._some.wait()
            batch = list(islice(self._waiting, TOGETHER))
            if not await self._done("asked", self._registry.asked(batch)):
                await asyncio.sleep(AGAIN_S)
                continue
            for asked in batch:  # but for those that were pushed out meanwhile
                if self._waiting[0] is asked:
                    self._waiting.popleft()
            if not self._waiting:
                self._some.clear()
                self._written.set()

    async def _prune(self) -> None:
        own = Random()
        while True:
            await asyncio.sleep(PRUNE_S * own.uniform(0.5, 1.5))  # replicas at different times
            now = self._now()
            await self._done("prune", self._registry.prune(claims=now, asked=now - FEEDBACK_S, keys=now - ENDED_S))

    async def _done(self, what: str, work: Awaitable[None]) -> bool:
        try:
            await work
        except LedgerUnavailable:
            self._emit(LedgerLost(what, open=True))
        except Exception:  # the outer shell of these tasks: what went wrong once is tried again
            log.exception("the registry: %s failed", what)
        else:
            return True
        return False


def asked_of(finished: Finished, versions: Mapping[str, str], now: float) -> Asked | None:
    """A request that was routed and answered; None of any other: who asks one expert by its name has routed by himself.

    Args:
        versions: what answers under each expert's name.
    """
    decision, response = finished.decision, finished.response
    if finished.outcome != "answered" or response is None or decision is None or decision.categories is None:
        return None
    experts, categories, skills = behind(response), decision.categories, decision.skills
    return Asked(
        finished.request_id,
        decision.ticket.caller.key,
        categories.category if categories.confident else None,
        tuple(skills.weights) if skills else (),
        experts,
        tuple(versions[name] for name in experts),
        now,
        decision.policy,
    )


def behind(response: Response) -> tuple[str, ...]:
    """The experts whose answer it is: those who agreed on it, or the one who gave it. Nobody of one that was written of
    several, as it may be none of theirs; and no one whom we have cut short.
    """
    if response.how == "synthesize":
        return ()
    if response.ballot is not None and response.ballot.answers:
        found = response.ballot.answers[0][1]
    else:
        answering = response.live or response.answer
        found = (answering.expert,) if answering is not None else ()
    cut = {leg.expert for _, leg in response.ended if isinstance(leg, Reply) and leg.stopped is not None}
    return tuple(dict.fromkeys(name for name in found if name not in cut))
