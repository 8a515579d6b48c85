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
from router.budget import Budget
from router.events import (
    Booked,
    Concluded,
    Decided,
    Degraded,
    Event,
    ExtraLeg,
    FeedbackGiven,
    Finished,
    Held,
    LedgerLost,
    LegEnded,
    LegSettled,
    Turned,
    Unserved,
    Waited,
)  # fmt: skip
from router.metrics import Metrics
from router.money import usd
from router.records import Decision, Failure, Reply, SkillScores

if TYPE_CHECKING:
    from router.response import Response


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
        tenants: Sequence[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: the one that tickets are dated by, seconds."""
        super().__init__()
        self._clock = clock
        self.configured(config_version, experts, policies, stale, categories, max_in_flight, tenants)
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
            case Held() | Booked() | LedgerLost() | Turned():
                self._money(event)
            case LegEnded() | LegSettled() | ExtraLeg() | Waited():
                self._call(event)
            case Decided(decision=decision):
                self._decided(decision)
            case Degraded(policy=policy, rung=rung):
                self.degraded.labels(policy, rung).inc()
            case Concluded():
                self.concluded.labels(event.policy, event.how, event.why).inc()
            case Unserved():
                self.unserved.labels(event.policy).inc()
            case Finished():
                self._finished(event)
            case FeedbackGiven(policy=policy, right=right, counted=counted):
                verdict, moves = labels.VERDICTS[not right], "true" if counted else "false"
                self.feedback.labels(self._policy(policy), verdict, moves).inc()

    def exposition(self) -> bytes:
        return generate_latest(self.registry)

    def _call(self, event: LegEnded | LegSettled | ExtraLeg | Waited) -> None:
        match event:
            case LegEnded():
                self._leg_ended(event)
            case LegSettled(expert=expert, usage=usage):
                exact = "true" if usage.exact else "false"
                self.tokens.labels(expert, "prompt", exact).inc(usage.prompt_tokens)
                self.tokens.labels(expert, "output", exact).inc(usage.completion_tokens)
            case ExtraLeg():
                self.extra.labels(event.expert, event.why).inc()
            case Waited(expert=expert, refused=None):
                self.queue_wait.labels(expert).observe(event.seconds)
            case Waited(expert=expert, refused=str(why)):
                self.queue_refused.labels(expert, why).inc()

    def _money(self, event: Held | Booked | LedgerLost | Turned) -> None:
        money = self.money
        match event:
            case Held(tenant=tenant, amount=amount):
                money.up.set(1)
                money.reserved.labels(money.of(tenant)).inc(usd(amount))
                money.move_held(tenant, amount)
            case Booked(tenant=tenant):
                money.up.set(1)
                money.move_held(tenant, -event.held)
                money.lag.observe(event.lag_s)
                money.settled.labels(money.of(tenant)).inc(usd(event.charged))
                money.overrun.labels(money.of(tenant)).inc(usd(event.overrun))
                if event.estimated:
                    money.estimated.labels(money.of(tenant)).inc(usd(event.charged))
            case LedgerLost(what=what):
                money.up.set(0)
                money.lost.labels(labels.known(what, labels.OPERATIONS), "open" if event.open else "closed").inc()
            case Turned(tenant=tenant, code=code, why=why):
                found = (code, why) if (code, why) in labels.REFUSALS else (labels.OTHER, labels.OTHER)
                money.refusals.labels(*found, money.of(tenant)).inc()

    def _policy(self, policy: str) -> str:
        """Of something that was asked by a configuration that may be gone."""
        return policy if policy in self._policies or policy == labels.NAMED else labels.OTHER

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
        if event.outcome == "refused" and event.why is None and (reason := _late_refusal(event)) is not None:
            self.money.refusals.labels(event.code, reason, self.money.of(event.tenant)).inc()
        trace = _exemplar(event.trace_id)
        self.requests.labels(event.policy, event.outcome, str(event.status)).inc(1, trace)
        self.request_seconds.labels(event.policy).observe(event.seconds, trace)
        if event.decision is None:
            return
        if (kept := _deadline(event, event.decision.budget)) is not None:
            self.deadlines.labels(event.policy, kept).inc()
        if event.first_byte_s is not None:
            stream = "true" if event.decision.query.stream else "false"
            self.first_byte.labels(event.policy, stream).observe(event.first_byte_s, trace)
        if event.outcome == "answered" and event.response is not None:
            called_s = sum(leg.seconds for _, leg in event.response.legs)
            since_s = self._clock() - event.decision.ticket.admitted_at - event.decision.overhead_s
            self.engine.labels(event.policy).observe(max(0.0, min(called_s, since_s)), trace)
            if (per_token_s := _relayed(event.response)) is not None:
                self.per_token.labels(event.policy).observe(per_token_s, trace)


def _late_refusal(event: Finished) -> str | None:
    """Why a request was refused of which no event tells: the replica holds too many, or its calls could not begin."""
    if event.code == "overloaded":
        return "in_flight" if event.decision is None else "overload"
    return "spent" if event.code == "insufficient_quota" else None


def _deadline(event: Finished, budget: Budget) -> str | None:
    """How a request has kept to its deadline, of `labels.DEADLINES`; None: it had none, or its client left."""
    if budget.deadline_s is None or event.outcome in ("cancelled", "refused"):
        return None
    if event.code == "deadline_exceeded":
        return "missed"
    if event.outcome == "failed":
        return "failed"
    if event.seconds > budget.deadline_s + labels.LATE_S:
        return "late"
    return "cut" if event.response is not None and event.response.ended_early == "deadline" else "met"


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
