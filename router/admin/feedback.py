"""The admin side's doors to feedback. HTTP's shape only; decides nothing.

GET  /v1/feedback            whether it is frozen, the version of the profiles, what counts, and of which keys
GET  /v1/feedback/versions   ?before=&most=: the latest first
POST /v1/feedback/freeze     profiles stay where they are; POST /v1/feedback/thaw
POST /v1/feedback/restore    {"version": number}: what counted then counts again, and what comes from now on
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.admin.service import Admin
from router.api.http import read_body
from router.api.schema_shared import json_object
from router.errors import BadRequest, NotFound
from router.feedback_versions import Standing, versions
from router.records import JsonObject
from router.registry import Registry

log = logging.getLogger(__name__)
Handler = Callable[[Request], Awaitable[Response]]
MAX_BODY_BYTES, MAX_DEPTH = 4096, 2
TOGETHER = 2_000
SHOWN, MOST_SHOWN = 20, 1_000


def feedback_routes(guarded: Callable[[Handler], Handler]) -> list[Route]:
    """`guarded`: lets in only whoever shows the admin side's token."""
    return [
        Route("/v1/feedback", guarded(_status), methods=["GET"]),
        Route("/v1/feedback/versions", guarded(_versions), methods=["GET"]),
        Route("/v1/feedback/freeze", guarded(_freeze), methods=["POST"]),
        Route("/v1/feedback/thaw", guarded(_thaw), methods=["POST"]),
        Route("/v1/feedback/restore", guarded(_restore), methods=["POST"]),
    ]


async def _status(request: Request) -> Response:
    return JSONResponse(await _standing(_registry(request)))


async def _versions(request: Request) -> Response:
    registry = _registry(request)
    most = min(_number(request, "most", SHOWN), MOST_SHOWN)
    before = _number(request, "before", (await registry.feedback_state()).last + 1)
    found = await registry.judged(max(0, before - 1 - most), most)
    shown = [version for version in versions(found) if version["version"] < before]
    return JSONResponse({"object": "list", "data": shown[::-1]})


async def _freeze(request: Request) -> Response:
    return await _frozen(request, frozen=True)


async def _thaw(request: Request) -> Response:
    return await _frozen(request, frozen=False)


async def _frozen(request: Request, *, frozen: bool) -> Response:
    await _registry(request).freeze(frozen)
    log.info("feedback frozen" if frozen else "feedback thawed")
    return JSONResponse(await _standing(_registry(request)))


async def _restore(request: Request) -> Response:
    body = json_object(await read_body(request.receive, MAX_BODY_BYTES), MAX_DEPTH)
    number = body.get("version")
    if not isinstance(number, int) or isinstance(number, bool) or body.keys() != {"version"}:
        raise BadRequest('The body must be {"version": number}.', code="invalid_value", param="version")
    if not await _registry(request).restore(number):
        raise NotFound(f"There is no version {number} yet.", code="not_found", param="version")
    log.info("feedback restored", extra={"version": number})
    return JSONResponse(await _standing(_registry(request)))


async def _standing(registry: Registry) -> JsonObject:
    found, read = Standing(await registry.feedback_state()), 0
    while page := await registry.judged(read, TOGETHER):
        for judged in page:
            found.hear(judged)
        read = page[-1].number
    return found.json()


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and 0 < int(given) < 2**53):
        raise BadRequest(f"'{name}' must be a number from 1 on.", code="invalid_value", param=name)
    return int(given)


def _registry(request: Request) -> Registry:
    admin: Admin = request.app.state.admin
    return admin.registry
