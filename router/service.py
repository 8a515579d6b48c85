"""Building the router of one replica: the only place where its parts are put together.

Knows every step's constructor and nothing of HTTP's shape, Ray or vLLM.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from experts.client import Endpoint, ExpertClient, open_session
from experts.guard import TOKEN_HEADER
from router.config import Config
from router.dispatch import Dispatcher
from router.embed import Embedder, MicroBatcher
from router.embedders import open_embedder
from router.events import Emit, Event
from router.health import Health
from router.knowledge import Knowledge
from router.legs import Legs
from router.pace import Paces
from router.pipeline import Pipeline
from router.sessions import Sessions
from router.telemetry import Telemetry
from router.watch import Watch

DRAIN_S = 5.0
MAX_SESSIONS, SESSION_TTL_S = 10_000, 3600.0


@dataclass(frozen=True, slots=True)
class Service:
    """One running router: what the HTTP side needs, and nothing else."""

    knowledge: Knowledge
    pipeline: Pipeline
    watch: Watch
    telemetry: Telemetry
    emit: Emit
    clock: Callable[[], float]

    @property
    def config(self) -> Config:
        return self.knowledge.config

    @property
    def version(self) -> str:
        return self.knowledge.version

    @property
    def ready(self) -> bool:
        """Once every hosted expert that answers questions has answered a probe, and as long as any of them is up.

        Experts elsewhere do not hold the start back; one dead engine does not take the others off the network; without
        the keyword expert skills are found by embedding.
        """
        answering = self.config.answering
        hosted = {name for name in answering if self.config.experts[name].engine is not None}
        return hosted <= self.watch.seen and any(self.watch.up[name] for name in answering)


def endpoints(config: Config, hosted_url: str, token: str) -> dict[str, Endpoint]:
    """Where each expert is spoken to.

    Args:
        hosted_url: Serve's internal listener; engines are below `/experts/<engine>`.
        token: the internal token that our engines ask for.
    """
    return {name: _endpoint(config, name, hosted_url, token) for name in config.experts}


def _endpoint(config: Config, name: str, hosted_url: str, token: str) -> Endpoint:
    expert = config.experts[name]
    if expert.base_url is not None:
        key = os.environ.get(expert.api_key_env, "").strip() if expert.api_key_env else ""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return Endpoint(name, expert.base_url.rstrip("/"), expert.model or name, headers, expert.limits)
    model = name if expert.lora is not None else expert.engine
    assert model is not None, "the configuration has checked that an expert has one home"
    base = f"{hosted_url}/experts/{expert.engine}/v1"
    return Endpoint(name, base, model, {TOKEN_HEADER: token}, expert.limits, hosted=True)


@asynccontextmanager
async def open_service(
    config: Config,
    experts_at: Mapping[str, Endpoint],
    embedder: Embedder | None = None,
) -> AsyncIterator[Service]:
    """A running router; leaving the block settles what is under way and closes every connection.

    Raises:
        ValueError: fitted files, profiles or the embedder are missing or do not fit; says what to run.
    """
    knowledge = Knowledge.load(config)
    telemetry = Telemetry(knowledge.version, tuple(config.experts), knowledge.stale)
    settings = config.routing.embedder
    embed = embedder or open_embedder(settings)
    dimensions, fitted_for = embed(["warm up"]).shape[1], knowledge.fitted.vocabulary.centroids.shape[1]
    if dimensions != fitted_for:
        raise ValueError(
            f"{config.routing.fitted}: fitted for vectors of {fitted_for} numbers, embedder '{settings.model}' makes "
            f"{dimensions}; run `symposium fit` again"
        )
    batcher = MicroBatcher(embed, settings.max_batch, telemetry.embed_batch.observe)
    async with open_session() as session:
        client = ExpertClient(session)
        watch = Watch(client, experts_at, lambda name, up: telemetry.expert_up.labels(name).set(up))
        health = Health(experts_at, config.convening, time.monotonic, telemetry.breaker_changed)
        paces = Paces(config.policies, knowledge.usd, lambda name, usd: telemetry.worth.labels(name).set(usd))

        def emit(event: Event) -> None:
            paces.emit(event)
            telemetry.emit(event)

        legs = Legs(client, experts_at, watch, health, emit)
        servers = {name: endpoint.base_url for name, endpoint in experts_at.items()}
        dispatcher = Dispatcher(legs, health, servers, emit)
        pipeline = Pipeline(
            knowledge=knowledge,
            embed=batcher,
            dispatcher=dispatcher,
            watch=watch,
            health=health,
            sessions=Sessions(MAX_SESSIONS, SESSION_TTL_S),
            paces=paces,
            emit=emit,
            clock=time.monotonic,
        )
        watch.start()
        try:
            yield Service(knowledge, pipeline, watch, telemetry, emit, time.monotonic)
        finally:
            await dispatcher.drain(DRAIN_S)
            await watch.stop()
            batcher.close()
