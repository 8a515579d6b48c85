"""The admin side over HTTP: JSON and YAML in and out, one token, errors in OpenAI's shape. Decides nothing.

GET  /v1/config            the YAML in force; its ETag is what a change must name
PUT  /v1/config            another one, with If-Match; `?dry_run=true` only says what it would change
GET  /v1/versions          what was given so far, the latest first; GET /v1/versions/{number} with its text
POST /v1/rollback          {"version": number}, or the last one before
GET  /v1/status            replicas, and the version in force
GET  /v1/targets           for Prometheus' HTTP service discovery
GET  /v1/engines/{engine}/metrics
Keys and usage of tenants: router/admin/tenants.py; feedback: router/admin/feedback.py
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.admin.changes import Applied, Refused
from router.admin.errors import Conflict, NotNow, NotValid, PreconditionFailed, PreconditionRequired
from router.admin.feedback import feedback_routes
from router.admin.service import Admin
from router.admin.tenants import tenant_routes
from router.api.handlers import HANDLERS
from router.api.http import read_body
from router.api.usage import Sums
from router.errors import BadRequest, NotFound, SymposiumError, Unauthorized
from router.snapshot import Snapshot
from router.store import Version

MAX_YAML_BYTES = 1_048_576
OpenAdmin = Callable[[], AbstractAsyncContextManager[Admin]]
Handler = Callable[[Request], Awaitable[Response]]


def build_admin(open_admin: OpenAdmin, token: str) -> Starlette:
    """The application; `token` is what `authorization: Bearer` must say."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_admin() as admin:
            app.state.admin, app.state.sums = admin, Sums(admin.ledger)
            yield

    def guarded(handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), token.encode()):
                raise Unauthorized(
                    "The admin side needs its own token: authorization: Bearer …", code="invalid_admin_token"
                )
            return await handler(request)

        return checked

    return Starlette(
        routes=[
            Route("/v1/config", guarded(_config), methods=["GET"]),
            Route("/v1/config", guarded(_put), methods=["PUT"]),
            Route("/v1/versions", guarded(_versions)),
            Route("/v1/versions/{number:int}", guarded(_version)),
            Route("/v1/rollback", guarded(_rollback), methods=["POST"]),
            Route("/v1/status", guarded(_status)),
            Route("/v1/targets", guarded(_targets)),
            Route("/v1/engines/{engine}/metrics", guarded(_engine_metrics)),
            *tenant_routes(guarded),
            *feedback_routes(guarded),
        ],
        lifespan=lifespan,
        exception_handlers={**HANDLERS, Refused: _refused},
    )


async def _config(request: Request) -> Response:
    version = _admin(request).changes.in_force()
    return Response(version.files[version.path], media_type="application/yaml", headers={"etag": etag(version)})


async def _put(request: Request) -> Response:
    admin = _admin(request)
    body = await read_body(request.receive, MAX_YAML_BYTES)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not UTF-8.", code="invalid_value") from error
    now = admin.changes.in_force()
    given = Snapshot.of(Path(now.path), {now.path: text})
    if (dry_run := request.query_params.get("dry_run", "false")) not in ("true", "false"):
        raise BadRequest("It is true or false.", code="invalid_value", param="dry_run")
    if dry_run == "true":
        return JSONResponse({"changes": await admin.changes.check(given)})
    wanted = request.headers.get("if-match")
    if wanted is None:
        raise PreconditionRequired(
            "Say which version this one takes the place of: If-Match with the ETag of GET /v1/config.",
            code="if_match_required",
        )
    if wanted not in ("*", etag(now)):
        raise PreconditionFailed(f"{etag(now)} is in force, not {wanted}; look at it first.", code="stale_version")
    return _applied(await admin.changes.apply(given, "admin", instead_of=None if wanted == "*" else now.number))


async def _versions(request: Request) -> Response:
    admin = _admin(request)
    return JSONResponse({"in_force": admin.changes.in_force().number, "versions": list(map(_told, admin.versions()))})


async def _version(request: Request) -> Response:
    number = request.path_params["number"]
    found = next((v for v in _admin(request).versions() if v.number == number), None)
    if found is None:
        raise NotFound(f"Version {number} is not kept.", code="not_found")
    return JSONResponse(_told(found) | {"files": dict(found.files)})


async def _rollback(request: Request) -> Response:
    body = await read_body(request.receive, MAX_YAML_BYTES)
    try:
        number = orjson.loads(body or b"{}").get("version")
    except (orjson.JSONDecodeError, AttributeError) as error:
        raise BadRequest('The body must be {"version": number} or empty.', code="invalid_value") from error
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        raise BadRequest("It must be a version's number.", code="invalid_value", param="version")
    return _applied(await _admin(request).changes.roll_back(number))


async def _status(request: Request) -> Response:
    return JSONResponse(_admin(request).status())


async def _targets(request: Request) -> Response:
    return JSONResponse(_admin(request).targets(request.headers.get("host", "")))


async def _engine_metrics(request: Request) -> Response:
    engine = request.path_params["engine"]
    found = await _admin(request).engine_metrics(engine)
    if found is None:
        raise NotFound(f"There is no engine '{engine}', or it does not answer.", code="not_found")
    text, content_type = found
    return Response(text, headers={"content-type": content_type})


def etag(version: Version) -> str:
    return f'"{version.number}-{version.config}"'


def _applied(done: Applied) -> Response:
    told = _told(done.version) | {
        "previous": done.previous.number,
        "changes": done.changes,
        "replicas": done.replicas,
        "swap_s": round(done.swap_s, 3),
        "late": done.late,
    }
    return JSONResponse(told, headers={"etag": etag(done.version)})


def _told(version: Version) -> dict[str, object]:
    return {
        "version": version.number,
        "config": version.config,
        "origin": version.origin,
        "made": version.made,
        "problem": version.problem,
    }


def _admin(request: Request) -> Admin:
    admin: Admin = request.app.state.admin
    return admin


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    if error.restart:
        shaped: SymposiumError = Conflict(f"A restart is needed: {', '.join(error.restart)}.", code="restart_needed")
    elif error.busy:
        shaped = NotNow(f"{error.why}.", code="not_now")
    elif error.stale:
        shaped = PreconditionFailed(f"{error.why}.", code="stale_version")
    else:
        shaped = NotValid(f"{error.why}." if not error.problems else "\n".join(error.problems), code="invalid_config")
    more = {"problems": error.problems, "restart": error.restart}
    body = {"error": shaped.body()["error"] | {key: list(value) for key, value in more.items() if value}}
    return JSONResponse(body, status_code=shaped.status, headers=shaped.headers())
