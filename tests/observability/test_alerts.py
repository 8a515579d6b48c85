"""Each alert fires once its reason is caused on a running router: the shipped rules, in a world where time runs faster.

`settings.hurried` says what that changes; how much burn is too much over which windows is held by promtool's own tests.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from router.metrics_listener import serve_metrics
from router.telemetry import Telemetry
from tests.api.world import PATIENT, POLICIES, KeywordEmbedder, ask
from tests.observability.harness import Observed, Prometheus, needs_prometheus, observed, prometheus
from tests.observability.settings import hurried, shipped_rules, targets
from tests.support import PATIENCE_S, Recorded, eventually, raw_post

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.metrics_listener import Listener

pytestmark = needs_prometheus
LIMIT = 3  # requests at once
ALWAYS = {"SymposiumExpertDown", "SymposiumStaleProfile"}  # nobody listens at `gone`; no profile is of what answers


class Held(KeywordEmbedder):
    """Stands still while it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        assert self.go.wait(PATIENCE_S)
        return super().__call__(texts)


@dataclass(frozen=True, slots=True)
class Watched:
    """A router that an alert can be caused on, with a second replica's metrics beside it."""

    router: Observed
    prometheus: Prometheus
    folder: Path
    embedder: Held
    second: Telemetry
    listener: Listener

    def until(self, alert: str, cause: Callable[[], object]) -> None:
        """Causes it until it fires."""
        end = time.monotonic() + PATIENCE_S
        while alert not in self.prometheus.firing():
            assert time.monotonic() < end, f"{alert} does not fire; firing: {self.prometheus.firing()}"
            cause()
            time.sleep(0.05)

    def ask(self, model: str, status: int = 200) -> None:
        assert self.router.world.post(ask(model)).status_code == status


@pytest.fixture(scope="module")
def watched(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Breakers open at the first failure and try again at once."""
    folder, embedder = tmp_path_factory.mktemp("alerts"), Held()
    breakers = {"failures_in_a_row": 1, "min_calls": 1_000_000, "open_s": 0.05, "max_open_s": 0.05}
    changed = {
        "policies": {name: POLICIES[name] for name in ("auto", "solo", "hurried", "dead")},
        "convening": PATIENT | {"breakers": breakers},
        "server": {"limits": {"max_tokens": 4096, "max_in_flight": LIMIT}},
        "decisions": {"flush_s": 0.05},
    }
    with observed(folder, experts, embedder, **changed) as router:
        version = router.service.edition.version
        second = Telemetry(version, (), ())
        listener, port = serve_metrics(second.registry, "127.0.0.1")
        settings = targets(("r1", router.metrics), ("r2", f"127.0.0.1:{port}"))
        with prometheus(folder, settings, hurried(shipped_rules())) as found:
            found.scraped("symposium-router")
            eventually(lambda: found.firing() <= ALWAYS)  # before the first scrape there were no targets, either
            yield Watched(router, found, folder, embedder, second, listener)


def nothing() -> None:
    """What was brought about goes on by itself."""


def no_expert(w: Watched) -> None:
    """A client asks for an expert that is down."""
    w.until("SymposiumNoExpert", lambda: w.ask("gone", 503))


def expert_down(w: Watched) -> None:
    """Nobody listens at its address."""
    w.until("SymposiumExpertDown", nothing)


def breaker_open(w: Watched) -> None:
    """An expert fails whenever it is tried again."""
    w.until("SymposiumBreakerOpen", lambda: w.router.world.post(ask("mute")))


def extra_legs(w: Watched) -> None:
    """An expert is late every time, and another steps in."""
    w.until("SymposiumExtraLegs", lambda: w.ask("hurried"))


def errors_fast(w: Watched) -> None:
    """All experts of a policy fail."""
    w.until("SymposiumErrorsBurnFast", lambda: w.router.world.post(ask("dead")))


def errors_slow(w: Watched) -> None:
    """The same, for longer."""
    w.until("SymposiumErrorsBurnSlow", lambda: w.router.world.post(ask("dead")))


def slow_fast(w: Watched) -> None:
    """Requests take longer than the objective says."""
    w.until("SymposiumLatencyBurnFast", lambda: w.ask("dog"))


def slow_slow(w: Watched) -> None:
    """The same, for longer."""
    w.until("SymposiumLatencyBurnSlow", lambda: w.ask("dog"))


def saturated(w: Watched) -> None:
    """As many slow requests as may be held."""
    with ExitStack() as stack:
        lines = [stack.enter_context(raw_post(w.router.world.url, ask("slow1", stream=True))) for _ in range(LIMIT)]
        w.until("SymposiumAdmissionSaturated", nothing)
        for line in lines:
            line.shutdown(socket.SHUT_RDWR)


def queue_age(w: Watched) -> None:
    """The embedder stands still."""
    eventually(lambda: w.router.world.metric("symposium_in_flight") == 0)  # else the question would be refused
    w.embedder.go.clear()
    try:
        with raw_post(w.router.world.url, ask("auto", "a question that is new")):
            w.until("SymposiumQueueAge", nothing)
    finally:
        w.embedder.go.set()


def reload_rejected(w: Watched) -> None:
    """A configuration was refused: what follows the admin side says so to the replica."""
    w.until("SymposiumReloadRejected", w.router.service.telemetry.config_rejected)


def config_split(w: Watched) -> None:
    """One of two replicas has gone on to another configuration."""
    w.second.configured("another", (), ())
    w.until("SymposiumConfigSplit", nothing)


def log_drops(w: Watched) -> None:
    """Somebody has put a file where the decision log's folder was."""
    log = w.folder / "data" / "decisions"
    shutil.rmtree(log)
    log.touch()
    w.until("SymposiumDecisionLogDrops", lambda: w.ask("bee"))


def stale_profile(w: Watched) -> None:
    """What was measured is not what answers."""
    w.until("SymposiumStaleProfile", nothing)


def target_down(w: Watched) -> None:
    """A replica stops answering scrapes."""
    w.listener.close()
    w.until("SymposiumTargetDown", nothing)


# In this order: quick requests by the hundred would hide the slow ones; the second replica is gone at the end.
CAUSES = {
    "SymposiumLatencyBurnFast": slow_fast,
    "SymposiumLatencyBurnSlow": slow_slow,
    "SymposiumErrorsBurnFast": errors_fast,
    "SymposiumErrorsBurnSlow": errors_slow,
    "SymposiumNoExpert": no_expert,
    "SymposiumExpertDown": expert_down,
    "SymposiumBreakerOpen": breaker_open,
    "SymposiumExtraLegs": extra_legs,
    "SymposiumAdmissionSaturated": saturated,
    "SymposiumQueueAge": queue_age,
    "SymposiumReloadRejected": reload_rejected,
    "SymposiumConfigSplit": config_split,
    "SymposiumDecisionLogDrops": log_drops,
    "SymposiumStaleProfile": stale_profile,
    "SymposiumTargetDown": target_down,
}


@pytest.mark.parametrize("alert", CAUSES)
def test_an_alert_fires_when_its_reason_is_caused(watched: Watched, alert: str) -> None:
    """And not before: what clients and operators do is what brings it about."""
    CAUSES[alert](watched)


def test_an_alert_fires_when_no_replica_is_known(tmp_path: Path) -> None:
    """The admin side, which lists them, does not answer."""
    with prometheus(tmp_path, targets(interval="200ms"), hurried(shipped_rules())) as found:
        end = time.monotonic() + PATIENCE_S
        while "SymposiumNoTargets" not in found.firing():
            assert time.monotonic() < end
            time.sleep(0.1)


def test_no_alert_is_left_out() -> None:
    """One that is added has its reason caused here."""
    there = {rule["alert"] for group in shipped_rules()["groups"] for rule in group["rules"] if "alert" in rule}
    assert there == CAUSES.keys() | {"SymposiumNoTargets"}
