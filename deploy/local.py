"""`symposium serve` on this machine: start, tell what is happening, stay in the foreground, stop cleanly."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx

from deploy.apps import ADMIN, ROUTER, applications
from deploy.cluster import AppState, LocalCluster
from deploy.state import running
from router.config import Config
from router.snapshot import Snapshot

POLL_S = 0.5
ALL_INTERFACES = ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound to
FAILED = ("DEPLOY_FAILED", "UNHEALTHY")


class StartFailed(RuntimeError):
    """An application did not come up; the message says which and what Serve knows."""


def logical_cpus(config: Config) -> float:
    """CPUs that Ray must believe in so that every replica of the configuration is placed on this machine."""
    engines = sum(
        e.cpus * (e.autoscaling.max_replicas if e.autoscaling else e.replicas) for e in config.engines.values()
    )
    return engines + config.server.router_replicas + 1


@dataclass(frozen=True, slots=True)
class Start:
    """What is to be served, what it is called by (`Knowledge.version`), and on which ports; the admin side's is on
    loopback.
    """

    given: Snapshot
    config: Config
    version: str
    port: int
    admin_port: int


@contextmanager
def serving(start: Start, progress: Callable[[list[AppState], float], None]) -> Iterator[LocalCluster]:
    """A ready symposium.

    Args:
        progress: called about twice a second while engines load, with the states and seconds so far.

    Raises:
        StartFailed: an application failed, or the slowest engine's `start_timeout_s` has passed.
        OSError: a port is taken, or the data folder is another symposium's.
        ValueError: the data folder is damaged.
    """
    config = start.config
    limit_s = max([e.start_timeout_s for e in config.engines.values()], default=120.0)
    limits = config.server.limits
    with (
        running(Path(config.data), start.given, start.version, start.admin_port) as (run, token),
        LocalCluster(
            config.server.host,
            start.port,
            ROUTER,
            logical_cpus(config),
            limits.max_body_bytes,
            admin=(ADMIN, start.admin_port),
        ) as cluster,
    ):
        cluster.deploy(applications(config, cluster.internal_url, run, token))
        _wait_until_ready(cluster, limit_s, progress)
        yield cluster


def _wait_until_ready(cluster: LocalCluster, limit_s: float, progress: Callable[[list[AppState], float], None]) -> None:
    started = time.monotonic()
    host = "127.0.0.1" if cluster.host in ALL_INTERFACES else cluster.host
    while True:
        states, seconds = cluster.states(), time.monotonic() - started
        progress(states, seconds)
        failed = [s for s in states if s.status in FAILED]
        if failed:
            raise StartFailed("; ".join(f"{s.name}: {s.status}: {s.message}" for s in failed))
        if all(s.status == "RUNNING" for s in states) and _ready(f"http://{host}:{cluster.port}/ready"):
            return
        if seconds > limit_s:
            raise StartFailed(f"not ready within {limit_s:g} s: " + ", ".join(s.name for s in states))
        time.sleep(POLL_S)


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


class Stop:
    """SIGINT and SIGTERM as an event. A second one is `hurried`: nobody is waited for any more, but everything is taken
    down as after the first, so that nothing is left behind.
    """

    def __init__(self) -> None:
        self._event, self.hurried = threading.Event(), threading.Event()

    def install(self) -> None:
        """To be called again once Ray runs: it puts a handler for SIGTERM of its own in place."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        already, _ = self._event.is_set(), frame
        self._event.set()
        if not already:
            raise KeyboardInterrupt(number)
        self.hurried.set()

    def wait(self) -> None:
        self._event.wait()
