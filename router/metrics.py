"""The metrics of one router replica: what they are called, what they mean, and which series there are.

Label sets are closed: names from the configuration and the words listed in `router/labels.py`; never a user, a prompt
or a model name a client made up. Their series are there from the start, at zero. Must not know events, nor who reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeVar
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from router import labels

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OVERHEAD = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1)
_BATCH = (1, 2, 4, 8, 16, 32, 64)

M = TypeVar("M", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as the reference lists it. `name` is as Prometheus shows it, a counter's with `_total`."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...]
    metric: Counter | Gauge | Histogram = field(repr=False)

    def values(self) -> set[tuple[str, ...]]:
        """The label values of all series that are there now."""
        samples = (sample for found in self.metric.collect() for sample in found.samples)
        return {tuple(sample.labels[name] for name in self.labels) for sample in samples}


class Metrics:
    """In a registry of its own: replicas in one process share nothing."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.families: list[Family] = []
        self.version = ""
        self._experts: tuple[str, ...] = ()
        self._request_metrics()
        self._decision_metrics()
        self._leg_metrics()
        self._replica_metrics()
        self._config_metrics()
        self._fixed_series()

    def _request_metrics(self) -> None:
        self.requests = self._counter("requests", "Client requests by how they ended.", "policy", "outcome", "status")
        self.request_seconds = self._histogram(
            "request_seconds", "Arrival of a request to the last byte of its response.", _SECONDS, "policy"
        )
        self.first_byte = self._histogram(
            "first_byte_seconds",
            "Arrival of a request to the first byte of its response: TTFT as the client sees it, where it streams. A "
            "stream that had nothing to say for long begins with a comment.",
            _SECONDS, "policy", "stream",
        )  # fmt: skip
        self.per_token = self._histogram(
            "per_token_seconds",
            "Time per output token after the first (TPOT) of an answer that went to its client as it was generated.",
            _PER_TOKEN, "policy",
        )  # fmt: skip
        self.overhead = self._histogram(
            "overhead_seconds",
            "The router's own work before anybody is asked: admission to dispatch, without the keyword expert.",
            _OVERHEAD, "policy",
        )  # fmt: skip
        self.engine = self._histogram(
            "engine_seconds",
            "What experts took of an answered request: its time since dispatch, or the sum of its calls' durations "
            "where that is less.",
            _SECONDS, "policy",
        )  # fmt: skip
        self.unserved = self._counter(
            "unserved", "Requests that no capable expert was up for, or all that were are resting (503).", "policy"
        )
        self.worth = self._gauge(
            "usd_per_right", "What a right answer is worth to a policy that holds a mean cost.", "policy"
        )

    def _decision_metrics(self) -> None:
        self.decisions = self._counter("decisions", "Plans by the reason for their size.", "policy", "reason")
        self.categories = self._counter("categories", "Plans by the question's category.", "policy", "category")
        self.unknown_skill = self._counter("unknown_skill", "Routed queries with a skill that is like no known one.")
        self.keywords = self._counter(
            "keywords", "Questions of which the keyword expert was asked for the skills.", "outcome"
        )
        self.unprofiled = self._counter("unprofiled_candidate", "Candidates scored without a profile.", "expert")
        self.concluded = self._counter(
            "conclusions", "Answers by how they were made of what experts said, and why so.", "policy", "how", "why"
        )

    def _leg_metrics(self) -> None:
        self.legs = self._counter("legs", "Calls of experts by how they ended.", "expert", "outcome")
        self.leg_seconds = self._histogram("leg_seconds", "Duration of a call.", _SECONDS, "expert")
        self.leg_first_token = self._histogram(
            "leg_first_token_seconds", "Time to the first streamed token of a call (TTFT).", _SECONDS, "expert"
        )
        self.leg_per_token = self._histogram(
            "leg_per_token_seconds",
            "Time per output token after the first (TPOT) of an answered call with two tokens or more.",
            _PER_TOKEN, "expert",
        )  # fmt: skip
        self.tokens = self._counter(
            "tokens", 'Settled tokens; exact="false" where only an estimate exists.', "expert", "kind", "exact"
        )
        self.extra = self._counter(
            "extra_legs",
            "Experts asked besides the planned: instead of one that failed, beside a late one. `expert` is that one.",
            "expert", "why",
        )  # fmt: skip
        self.breaker = self._gauge(
            "breaker_state", "1 for the state that the expert's breaker is in.", "expert", "state"
        )
        self.opened = self._counter("breaker_opened", "Times that the expert's breaker opened.", "expert")
        self.expert_up = self._gauge("expert_up", "1 when the expert's server answers.", "expert")
        self.stale = self._gauge("stale_profile", "1 when another version was measured.", "expert")

    def _replica_metrics(self) -> None:
        self.in_flight = self._gauge("in_flight", "Requests held now.")
        self.limit = self._gauge("admission_limit", "Requests that the replica holds at most; more get a 429.")
        self.embed_batch = self._histogram("embed_batch_size", "Queries embedded in one forward pass.", _BATCH)
        self.queue_age = self._gauge(
            "queue_age_seconds",
            "How long the oldest waits that a queue has not dealt with yet; 0 when it is empty. `embed`: texts to be "
            "embedded, those of the batch under way too. Admission does not queue: what is too much is refused.",
            "queue",
        )

    def _config_metrics(self) -> None:
        self.config_info = self._gauge("config_info", "Constant 1; the running configuration.", "version")
        self.config_loaded = self._gauge(
            "config_last_success_timestamp_seconds", "When the running configuration was applied, Unix time."
        )
        self.reloads = self._counter("config_applied", "Reloads that were applied.")
        self.rejected = self._counter("config_rejected", "Reloads that were rejected; the old configuration goes on.")
        self.logged = self._counter("decision_log_records", "Records written to the decision log.")
        self.log_lost = self._counter("decision_log_dropped", "Records that the decision log lost.", "reason")

    def _fixed_series(self) -> None:
        """Those whose labels no configuration changes."""
        for outcome in labels.KEYWORDS:
            self.keywords.labels(outcome)
        for reason in labels.DROPPED:
            self.log_lost.labels(reason)
        for ending in labels.ENDINGS_EARLY:
            self.requests.labels(labels.UNKNOWN, *ending)
        self.request_seconds.labels(labels.UNKNOWN)
        self._series_of_policy(labels.NAMED, ("named",), (labels.NO_CATEGORY,), labels.CONCLUSIONS_NAMED)

    def configured(
        self,
        version: str,
        experts: Sequence[str],
        policies: Sequence[str],
        stale: Set[str] = frozenset(),
        categories: Sequence[str] = (),
        max_in_flight: int = 0,
    ) -> None:
        """Another version is in force: new names get their series, those that have gone lose them, others keep theirs.

        What ends under an old name afterwards is still counted; its series goes with the next version.

        Args:
            categories: that the classifier knows, `general` among them.
            max_in_flight: requests that the replica holds at most.
        """
        self._keep("expert", {*experts})
        self._keep("policy", {*policies, labels.NAMED, labels.UNKNOWN})
        self._keep("version", {version})
        self.config_info.labels(version).set(1)
        for expert in experts:
            if expert not in self._experts:
                self._series_of_expert(expert)
            self.stale.labels(expert).set(expert in stale)
        for policy in policies:
            self._series_of_policy(policy, labels.REASONS, categories, labels.CONCLUSIONS)
        self.limit.set(max_in_flight)
        self.version, self._experts = version, tuple(experts)

    def _series_of_expert(self, expert: str) -> None:
        self.expert_up.labels(expert)  # 0, unless it was looked at already
        self.unprofiled.labels(expert)
        for outcome in labels.LEG_OUTCOMES:
            self.legs.labels(expert, outcome)
        for histogram in (self.leg_seconds, self.leg_first_token, self.leg_per_token):
            histogram.labels(expert)
        for kind, exact in labels.TOKENS:
            self.tokens.labels(expert, kind, exact)
        for why in labels.EXTRA:
            self.extra.labels(expert, why)
        self.opened.labels(expert)
        for state in labels.STATES:
            self.breaker.labels(expert, state).set(state == "closed")

    def _series_of_policy(
        self, policy: str, reasons: Iterable[str], categories: Iterable[str], conclusions: Iterable[tuple[str, str]]
    ) -> None:
        for ending in labels.ENDINGS:
            self.requests.labels(policy, *ending)
        for histogram in (self.request_seconds, self.per_token, self.overhead, self.engine):
            histogram.labels(policy)
        for stream in labels.STREAM:
            self.first_byte.labels(policy, stream)
        self.unserved.labels(policy)
        for reason in reasons:
            self.decisions.labels(policy, reason)
        for category in categories:
            self.categories.labels(policy, category)
        for how, why in conclusions:
            self.concluded.labels(policy, how, why)

    def _keep(self, label: str, names: Set[str]) -> None:
        """Series with another value of this label go."""
        for family in self.families:
            if label not in family.labels:
                continue
            at = family.labels.index(label)
            for values in family.values():
                if values[at] not in names:
                    family.metric.remove(*values)

    def _counter(self, name: str, about: str, *names: str) -> Counter:
        return self._added("counter", about, names, Counter(f"symposium_{name}", about, names, registry=self.registry))

    def _gauge(self, name: str, about: str, *names: str) -> Gauge:
        return self._added("gauge", about, names, Gauge(f"symposium_{name}", about, names, registry=self.registry))

    def _histogram(self, name: str, about: str, buckets: Sequence[float], *names: str) -> Histogram:
        made = Histogram(f"symposium_{name}", about, names, buckets=buckets, registry=self.registry)
        return self._added("histogram", about, names, made)

    def _added(self, kind: str, about: str, names: tuple[str, ...], metric: M) -> M:
        name = next(iter(metric.describe())).name + ("_total" if kind == "counter" else "")
        self.families.append(Family(name, kind, about, names, metric))
        return metric


class Listener:
    """A registry on a port and in threads of its own: it is read while the event loop is busy, and never published."""

    def __init__(self, server: WSGIServer) -> None:
        self._server = server

    def close(self) -> None:
        """Stops it and frees the port."""
        self._server.shutdown()
        self._server.server_close()


def serve_metrics(registry: CollectorRegistry, host: str, port: int = 0) -> tuple[Listener, int]:
    """Serves the registry in Prometheus' text format and, to who accepts it, as OpenMetrics, with exemplars.

    Args:
        port: 0 takes a free one.

    Returns:
        What stops it, and the port it listens on.

    Raises:
        OSError: the port is taken.
    """
    server, _ = start_http_server(port, host, registry)
    return Listener(server), server.server_port
