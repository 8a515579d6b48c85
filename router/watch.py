"""Which experts' servers answer, probed in the background; calls waiting on one that went down are released.

Thin shell: the rule is that `FAILURES_UNTIL_DOWN` probes in a row must fail, and one success brings it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Set
from contextlib import asynccontextmanager, suppress

from experts.client import Endpoint, ExpertClient
from experts.errors import ExpertUnreachable

FAILURES_UNTIL_DOWN = 3
PROBE_LIMIT_S = 1.5
HOSTED_PERIOD_S = 0.5
REMOTE_PERIOD_S = 15.0


class Watch:
    """Live state of each expert's server. Experts on one server are probed once."""

    def __init__(
        self,
        client: ExpertClient,
        endpoints: Mapping[str, Endpoint],
        on_change: Callable[[str, bool], None],
    ) -> None:
        self._client = client
        self._on_change = on_change
        self._endpoints = dict(endpoints)
        self._up = dict.fromkeys(endpoints, False)
        self._seen: set[str] = set()
        self._looked: set[str] = set()  # servers that were probed since they are here
        self._news = asyncio.Event()  # one more of them
        self._waiting: dict[str, set[asyncio.Timeout]] = {}
        self._probes: dict[str, tuple[list[Endpoint], asyncio.Task[None]]] = {}  # by server

    @property
    def up(self) -> Mapping[str, bool]:
        return self._up

    @property
    def seen(self) -> Set[str]:
        """Experts whose server has answered at least once."""
        return self._seen

    def start(self) -> None:
        self.follow(self._endpoints)

    def follow(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Probes these experts from now on. What is known of those that stay is kept; who went is forgotten when this
        is called again, as requests under way may still be with it.
        """
        self._up = {name: self._up.get(name, False) for name in {**self._endpoints, **endpoints}}
        self._endpoints = dict(endpoints)
        groups: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints.values():
            groups.setdefault(endpoint.base_url, []).append(endpoint)
        for server, (group, task) in list(self._probes.items()):
            if groups.get(server) != group:
                task.cancel()
                del self._probes[server]
                self._looked.discard(server)
        for server, group in groups.items():
            if server not in self._probes:
                self._probes[server] = group, asyncio.create_task(self._probe(group))

    async def looked_at(self, experts: Iterable[str], limit_s: float) -> None:
        """Until the servers of all these have been probed once, whatever came of it; for so long at most."""
        servers = {self._endpoints[name].base_url for name in experts}
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not servers <= self._looked:
                    self._news.clear()
                    await self._news.wait()

    async def stop(self) -> None:
        tasks = [task for _, task in self._probes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def released_when_down(self, expert: str) -> AsyncIterator[None]:
        """Raises ExpertUnreachable out of the block when the expert's server goes down meanwhile."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                waiting = self._waiting.setdefault(expert, set())
                waiting.add(scope)
                try:
                    yield
                finally:
                    waiting.discard(scope)
        except TimeoutError as error:
            raise ExpertUnreachable(expert, "its server stopped answering") from error

    async def _probe(self, group: list[Endpoint]) -> None:
        period_s = HOSTED_PERIOD_S if group[0].hosted else REMOTE_PERIOD_S
        failures = 0
        while True:
            alive = await self._client.alive(group[0], PROBE_LIMIT_S)
            failures = 0 if alive else failures + 1
            if alive or failures == FAILURES_UNTIL_DOWN:
                self._set(group, alive)
            self._looked.add(group[0].base_url)
            self._news.set()
            await asyncio.sleep(period_s if alive else HOSTED_PERIOD_S)

    def _set(self, group: list[Endpoint], alive: bool) -> None:
        now = asyncio.get_running_loop().time()
        for endpoint in group:
            if self._up.get(endpoint.expert, False) == alive:
                continue
            self._up[endpoint.expert] = alive
            self._seen.add(endpoint.expert)
            self._on_change(endpoint.expert, alive)
            if not alive:
                for scope in self._waiting.get(endpoint.expert, ()):
                    scope.reschedule(now)
