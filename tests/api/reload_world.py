"""Several router replicas over recorded experts that share one store, and the admin side beside them; all real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from router.admin.app import build_admin
from router.admin.service import Admin, open_admin
from router.api.app import build_app
from router.follow import config_of, following
from router.knowledge import Knowledge
from router.ledger_open import open_ledger
from router.metrics_listener import serve_metrics
from router.opening import at, open_service
from router.registry_open import open_registry
from router.service import Service
from router.snapshot import Snapshot
from router.store import Store
from tests.api.world import KeywordEmbedder, World, config
from tests.support import Recorded, bound, eventually, http_client, on_a_port

TOKEN = "of-the-admin-side"
RUN = "run"
METRICS = "symposium_engine_of_old 1\n"


@dataclass(slots=True)
class Fleet:
    """A running system; `replica()` starts one more replica."""

    store: Store
    file: Path
    experts: Recorded
    stack: ExitStack
    admin: httpx.Client
    worlds: list[World] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)

    def replica(self) -> World:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Service]:
            now = self.store.in_force(RUN)
            assert now is not None
            first = config_of(self.store.version(now.active))
            async with open_service(first, at("", ""), KeywordEmbedder()) as service:
                listener, port = serve_metrics(service.telemetry.registry, "127.0.0.1")
                async with following(self.store, RUN, service, now.active, f"127.0.0.1:{port}", time.time):
                    self.services.append(service)
                    yield service
                listener.close()

        url = self.stack.enter_context(on_a_port(build_app(opened)))
        world = World(url, self.stack.enter_context(http_client(url)), self.experts)
        eventually(lambda: world.metric("symposium_expert_up", expert="ant") == 1)
        self.worlds.append(world)
        return world

    @property
    def versions(self) -> list[str]:
        """What each replica serves."""
        return [world.http.get("/version").json()["config"] for world in self.worlds]

    def text(self, **changed: Any) -> str:
        """The configuration's file with other sections."""
        return json.dumps(json.loads(self.file.read_text()) | changed)

    def policies(self, **changed: dict[str, Any] | None) -> str:
        """The configuration's file with other policies; None: without it."""
        known = json.loads(self.file.read_text())["policies"] | changed
        return self.text(policies={name: policy for name, policy in known.items() if policy is not None})

    def put(self, text: str, etag: str | None = None, **params: str) -> httpx.Response:
        etag = etag or self.admin.get("/v1/config").headers["etag"]
        return self.admin.put("/v1/config", content=text, headers={"if-match": etag}, params=params)


@contextmanager
def fleet(folder: Path, experts: Recorded, replicas: int = 2, **changed: Any) -> Iterator[Fleet]:
    """So many replicas on one configuration's file, which the admin side watches."""
    with bound() as closed, ExitStack() as stack:
        first = config(folder, experts.url, f"http://127.0.0.1:{closed.getsockname()[1]}", **changed)
        file = folder / "symposium.yaml"
        file.write_text(json.dumps(first.model_dump(mode="json") | {"data": str(folder / "data")}))
        given, store = Snapshot.of(file), Store(folder / "data")
        version = version_of(given)
        store.begin(RUN, store.add(version, str(given.path), given.files, "start", time.time()))

        async def fetch(engine: str) -> tuple[str, str] | None:
            return (METRICS, "text/plain") if engine == "old" else None

        @asynccontextmanager
        async def admin_side() -> AsyncIterator[Admin]:
            async with AsyncExitStack() as opened:
                kept = first.ledger, folder / "data"
                ledger, registry = open_ledger(*kept), open_registry(*kept)
                opened.push_async_callback(ledger.close)
                opened.push_async_callback(registry.close)
                yield await opened.enter_async_context(
                    open_admin(store, RUN, time.time, fetch, ("old", "dead"), registry=registry, ledger=ledger)
                )

        side = build_admin(admin_side, TOKEN)

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with side.router.lifespan_context(side):
                yield

        mounted = Starlette(routes=[Mount("/admin", side)], lifespan=lifespan)
        url = stack.enter_context(on_a_port(mounted))
        client = stack.enter_context(http_client(f"{url}/admin"))
        client.headers["authorization"] = f"Bearer {TOKEN}"
        found = Fleet(store, file, experts, stack, client)
        for _ in range(replicas):
            found.replica()
        yield found


def version_of(given: Snapshot) -> str:
    """What a configuration is called by."""
    return Knowledge.load(given.load()).version
