"""A dispatcher over experts that say what they are told to when they are told to: races cannot be had of real ones."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from experts.client import CHAT, Endpoint, ExpertClient, LegTokens
from experts.errors import ExpertBroken, ExpertError, ExpertRefused, ExpertTimeout, ExpertUnreachable
from router.aggregate import aggregation
from router.call import Call
from router.config import Convening
from router.dispatch import Dispatcher, Gathered
from router.events import Event, ExtraLeg, LegEnded, LegSettled
from router.explain import outcome_of
from router.forecast import Forecast
from router.health import Health
from router.lanes import Lanes
from router.legs import Legs
from router.records import Aggregator, EndedLeg, JsonObject, Needs, Plan
from router.vote import EQUAL
from router.watch import Watch
from tests.unit.make import query

NAMES = ("ada", "bob", "cy", "dan", "eve")
END = None
Fault = Callable[[str], ExpertError]
Line = str | JsonObject | int | Fault | None  # a text, a choice, turns of the loop that pass, a failure, the end
STOP = {"index": 0, "delta": {}, "finish_reason": "stop"}


def down(expert: str) -> ExpertError:
    return ExpertUnreachable(expert, "connection refused")


def slow(expert: str) -> ExpertError:
    return ExpertTimeout(expert, "end", 5)


def nonsense(expert: str) -> ExpertError:
    return ExpertBroken(expert, "no chunk")


def busy(expert: str) -> ExpertError:
    return ExpertRefused(expert, 429, "too many requests")


def wrong(expert: str) -> ExpertError:
    return ExpertRefused(expert, 400, "temperature is too high")


class Stage(ExpertClient):
    """Experts that say their lines, and wait where they have none."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open: set[str] = set()  # legs under way
        self.gone: set[str] = set()  # experts whose servers do not answer
        self._lines: defaultdict[str, asyncio.Queue[Line]] = defaultdict(asyncio.Queue)

    def says(self, expert: str, *lines: Line) -> None:
        for line in lines:
            self._lines[expert].put_nowait(line)

    async def stream(
        self, endpoint: Endpoint, body: JsonObject, leg_id: str, path: str = CHAT
    ) -> AsyncGenerator[JsonObject, None]:
        self.asked.append(endpoint.expert)
        self.open.add(leg_id)
        try:
            while (line := await self._lines[endpoint.expert].get()) is not END:
                if callable(line):
                    raise line(endpoint.expert)
                if isinstance(line, int):
                    await turns(line)
                else:
                    yield {"choices": [{"index": 0, "delta": {"content": line}} if isinstance(line, str) else line]}
        finally:
            self.open.remove(leg_id)

    async def alive(self, endpoint: Endpoint, limit_s: float) -> bool:
        await turns(1)
        return endpoint.expert not in self.gone

    async def tokens(self, endpoint: Endpoint, leg_id: str, wait_s: float) -> LegTokens | None:
        return LegTokens(7, 3, exact=True)


class Hasty(Health):
    """Whoever does not speak at once is late."""

    def hedge_after_s(self, expert: str) -> float | None:
        return 0.0


class World:
    """A dispatcher over a stage, and all that was heard of it. Every failure may be made good, every expert hedged."""

    def __init__(self, *, hasty: bool = False, hosted: bool = False, **settings: Any) -> None:
        at = {name: Endpoint(name, f"http://{name}.test/v1", name, hosted=hosted) for name in NAMES}
        self.stage, self.events, self.told = Stage(), list[Event](), list[EndedLeg]()
        convening = Convening.model_validate({"retry_share": 1, "hedge_share": 1} | settings)
        health = (Hasty if hasty else Health)(NAMES, convening, lambda: 0.0, lambda expert, state: None)
        self.watch = Watch(self.stage, at, lambda expert, up: None)
        lanes = Lanes(NAMES, convening.concurrency, lambda: 0.0, self.events.append)
        legs = Legs(self.stage, at, self.watch, health, lanes, Forecast(), self.events.append)
        servers = {"ada": "one", "bob": "one", "cy": "two", "dan": "three", "eve": "four"}
        self.dispatcher = Dispatcher(legs, health, servers, self.events.append)

    async def up(self) -> World:
        """Itself, once all experts are seen to be up."""
        self.watch.start()
        while not all(self.watch.up.values()):
            await turns(1)
        return self

    async def gather(self, plan: Plan, call: Call | None = None) -> Gathered:
        rule = aggregation(plan, Needs(), 2.0)
        return await self.dispatcher.gather(call or Call.of(query("hi")), plan, rule.move, self.told.append)

    def ends(self) -> dict[str, str]:
        """How each expert's leg has ended, as events say; each is asked once."""
        found = [(event.expert, event.outcome) for event in self.events if isinstance(event, LegEnded)]
        assert len(dict(found)) == len(found)
        return dict(found)

    def heard(self) -> dict[str, str]:
        """How each expert's leg has ended, as was told."""
        assert len({leg.expert for leg in self.told}) == len(self.told)
        return {leg.expert: outcome_of(leg) for leg in self.told}

    def extras(self) -> list[tuple[str, str]]:
        return [(event.why, event.expert) for event in self.events if isinstance(event, ExtraLeg)]

    async def nothing_is_left(self) -> None:
        """Every call that was made has ended, once, and is settled; no connection is open."""
        await self.watch.stop()
        await self.dispatcher.drain(30)
        assert self.stage.open == set()
        assert self.ends().keys() == set(self.stage.asked)
        settled = [event.expert for event in self.events if isinstance(event, LegSettled)]
        assert sorted(settled) == sorted(self.stage.asked)


def panel(*waves: Sequence[str], spares: Sequence[str] = (), how: Aggregator = "vote", **fields: Any) -> Plan:
    """A plan in which all votes weigh the same."""
    weights = dict.fromkeys([*(expert for wave in waves for expert in wave), *spares], EQUAL)
    return Plan(tuple(map(tuple, waves)), how, tuple(spares), "convened", p_correct=weights, **fields)


def alone(*experts: str) -> Plan:
    """The first one, for whom the others may step in."""
    return panel(experts[:1], spares=experts[1:], how="single")


async def turns(number: int) -> None:
    """Lets everybody else go on for a while."""
    for _ in range(number):
        await asyncio.sleep(0)
