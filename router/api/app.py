"""The public HTTP application: routes, lifespan, errors in OpenAI's shape. No policy, no steps, no Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from experts.spec import BY_TOKEN
from router.api.auth import authenticate
from router.api.chat import Completions
from router.api.feedback import give_feedback
from router.api.handlers import HANDLERS
from router.api.held import Held
from router.api.idempotency import Idempotent
from router.api.openapi import document
from router.api.schema import parse_chat
from router.api.schema_completion import parse_completion
from router.api.usage import Sums
from router.caller import Caller
from router.callers import anonymous, check_model, check_scope, may_ask, usable_experts
from router.errors import NotFound
from router.records import Kind
from router.service import DRAIN_S, Service
from router.usage import wanted

OpenService = Callable[[], AbstractAsyncContextManager[Service]]
CONTENT_TYPE_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def build_app(open_service: OpenService) -> Starlette:
    """The application; its lifespan opens the service, so a replica is up only when its parts are."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_service() as service:
            app.state.service = service
            app.state.sums = Sums(service.ledger)
            app.state.held = held = Held(service.telemetry.in_flight.set)
            app.state.chat = chat = Idempotent(Completions(service, parse_chat, held), service, held)
            text = Idempotent(Completions(service, parse_completion, held), service, held)
            app.state.completion = text
            try:
                yield
            finally:
                await asyncio.gather(chat.close(DRAIN_S), text.close(DRAIN_S))

    return Starlette(
        routes=[
            Route("/v1/chat/completions", _Endpoint("chat"), methods=["POST"]),
            Route("/v1/completions", _Endpoint("completion"), methods=["POST"]),
            Route("/v1/models", _guarded(_models)),
            Route("/v1/models/{model}", _guarded(_model)),
            Route("/v1/usage", _guarded(_usage)),
            Route("/v1/feedback", _guarded(_feedback), methods=["POST"]),
            Route("/health", _health),
            Route("/ready", _ready),
            Route("/version", _version),
            Route("/metrics", _metrics),
            Route("/openapi.json", _document),
        ],
        lifespan=lifespan,
        exception_handlers=HANDLERS,
    )


class _Endpoint:
    """Finds the endpoint that the lifespan made: routes are fixed before it runs."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint: ASGIApp = getattr(scope["app"].state, self._kind)
        await endpoint(scope, receive, send)


def _guarded(handler: Callable[[Request, Caller], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def checked(request: Request) -> Response:
        service = _service(request)
        caller = await authenticate(request.headers.get("authorization"), service.ring, service.edition.config)
        return await handler(request, caller)

    return checked


async def _models(request: Request, caller: Caller) -> Response:
    service = _service(request)
    names = [name for name in _names(service) if may_ask(caller, name, service.edition.config)]
    return JSONResponse({"object": "list", "data": [_model_json(service, caller, name) for name in names]})


async def _model(request: Request, caller: Caller) -> Response:
    service, name = _service(request), request.path_params["model"]
    check_model(caller, name, service.edition.config)
    return JSONResponse(_model_json(service, caller, name))


async def _usage(request: Request, caller: Caller) -> Response:
    check_scope(caller, "usage")
    of = wanted(dict(request.query_params), datetime.now(UTC).date(), caller.tenant)
    sums: Sums = request.app.state.sums
    return await sums.answer(of)


async def _feedback(request: Request, caller: Caller) -> Response:
    return await give_feedback(request, caller, _service(request), request.app.state.held)


def _names(service: Service) -> list[str]:
    return [*service.edition.config.policies, *service.edition.config.experts]


def _model_json(service: Service, caller: Caller, name: str) -> dict[str, object]:
    config = service.edition.config
    model: dict[str, object] = {"id": name, "object": "model", "created": 0, "owned_by": "symposium"}
    if (policy := config.policies.get(name)) is not None:
        about: dict[str, object] = {
            "kind": "policy",
            "description": policy.description,
            "experts": list(usable_experts(caller, policy.experts or config.answering)),
        }
    else:
        expert = config.experts[name]
        about = {
            "kind": "expert",
            "part": expert.part,
            "description": expert.description,
            "version": service.edition.knowledge.versions[name],
            "up": service.watch.up[name],
            "context_tokens": expert.context_tokens,
            "price": dict(zip(BY_TOKEN, expert.price.usd_per_mtok, strict=True)),
            "capabilities": expert.capabilities.model_dump(),
        }
    return model | {"symposium": about}


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    ready = _service(request).ready and not request.app.state.held.closed
    return JSONResponse({"ready": ready}, status_code=200 if ready else 503)


async def _version(request: Request) -> Response:
    knowledge = _service(request).edition.knowledge
    told = {"version": version("symposium"), "config": knowledge.version, "profiles": knowledge.feedback}
    return JSONResponse(told)


async def _metrics(request: Request) -> Response:
    service = _service(request)
    if not service.edition.config.server.public_metrics:
        raise NotFound("No such path.", code="not_found")
    return Response(service.telemetry.exposition(), media_type=CONTENT_TYPE_METRICS)


async def _document(request: Request) -> Response:
    service = _service(request)
    config = service.edition.config
    names = [name for name in _names(service) if may_ask(anonymous(config), name, config)]
    locked = service.ring.locked(config)
    return JSONResponse(document(config.server.limits, version("symposium"), names, locked=locked))


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
