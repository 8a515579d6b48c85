"""The async shell around calling experts: fan-out, one replacement before the first byte, abort, settlement.

Decides nothing about routing: who is asked and who may step in stands in the plan. Every leg ends with a
`LegEnded` and a `LegSettled` event, also when the client has gone: settling runs on its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from experts.client import Endpoint, ExpertClient
from experts.errors import ExpertBroken, ExpertError, ExpertTimeout
from router.events import Emit, LegEnded, LegSettled
from router.records import Failure, JsonObject, Plan, Reply, Usage
from router.watch import Watch

SETTLE_WAIT_S = 5.0
CHARS_PER_TOKEN = 3  # rough
REPLACEMENTS = 1  # per request, before the first byte
Heard = Callable[[Reply | Failure], None]


@dataclass(slots=True)
class _Spares:
    """Who may still step in. Each expert is asked at most once per request: no loops by construction."""

    names: list[str]
    servers: Mapping[str, str]  # expert -> the server it lives on
    left: int = REPLACEMENTS

    def take(self, error: ExpertError) -> str | None:
        """The next spare, rather one on another server than the one that just failed."""
        if not error.replaceable or self.left == 0 or not self.names:
            return None
        self.left -= 1
        failed = self.servers[error.expert]
        elsewhere = (name for name in self.names if self.servers[name] != failed)
        name = next(elsewhere, self.names[0])
        self.names.remove(name)
        return name


@dataclass(slots=True)
class _Leg:
    """One call under way; the only mutable thing here."""

    endpoint: Endpoint
    leg_id: str
    started: float
    prompt_estimate: int  # tokens, roughly: what an expert elsewhere is settled on when it reports nothing
    chunks: int = 0
    first_token_s: float | None = None
    usage: Usage | None = None

    def used(self) -> Usage:
        """Tokens as far as known here: reported, or estimated."""
        return self.usage or Usage(self.prompt_estimate, self.chunks, exact=False)


@dataclass(frozen=True, slots=True)
class LiveReply:
    """A streamed answer whose first chunk has come. `usage()` is what was used, once the chunks are through."""

    expert: str
    chunks: AsyncIterator[JsonObject]
    failures: tuple[Failure, ...]
    leg: _Leg = field(repr=False)
    now: Callable[[], float] = field(repr=False)

    def usage(self) -> Usage:
        return sum((f.usage for f in self.failures), self.leg.used())

    def so_far(self) -> Reply:
        """The leg as a reply without its words, for telling of its end."""
        seconds = self.now() - self.leg.started
        return Reply(self.expert, self.leg.leg_id, (), self.leg.used(), seconds)


class Dispatcher:
    """Calls experts for requests. One per router replica."""

    def __init__(self, client: ExpertClient, endpoints: Mapping[str, Endpoint], watch: Watch, emit: Emit) -> None:
        self._client, self._endpoints, self._watch, self._emit = client, endpoints, watch, emit
        self._servers = {name: endpoint.base_url for name, endpoint in endpoints.items()}
        self._settling: set[asyncio.Task[None]] = set()

    async def gather(
        self, request_id: str, plan: Plan, body: JsonObject, heard: Heard = lambda outcome: None
    ) -> list[Reply | Failure]:
        """Asks all experts of the plan at once; each leg's outcome, in the plan's order, replaced ones first.

        Never raises ExpertError: a leg that failed is a Failure. `heard` is told each outcome the moment it is known.
        Cancelling aborts every leg.
        """
        spares = self._spares(plan)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._ask(f"{request_id}-{i}", expert, body, spares, heard))
                for i, expert in enumerate(plan.experts)
            ]
        return [outcome for task in tasks for outcome in task.result()]

    async def aside(self, leg_id: str, expert: str, body: JsonObject, limit_s: float) -> Reply | Failure:
        """Asks an expert for what helps to decide: nobody steps in for it. Never raises ExpertError."""
        leg = self._open(leg_id, expert, body)
        limits = leg.endpoint.limits
        leg.endpoint = replace(leg.endpoint, limits=limits.model_copy(update={"total_s": min(limit_s, limits.total_s)}))
        try:
            return await self._whole(leg, body)
        except ExpertError as error:
            return self._failure(leg, error)

    @asynccontextmanager
    async def stream(
        self, request_id: str, plan: Plan, body: JsonObject, heard: Heard = lambda outcome: None
    ) -> AsyncIterator[LiveReply]:
        """The single expert's answer as it comes, opened up to its first chunk. Leaving the block aborts it.

        `heard` is told each failure before that.

        Raises:
            ExpertError: the expert failed before its first byte, and so did its replacement if there was one;
                later errors come out of `chunks`.
        """
        spares, expert = self._spares(plan), plan.experts[0]
        failures: list[Failure] = []
        while True:
            leg = self._open(f"{request_id}-{len(failures)}", expert, body)
            chunks = self._chunks(leg, body)
            async with aclosing(chunks):
                try:
                    async with self._watch.released_when_down(expert):
                        first = await anext(chunks, None)
                except ExpertError as error:
                    failures.append(self._failure(leg, error))
                    heard(failures[-1])
                    spare = spares.take(error)
                    if spare is None:
                        raise
                    expert = spare
                    continue
                yield LiveReply(expert, _chain(first, chunks), tuple(failures), leg, self._now)
                return

    async def drain(self, limit_s: float) -> None:
        """Waits for settlements still under way."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=limit_s)

    async def _ask(
        self, leg_id: str, expert: str, body: JsonObject, spares: _Spares, heard: Heard
    ) -> list[Reply | Failure]:
        outcomes: list[Reply | Failure] = []
        name: str | None = expert
        while name is not None:
            leg = self._open(leg_id if not outcomes else f"{leg_id}r", name, body)
            try:
                outcomes.append(await self._whole(leg, body))
                name = None
            except ExpertError as error:
                outcomes.append(self._failure(leg, error))
                name = spares.take(error)
            heard(outcomes[-1])
        return outcomes

    async def _whole(self, leg: _Leg, body: JsonObject) -> Reply:
        async with self._accounted(leg), self._watch.released_when_down(leg.endpoint.expert):
            answer = await self._client.complete(leg.endpoint, body, leg.leg_id)
            leg.usage = _usage(answer.get("usage"), exact=True)
        extra = {k: v for k, v in answer.items() if k in ("system_fingerprint", "service_tier") and v}
        seconds = self._now() - leg.started
        return Reply(leg.endpoint.expert, leg.leg_id, tuple(answer["choices"]), leg.used(), seconds, extra)

    async def _chunks(self, leg: _Leg, body: JsonObject) -> AsyncGenerator[JsonObject, None]:
        async with (
            self._accounted(leg),
            aclosing(self._client.stream(leg.endpoint, body, leg.leg_id)) as chunks,
        ):
            async for chunk in chunks:
                if leg.first_token_s is None:
                    leg.first_token_s = self._now() - leg.started
                leg.usage = _usage(chunk.pop("usage", None), exact=False) or leg.usage
                if chunk.get("choices"):
                    leg.chunks += 1
                    yield chunk
            if leg.chunks == 0:
                raise ExpertBroken(leg.endpoint.expert, "the stream had no content")
            if leg.usage is not None:
                leg.usage = replace(leg.usage, exact=True)

    @asynccontextmanager
    async def _accounted(self, leg: _Leg) -> AsyncIterator[None]:
        """Whatever happens inside, the leg ends and is settled."""
        outcome = "cancelled"
        try:
            yield
            outcome = "answered"
        except ExpertError as error:
            outcome = error.reason
            raise
        finally:
            expert = leg.endpoint.expert
            self._emit(LegEnded(expert, leg.leg_id, outcome, self._now() - leg.started, leg.first_token_s))
            if outcome == "answered" and leg.usage is not None:
                self._emit(LegSettled(expert, leg.leg_id, leg.usage))
            else:
                task = asyncio.create_task(self._settle(leg))
                self._settling.add(task)
                task.add_done_callback(self._settling.discard)

    async def _settle(self, leg: _Leg) -> None:
        """A cut leg: our own host knows what it generated; elsewhere the last usage seen is all there is."""
        usage = leg.used()
        if leg.endpoint.hosted:
            counted = await self._client.tokens(leg.endpoint, leg.leg_id, SETTLE_WAIT_S)
            if counted is not None:
                usage = Usage(counted.prompt_tokens, counted.output_tokens, counted.exact)
        self._emit(LegSettled(leg.endpoint.expert, leg.leg_id, usage))

    def _spares(self, plan: Plan) -> _Spares:
        return _Spares(list(plan.spares), self._servers)

    def _open(self, leg_id: str, expert: str, body: JsonObject) -> _Leg:
        return _Leg(self._endpoints[expert], leg_id, self._now(), len(str(body["messages"])) // CHARS_PER_TOKEN)

    def _failure(self, leg: _Leg, error: ExpertError) -> Failure:
        """An expert that was cut off for its slowness has worked: its tokens are estimated until they are settled."""
        usage = leg.used() if isinstance(error, ExpertTimeout) else leg.usage or Usage()
        return Failure(leg.endpoint.expert, leg.leg_id, error, usage, self._now() - leg.started)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _chain(first: JsonObject | None, rest: AsyncIterator[JsonObject]) -> AsyncGenerator[JsonObject, None]:
    if first is not None:
        yield first
    async for chunk in rest:
        yield chunk


def _usage(raw: Any, *, exact: bool) -> Usage | None:
    if not isinstance(raw, dict):
        return None
    prompt, output = raw.get("prompt_tokens"), raw.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(output, int) or min(prompt, output) < 0:
        return None
    return Usage(prompt, output, exact)
