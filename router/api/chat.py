"""`POST /v1/chat/completions`: from HTTP to the pipeline and back. HTTP's shape only; decides nothing.

One request ends in exactly one `Finished` event, whichever way it ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from starlette.types import Message, Receive, Scope, Send

from experts.errors import ExpertError
from router.admission import admit
from router.api.auth import authenticate
from router.api.http import (
    ClientGone,
    header,
    read_body,
    send_error,
    send_json,
    start,
    while_connected,
)
from router.api.schema import parse_chat
from router.api.sse import DONE, Head, completion, event, last_chunk, told, whole_as_chunks
from router.dispatch import Heard
from router.errors import ExpertsFailed, SymposiumError
from router.events import Finished, Outcome
from router.explain import decision_json, leg_json, outcome_json
from router.pipeline import Result
from router.records import Decision, Failure, JsonObject, Query, Reply, Ticket
from router.service import Service

log = logging.getLogger(__name__)
CLIENT_CLOSED = 499  # nginx's name for it; only in our own metrics


SEND_LIMIT_S = 30.0  # a client that stops reading is gone
BODY_LIMIT_S = 30.0


class BodyTooSlow(SymposiumError):
    status, kind = 408, "invalid_request_error"


class InternalError(SymposiumError):
    """A bug of ours; the only 500 there is."""


@dataclass(slots=True)
class _Ending:
    """How the request ended, as far as known; what `Finished` will say."""

    policy: str = ""
    outcome: Outcome = "answered"
    status: int = 200
    started: bool = False  # the response's first byte is out


class ChatCompletions:
    """The endpoint as an ASGI application, with the count of what this replica holds."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, ending = self._service, _Ending()
        began = service.clock()

        async def tracked(message: Message) -> None:
            ending.started = True
            try:
                async with asyncio.timeout(SEND_LIMIT_S):
                    await send(message)
            except TimeoutError as error:
                raise ClientGone from error

        try:
            principal = authenticate(header(scope, "authorization"), service.config.server.api_keys)
            limits = service.config.server.limits
            ticket = admit(principal, self._in_flight, limits.max_in_flight, began)
            self._held(+1)
            try:
                raw = await _body_in_time(receive, limits.max_body_bytes)
                ticket = replace(ticket, admitted_at=service.clock())  # a slow upload is not our overhead
                query = parse_chat(raw, f"req_{uuid.uuid4().hex}", limits)
                await while_connected(receive, self._serve(query, ticket, tracked, ending))
            finally:
                self._held(-1)
        except ClientGone:
            ending.outcome, ending.status = "cancelled", CLIENT_CLOSED
        except SymposiumError as error:
            await _end_with(error, send, ending)
        except Exception:  # the outermost shell: recorded, and answered in OpenAI's shape
            log.exception("unexpected error")
            await _end_with(InternalError("Internal error.", code="internal_error"), send, ending)
        except BaseException:  # Serve cancels this task when the client is gone
            ending.outcome, ending.status = "cancelled", CLIENT_CLOSED
            raise
        finally:
            seconds = service.clock() - began
            service.telemetry.emit(Finished(ending.policy, ending.outcome, ending.status, seconds))

    def _held(self, change: int) -> None:
        self._in_flight += change
        self._service.telemetry.in_flight.set(self._in_flight)

    async def _serve(self, query: Query, ticket: Ticket, send: Send, ending: _Ending) -> None:
        decision = await self._service.pipeline.decide(query, ticket)
        ending.policy = decision.policy
        head = Head(f"chatcmpl-{query.request_id}", int(time.time()), query.model)
        if not query.stream:
            result = await self._service.pipeline.answer(decision)
            whole = completion(head, result.answer, result.usage, _explanation(decision, result))
            await send_json(send, 200, whole, _headers(decision, [r.expert for r in result.replies]))
            return
        try:
            if query.progress:
                await start(send, 200, _headers(decision, []) | _STREAM_HEADERS)
                await _body(send, event(told(head, "decided", decision_json(decision, set(decision.plan.experts)))))
            stream = self._relay if decision.plan.aggregator == "single" else self._vote
            await stream(decision, head, send, ending)
        except SymposiumError as error:
            if not ending.started:
                raise
            ending.outcome, ending.status = "failed", error.status
            await _finish_stream(send, dict(error.body()))

    async def _vote(self, decision: Decision, head: Head, send: Send, ending: _Ending) -> None:
        query = decision.query
        async with _telling(head, send if query.progress else None) as heard:
            result = await self._service.pipeline.answer(decision, heard)
        if not ending.started:
            await start(send, 200, _headers(decision, [r.expert for r in result.replies]) | _STREAM_HEADERS)
        for chunk in whole_as_chunks(head, result.answer):
            await _body(send, event(chunk))
        explanation = _explanation(decision, result)
        await _finish_stream(send, last_chunk(head, result.usage, query.include_usage, explanation))

    async def _relay(self, decision: Decision, head: Head, send: Send, ending: _Ending) -> None:
        query = decision.query
        async with AsyncExitStack() as stack:
            async with _telling(head, send if query.progress else None) as heard:
                live = await stack.enter_async_context(self._service.pipeline.relay(decision, heard))
            if not ending.started:
                await start(send, 200, _headers(decision, [live.expert]) | _STREAM_HEADERS)
            try:
                async for chunk in live.chunks:
                    chunk |= {"id": head.id, "created": head.created, "model": head.model}
                    await _body(send, event(chunk))
            except ExpertError as error:
                ending.outcome, ending.status = "failed", ExpertsFailed.status
                broken = ExpertsFailed(
                    f"The expert failed in the middle of its answer ({error.expert}: {error.reason}).",
                    code="stream_broken",
                )
                await _finish_stream(send, dict(broken.body()))
                return
            if query.progress:
                await _body(send, event(_leg_told(head, live.so_far())))
            explanation = None
            if query.explain:
                asked = {live.expert} | {f.expert for f in live.failures}
                outcome = outcome_json(None, failures=live.failures) | {"answered_by": live.expert}
                explanation = decision_json(decision, asked) | outcome
            last = last_chunk(head, live.usage() + decision.asides_usage, query.include_usage, explanation)
            await _finish_stream(send, last)


def _leg_told(head: Head, leg: Reply | Failure) -> JsonObject:
    return told(head, "failed" if isinstance(leg, Failure) else "answered", leg_json(leg))


_STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


@asynccontextmanager
async def _telling(head: Head, send: Send | None) -> AsyncIterator[Heard]:
    """What legs' ends are to be told to, for as long as the block runs; without `send` nobody is told.

    All that was heard is sent before the block is left, also when it is left by an error of ours.
    """
    news: asyncio.Queue[Reply | Failure | None] = asyncio.Queue()

    async def tell(to: Send) -> None:
        while (leg := await news.get()) is not None:
            await _body(to, event(_leg_told(head, leg)))

    teller = asyncio.ensure_future(tell(send)) if send else None
    try:
        yield news.put_nowait
    except asyncio.CancelledError:
        if teller:
            teller.cancel()
        raise
    finally:
        news.put_nowait(None)
        if teller:
            await asyncio.gather(teller, return_exceptions=True)  # a client that is gone shows at the next send


async def _body_in_time(receive: Receive, max_bytes: int) -> bytes:
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            return await read_body(receive, max_bytes)
    except TimeoutError as error:
        raise BodyTooSlow(f"The body did not arrive within {BODY_LIMIT_S:g} s.", code="body_too_slow") from error


async def _end_with(error: SymposiumError, send: Send, ending: _Ending) -> None:
    ending.outcome, ending.status = ("refused" if error.status < 500 else "failed"), error.status
    if not ending.started:
        await send_error(send, error)


def _headers(decision: Decision, answered: list[str]) -> dict[str, str]:
    plan = decision.plan
    return {
        "x-symposium-decision-id": decision.query.request_id,
        "x-symposium-config": decision.config_version,
        **({"x-symposium-experts": ",".join(answered)} if answered else {}),
        "x-symposium-plan": f"{plan.aggregator};reason={plan.reason};asked={','.join(plan.experts)}",
        "x-symposium-overhead-ms": f"{decision.overhead_s * 1000:.2f}",
    }


def _explanation(decision: Decision, result: Result) -> JsonObject | None:
    if not decision.query.explain:
        return None
    asked = {r.expert for r in result.replies} | {f.expert for f in result.failures}
    return decision_json(decision, asked) | outcome_json(result.answer, result.replies, result.failures)


async def _body(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _finish_stream(send: Send, last: JsonObject | None) -> None:
    data = DONE if last is None else event(last) + DONE
    await send({"type": "http.response.body", "body": data, "more_body": False})
