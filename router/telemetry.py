"""Events -> Prometheus. Client responses are counted apart from expert attempts. Label sets are closed: names
from the configuration and the reasons listed in the code; never a user, a prompt or a model name a client made up.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from router.events import Concluded, Decided, Event, ExtraLeg, Finished, LegEnded, LegSettled
from router.records import Decision, Failure, Reply, SkillScores

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
STATES = ("closed", "open", "half_open")
_OVERHEAD = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1)


class Telemetry:
    """All metrics of one router replica, in a registry of its own."""

    def __init__(self, config_version: str, experts: tuple[str, ...], stale: Set[str] = frozenset()) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "symposium_requests", "Client requests by how they ended.",
            ["policy", "outcome", "status"], registry=registry,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "symposium_request_seconds", "Admission to last byte.", ["policy"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.overhead = Histogram(
            "symposium_overhead_seconds", "The router's own work: admission to dispatch.", ["policy"],
            buckets=_OVERHEAD, registry=registry,
        )  # fmt: skip
        self.decisions = Counter(
            "symposium_decisions", "Plans by the reason for their size.",
            ["policy", "category", "reason"], registry=registry,
        )  # fmt: skip
        self.unknown_skill = Counter(
            "symposium_unknown_skill", "Routed queries with a skill that is like no known one.", registry=registry
        )
        self.keywords = Counter(
            "symposium_keywords", "Questions of which the keyword expert was asked for the skills.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.unprofiled = Counter(
            "symposium_unprofiled_candidate", "Candidates scored without a profile.",
            ["expert"], registry=registry,
        )  # fmt: skip
        self.legs = Counter(
            "symposium_legs", "Calls of experts by how they ended.", ["expert", "outcome"], registry=registry
        )
        self.leg_seconds = Histogram(
            "symposium_leg_seconds", "Duration of a call.", ["expert"], buckets=_SECONDS, registry=registry
        )
        self.leg_first_token = Histogram(
            "symposium_leg_first_token_seconds", "Time to the first streamed token of a call.",
            ["expert"], buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.tokens = Counter(
            "symposium_tokens", "Settled tokens; exact=\"false\" where only an estimate exists.",
            ["expert", "kind", "exact"], registry=registry,
        )  # fmt: skip
        self.extra = Counter(
            "symposium_extra_legs", "Experts asked besides the planned: instead of one that failed, beside a late one.",
            ["expert", "why"], registry=registry,
        )  # fmt: skip
        self.concluded = Counter(
            "symposium_conclusions", "Answers by how they were made of what experts said, and why so.",
            ["policy", "how", "why"], registry=registry,
        )  # fmt: skip
        self.breaker = Gauge(
            "symposium_breaker_state", "1 for the state that the expert's breaker is in.",
            ["expert", "state"], registry=registry,
        )  # fmt: skip
        self.worth = Gauge(
            "symposium_usd_per_right", "What a right answer is worth to a policy that holds a mean cost.",
            ["policy"], registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge("symposium_in_flight", "Requests held now.", registry=registry)
        self.embed_batch = Histogram(
            "symposium_embed_batch_size", "Queries embedded in one forward pass.",
            buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry,
        )  # fmt: skip
        self.expert_up = Gauge(
            "symposium_expert_up", "1 when the expert's server answers.", ["expert"], registry=registry
        )
        info = Gauge("symposium_config_info", "Constant 1; the running configuration.", ["version"], registry=registry)
        info.labels(config_version).set(1)
        outdated = Gauge(
            "symposium_stale_profile",
            "1 when another version was measured.",
            ["expert"],
            registry=registry,
        )
        for expert in experts:
            self.expert_up.labels(expert).set(0)
            self.breaker_changed(expert, "closed")
            outdated.labels(expert).set(expert in stale)

    def emit(self, event: Event) -> None:
        match event:
            case Decided(decision=decision):
                self._decided(decision)
            case LegEnded():
                self.legs.labels(event.expert, event.outcome).inc()
                self.leg_seconds.labels(event.expert).observe(event.seconds)
                if event.first_token_s is not None:
                    self.leg_first_token.labels(event.expert).observe(event.first_token_s)
            case LegSettled():
                exact = "true" if event.usage.exact else "false"
                self.tokens.labels(event.expert, "prompt", exact).inc(event.usage.prompt_tokens)
                self.tokens.labels(event.expert, "output", exact).inc(event.usage.completion_tokens)
            case ExtraLeg():
                self.extra.labels(event.expert, event.why).inc()
            case Concluded():
                self.concluded.labels(event.policy, event.how, event.why).inc()
            case Finished():
                self.requests.labels(event.policy, event.outcome, str(event.status)).inc()
                self.request_seconds.labels(event.policy).observe(event.seconds)

    def _decided(self, decision: Decision) -> None:
        category = decision.categories.category if decision.categories else "none"
        self.decisions.labels(decision.policy, category, decision.plan.reason).inc()
        self.overhead.labels(decision.policy).observe(decision.overhead_s)
        if decision.skills is not None:
            self._skills(decision.skills, decision.asides)
        for candidate in decision.candidates:
            if candidate.evidence == "pool":
                self.unprofiled.labels(candidate.expert).inc()

    def breaker_changed(self, expert: str, state: str) -> None:
        for name in STATES:
            self.breaker.labels(expert, name).set(name == state)

    def _skills(self, skills: SkillScores, asides: Sequence[Reply | Failure]) -> None:
        if not skills.weights or skills.unknown:
            self.unknown_skill.inc()
        for leg in asides:
            named = "named" if skills.source == "keywords" else "unnamed"
            self.keywords.labels("failed" if isinstance(leg, Failure) else named).inc()

    def exposition(self) -> bytes:
        return generate_latest(self.registry)
