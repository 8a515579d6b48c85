"""How a request ended, as far as it has: what `Finished` will say, a line in the log, the headers and the sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.edition import Edition
from router.errors import DeadlineUnreachable, SymposiumError
from router.events import Finished, Outcome
from router.explain import outcome_json, spent_json
from router.records import Decision, JsonObject
from router.response import Response
from router.trace_context import Trace

CLIENT_CLOSED = 499  # nginx's name for it; only in our own metrics


@dataclass(slots=True)
class Ending:
    """How the request ended, as far as known; what `Finished` will say."""

    request_id: str
    began: float
    edition: Edition  # what is in force at first; once the request is taken, what it keeps to its end
    principal: str = ""
    tenant: str = ""
    outcome: Outcome = "answered"
    status: int = 200
    code: str | None = None
    why: str | None = None
    first_byte_s: float | None = None
    decision: Decision | None = None
    response: Response | None = None
    trace: Trace | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # of whatever the response is

    @property
    def started(self) -> bool:
        """The response's first byte is out."""
        return self.first_byte_s is not None

    def failed(self, error: SymposiumError) -> None:
        refused = error.status < 500 or isinstance(error, DeadlineUnreachable)  # before anything was spent
        self.outcome, self.status = ("refused" if refused else "failed"), error.status
        self.code, self.why = error.code, error.why

    def cancelled(self) -> None:
        self.outcome, self.status = "cancelled", CLIENT_CLOSED

    def finished(self, now: float) -> Finished:
        return Finished(
            self.decision.policy if self.decision else "",
            self.outcome,
            self.status,
            now - self.began,
            self.request_id,
            self.principal,
            self.code,
            self.first_byte_s,
            self.decision,
            self.response,
            self.trace.trace_id if self.trace and self.trace.recorded else None,
            self.trace,
            self.tenant,
            self.why,
        )


def headers_of(decision: Decision, response: Response | None) -> dict[str, str]:
    """The plan; and, where the stream was not opened before that, what came of it."""
    plan = decision.plan
    headers = {
        "x-symposium-decision-id": decision.query.request_id,
        "x-symposium-config": decision.config_version,
        "x-symposium-plan": f"{plan.aggregator};reason={plan.reason};asked={','.join(plan.experts)}",
        "x-symposium-overhead-ms": f"{decision.overhead_s * 1000:.2f}",
    }
    if plan.fit is not None and plan.fit.rung != "none":
        headers["x-symposium-degraded"] = plan.fit.rung
    if decision.query.trace is not None:
        headers["x-symposium-trace-id"] = decision.query.trace.trace_id
    if response is not None:
        headers["x-symposium-experts"] = ",".join(response.answered)
        if response.missing:
            headers["x-symposium-missing"] = ",".join(response.missing)
        if response.ended_early is not None:
            headers["x-symposium-ended-early"] = response.ended_early
    return headers


def told_of(response: Response, edition: Edition) -> JsonObject:
    spent = spent_json(response, edition.knowledge.usd)
    return spent | outcome_json(response) if response.decision.query.explain else spent


def cost_of(whole: JsonObject) -> dict[str, str]:
    return {"x-symposium-cost-usd": f"{whole['symposium']['cost_usd']:.6g}"}


def fields_of(finished: Finished) -> JsonObject:
    """What a line in the log says of a request: how it went, and nothing of what was asked."""
    return {
        "status": finished.status,
        "code": finished.code,
        "policy": finished.policy,
        "seconds": round(finished.seconds, 3),
        "trace_id": finished.trace_id,
    }
