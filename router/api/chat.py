"""`POST /v1/chat/completions` and `/v1/completions`: from HTTP to the pipeline and back. HTTP's shape only; decides
nothing.

One request ends in exactly one `Finished` event, whichever way it ends.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

from starlette.types import Message, Receive, Scope, Send

from experts.errors import ExpertError, ExpertOutOfTime
from router.admission import admit
from router.api.auth import authenticate
from router.api.ending import Ending, cost_of, fields_of, headers_of, told_of
from router.api.held import Held
from router.api.http import (
    ClientGone,
    body_in_time,
    header,
    header_values,
    raw_headers,
    send_error,
    send_in_time,
    send_json,
    start,
    while_connected,
)
from router.api.narrate import Narrator, progress
from router.api.schema_budget import with_headers
from router.api.sse import DONE, Head, completion, event, last_chunk, relayed, told, whole_as_chunks
from router.callers import check_model, check_scope
from router.config import RequestLimits, Tracing
from router.edition import Edition
from router.errors import DeadlineExceeded, ExpertsFailed, SymposiumError
from router.events import Finished
from router.explain import decision_json
from router.logs import REQUEST_ID
from router.purse import Purse
from router.records import Decision, Query, Ticket
from router.response import Response
from router.service import Service
from router.trace_context import Trace, begun

log = logging.getLogger(__name__)
Parse = Callable[[bytes, str, RequestLimits, str | None], Query]
SEND_LIMIT_S = 30.0  # a client that stops reading is gone
_STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


class InternalError(SymposiumError):
    """A bug of ours; the only 500 there is."""


class Completions:
    """An endpoint as an ASGI application. The replica's endpoints share the count of what it holds."""

    def __init__(self, service: Service, parse: Parse, held: Held) -> None:
        self._service, self._parse, self._held = service, parse, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        ending = Ending(f"req_{uuid.uuid4().hex}", service.clock(), service.edition)
        REQUEST_ID.set(ending.request_id)  # of this task and those it starts: a request is a task of its own

        async def tracked(message: Message) -> None:
            if not ending.started:
                ending.first_byte_s = service.clock() - ending.began
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *raw_headers(ending.headers)]}
            await send_in_time(send, message, SEND_LIMIT_S)

        try:
            await self._taken(scope, receive, tracked, ending)
        except ClientGone:
            ending.cancelled()
        except SymposiumError as error:
            await _end_with(error, send, ending)
        except Exception:  # the outermost shell: recorded, and answered in OpenAI's shape
            log.exception("unexpected error")
            await _end_with(InternalError("Internal error.", code="internal_error"), send, ending)
        except BaseException:  # Serve cancels this task when the client is gone
            ending.cancelled()
            raise
        finally:
            finished = ending.finished(service.clock())
            service.emit(finished, ending.edition)
            _log(finished)

    async def _taken(self, scope: Scope, receive: Receive, send: Send, ending: Ending) -> None:
        """Who asks, whether there is room, what is asked, and then the answer."""
        service = self._service
        edition = ending.edition = await service.admitted()  # kept to the end, whatever is in force by then
        ending.trace = _trace(scope, ending.request_id, edition.config.tracing)
        caller = await authenticate(header(scope, "authorization"), service.ring, edition.config)
        ending.principal, ending.tenant = caller.key, caller.tenant
        check_scope(caller, "ask")
        self._held.check_open()
        limits = edition.config.server.limits
        ticket = admit(caller, self._held.count, limits.max_in_flight, ending.began)
        service.throttle.check(caller)
        with self._held:
            try:
                raw = await body_in_time(receive, limits.max_body_bytes)
                ticket = replace(ticket, admitted_at=service.clock())  # a slow upload is not our overhead
                query = self._parse(raw, ending.request_id, limits, header(scope, "x-session-id"))
                query = replace(with_headers(query, scope), trace=ending.trace)
                check_model(caller, query.model, edition.config)
            except SymposiumError:  # what is wrong is a request, too
                ending.headers = await service.throttle.take(caller, ending.request_id, None)
                raise
            ending.headers = await service.throttle.take(caller, ending.request_id, query)
            await while_connected(receive, self._serve(edition, query, ticket, send, ending))

    async def _serve(self, edition: Edition, query: Query, ticket: Ticket, send: Send, ending: Ending) -> None:
        ending.decision = await edition.pipeline.decide(query, ticket)
        async with edition.pipeline.funded(ending.decision) as (decision, purse):
            ending.decision = decision  # there may be less money than it would take
            if self._service.bank.away:
                ending.headers = {**ending.headers, "x-symposium-ledger": "away"}  # served without account, visibly
            await self._answer(edition, decision, purse, send, ending)

    async def _answer(self, edition: Edition, decision: Decision, purse: Purse, send: Send, ending: Ending) -> None:
        query = decision.query
        head = Head(query.request_id, int(time.time()), query.model, query.kind)
        if not query.stream:
            async with edition.pipeline.respond(decision, purse) as response:
                ending.response = response
                assert response.answer is not None, "only a stream is relayed"
                whole = completion(head, response.answer, response.usage, told_of(response, edition))
                await send_json(send, 200, whole, headers_of(decision, response) | cost_of(whole))
            return
        try:
            await self._stream(edition, decision, purse, head, send, ending)
        except SymposiumError as error:
            if not ending.started:
                raise
            ending.failed(error)
            ending.outcome = "failed"
            await _close(send, event(dict(error.body())))

    async def _stream(
        self, edition: Edition, decision: Decision, purse: Purse, head: Head, send: Send, ending: Ending
    ) -> None:
        query, quiet_s = decision.query, edition.config.convening.keepalive_after_ms / 1000

        async def say(data: bytes) -> None:
            if not ending.started:
                await start(send, 200, headers_of(decision, None) | _STREAM_HEADERS)
            await _body(send, data)

        narrator = Narrator(head, say, len(decision.plan.experts), quiet_s, progress=query.progress)
        async with AsyncExitStack() as stack:
            async with narrator.telling():
                if query.progress:
                    await say(event(told(head, "decided", decision_json(decision, set(decision.plan.experts)))))
                answering = edition.pipeline.respond(decision, purse, narrator.heard)
                response = ending.response = await stack.enter_async_context(answering)
            if not ending.started:
                await start(send, 200, headers_of(decision, response) | _STREAM_HEADERS)
            if response.answer is not None:
                for chunk in whole_as_chunks(head, response.answer):
                    await _body(send, event(chunk))
            else:
                await self._relay(response, head, send)
            usage = response.usage if query.include_usage else None
            wanted = query.include_usage or query.explain or query.progress or response.ended_early is not None
            last = event(last_chunk(head, usage, told_of(response, edition))) if wanted else b""
            await _close(send, last)

    async def _relay(self, response: Response, head: Head, send: Send) -> None:
        try:
            async with aclosing(response.chunks()) as chunks:
                async for chunk in chunks:
                    await _body(send, event(relayed(head, chunk)))
        except ExpertError as error:
            await self._tell_end(response, head, send)
            if isinstance(error, ExpertOutOfTime):
                raise DeadlineExceeded(
                    "The answer was not complete by the deadline.", code="deadline_exceeded"
                ) from error
            raise ExpertsFailed(
                f"The expert failed in the middle of its answer ({error.expert}: {error.reason}).",
                code="stream_broken",
            ) from error
        await self._tell_end(response, head, send)

    async def _tell_end(self, response: Response, head: Head, send: Send) -> None:
        """Of the leg that was relayed."""
        if response.decision.query.progress:
            await _body(send, event(told(head, *progress(*response.ended[-1]))))


def _log(finished: Finished) -> None:
    if finished.outcome == "cancelled":
        log.info("cancelled by the client", extra=fields_of(finished))
    elif finished.outcome == "failed":
        log.warning("failed", extra=fields_of(finished))


def _trace(scope: Scope, request_id: str, settings: Tracing) -> Trace | None:
    parents, states = header_values(scope, "traceparent"), header_values(scope, "tracestate")
    return begun(request_id, parents, states, ours=settings.endpoint is not None, sample=settings.sample)


async def _end_with(error: SymposiumError, send: Send, ending: Ending) -> None:
    ending.failed(error)
    if not ending.started:
        await send_error(send, error, ending.headers)


async def _body(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _close(send: Send, last: bytes) -> None:
    await send({"type": "http.response.body", "body": last + DONE, "more_body": False})
