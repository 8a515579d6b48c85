"""Yes or no at the door, in constant time, and what a request is told that cannot be served. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experts.errors import ExpertBusy, ExpertError, ExpertOutOfTime, ExpertRefused, ExpertUnfunded
from router.budget import PARAM
from router.caller import Caller
from router.config import Budgets, Config, Policy
from router.errors import (
    BadRequest,
    DeadlineExceeded,
    DeadlineUnreachable,
    ExpertsFailed,
    InsufficientQuota,
    Overloaded,
    SymposiumError,
)
from router.records import Ticket


def admit(caller: Caller, in_flight: int, max_in_flight: int, now: float) -> Ticket:
    """A ticket for one request.

    Raises:
        Overloaded: this replica already holds `max_in_flight` requests.
    """
    if in_flight >= max_in_flight:
        raise Overloaded(f"{max_in_flight} requests are under way; try again shortly.", code="overloaded")
    return Ticket(principal=caller.key, admitted_at=now, caller=caller, arrived_at=now)


def levels(config: Config, policy: Policy | None, caller: Caller) -> Mapping[str, Budgets]:
    """Whose budgets hold for a query, the nearest first."""
    own = {} if policy is None else {"policy": policy.budget}
    return {**own, **{name: caller.budgets[name] for name in ("key", "tenant") if name in caller.budgets},
            "server": config.server.budget}  # fmt: skip


def overloaded(ends_at: float | None, now: float, fastest: Mapping[str, Any]) -> SymposiumError:
    """No expert would take a call now, or not in time. `fastest`: who would be through first, as far as known; JSON."""
    details = {"fastest": fastest}
    if ends_at is None:
        return Overloaded("The experts are overloaded; try again shortly.", code="overloaded", details=details)
    return DeadlineUnreachable(
        f"No expert is likely to answer within the {max(0.0, ends_at - now):.3g} s that are left: too many wait.",
        code="deadline_unreachable",
        retryable=True,
        retry_after_s=1,
        param=PARAM["deadline_ms"],
        details=details,
    )


def failed(errors: Sequence[ExpertError]) -> SymposiumError:
    """Nobody answered, and why: what the client can mend comes first, then what only time can."""
    refusals = [e for e in errors if isinstance(e, ExpertRefused) and not e.replaceable]
    if refusals:
        return BadRequest(refusals[0].message, code="invalid_value", param=refusals[0].param)
    if any(isinstance(e, ExpertOutOfTime) for e in errors):
        return DeadlineExceeded("Nothing had come by the deadline.", code="deadline_exceeded")
    if errors and all(isinstance(e, ExpertBusy) for e in errors):
        return Overloaded("The experts are overloaded; try again shortly.", code="overloaded")
    if errors and all(isinstance(e, ExpertUnfunded) for e in errors):
        return InsufficientQuota("There is no money left for a call.", code="insufficient_quota")
    reasons = ", ".join(sorted({f"{e.expert}: {e.reason}" for e in errors}))
    return ExpertsFailed(f"No expert answered ({reasons}).", code="experts_failed")
