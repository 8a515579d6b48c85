"""Calling one expert over HTTP: the only place that knows the HTTP library. No routing, no Ray.

One contract for every expert, wherever it lives: OpenAI's `/v1/chat/completions` and `/v1/completions`. A leg is one
call; it has an id of ours (sent as `x-request-id`), limits of its own, and it is truly aborted when its task is
cancelled: the socket is closed, which the engine's host takes as the end of the leg.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from experts.errors import ExpertBroken, ExpertError, ExpertRefused, ExpertTimeout, ExpertUnreachable
from experts.spec import Limits
from experts.sse import OversizedEvent, SSEParser

JsonObject = dict[str, Any]
CHAT = "/chat/completions"
COMPLETIONS = "/completions"
SAFE_BRACKETS = 200  # JSON with no more of them is nested no deeper than can be written again (254)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an expert is and how it is spoken to. `base_url` ends in `/v1` (no slash behind it)."""

    expert: str
    base_url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    hosted: bool = False  # our own host: it counts tokens per leg, also of aborted ones


@dataclass(frozen=True, slots=True)
class LegTokens:
    """What a leg used. `exact` when the host counted it, else the last usage seen or nothing."""

    prompt_tokens: int
    output_tokens: int
    exact: bool


def open_session() -> aiohttp.ClientSession:
    """A session whose pool is bounded by the callers' own limits, not by a hidden queue."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15, ttl_dns_cache=300)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"accept-encoding": "identity"},
    )


class ExpertClient:
    """Calls experts over one shared session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def complete(self, endpoint: Endpoint, body: JsonObject, leg_id: str) -> JsonObject:
        """One whole answer.

        Raises:
            ExpertError: no connection, a limit passed, an HTTP error, bytes that are no answer.
        """
        async with _limit(endpoint, "answer", endpoint.limits.total_s):
            response = await self._post(endpoint, body | {"stream": False}, leg_id)
            try:
                raw = await _read(endpoint, response)
            finally:
                response.close()  # a no-op after a whole answer; before its end it cuts the socket: the abort
        answer = _object(endpoint, raw)
        choices = answer.get("choices")
        if not _objects(choices) or not choices or not _objects([c.get("message") for c in choices]):
            raise ExpertBroken(endpoint.expert, "the answer has no choices with a message")
        return answer

    async def stream(
        self, endpoint: Endpoint, body: JsonObject, leg_id: str, path: str = CHAT
    ) -> AsyncGenerator[JsonObject, None]:
        """The answer's chunks as they come, without the closing `[DONE]`; usage is always asked for.

        Closing the generator before its end aborts the leg.

        Raises:
            ExpertError: as `complete`; also when the stream ends without `[DONE]`, or holds an error event.
        """
        limits, clock = endpoint.limits, asyncio.get_running_loop().time
        started = clock()
        options = {"include_usage": True} | ({"continuous_usage_stats": True} if endpoint.hosted else {})
        async with _limit(endpoint, "first token", limits.first_byte_s):
            response = await self._post(endpoint, body | {"stream": True, "stream_options": options}, leg_id, path)
        try:
            events = _events(endpoint, response)
            phase, limit_s = "first token", limits.first_byte_s
            while True:
                async with _limit(endpoint, phase, max(0.0, started + limit_s - clock())):
                    event = await anext(events, None)
                if event is None:
                    raise ExpertBroken(endpoint.expert, "the stream ended without [DONE]")
                if event == b"[DONE]":
                    return
                yield _chunk(endpoint, event)
                phase, limit_s = "end", limits.total_s
        finally:
            response.close()

    async def tokens(self, endpoint: Endpoint, leg_id: str, wait_s: float) -> LegTokens | None:
        """What our own host counted for a leg, waiting up to `wait_s` seconds until it is final.

        None when the host does not know the leg (it never arrived, or the host was replaced) or is gone.
        """
        url = f"{_root(endpoint)}/internal/legs/{leg_id}?wait_s={wait_s:g}"
        headers = {**endpoint.headers, "x-request-id": leg_id}  # by which the load balancer finds the leg's replica
        try:
            async with (
                asyncio.timeout(wait_s + endpoint.limits.connect_s),
                self._session.get(url, headers=headers, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    return None
                found = orjson.loads(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError):
            return None
        return LegTokens(found["prompt_tokens"], found["output_tokens"], exact=found["final"])

    async def alive(self, endpoint: Endpoint, limit_s: float) -> bool:
        """Whether the server answers within `limit_s` seconds; our own host also says whether its engine lives."""
        url = f"{_root(endpoint)}/health" if endpoint.hosted else f"{endpoint.base_url}/models"
        try:
            async with (
                asyncio.timeout(limit_s),
                self._session.get(url, headers=endpoint.headers, allow_redirects=False) as response,
            ):
                return response.status == 200 if endpoint.hosted else response.status < 500
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):  # ValueError: a key no header can carry
            return False

    async def _post(
        self, endpoint: Endpoint, body: JsonObject, leg_id: str, path: str = CHAT
    ) -> aiohttp.ClientResponse:
        headers = {"content-type": "application/json", "x-request-id": leg_id, **endpoint.headers}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=endpoint.limits.connect_s)
        with _translated(endpoint):
            response = await self._session.post(
                endpoint.base_url + path,
                data=orjson.dumps(body | {"model": endpoint.model}),
                headers=headers,
                timeout=timeout,
                allow_redirects=False,  # questions and keys go where the operator said
            )
        if response.status < 300:
            return response
        try:
            raise _refusal(endpoint, response.status, await _read(endpoint, response))
        finally:
            response.close()


async def _read(endpoint: Endpoint, response: aiohttp.ClientResponse) -> bytes:
    return b"".join([piece async for piece in _pieces(endpoint, response)])


async def _events(endpoint: Endpoint, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    parser = SSEParser()
    async for piece in _pieces(endpoint, response):
        try:
            events = parser.feed(piece)
        except OversizedEvent as error:
            raise ExpertBroken(endpoint.expert, f"an event is over {error.args[0]} bytes") from error
        for event in events:
            yield event


async def _pieces(endpoint: Endpoint, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """The body as it comes, bounded by `max_response_bytes`."""
    left = endpoint.limits.max_response_bytes
    with _translated(endpoint):
        async for piece in response.content.iter_any():
            left -= len(piece)
            if left < 0:
                raise ExpertBroken(endpoint.expert, f"over {endpoint.limits.max_response_bytes} bytes came")
            yield piece


@contextmanager
def _translated(endpoint: Endpoint) -> Iterator[None]:
    """The HTTP library's errors become ours."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise ExpertTimeout(endpoint.expert, "connection", endpoint.limits.connect_s) from error
    except (aiohttp.ClientError, ConnectionError, ValueError) as error:  # ValueError: a key no header can carry
        raise ExpertUnreachable(endpoint.expert, f"{type(error).__name__}: {error}") from error


@asynccontextmanager
async def _limit(endpoint: Endpoint, phase: str, limit_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise ExpertTimeout(endpoint.expert, phase, limit_s) from error


def _root(endpoint: Endpoint) -> str:
    return endpoint.base_url.removesuffix("/v1")


def _object(endpoint: Endpoint, raw: bytes) -> JsonObject:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ExpertBroken(endpoint.expert, f"no JSON: {raw[:80]!r}") from error
    if not isinstance(value, dict):
        raise ExpertBroken(endpoint.expert, f"no JSON object: {raw[:80]!r}")
    return value


def _chunk(endpoint: Endpoint, event: bytes) -> JsonObject:
    chunk = _object(endpoint, event)
    if chunk.get("error") is not None:
        message = _error_fields(chunk)[0]
        raise ExpertUnreachable(endpoint.expert, f"error event: {message}")
    if not _objects(chunk.get("choices") or []):
        raise ExpertBroken(endpoint.expert, f"no chunk: {event[:80]!r}")
    if event.count(b"{") + event.count(b"[") > SAFE_BRACKETS:
        try:
            orjson.dumps(chunk)
        except orjson.JSONEncodeError as error:
            raise ExpertBroken(endpoint.expert, f"a chunk that cannot be passed on: {error}") from error
    return chunk


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _refusal(endpoint: Endpoint, status: int, raw: bytes) -> ExpertError:
    try:
        message, param = _error_fields(orjson.loads(raw))
    except orjson.JSONDecodeError:
        message, param = raw[:200].decode("utf-8", "replace"), None
    return ExpertRefused(endpoint.expert, status, message, param)


def _error_fields(body: Any) -> tuple[str, str | None]:
    """(message, param) of OpenAI's error shape, or the body itself where it is another one."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return str(error)[:500], None
    param = error.get("param")
    return str(error.get("message", error))[:500], param if isinstance(param, str) else None
