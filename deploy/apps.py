"""The Serve applications of one configuration: one per engine, and the router. Builders only; who runs them
(`symposium serve`, a Serve config file, a RayService) is decided elsewhere.
"""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from experts import host
from experts.guard import internal_token
from experts.spec import Engine
from router.config import Config

if TYPE_CHECKING:
    from ray.serve import Application
    from starlette.applications import Starlette

    from router.service import Service

ROUTER = "symposium"
PROBE_ROOM = 64  # health probes and questions about legs
QUEUE_HEADROOM = 2  # Serve's limit lies above ours, so that it never queues what we would refuse


def engine_app_name(engine: str) -> str:
    return f"expert-{engine}"


def applications(config: Config, hosted_url: str) -> dict[str, tuple[Application, str]]:
    """Application name -> (application, route prefix), engines first.

    Args:
        hosted_url: Serve's internal listener as the router reaches it.
    """
    apps = {
        engine_app_name(name): (host.application(name, _unqueued(config, name), config.loras(name)), f"/experts/{name}")
        for name in config.engines
    }
    return apps | {ROUTER: (router(config, hosted_url), "/")}


def _unqueued(config: Config, name: str) -> Engine:
    """The engine with Serve's limit above all that the routers may send it, so that Serve never queues."""
    engine, server = config.engines[name], config.server
    experts = sum(1 for e in config.experts.values() if e.engine == name)
    legs = server.limits.max_in_flight * server.router_replicas * experts
    return engine.model_copy(update={"max_ongoing_requests": max(engine.max_ongoing_requests, legs + PROBE_ROOM)})


def router(config: Config, hosted_url: str) -> Application:
    """The ingress replica: API, both stages and dispatch in one process."""
    from ray import serve

    def build() -> Starlette:
        from router.api.app import build_app

        return build_app(lambda: _open(config, hosted_url))

    class Router:
        """Holds nothing: the ASGI application is all there is."""

    deployment = serve.deployment(
        serve.ingress(build)(Router),
        name="router",
        num_replicas=config.server.router_replicas,
        max_ongoing_requests=config.server.limits.max_in_flight * QUEUE_HEADROOM,
        health_check_period_s=2.0,
        graceful_shutdown_timeout_s=5.0,
        ray_actor_options={
            "num_cpus": 1,
            "runtime_env": {"env_vars": {"HF_HUB_OFFLINE": "1"} if _offline(config) else {}},
        },
    )
    return deployment.bind()


def _open(config: Config, hosted_url: str) -> AbstractAsyncContextManager[Service]:
    from router.service import at, open_service

    _log_with_serve()
    return open_service(config, at(hosted_url, internal_token()))


def _log_with_serve() -> None:
    """The router's own lines go into its replica's log: Serve opens that for its own logger only."""
    own = logging.getLogger("router")
    own.handlers, own.propagate = logging.getLogger("ray.serve").handlers, False
    own.setLevel(logging.INFO)


def _offline(config: Config) -> bool:
    from router.embedders import PACKAGED

    return config.routing.embedder.model in PACKAGED or config.routing.embedder.model.startswith("/")
