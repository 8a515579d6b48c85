"""Opening the router of one replica: the files, connections and parts that it needs, and closing them in their order.

Knows nothing of HTTP's shape, Ray or vLLM.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from experts.client import Endpoint, ExpertClient, open_session
from experts.guard import TOKEN_HEADER
from router.config import Config
from router.decision_log import DecisionLog, NoLog, open_decision_log
from router.decision_rows import Terms
from router.edition import Edition
from router.embed import Embedder
from router.embedders import open_embedder
from router.knowledge import Knowledge
from router.ledger import Ledger
from router.ledger_open import open_ledger
from router.registry import Registry
from router.registry_open import open_registry
from router.service import At, Service, check_dimensions

if TYPE_CHECKING:
    from router.tracing import SpanSink

Kept = TypeVar("Kept", Ledger, Registry)


def at(hosted_url: str, token: str) -> At:
    """Where a configuration's experts are spoken to.

    Args:
        hosted_url: Serve's internal listener; engines are below `/experts/<engine>`.
        token: the internal token that our engines ask for.
    """
    return lambda config: {name: _endpoint(config, name, hosted_url, token) for name in config.experts}


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
async def open_service(config: Config, experts_at: At, embedder: Embedder | None = None) -> AsyncIterator[Service]:
    """A running router; leaving the block settles what is under way and closes every connection.

    Raises:
        ValueError: fitted files, profiles or the embedder are missing or do not fit; says what to run.
    """
    knowledge = Knowledge.load(config)
    embed = embedder or open_embedder(config.routing.embedder)
    check_dimensions(knowledge, embed(["warm up"]).shape[1])
    data = Path(config.data)
    async with (
        open_session() as session,
        _closing(open_ledger(config.ledger, data)) as ledger,
        _closing(open_registry(config.ledger, data)) as registry,
    ):
        client = ExpertClient(session)
        service = Service(knowledge, client, embed, experts_at, ledger, registry, time.monotonic, time.time)
        async with _decision_log(service) as decisions:
            spans = _spans(service)
            service.sinks.append(lambda event, edition: decisions.emit(event, _terms(edition)))
            await service.start()
            try:
                yield service
            finally:
                await service.close()
                if spans is not None:
                    await asyncio.to_thread(spans.close)  # what was settled last, too


@asynccontextmanager
async def _closing(opened: Kept) -> AsyncIterator[Kept]:
    try:
        yield opened
    finally:
        await opened.close()


def _decision_log(service: Service) -> AbstractAsyncContextManager[DecisionLog | NoLog]:
    """What happens is written down, by the prices and policies that the request began with."""

    def dropped(records: int, why: str) -> None:
        service.telemetry.log_dropped(why, records)

    config = service.edition.config
    return open_decision_log(config.decisions, Path(config.data), service.telemetry.log_written, dropped)


def _terms(edition: Edition) -> Terms:
    return Terms(edition.knowledge.usd, edition.config.policies)


def _spans(service: Service) -> SpanSink | None:
    """Where the configuration names a collector, what happens becomes spans, too."""
    settings = service.edition.config.tracing
    if settings.endpoint is None:
        return None
    from router.tracing import Known, SpanSink, open_exporter

    sink = SpanSink(open_exporter(settings.endpoint), settings)
    service.sinks.append(lambda event, edition: sink.emit(event, Known(edition.config.experts, edition.knowledge.usd)))
    return sink
