"""One call of one expert: opened, awaited up to its first chunk, read to its end or aborted, settled. Async shell.

Every leg ends with a `LegEnded` and a `LegSettled` event, also when it was cut or the client has gone: settling runs
on its own. Decides nothing about who is asked.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from experts.assembly import Assembly
from experts.client import CHAT, COMPLETIONS, Endpoint, ExpertClient
from experts.errors import ExpertBroken, ExpertError, ExpertOutOfTime, ExpertTimeout, ExpertUnfunded
from router.budget import Stopped
from router.call import Call, Leg
from router.events import Emit, LegEnded, LegSettled
from router.forecast import Forecast
from router.health import Health
from router.lane import Turn
from router.lanes import Lanes
from router.records import Failure, JsonObject, Kind, Reply, Usage
from router.trace_context import Trace
from router.watch import Watch

SETTLE_WAIT_S = 5.0
DEADLINE_GRAIN_S = 0.002  # a limit that passes so shortly before the deadline is the deadline
DEADLINE_HEADER = "x-symposium-deadline-ms"  # an expert elsewhere may be a symposium, too
STOPPED: Mapping[Stopped, type[ExpertError]] = {"deadline": ExpertOutOfTime, "budget": ExpertUnfunded}
EXTRA = ("system_fingerprint", "service_tier")  # of a chunk, kept for the whole answer
PATHS: Mapping[Kind, str] = {"chat": CHAT, "completion": COMPLETIONS}


class Legs:
    """Calls experts. One per router replica."""

    def __init__(
        self,
        client: ExpertClient,
        endpoints: Mapping[str, Endpoint],
        watch: Watch,
        health: Health,
        lanes: Lanes,
        forecast: Forecast,
        emit: Emit,
    ) -> None:
        self._client, self._endpoints, self._watch, self._health = client, endpoints, watch, health
        self._lanes, self._forecast, self._emit = lanes, forecast, emit
        self._background: set[asyncio.Task[None]] = set()

    def open(self, leg_id: str, expert: str, call: Call, *, whole: bool) -> Leg:
        """A leg that has not been sent yet. `whole`: its chunks are put together."""
        self._health.asked(expert)
        now = asyncio.get_running_loop().time
        leg = Leg(_traced(self._endpoints[expert], leg_id, call.trace), leg_id, call, now(), now)
        leg.assembly = Assembly() if whole or call.problem is not None else None
        leg.source = self._chunks(leg)
        return leg

    def in_time(self, call: Call, expert: str) -> bool:
        """Whether a call that begins now may be through by the request's deadline, as far as is known."""
        if call.ends_at is None:
            return True
        through_s = self._lanes.through_s(expert, call.caller, call.ends_at, call.least_s(expert))
        return through_s <= call.left_s(asyncio.get_running_loop().time())

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

    async def aside(self, leg_id: str, expert: str, call: Call, limit_s: float) -> Reply | Failure:
        """Asks an expert for what helps to decide: nobody steps in for it. Never raises ExpertError."""
        leg = self.open(leg_id, expert, call, whole=False)
        limits = leg.endpoint.limits
        leg.endpoint = replace(leg.endpoint, limits=limits.model_copy(update={"total_s": min(limit_s, limits.total_s)}))
        try:
            async with self._accounted(leg), self._watch.released_when_down(expert):
                body = await self._sent(leg)
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
        call = leg.call
        async with self._accounted(leg):
            body = await self._sent(leg)
            try:
                async with aclosing(self._client.stream(leg.endpoint, body, leg.leg_id, PATHS[call.kind])) as chunks:
                    async for chunk in chunks:
                        if leg.first_token_s is None:
                            self._spoke(leg)
                        leg.extra |= {key: chunk[key] for key in EXTRA if chunk.get(key)}
                        leg.usage = _usage(chunk.pop("usage", None), exact=False) or leg.usage
                        if not chunk.get("choices"):
                            continue
                        leg.add(chunk)
                        yield chunk
                        if not call.funds.goes_on(leg.leg_id, leg.output_tokens):
                            leg.stopped = "budget"
                            break
            except ExpertTimeout as error:
                if call.left_s(leg.now()) > DEADLINE_GRAIN_S:
                    raise
                if not leg.chunks:
                    raise ExpertOutOfTime(leg.expert, "nothing had come by the deadline") from error
                leg.stopped = "deadline"
            if leg.stopped is not None:
                if call.problem is not None:  # half an object is none
                    raise STOPPED[leg.stopped](leg.expert, "its answer is not complete")
                end = leg.cut_short()
                leg.add(end)
                yield end
            self._check(leg)

    def _spoke(self, leg: Leg) -> None:
        """Its first chunk has come."""
        assert leg.turn is not None, "sent"
        leg.first_token_s = leg.seconds
        self._lanes.spoke(leg.turn, leg.first_token_s - leg.waited_s)

    def _check(self, leg: Leg) -> None:
        """What has come is an answer, as far as it goes. Raises ExpertBroken."""
        call, assembly = leg.call, leg.assembly
        if leg.chunks == 0:
            raise ExpertBroken(leg.expert, "the stream had no content")
        if assembly is not None and call.problem and (why := call.problem(assembly.choices())) is not None:
            raise ExpertBroken(leg.expert, f"the answer breaks the format: {why}")
        if leg.usage is not None and leg.stopped is None:
            leg.usage = replace(leg.usage, exact=True)

    async def _sent(self, leg: Leg) -> JsonObject:
        """The body to be sent, now: there is money for it and it is the leg's turn; its limits end by the deadline.

        Raises:
            ExpertUnfunded, ExpertBusy, ExpertOutOfTime: it must not be sent.
        """
        call, expert = leg.call, leg.expert
        cap = leg.cap = await call.funds.open(leg.leg_id, expert)
        tokens = call.tokens(expert, cap)
        needs_s = call.needs_s(expert, cap)
        leg.turn = await self._lanes.enter(expert, call.caller, tokens, call.ends_at, needs_s)
        if (left_s := call.left_s(leg.now())) <= 0:
            raise ExpertOutOfTime(expert, "its turn came after the deadline")
        if left_s < math.inf:
            leg.endpoint = _bounded(leg.endpoint, left_s)
        leg.sent_at = leg.now()
        return call.body if cap is None else _capped(call.body, cap)

    @asynccontextmanager
    async def _accounted(self, leg: Leg) -> AsyncIterator[None]:
        """Whatever happens inside, the leg ends and is settled."""
        outcome, failed = "cancelled", False
        try:
            yield
            outcome = "answered" if leg.stopped is None else "stopped"
        except ExpertError as error:
            outcome, failed = error.reason, error.replaceable and leg.sent
            leg.failed(error)
            raise
        finally:
            if outcome == "cancelled" and leg.cut:
                outcome = "cut"
            elif outcome == "cancelled" and not self._watch.up.get(leg.expert, False):
                outcome, failed = "unreachable", True  # released because its server went down
            try:
                self._emit(_ended(leg, outcome))
                if leg.turn is not None:
                    self._learn(leg, leg.turn, outcome, failed=failed)
            finally:  # whoever listens may fail: no money is lost for it
                self._close_account(leg, outcome)

    def _close_account(self, leg: Leg, outcome: str) -> None:
        if not leg.sent:
            self._settled(leg, Usage(), paid=False)
        elif outcome == "answered" and leg.usage is not None:
            self._settled(leg, leg.usage)
        elif leg.unused:  # at once: whoever is asked in its place may need its money
            self._settled(leg, Usage())
        else:
            self._in_background(self._settle(leg))

    def _learn(self, leg: Leg, turn: Turn, outcome: str, *, failed: bool) -> None:
        """What the call says of its expert, and nothing of what it waited for here."""
        seconds = leg.seconds - leg.waited_s
        first_s = None if leg.first_token_s is None else leg.first_token_s - leg.waited_s
        tokens = None if leg.usage is None else leg.usage.prompt_tokens + leg.usage.completion_tokens
        self._lanes.ended(turn, outcome, first_s, seconds, tokens, failed=failed)
        if not leg.sent:
            return
        self._health.ended(leg.expert, outcome, first_s, seconds, failed=failed)
        said = leg.output_tokens // leg.call.samples or None
        self._forecast.ended(leg.expert, turn.load, first_s, seconds, said, leg.call.category or "", outcome, leg.cap)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _settle(self, leg: Leg) -> None:
        """A cut leg: our own host knows what it generated; elsewhere the last usage seen is all there is."""
        usage = leg.used()
        try:
            if leg.endpoint.hosted:
                counted = await self._client.tokens(leg.endpoint, leg.leg_id, SETTLE_WAIT_S)
                if counted is not None:
                    usage = Usage(counted.prompt_tokens, counted.output_tokens, counted.exact)
        finally:  # also where nobody waits for the host any more
            self._settled(leg, usage)

    def _settled(self, leg: Leg, usage: Usage, *, paid: bool = True) -> None:
        leg.settled = usage
        leg.call.funds.ended(leg.leg_id, usage if paid else None)
        self._emit(LegSettled(leg.expert, leg.leg_id, usage, leg.call.model))


def _bounded(endpoint: Endpoint, left_s: float) -> Endpoint:
    """No limit of it lies behind the request's deadline, and whoever answers may know what time is left."""
    limits, headers = endpoint.limits, {**endpoint.headers, DEADLINE_HEADER: f"{max(left_s * 1000, 1):.0f}"}
    ends = {name: min(getattr(limits, name), left_s) for name in ("connect_s", "first_byte_s", "total_s")}
    return replace(endpoint, limits=limits.model_copy(update=ends), headers=headers)


def _capped(body: JsonObject, cap: int) -> JsonObject:
    """With so many output tokens at most: by the name that the client used for it."""
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return body | {name: cap}


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
    if prompt + output == 0:  # no call uses nothing: whoever says so has not counted
        return None
    return Usage(prompt, output, exact)
