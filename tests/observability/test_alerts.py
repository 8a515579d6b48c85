"""Each alert fires once its reason is caused on a running router: the shipped rules, in a world where time runs faster.

`settings.hurried` says what that changes; how much burn is too much over which windows is held by promtool's own tests.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from router import standings
from router.metrics_listener import serve_metrics
from router.telemetry import Telemetry
from tests.api.world import PATIENT, POLICIES, KeywordEmbedder, ask
from tests.observability.harness import Observed, Prometheus, locked, needs_prometheus, observed, prometheus
from tests.observability.settings import hurried, shipped_rules, targets
from tests.support import PATIENCE_S, Recorded, eventually, raw_post

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.metrics_listener import Listener

pytestmark = needs_prometheus
LIMIT = 4  # requests at once
TURNS = 3  # calls of one expert at once; nobody waits for one
IMPATIENT = ask("late", symposium={"budget": {"deadline_ms": 150}})
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
    turns = {"least": TURNS, "first": TURNS, "most": TURNS, "queued_requests": 0}
    changed = {
        "policies": {name: POLICIES[name] for name in ("auto", "solo", "hurried", "dead")},
        "convening": PATIENT | {"breakers": breakers, "concurrency": turns},
        "tenants": {"poor": {"usd_per_month": 1e-8}, "thrifty": {"usd_per_month": 1e-8}},
        "ledger": {"timeout_s": 0.2, "lease_s": 3600},
        "server": {"limits": {"max_tokens": 4096, "max_in_flight": LIMIT}},
        "decisions": {"flush_s": 0.05},
    }
    with pytest.MonkeyPatch.context() as patch, observed(folder, experts, embedder, **changed) as router:
        patch.setattr(standings, "EVERY_S", 0.1)
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


@contextmanager
def busy(w: Watched, *experts: str) -> Iterator[None]:
    """A slow answer of each is under way."""
    with ExitStack() as stack:
        for number, name in enumerate(experts, 1):
            line = stack.enter_context(raw_post(w.router.world.url, ask(name, stream=True)))
            stack.callback(line.shutdown, socket.SHUT_RDWR)
            eventually(lambda number=number: w.router.world.metric("symposium_calls_under_way") == number)  # type: ignore[misc]
        yield


def quiet(w: Watched) -> None:
    """Nothing is under way."""
    for gauge in ("symposium_in_flight", "symposium_calls_under_way"):
        eventually(lambda gauge=gauge: w.router.world.metric(gauge) == 0)  # type: ignore[misc]


def saturated(w: Watched) -> None:
    """As many slow requests as may be held."""
    quiet(w)
    with busy(w, *["slow1"] * TURNS, "slow2"):
        w.until("SymposiumAdmissionSaturated", nothing)


def overload(w: Watched) -> None:
    """All turns of an expert are taken, and more is asked of it."""
    quiet(w)
    with busy(w, *["slow1"] * TURNS):
        w.until("SymposiumOverload", lambda: w.ask("slow1", 429))


def deadlines_fast(w: Watched) -> None:
    """Nothing has come by the deadline."""
    w.until("SymposiumDeadlineBurnFast", lambda: w.router.world.post(IMPATIENT))


def deadlines_slow(w: Watched) -> None:
    """The same, for longer."""
    w.until("SymposiumDeadlineBurnSlow", lambda: w.router.world.post(IMPATIENT))


def ledger_lost(w: Watched) -> None:
    """Somebody holds on to its file."""
    with locked(w.folder / "data"):
        w.until("SymposiumLedgerLost", lambda: w.ask("solo", 503))


def settle_lag(w: Watched) -> None:
    """An answer ends while the ledger is away, and is booked some failed tries later."""

    def failed() -> float:
        return w.router.world.metric("symposium_ledger_lost_total", operation="settle")

    quiet(w)
    with ExitStack() as stack:
        with busy(w, "slow1"):
            stack.enter_context(locked(w.folder / "data"))
            before = failed()
        eventually(lambda: failed() >= before + 8)
    w.until("SymposiumSettleLag", nothing)


def holds_stuck(w: Watched) -> None:
    """Money is held for a call that nobody makes, and nothing is under way."""
    quiet(w)
    leg_id = w.router.holds("poor", 10, 5)
    w.until("SymposiumHoldsStuck", nothing)
    w.router.books(lambda bank: bank.free(leg_id, "poor", "ant", 5))
    eventually(lambda: w.router.world.metric("symposium_budget_held_usd") == 0)


def overrun(w: Watched) -> None:
    """A call has used a hundred times what its tenant had left."""
    w.router.paid("poor", 10, held=5, used=1000)
    w.until("SymposiumOverrun", nothing)


def nearly_spent(w: Watched) -> None:
    """A tenant has spent its month's budget to the last nanodollar."""
    w.router.paid("thrifty", 10, held=5, used=10)
    w.until("SymposiumBudgetNearlySpent", nothing)


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
    "SymposiumDeadlineBurnFast": deadlines_fast,
    "SymposiumDeadlineBurnSlow": deadlines_slow,
    "SymposiumErrorsBurnFast": errors_fast,
    "SymposiumErrorsBurnSlow": errors_slow,
    "SymposiumNoExpert": no_expert,
    "SymposiumExpertDown": expert_down,
    "SymposiumBreakerOpen": breaker_open,
    "SymposiumExtraLegs": extra_legs,
    "SymposiumAdmissionSaturated": saturated,
    "SymposiumOverload": overload,
    "SymposiumHoldsStuck": holds_stuck,
    "SymposiumOverrun": overrun,
    "SymposiumBudgetNearlySpent": nearly_spent,
    "SymposiumLedgerLost": ledger_lost,
    "SymposiumSettleLag": settle_lag,
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
