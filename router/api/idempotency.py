"""`Idempotency-Key`: a request that comes again with its key is run, and paid for, once. HTTP's shape only.

    nobody has the key     the request runs apart from its connection: it goes on when the client leaves
    it runs                waited for, on whichever replica it does
    it was answered        the response as it was sent, byte for byte
    another body came      422

Whatever is no whole answer leaves the key free: the next one runs. So does an owner that dies, once its lease is over.
Stands before the endpoint, which knows nothing of it: to that, a client with a key never leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass

from anyio import BrokenResourceError, create_memory_object_stream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.admission import admit
from router.api.auth import authenticate
from router.api.ending import CLIENT_CLOSED
from router.api.held import Held
from router.api.http import ClientGone, body_in_time, header, header_values, send_error, send_in_time, while_connected
from router.api.recording import Recording, messages
from router.api.schema_shared import KEY_HEADER, KEY_PATTERN
from router.callers import check_scope
from router.errors import BadRequest, LedgerDown, SymposiumError
from router.events import Finished, LedgerLost, Outcome
from router.ledger import LedgerUnavailable
from router.registry import Claim, Registry
from router.service import Service

KEPT_S = 86_400.0
MOST_BYTES = 1_048_576  # of an answer, compressed
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGER = 0.02, 0.5, 1.5  # between two looks whether another one has come to its end
BEATS = 3  # in the time of a lease
TRIES = 4  # to write an answer down
UNREAD = 16  # messages that wait for the client
CLIENT_S = 20.0  # one that does not read for so long is gone; the endpoint would wait longer
REPLAYED = {"idempotency-replayed": "true"}
OFF = (b"x-symposium-idempotency", b"off")


class KeyReused(SymposiumError):
    status, kind = 422, "invalid_request_error"


class ResponseNotKept(SymposiumError):
    status, kind = 409, "invalid_request_error"


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of one request. `scope`: whose key it is; `owner`: this run, and no other."""

    scope: str
    key: str
    fingerprint: str
    owner: str


class Idempotent:
    """An endpoint, as an ASGI application before it."""

    def __init__(self, app: ASGIApp, service: Service, held: Held) -> None:
        settings = service.edition.config.ledger  # another one needs a restart
        self._app, self._service, self._held = app, service, held
        self._registry: Registry = service.registry
        self._open, self._lease_s = settings.on_failure == "open", settings.lease_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if header(scope, KEY_HEADER) is None:
            await self._app(scope, receive, send)
            return
        finish = _Finish(self._service)
        try:
            run, raw, claim = await self._claimed(scope, receive, finish)
            if claim is None:
                await self._app(scope, _body(raw, receive), _saying_so(send))
            elif claim.state == "mine":
                await self._apart(run, scope, raw, receive, send)
            else:
                assert claim.kept is not None, "else it was refused"
                for message in messages(claim.kept, REPLAYED):
                    await send_in_time(send, message, CLIENT_S)
                finish("answered", claim.kept.status)
        except ClientGone:
            finish("cancelled", CLIENT_CLOSED)
        except SymposiumError as error:
            finish("refused" if error.status < 500 else "failed", error.status, error.code)
            await send_error(send, error)

    async def close(self, limit_s: float) -> None:
        """What runs apart comes to its end, or is ended after so long."""
        if not self._tasks:
            return
        _, left = await asyncio.wait(self._tasks, timeout=limit_s)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _claimed(self, scope: Scope, receive: Receive, finish: _Finish) -> tuple[_Run, bytes, Claim | None]:
        """What becomes of a request: it runs (`mine`), or is answered with what was kept; None where nobody can say.

        Raises:
            SymposiumError: it is refused.
        """
        edition = await self._service.admitted()
        caller = await authenticate(header(scope, "authorization"), self._service.ring, edition.config)
        finish.principal = caller.key
        check_scope(caller, "ask")
        self._held.check_open()
        limits, key = edition.config.server.limits, _key(header_values(scope, KEY_HEADER))
        admit(caller, self._held.count, limits.max_in_flight, finish.began)
        self._service.throttle.check(caller)
        with self._held:  # also while it waits for another one; the endpoint counts it when it runs
            raw = await body_in_time(receive, limits.max_body_bytes)
            fingerprint = hashlib.sha256(scope["path"].encode() + b"\0" + raw).hexdigest()
            run = _Run(caller.key, key, fingerprint, uuid.uuid4().hex)
            claim = await while_connected(receive, self._claim(run))
        if claim is not None and claim.state == "other":
            raise KeyReused(
                "This idempotency key was used for another request; give each request a key of its own.",
                code="idempotency_key_reused",
            )
        if claim is not None and claim.state == "done" and claim.kept is None:
            raise ResponseNotKept(
                "This request was answered, but its response was too large to be kept.", code="response_not_kept"
            )
        return run, raw, claim

    async def _claim(self, run: _Run) -> Claim | None:
        """Once nobody runs it. None: served without it, as the operator wants."""
        pause_s, waited = FIRST_PAUSE_S, False
        while True:
            now = self._service.now()
            try:
                claim = await self._registry.claim(
                    run.scope, run.key, run.fingerprint, run.owner, now, now + self._lease_s
                )
            except LedgerUnavailable as error:
                serve = self._open and not waited  # what is known to run is not run twice
                self._lost("claim", serve=serve)
                if serve:
                    return None
                raise LedgerDown("Idempotency keys cannot be checked now.", code="ledger_down") from error
            except asyncio.CancelledError:  # whether it was taken is not known
                self._keep(asyncio.create_task(self._drop(run)))
                raise
            if claim.state != "running":
                return claim
            waited = True
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * LONGER, LONGEST_PAUSE_S)

    async def _apart(self, run: _Run, scope: Scope, raw: bytes, receive: Receive, send: Send) -> None:
        """Runs it in a task of its own, and passes on what it says for as long as the client listens."""
        out, unread = create_memory_object_stream[Message](UNREAD)
        self._keep(asyncio.create_task(self._run(run, scope, raw, out)))
        with suppress(ClientGone):
            async with unread:
                await while_connected(receive, _pass_on(unread, send))

    async def _run(self, run: _Run, scope: Scope, raw: bytes, out: MemoryObjectSendStream[Message]) -> None:
        recording = Recording(MOST_BYTES)

        async def hear(message: Message) -> None:
            recording.hear(message)
            with suppress(BrokenResourceError):  # nobody listens any more
                await out.send(message)

        beats = asyncio.create_task(self._beat(run))
        try:
            await self._app(scope, _body(raw, _never), hear)
        finally:
            out.close()
            try:
                await (self._answer(run, recording) if recording.good else self._drop(run))
            finally:
                beats.cancel()

    async def _beat(self, run: _Run) -> None:
        while True:
            await asyncio.sleep(self._lease_s / BEATS)
            with suppress(LedgerUnavailable):  # there are more in the time of a lease
                await self._registry.keep_claim(run.scope, run.key, run.owner, self._service.now() + self._lease_s)

    async def _answer(self, run: _Run, recording: Recording) -> None:
        kept = recording.kept()
        for _ in range(TRIES):
            try:
                await self._registry.answer(run.scope, run.key, run.owner, kept, self._service.now() + KEPT_S)
            except LedgerUnavailable:
                self._lost("answer", serve=True)
                await asyncio.sleep(self._lease_s / TRIES)
            else:
                return

    async def _drop(self, run: _Run) -> None:
        try:
            await self._registry.drop_claim(run.scope, run.key, run.owner)
        except LedgerUnavailable:  # it lapses
            self._lost("answer", serve=True)

    def _lost(self, what: str, *, serve: bool) -> None:
        self._service.emit(LedgerLost(what, serve), self._service.edition)

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Nobody else holds on to it."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Finish:
    """The event of a request that came to its end here; one that runs ends at the endpoint."""

    def __init__(self, service: Service) -> None:
        self._service, self.began, self.principal = service, service.clock(), ""

    def __call__(self, outcome: Outcome, status: int, code: str | None = None) -> None:
        seconds, name = self._service.clock() - self.began, f"req_{uuid.uuid4().hex}"
        self._service.emit(Finished("", outcome, status, seconds, name, self.principal, code), self._service.edition)


def _key(given: list[str]) -> str:
    if len(given) != 1 or not re.fullmatch(KEY_PATTERN, given[0]):
        raise BadRequest(
            "Idempotency-Key must be one of 1 to 255 printable ASCII characters.",
            code="invalid_value",
            param=KEY_HEADER,
        )
    return given[0]


def _body(raw: bytes, then: Receive) -> Receive:
    """A request whose body has been read already."""
    first: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]

    async def receive() -> Message:
        return first.pop() if first else await then()

    return receive


async def _never() -> Message:
    """From a client that neither says more nor leaves."""
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await never


async def _pass_on(unread: MemoryObjectReceiveStream[Message], send: Send) -> None:
    async for message in unread:
        await send_in_time(send, message, CLIENT_S)


def _saying_so(send: Send) -> Send:
    async def said(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], OFF]}
        await send(message)

    return said
