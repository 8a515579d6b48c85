"""A real Prometheus, asked over its own API, and a router whose registry it scrapes: what the tests here stand on.

Prometheus is Debian's package: `.ci/run` installs it, elsewhere these tests are skipped and say so.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from router.api.app import build_app
from router.bank import Bank
from router.caller import Account, Caller
from router.latency import MIN_CALLS
from router.ledger import Charge, Hold, Payer
from router.ledger_sqlite import FILE
from router.metrics_listener import serve_metrics
from router.opening import at, open_service
from router.service import Service
from tests.api.world import KeywordEmbedder, World, config
from tests.support import PATIENCE_S, Recorded, bound, eventually, http_client, on_a_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from router.embed import Embedder

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="needs Debian's package: apt-get install --no-install-recommends prometheus (.ci/run does it)",
)
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs. Values come by labels, without the name."""

    http: httpx.Client

    def query(self, expr: str, when: float | None = None) -> dict[Labels, float]:
        """An instant query, now or at a Unix time."""
        found = self._get("query", {"query": expr, **({"time": f"{when:.3f}"} if when else {})})
        assert found["resultType"] == "vector", found
        return {_labels(row["metric"]): float(row["value"][1]) for row in found["result"]}

    def firing(self) -> set[str]:
        """Names of the alerts that are."""
        return {a["labels"]["alertname"] for a in self._get("alerts", {})["alerts"] if a["state"] == "firing"}

    def exemplars(self, expr: str) -> list[dict[str, Any]]:
        """All that were stored of the series in the last minutes."""
        now = time.time()
        found = self._get("query_exemplars", {"query": expr, "start": f"{now - 600}", "end": f"{now + 10}"})
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def scraped(self, job: str) -> float:
        """The time of a scrape of this job that began after this call: what it shows is all that was there."""
        after, of = time.time(), f'timestamp(up{{job="{job}"}})'
        eventually(lambda: min(self.query(of).values(), default=0.0) > after)
        return min(self.query(of).values())

    def _get(self, what: str, params: Mapping[str, str]) -> Any:
        reply = self.http.get(f"/api/v1/{what}", params=dict(params)).json()
        assert reply["status"] == "success", reply
        return reply["data"]


def _labels(metric: Mapping[str, str]) -> Labels:
    return tuple(sorted((k, v) for k, v in metric.items() if k != "__name__"))


@contextmanager
def prometheus(folder: Path, settings: Mapping[str, Any], rules: Mapping[str, Any]) -> Iterator[Prometheus]:
    """One with these settings and rules, on a free port and with a folder of its own; ended with the block."""
    (folder / "rules.yml").write_text(yaml.safe_dump(dict(rules)))
    (folder / "prometheus.yml").write_text(yaml.safe_dump({**settings, "rule_files": ["rules.yml"]}))
    with bound() as listener:
        port = listener.getsockname()[1]
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage", "--log.level=warn"]
    with (folder / "prometheus.log").open("w") as log, http_client(f"http://127.0.0.1:{port}") as http:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            eventually(lambda: _ready(http, process, folder / "prometheus.log"))
            yield Prometheus(http)
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _ready(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return http.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@dataclass(frozen=True, slots=True)
class Observed:
    """A router over recorded experts, its parts, and where its registry is served."""

    world: World
    service: Service
    metrics: str  # host:port
    loop: asyncio.AbstractEventLoop

    def reload(self, **changed: Any) -> None:
        """Another configuration takes over, as it does when one is applied."""

        async def swapped() -> None:
            config = self.service.edition.config.model_copy(update=changed)
            self.service.swap(await self.service.prepare(config))

        asyncio.run_coroutine_threadsafe(swapped(), self.loop).result(PATIENCE_S)

    def used_to_be_quick(self, expert: str) -> None:
        """As after so many calls of it that one that is late will be hedged."""

        async def told() -> None:
            for _ in range(MIN_CALLS):
                self.service._health.ended(expert, "answered", 0.001, 0.001, failed=False)

        asyncio.run_coroutine_threadsafe(told(), self.loop).result(PATIENCE_S)

    def paid(self, tenant: str, limit: int, *, held: int, used: int) -> None:
        """A call of the tenant's has used something else than was held for it, of a month's limit; nanodollars."""
        leg_id = self.holds(tenant, limit, held)
        self.books(lambda bank: bank.settle(leg_id, tenant, "ant", held, Charge(leg_id, used, 1, 1)))

    def holds(self, tenant: str, limit: int, amount: int) -> str:
        """So much is held for a call of the tenant's, which is what comes back."""
        request_id = uuid.uuid4().hex

        async def held(bank: Bank) -> None:
            meters = Caller(accounts=(Account(f"tenant/{tenant}", per_month=limit),)).meters(bank.now())
            payer = Payer(request_id, tenant, "key", "auto", bank.owner, meters)
            assert await bank.hold(payer, [Hold(f"{request_id}-0", "ant", amount)]) is None

        asyncio.run_coroutine_threadsafe(held(self.service.bank), self.loop).result(PATIENCE_S)
        return f"{request_id}-0"

    def books(self, work: Callable[[Bank], None]) -> None:
        """The router's own loop does this with its bank."""
        self.loop.call_soon_threadsafe(work, self.service.bank)

    def scrape(self, accept: str = "text/plain") -> str:
        """What a scrape gets."""
        with http_client(f"http://{self.metrics}") as http:
            return http.get("/metrics", headers={"accept": accept}).text


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Somebody holds on to the ledger's file for as long: it can be read, and not be written."""
    with closing(sqlite3.connect(data / FILE, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def observed(folder: Path, experts: Recorded, embedder: Embedder | None = None, **changed: Any) -> Iterator[Observed]:
    """As `routing`, with the replica's own listener."""
    opened: list[tuple[Service, asyncio.AbstractEventLoop]] = []
    with bound() as closed:
        settings = config(folder, experts.url, f"http://127.0.0.1:{closed.getsockname()[1]}", **changed)

        @asynccontextmanager
        async def opening() -> AsyncIterator[Service]:
            async with open_service(settings, at("", ""), embedder or KeywordEmbedder()) as service:
                opened.append((service, asyncio.get_running_loop()))
                yield service

        with on_a_port(build_app(opening)) as url, http_client(url) as http:
            world, (service, loop) = World(url, http, experts), opened[0]
            listener, port = serve_metrics(service.telemetry.registry, "127.0.0.1")
            try:
                eventually(lambda: world.metric("symposium_expert_up") == len(settings.experts) - 1)
                yield Observed(world, service, f"127.0.0.1:{port}", loop)
            finally:
                listener.close()
