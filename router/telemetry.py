"""Events -> Prometheus. Client responses are counted apart from expert attempts. What the metrics are, and that their
labels are closed sets, is in `router/metrics.py`.

Must not know where an event comes from, nor who reads the metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING

from prometheus_client import generate_latest

from router import labels
from router.events import Concluded, Decided, Event, ExtraLeg, Finished, LegEnded, LegSettled, Unserved
from router.metrics import Metrics, serve_metrics
from router.records import Decision, Failure, Reply, SkillScores

if TYPE_CHECKING:
    from router.response import Response

__all__ = ["Telemetry", "serve_metrics"]


class Telemetry(Metrics):
    """All metrics of one router replica, moved by events.

    What the configuration names is given to `configured`: at the start, and again whenever another version takes over.
    """

    def __init__(
        self,
        config_version: str,
        experts: Sequence[str],
        policies: Sequence[str] = (),
        stale: Set[str] = frozenset(),
        categories: Sequence[str] = (),
        max_in_flight: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: the one that tickets are dated by, seconds."""
        super().__init__()
        self._clock = clock
        self.configured(config_version, experts, policies, stale, categories, max_in_flight)
        self.config_loaded.set_to_current_time()

    def config_applied(self, version: str) -> None:
        """A reload took effect; `configured` has said what it names."""
        assert version == self.version, "configured comes first"
        self.reloads.inc()
        self.config_loaded.set_to_current_time()

    def config_rejected(self, times: int = 1) -> None:
        """So many reloads were refused; the old configuration goes on."""
        self.rejected.inc(times)

    def log_written(self, records: int = 1) -> None:
        """So many records are in the decision log."""
        self.logged.inc(records)

    def log_dropped(self, reason: str, records: int = 1) -> None:
        """So many records will never be in the decision log. `reason`: one of `labels.DROPPED`."""
        self.log_lost.labels(labels.known(reason, labels.DROPPED)).inc(records)

    def queued(self, queue: str, oldest_s: Callable[[], float]) -> None:
        """Where to read, at every scrape and from any thread, how long a queue's oldest has waited."""
        self.queue_age.labels(queue).set_function(oldest_s)

    def breaker_changed(self, expert: str, state: str) -> None:
        """The expert's breaker has come into this state."""
        self.breaker_is(expert, state)
        if state == "open":
            self.opened.labels(expert).inc()

    def breaker_is(self, expert: str, state: str) -> None:
        """The expert's breaker is in this state, as it may have been before."""
        for name in labels.STATES:
            self.breaker.labels(expert, name).set(name == state)

    def emit(self, event: Event) -> None:
        match event:
            case Decided(decision=decision):
                self._decided(decision)
            case LegEnded():
                self._leg_ended(event)
            case LegSettled(expert=expert, usage=usage):
                exact = "true" if usage.exact else "false"
                self.tokens.labels(expert, "prompt", exact).inc(usage.prompt_tokens)
                self.tokens.labels(expert, "output", exact).inc(usage.completion_tokens)
            case ExtraLeg():
                self.extra.labels(event.expert, event.why).inc()
            case Concluded():
                self.concluded.labels(event.policy, event.how, event.why).inc()
            case Unserved():
                self.unserved.labels(event.policy).inc()
            case Finished():
                self._finished(event)

    def exposition(self) -> bytes:
        return generate_latest(self.registry)

    def _decided(self, decision: Decision) -> None:
        category = decision.categories.category if decision.categories else labels.NO_CATEGORY
        self.decisions.labels(decision.policy, decision.plan.reason).inc()
        self.categories.labels(decision.policy, category).inc()
        self.overhead.labels(decision.policy).observe(decision.overhead_s)
        if decision.skills is not None:
            self._skills(decision.skills, decision.asides)
        for candidate in decision.candidates:
            if candidate.evidence == "pool":
                self.unprofiled.labels(candidate.expert).inc()

    def _skills(self, skills: SkillScores, asides: Sequence[Reply | Failure]) -> None:
        if not skills.weights or skills.unknown:
            self.unknown_skill.inc()
        for leg in asides:
            named = "named" if skills.source == "keywords" else "unnamed"
            self.keywords.labels("failed" if isinstance(leg, Failure) else named).inc()

    def _leg_ended(self, leg: LegEnded) -> None:
        trace = _exemplar(leg.trace.trace_id if leg.trace is not None and leg.trace.recorded else None)
        self.legs.labels(leg.expert, leg.outcome).inc()
        self.leg_seconds.labels(leg.expert).observe(leg.seconds, trace)
        if leg.first_token_s is None:
            return
        self.leg_first_token.labels(leg.expert).observe(leg.first_token_s, trace)
        per_token_s = _per_token(leg.seconds, leg.first_token_s, leg.output_tokens or 0)
        if leg.outcome == "answered" and per_token_s is not None:
            self.leg_per_token.labels(leg.expert).observe(per_token_s, trace)

    def _finished(self, event: Finished) -> None:
        trace = _exemplar(event.trace_id)
        self.requests.labels(event.policy, event.outcome, str(event.status)).inc(1, trace)
        self.request_seconds.labels(event.policy).observe(event.seconds, trace)
        if event.decision is None:
            return
        if event.first_byte_s is not None:
            stream = "true" if event.decision.query.stream else "false"
            self.first_byte.labels(event.policy, stream).observe(event.first_byte_s, trace)
        if event.outcome == "answered" and event.response is not None:
            called_s = sum(leg.seconds for _, leg in event.response.legs)
            since_s = self._clock() - event.decision.ticket.admitted_at - event.decision.overhead_s
            self.engine.labels(event.policy).observe(max(0.0, min(called_s, since_s)), trace)
            if (per_token_s := _relayed(event.response)) is not None:
                self.per_token.labels(event.policy).observe(per_token_s, trace)


def _exemplar(trace_id: str | None) -> dict[str, str] | None:
    """What an observation points to: a trace that is recorded."""
    return {"trace_id": trace_id} if trace_id else None


def _per_token(seconds: float, first_token_s: float | None, tokens: int) -> float | None:
    """TPOT; None of fewer than two tokens."""
    return None if first_token_s is None or tokens < 2 else (seconds - first_token_s) / (tokens - 1)


def _relayed(response: Response) -> float | None:
    """TPOT of the call whose words went straight to the client, if they did."""
    replies = (leg for _, leg in reversed(response.ended) if isinstance(leg, Reply))
    leg = next((leg for leg in replies if response.live is not None and leg.expert == response.live.expert), None)
    return None if leg is None else _per_token(leg.seconds, leg.first_token_s, leg.usage.completion_tokens)
