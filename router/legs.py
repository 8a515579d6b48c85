"""One call of one expert: opened, awaited up to its first chunk, read to its end or aborted, settled. Async shell.

Every leg ends with a `LegEnded` and a `LegSettled` event, also when it was cut or the client has gone: settling runs
on its own. Decides nothing about who is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from experts.assembly import Assembly
from experts.client import CHAT, COMPLETIONS, Endpoint, ExpertClient
from experts.errors import ExpertBroken, ExpertError, ExpertTimeout
from router.events import Emit, LegEnded, LegSettled
from router.health import Health
from router.records import Cut, Failure, JsonObject, Kind, Query, Reply, Usage
from router.trace_context import Trace
from router.watch import Watch

SETTLE_WAIT_S = 5.0
CHARS_PER_TOKEN = 3  # rough
EXTRA = ("system_fingerprint", "service_tier")  # of a chunk, kept for the whole answer
PATHS: Mapping[Kind, str] = {"chat": CHAT, "completion": COMPLETIONS}


@dataclass(frozen=True, slots=True)
class Call:
    """What experts are asked on behalf of one request. `model` is what the client asked for; "" where it did not.
    `problem` says what is wrong with an answer, if anything.
    """

    request_id: str
    body: JsonObject
    kind: Kind = "chat"
    model: str = ""
    problem: Callable[[tuple[JsonObject, ...]], str | None] | None = None
    trace: Trace | None = None

    @classmethod
    def of(cls, query: Query) -> Call:
        """The client's own request; where it names a format, answers must keep to it."""
        if (wanted := query.answer_format) is None:
            return cls(query.request_id, query.body, query.kind, query.model, trace=query.trace)

        def problem(choices: tuple[JsonObject, ...]) -> str | None:
            finished = [c for c in choices if c.get("finish_reason") == "stop"]
            said = [c.get("message") or {"content": c.get("text")} for c in finished]
            texts = (message.get("content") for message in said if not message.get("tool_calls"))
            return next((why for text in texts if (why := wanted.problem(text)) is not None), None)

        return cls(query.request_id, query.body, query.kind, query.model, problem, query.trace)


@dataclass(slots=True)
class Leg:
    """One call under way. Its chunks are read once: `first`, then `rest`."""

    endpoint: Endpoint
    leg_id: str
    call: Call
    started: float
    now: Callable[[], float] = field(repr=False)
    assembly: Assembly | None = None  # of its chunks, where somebody wants the whole answer
    chunks: int = 0
    first_token_s: float | None = None
    usage: Usage | None = None
    extra: JsonObject = field(default_factory=dict)
    cut: bool = False  # aborted by us, not by the client's leaving
    source: AsyncGenerator[JsonObject, None] | None = None
    head: JsonObject | None = None

    @property
    def expert(self) -> str:
        return self.endpoint.expert

    def used(self) -> Usage:
        """Tokens as far as known here: reported, or roughly estimated."""
        if self.usage is not None:
            return self.usage
        prompt = self.call.body.get("messages", self.call.body.get("prompt"))
        return Usage(len(str(prompt)) // CHARS_PER_TOKEN, self.chunks, exact=False)

    @property
    def seconds(self) -> float:
        return self.now() - self.started

    async def rest(self) -> AsyncGenerator[JsonObject, None]:
        """All chunks, from the first one on; `close` aborts the leg."""
        assert self.source is not None, "opened"
        if self.head is not None:
            yield self.head
        async for chunk in self.source:
            yield chunk

    async def close(self) -> None:
        """Aborts it, if it has not ended."""
        if self.source is not None:
            await self.source.aclose()

    def reply(self, choices: tuple[JsonObject, ...] = ()) -> Reply:
        """As it stands, with the given choices."""
        return Reply(self.expert, self.leg_id, choices, self.used(), self.seconds, self.extra, self.first_token_s)

    def failure(self, error: ExpertError) -> Failure:
        """An expert that was cut off for its slowness has worked: its tokens are estimated until they are settled."""
        usage = self.used() if isinstance(error, ExpertTimeout) else self.usage or Usage()
        return Failure(self.expert, self.leg_id, error, usage, self.seconds)

    def dropped(self) -> Cut:
        return Cut(self.expert, self.leg_id, replace(self.used(), exact=False), self.seconds)


class Legs:
    """Calls experts. One per router replica."""

    def __init__(
        self, client: ExpertClient, endpoints: Mapping[str, Endpoint], watch: Watch, health: Health, emit: Emit
    ) -> None:
        self._client, self._endpoints, self._watch, self._health = client, endpoints, watch, health
        self._emit = emit
        self._background: set[asyncio.Task[None]] = set()

    def open(self, leg_id: str, expert: str, call: Call, *, whole: bool) -> Leg:
        """A leg that has not been sent yet. `whole`: its chunks are put together."""
        self._health.asked(expert)
        now = asyncio.get_running_loop().time
        leg = Leg(_traced(self._endpoints[expert], leg_id, call.trace), leg_id, call, now(), now)
        leg.assembly = Assembly() if whole or call.problem is not None else None
        leg.source = self._chunks(leg)
        return leg

    async def first(self, leg: Leg) -> None:
        """Sends the leg and waits for its first chunk. Raises ExpertError."""
        assert leg.source is not None, "opened"
        async with self._watch.released_when_down(leg.expert):
            leg.head = await anext(leg.source, None)

    async def whole(self, leg: Leg) -> Reply:
        """Reads a leg, opened as whole and with its first chunk there, to its end. Raises ExpertError."""
        assert leg.assembly is not None, "opened as whole"
        try:
            async with self._watch.released_when_down(leg.expert):
                async for _ in leg.rest():
                    pass  # `_chunks` puts them together
        finally:
            await leg.close()
        return leg.reply(leg.assembly.choices())

    async def aside(
        self, leg_id: str, expert: str, body: JsonObject, limit_s: float, trace: Trace | None = None
    ) -> Reply | Failure:
        """Asks an expert for what helps to decide: nobody steps in for it. Never raises ExpertError."""
        leg = self.open(leg_id, expert, Call(leg_id, body, trace=trace), whole=False)
        limits = leg.endpoint.limits
        leg.endpoint = replace(leg.endpoint, limits=limits.model_copy(update={"total_s": min(limit_s, limits.total_s)}))
        try:
            async with self._accounted(leg), self._watch.released_when_down(expert):
                answer = await self._client.complete(leg.endpoint, body, leg_id)
                leg.usage = _usage(answer.get("usage"), exact=True)
        except ExpertError as error:
            return leg.failure(error)
        return leg.reply(tuple(answer["choices"]))

    def abort(self, waiting: Mapping[asyncio.Task[None], Leg]) -> None:
        """Cancels what waits for the first chunks of these legs, and closes them behind it."""

        async def closed() -> None:
            await asyncio.gather(*waiting, return_exceptions=True)
            for leg in waiting.values():
                await leg.close()

        for task in waiting:
            task.cancel()
        if waiting:
            self._in_background(closed())

    async def drain(self, limit_s: float) -> None:
        """Waits for legs that are being closed or settled."""
        ends = asyncio.get_running_loop().time() + limit_s
        while self._background and (left_s := ends - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._background, timeout=left_s)  # closing a leg begins its settlement

    async def _chunks(self, leg: Leg) -> AsyncGenerator[JsonObject, None]:
        call, assembly = leg.call, leg.assembly
        async with (
            self._accounted(leg),
            aclosing(self._client.stream(leg.endpoint, call.body, leg.leg_id, PATHS[call.kind])) as chunks,
        ):
            async for chunk in chunks:
                if leg.first_token_s is None:
                    leg.first_token_s = leg.seconds
                leg.extra |= {key: chunk[key] for key in EXTRA if chunk.get(key)}
                leg.usage = _usage(chunk.pop("usage", None), exact=False) or leg.usage
                if chunk.get("choices"):
                    leg.chunks += 1
                    if assembly is not None:
                        assembly.add(chunk)
                    yield chunk
            if leg.chunks == 0:
                raise ExpertBroken(leg.expert, "the stream had no content")
            if assembly is not None and call.problem and (why := call.problem(assembly.choices())) is not None:
                raise ExpertBroken(leg.expert, f"the answer breaks the format: {why}")
            if leg.usage is not None:
                leg.usage = replace(leg.usage, exact=True)

    @asynccontextmanager
    async def _accounted(self, leg: Leg) -> AsyncIterator[None]:
        """Whatever happens inside, the leg ends and is settled."""
        outcome, failed = "cancelled", False
        try:
            yield
            outcome = "answered"
        except ExpertError as error:
            outcome, failed = error.reason, error.replaceable
            raise
        finally:
            if outcome == "cancelled" and leg.cut:
                outcome = "cut"
            elif outcome == "cancelled" and not self._watch.up.get(leg.expert, False):
                outcome, failed = "unreachable", True  # released because its server went down
            self._health.ended(leg.expert, outcome, leg.first_token_s, leg.seconds, failed=failed)
            self._emit(_ended(leg, outcome))
            if outcome == "answered" and leg.usage is not None:
                self._emit(LegSettled(leg.expert, leg.leg_id, leg.usage, leg.call.model))
            else:
                self._in_background(self._settle(leg))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _settle(self, leg: Leg) -> None:
        """A cut leg: our own host knows what it generated; elsewhere the last usage seen is all there is."""
        usage = leg.used()
        if leg.endpoint.hosted:
            counted = await self._client.tokens(leg.endpoint, leg.leg_id, SETTLE_WAIT_S)
            if counted is not None:
                usage = Usage(counted.prompt_tokens, counted.output_tokens, counted.exact)
        self._emit(LegSettled(leg.expert, leg.leg_id, usage, leg.call.model))


def _traced(endpoint: Endpoint, leg_id: str, trace: Trace | None) -> Endpoint:
    """The endpoint as the leg speaks to it: below the leg's own span. What others put into the trace's state is not for
    strangers.
    """
    if trace is None:
        return endpoint
    return replace(endpoint, headers={**endpoint.headers, **trace.headers(leg_id, state=endpoint.hosted)})


def _ended(leg: Leg, outcome: str) -> LegEnded:
    call, said = leg.call, leg.usage.completion_tokens if leg.usage is not None else None
    return LegEnded(
        leg.expert, leg.leg_id, outcome, leg.seconds, leg.first_token_s, leg.started, call.kind, call.trace, said
    )


def _usage(raw: Any, *, exact: bool) -> Usage | None:
    if not isinstance(raw, dict):
        return None
    prompt, output = raw.get("prompt_tokens"), raw.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(output, int) or min(prompt, output) < 0:
        return None
    return Usage(prompt, output, exact)
