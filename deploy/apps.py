"""The Serve applications of one configuration: one per engine, and the router. Builders only; who runs them
(`symposium serve`, a Serve config file, a RayService) is decided elsewhere.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.cluster import LOGGING
from deploy.state import ADMIN_TOKEN_ENV
from experts import host
from experts.guard import TOKEN_HEADER, internal_token
from experts.spec import Engine
from router.config import Config

if TYPE_CHECKING:
    from ray.serve import Application
    from starlette.applications import Starlette

    from router.admin.service import Admin
    from router.service import Service

ROUTER, ADMIN = "symposium", "admin"
ROUTER_DEPLOYMENT = "router"
LOOPBACK = "127.0.0.1"
PROBE_ROOM = 64  # health probes and questions about legs
QUEUE_HEADROOM = 2  # Serve's limit lies above ours, so that it never queues what we would refuse


def engine_app_name(engine: str) -> str:
    return f"expert-{engine}"


def applications(config: Config, hosted_url: str, run: str, admin_token: str) -> dict[str, tuple[Application, str]]:
    """Application name -> (application, route prefix), engines first.

    Args:
        hosted_url: Serve's internal listener as the router reaches it.
        run: the name that this run was begun under in the store of `config.data`.
        admin_token: in the environment of the admin side's process alone.
    """
    apps = {
        engine_app_name(name): (host.application(name, _unqueued(config, name), config.loras(name)), f"/experts/{name}")
        for name in config.engines
    }
    return apps | {
        ROUTER: (router(config, hosted_url, run), "/"),
        ADMIN: (admin(config, hosted_url, run, admin_token), "/admin"),
    }


def _unqueued(config: Config, name: str) -> Engine:
    """The engine with Serve's limit above all that the routers may send it, so that Serve never queues."""
    engine, server = config.engines[name], config.server
    experts = sum(1 for e in config.experts.values() if e.engine == name)
    legs = server.limits.max_in_flight * server.router_replicas * experts
    return engine.model_copy(update={"max_ongoing_requests": max(engine.max_ongoing_requests, legs + PROBE_ROOM)})


def router(config: Config, hosted_url: str, run: str) -> Application:
    """The ingress replica: API, both stages and dispatch in one process."""
    from ray import serve

    def build() -> Starlette:
        from router.api.app import build_app

        return build_app(lambda: _open(Path(config.data), hosted_url, run))

    class Router:
        """The ASGI application, and what it is told from outside of HTTP."""

        app: Starlette

        def check_health(self) -> None:
            """Serve replaces a replica that cannot take over what all others serve: the next one begins with that."""
            if self.app.state.service.behind():
                raise RuntimeError("it could not take over the configuration in force")

        def drain(self) -> int:
            """Takes no new requests from now on; how many are still under way."""
            held: int = self.app.state.held.drain()
            return held

    deployment = serve.deployment(
        serve.ingress(build)(Router),
        name=ROUTER_DEPLOYMENT,
        num_replicas=config.server.router_replicas,
        max_ongoing_requests=config.server.limits.max_in_flight * QUEUE_HEADROOM,
        health_check_period_s=2.0,
        graceful_shutdown_timeout_s=max(1.0, config.server.drain_s),
        logging_config=LOGGING,
        ray_actor_options={
            "num_cpus": 1,
            "runtime_env": {"env_vars": {"HF_HUB_OFFLINE": "1"} if _offline(config) else {}},
        },
    )
    return deployment.bind()


@asynccontextmanager
async def _open(data: Path, hosted_url: str, run: str) -> AsyncIterator[Service]:
    """The router on what is in force now: a replica that starts later begins with what the others serve."""
    from router.follow import config_of, following
    from router.metrics_listener import serve_metrics
    from router.opening import at, open_service
    from router.store import Store

    _log_with_serve()
    store = Store(data)
    now = store.in_force(run)
    if now is None:
        raise ValueError(f"{data}: another symposium has taken over this data folder")
    async with open_service(config_of(store.version(now.active)), at(hosted_url, internal_token())) as service:
        listener, port = serve_metrics(service.telemetry.registry, LOOPBACK)
        try:
            async with following(store, run, service, now.active, f"{LOOPBACK}:{port}", time.time):
                yield service
        finally:
            listener.close()


def admin(config: Config, hosted_url: str, run: str, token: str) -> Application:
    """The admin side: one process for the whole system."""
    from ray import serve

    data, engines = Path(config.data), tuple(config.engines)

    def build() -> Starlette:
        from router.admin.app import build_admin

        return build_admin(lambda: _open_admin(data, hosted_url, run, engines), os.environ[ADMIN_TOKEN_ENV])

    class Admin:
        """Holds nothing: the ASGI application is all there is."""

    deployment = serve.deployment(
        serve.ingress(build)(Admin),
        name="admin",
        max_ongoing_requests=PROBE_ROOM,
        graceful_shutdown_timeout_s=1.0,
        logging_config=LOGGING,
        ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": {ADMIN_TOKEN_ENV: token}}},
    )
    return deployment.bind()


@asynccontextmanager
async def _open_admin(data: Path, hosted_url: str, run: str, engines: tuple[str, ...]) -> AsyncIterator[Admin]:
    import httpx

    from router.admin.service import open_admin
    from router.follow import config_of
    from router.ledger_open import open_ledger
    from router.registry_open import open_registry
    from router.store import Store

    _log_with_serve()
    async with httpx.AsyncClient(base_url=hosted_url, headers={TOKEN_HEADER: internal_token()}, timeout=5) as client:

        async def fetch(engine: str) -> tuple[str, str] | None:
            try:
                found = await client.get(f"/experts/{engine}/metrics")
            except httpx.HTTPError:
                return None
            return (found.text, found.headers["content-type"]) if found.status_code == 200 else None

        store = Store(data)
        now = store.in_force(run)
        kept = config_of(store.version(now.active if now else 0)).ledger, data
        async with AsyncExitStack() as stack:
            ledger, registry = open_ledger(*kept), open_registry(*kept)
            stack.push_async_callback(ledger.close)
            stack.push_async_callback(registry.close)
            yield await stack.enter_async_context(
                open_admin(store, run, time.time, fetch, engines, registry=registry, ledger=ledger)
            )


def _log_with_serve() -> None:
    """Our own lines go into the replica's log, as JSON: Serve opens that file for its own logger only."""
    from router.logs import write_to

    of_serve = (getattr(h, "target", None) or h for h in logging.getLogger("ray.serve").handlers)
    path = next((h.baseFilename for h in of_serve if isinstance(h, logging.FileHandler)), None)
    # Serve's own handler moves the file away when it is full: ours notices, and goes on in the new one.
    handler = WatchedFileHandler(path, encoding="utf-8") if path else logging.StreamHandler()
    write_to(handler, "router", "experts", "opentelemetry")


def _offline(config: Config) -> bool:
    from router.embedders import PACKAGED

    return config.routing.embedder.model in PACKAGED or config.routing.embedder.model.startswith("/")
