"""The metrics of one router replica: what they are called, what they mean, and which series there are.

Label sets are closed: names from the configuration and the words listed in `router/labels.py`; never a user, a prompt
or a model name a client made up. Their series are there from the start, at zero. Must not know events, nor who reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial

from prometheus_client import Gauge

from router import labels
from router.config_budgets import DEFAULT_TENANT
from router.families import Families, begun
from router.metrics_money import MoneyMetrics

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OVERHEAD = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1)
_BATCH = (1, 2, 4, 8, 16, 32, 64)


class Metrics(Families):
    """All of one replica."""

    def __init__(self) -> None:
        super().__init__()
        self.version = ""
        self._experts: tuple[str, ...] = ()
        self._policies: frozenset[str] = frozenset()
        self._lanes: Mapping[Gauge, Callable[[str], float]] = {}
        self._request_metrics()
        self._decision_metrics()
        self._leg_metrics()
        self._replica_metrics()
        self._config_metrics()
        self.money = MoneyMetrics(self)
        self._fixed_series()

    def _request_metrics(self) -> None:
        self.requests = self.counter("requests", "Client requests by how they ended.", "policy", "outcome", "status")
        self.request_seconds = self.histogram(
            "request_seconds", "Arrival of a request to the last byte of its response.", _SECONDS, "policy"
        )
        self.first_byte = self.histogram(
            "first_byte_seconds",
            "Arrival of a request to the first byte of its response: TTFT as the client sees it, where it streams. A "
            "stream that had nothing to say for long begins with a comment.",
            _SECONDS, "policy", "stream",
        )  # fmt: skip
        self.per_token = self.histogram(
            "per_token_seconds",
            "Time per output token after the first (TPOT) of an answer that went to its client as it was generated.",
            _PER_TOKEN, "policy",
        )  # fmt: skip
        self.overhead = self.histogram(
            "overhead_seconds",
            "The router's own work before anybody is asked: admission to dispatch, without the keyword expert.",
            _OVERHEAD, "policy",
        )  # fmt: skip
        self.engine = self.histogram(
            "engine_seconds",
            "What experts took of an answered request: its time since dispatch, or the sum of its calls' durations "
            "where that is less.",
            _SECONDS, "policy",
        )  # fmt: skip
        self.unserved = self.counter(
            "unserved", "Requests that no capable expert was up for, or all that were are resting (503).", "policy"
        )
        self.deadlines = self.counter(
            "deadlines",
            "Requests with a deadline that came as far as a plan, by how they ended: `met`; `cut`: answered with what "
            f"had come by then; `late`: over {1000 * labels.LATE_S:g} ms after it; `missed`: with nothing; `failed`: "
            "for another reason. Clients that left are not counted.",
            "policy", "outcome",
        )  # fmt: skip
        self.feedback = self.counter("feedback", "Answers that somebody has judged.", "policy", "verdict", "counted")
        self.worth = self.gauge(
            "usd_per_right", "What a right answer is worth to a policy that holds a mean cost.", "policy"
        )

    def _decision_metrics(self) -> None:
        self.decisions = self.counter("decisions", "Plans by the reason for their size.", "policy", "reason")
        self.categories = self.counter("categories", "Plans by the question's category.", "policy", "category")
        self.unknown_skill = self.counter("unknown_skill", "Routed queries with a skill that is like no known one.")
        self.keywords = self.counter(
            "keywords", "Questions of which the keyword expert was asked for the skills.", "outcome"
        )
        self.unprofiled = self.counter("unprofiled_candidate", "Candidates scored without a profile.", "expert")
        self.degraded = self.counter(
            "degraded", "Plans for which the budget did not allow what the policy wanted.", "policy", "rung"
        )
        self.concluded = self.counter(
            "conclusions", "Answers by how they were made of what experts said, and why so.", "policy", "how", "why"
        )

    def _leg_metrics(self) -> None:
        self.legs = self.counter("legs", "Calls of experts by how they ended.", "expert", "outcome")
        self.leg_seconds = self.histogram("leg_seconds", "Duration of a call.", _SECONDS, "expert")
        self.leg_first_token = self.histogram(
            "leg_first_token_seconds", "Time to the first streamed token of a call (TTFT).", _SECONDS, "expert"
        )
        self.leg_per_token = self.histogram(
            "leg_per_token_seconds",
            "Time per output token after the first (TPOT) of an answered call with two tokens or more.",
            _PER_TOKEN, "expert",
        )  # fmt: skip
        self._queue_metrics()
        self.tokens = self.counter(
            "tokens", 'Settled tokens; exact="false" where only an estimate exists.', "expert", "kind", "exact"
        )
        self.extra = self.counter(
            "extra_legs",
            "Experts asked besides the planned: instead of one that failed, beside a late one. `expert` is that one.",
            "expert", "why",
        )  # fmt: skip
        self.breaker = self.gauge(
            "breaker_state", "1 for the state that the expert's breaker is in.", "expert", "state"
        )
        self.opened = self.counter("breaker_opened", "Times that the expert's breaker opened.", "expert")
        self.expert_up = self.gauge("expert_up", "1 when the expert's server answers.", "expert")
        self.stale = self.gauge("stale_profile", "1 when another version was measured.", "expert")

    def _queue_metrics(self) -> None:
        self.queue_wait = self.histogram(
            "queue_wait_seconds", "Wait of a call for its turn at the expert; 0 where one was free.", _SECONDS, "expert"
        )
        self.queue_refused = self.counter(
            "queue_refused",
            "Calls that got no turn: `full`, too many wait; `hopeless`, it would come too late for the deadline.",
            "expert", "reason",
        )  # fmt: skip
        self.queue_waiting = self.gauge("queue_waiting", "Calls that wait for their turn now.", "expert")
        self.under_way = self.gauge("calls_under_way", "Calls that have their turn now.", "expert")
        self.calls_limit = self.gauge(
            "calls_limit", "Calls of the expert that may be under way: found by the first tokens' delay.", "expert"
        )

    def _replica_metrics(self) -> None:
        self.in_flight = self.gauge("in_flight", "Requests held now.")
        self.limit = self.gauge("admission_limit", "Requests that the replica holds at most; more get a 429.")
        self.embed_batch = self.histogram("embed_batch_size", "Queries embedded in one forward pass.", _BATCH)
        self.queue_age = self.gauge(
            "queue_age_seconds",
            "How long the oldest waits that a queue has not dealt with yet; 0 when it is empty. `embed`: texts to be "
            "embedded, those of the batch under way too. Admission does not queue: what is too much is refused.",
            "queue",
        )

    def _config_metrics(self) -> None:
        self.config_info = self.gauge("config_info", "Constant 1; the running configuration.", "version")
        self.config_loaded = self.gauge(
            "config_last_success_timestamp_seconds", "When the running configuration was applied, Unix time."
        )
        self.reloads = self.counter("config_applied", "Reloads that were applied.")
        self.rejected = self.counter("config_rejected", "Reloads that were rejected; the old configuration goes on.")
        self.logged = self.counter("decision_log_records", "Records written to the decision log.")
        self.log_lost = self.counter("decision_log_dropped", "Records that the decision log lost.", "reason")

    def _fixed_series(self) -> None:
        """Those whose labels no configuration changes."""
        for outcome in labels.KEYWORDS:
            self.keywords.labels(outcome)
        for reason in labels.DROPPED:
            self.log_lost.labels(reason)
        for ending in labels.ENDINGS_EARLY:
            self.requests.labels(labels.UNKNOWN, *ending)
        self.request_seconds.labels(labels.UNKNOWN)
        self._series_of_feedback(labels.OTHER)
        self._series_of_policy(labels.NAMED, ("named",), (labels.NO_CATEGORY,), labels.CONCLUSIONS_NAMED)

    def configured(
        self,
        version: str,
        experts: Sequence[str],
        policies: Sequence[str],
        stale: Set[str] = frozenset(),
        categories: Sequence[str] = (),
        max_in_flight: int = 0,
        tenants: Sequence[str] = (),
    ) -> None:
        """Another version is in force: new names get their series, those that have gone lose them, others keep theirs.

        What ends under an old name afterwards is still counted; its series goes with the next version.

        Args:
            categories: that the classifier knows, `general` among them.
            max_in_flight: requests that the replica holds at most.
            tenants: that pay; `default` need not be among them.
        """
        payers = tuple(dict.fromkeys((DEFAULT_TENANT, *tenants)))
        self.keep("expert", {*experts})
        self.keep("policy", {*policies, labels.NAMED, labels.UNKNOWN, labels.OTHER})
        self.keep("version", {version})
        self.keep("tenant", {*payers, labels.OTHER})
        self.money.configured(payers)
        self.config_info.labels(version).set(1)
        for expert in experts:
            if expert not in self._experts:
                self._series_of_expert(expert)
            self.stale.labels(expert).set(expert in stale)
        for policy in policies:
            self._series_of_policy(policy, labels.REASONS, categories, labels.CONCLUSIONS)
        self.limit.set(max_in_flight)
        self.version, self._experts, self._policies = version, tuple(experts), frozenset(policies)
        self._follow_lanes()

    def lanes(
        self, waiting: Callable[[str], float], under_way: Callable[[str], float], limit: Callable[[str], float]
    ) -> None:
        """Where to read, at every scrape and from any thread, how many calls of an expert wait, run, and may run."""
        self._lanes = {self.queue_waiting: waiting, self.under_way: under_way, self.calls_limit: limit}
        self._follow_lanes()

    def _follow_lanes(self) -> None:
        for gauge, read in self._lanes.items():
            for expert in self._experts:
                gauge.labels(expert).set_function(partial(read, expert))

    def _series_of_expert(self, expert: str) -> None:
        self.expert_up.labels(expert)  # 0, unless it was looked at already
        self.unprofiled.labels(expert)
        for outcome in labels.LEG_OUTCOMES:
            self.legs.labels(expert, outcome)
        begun((self.leg_seconds, self.leg_first_token, self.leg_per_token, self.queue_wait), expert)
        begun((self.queue_waiting, self.under_way, self.calls_limit), expert)
        for reason in labels.QUEUE_REFUSED:
            self.queue_refused.labels(expert, reason)
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
        begun((self.request_seconds, self.per_token, self.overhead, self.engine), policy)
        for outcome in labels.DEADLINES:
            self.deadlines.labels(policy, outcome)
        for rung in labels.RUNGS:
            self.degraded.labels(policy, rung)
        self._series_of_feedback(policy)
        for stream in labels.STREAM:
            self.first_byte.labels(policy, stream)
        self.unserved.labels(policy)
        for reason in reasons:
            self.decisions.labels(policy, reason)
        for category in categories:
            self.categories.labels(policy, category)
        for how, why in conclusions:
            self.concluded.labels(policy, how, why)

    def _series_of_feedback(self, policy: str) -> None:
        for verdict in labels.VERDICTS:
            begun([self.feedback], policy, verdict, "true")
            begun([self.feedback], policy, verdict, "false")
