"""The admin side's doors to keys and usage. HTTP's shape only; decides nothing.

POST   /v1/keys               a key as the configuration would describe it, without `sha256`; the answer has its secret
GET    /v1/keys               all of them, without secrets
DELETE /v1/keys/{id}          revokes it
POST   /v1/keys/{id}/rotate   {"overlap_s": 86400}: another secret; the old one is good until then
GET    /v1/tenants            how those with a budget stand in the running day and month
GET    /v1/usage              ?tenant=&from=&until=&by=&format=: sums over the ledger's journal
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.admin.keys import MAX_OVERLAP_S, OVERLAP_S, Keys
from router.admin.service import Admin
from router.api.http import read_body
from router.api.schema_shared import json_object
from router.api.usage import Sums
from router.errors import BadRequest
from router.follow import config_of
from router.money import usd
from router.standings import meters
from router.usage import wanted

Handler = Callable[[Request], Awaitable[Response]]
MAX_BODY_BYTES, MAX_DEPTH = 65_536, 16


def tenant_routes(guarded: Callable[[Handler], Handler]) -> list[Route]:
    """`guarded`: lets in only whoever shows the admin side's token."""
    return [
        Route("/v1/keys", guarded(_make), methods=["POST"]),
        Route("/v1/keys", guarded(_list), methods=["GET"]),
        Route("/v1/keys/{id}", guarded(_revoke), methods=["DELETE"]),
        Route("/v1/keys/{id}/rotate", guarded(_rotate), methods=["POST"]),
        Route("/v1/tenants", guarded(_tenants), methods=["GET"]),
        Route("/v1/usage", guarded(_usage), methods=["GET"]),
    ]


async def _make(request: Request) -> Response:
    key, secret = await _keys(request).make(await _body(request))
    return JSONResponse(key.json() | {"secret": secret}, status_code=201)


async def _list(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [key.json() for key in await _keys(request).listed()]})


async def _revoke(request: Request) -> Response:
    return JSONResponse((await _keys(request).revoke(request.path_params["id"])).json())


async def _rotate(request: Request) -> Response:
    body = await _body(request)
    if unknown := sorted(body.keys() - {"overlap_s"}):
        raise BadRequest(f"Unknown field '{unknown[0]}'.", code="invalid_value", param=unknown[0])
    overlap_s = body.get("overlap_s", OVERLAP_S)
    if isinstance(overlap_s, bool) or not isinstance(overlap_s, int | float) or not 0 <= overlap_s <= MAX_OVERLAP_S:
        raise BadRequest(
            f"It must be a number of seconds from 0 to {MAX_OVERLAP_S:.0f}.", code="invalid_value", param="overlap_s"
        )
    key, secret = await _keys(request).rotate(request.path_params["id"], overlap_s)
    return JSONResponse(key.json() | {"secret": secret})


async def _tenants(request: Request) -> Response:
    admin: Admin = request.app.state.admin
    wanted_meters = meters(config_of(admin.changes.in_force()), time.time())
    found = await admin.ledger.standing(list(wanted_meters.values()))
    told = [
        {
            "tenant": tenant,
            "of": of,
            "period": standing.meter.period,
            "limit_usd": usd(standing.meter.limit or 0),
            "settled_usd": usd(standing.settled),
            "held_usd": usd(standing.held),
        }
        for (tenant, of), standing in zip(wanted_meters, found, strict=True)
    ]
    return JSONResponse({"object": "list", "data": told})


async def _usage(request: Request) -> Response:
    sums: Sums = request.app.state.sums
    return await sums.answer(wanted(dict(request.query_params), datetime.now(UTC).date()))


async def _body(request: Request) -> dict[str, Any]:
    raw = await read_body(request.receive, MAX_BODY_BYTES)
    return json_object(raw, MAX_DEPTH) if raw else {}


def _keys(request: Request) -> Keys:
    admin: Admin = request.app.state.admin
    return admin.keys
