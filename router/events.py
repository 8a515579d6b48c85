"""What happened, as frozen records. The core emits them; sinks (telemetry, pacing, the decision log, tracing) decide
what they become. An emitter never waits and never fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from router.records import Aggregator, Decision, Kind, Usage
from router.trace_context import Trace

if TYPE_CHECKING:
    from router.response import Response

Outcome = Literal["answered", "refused", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Decided:
    """A query was planned: the route is known, nothing was asked yet."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Unserved:
    """Nobody who could take the query is up, or all of them are resting. `policy` is as in `Decision`."""

    policy: str


@dataclass(frozen=True, slots=True)
class LegEnded:
    """One call of one expert came to its end.

    `outcome` is "answered", "cancelled" (the client has gone), "cut" (not needed any more) or an expert error's reason.
    `started`: seconds on the monotonic clock. `output_tokens` is what the expert itself said, where it did.
    """

    expert: str
    leg_id: str
    outcome: str
    seconds: float
    first_token_s: float | None
    started: float = 0.0
    kind: Kind = "chat"
    trace: Trace | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class LegSettled:
    """What a leg generated, also when it was aborted: what money rests on. `model` is what the client asked for."""

    expert: str
    leg_id: str
    usage: Usage
    model: str = ""


@dataclass(frozen=True, slots=True)
class ExtraLeg:
    """One more expert was asked because this one failed (retry) or was late (hedge)."""

    why: Literal["retry", "hedge"]
    expert: str


@dataclass(frozen=True, slots=True)
class Concluded:
    """Several experts' replies became one answer. `how` is what was done, `why` what led to it."""

    policy: str
    how: Aggregator
    why: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The client's request is over. `policy` is "" when it was refused before one was known.

    `code` is the error's, where it ended in one; `decision` and `response` are there as far as it came; `first_byte_s`
    is when the response began. `trace_id`: only of a trace that is recorded, so that others may point to it. `tenant`:
    "" where nobody was known to ask; `why`: as in `Turned`.
    """

    policy: str
    outcome: Outcome
    status: int
    seconds: float
    request_id: str = ""
    principal: str = ""
    code: str | None = None
    first_byte_s: float | None = None
    decision: Decision | None = None
    response: Response | None = None
    trace_id: str | None = None
    trace: Trace | None = None
    tenant: str = ""
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Degraded:
    """A query's budget did not allow what its policy wanted: `rung` is what was given up (`affordable.py`)."""

    policy: str
    rung: str


@dataclass(frozen=True, slots=True)
class Turned:
    """A request was turned away before anything was spent: `code` is the error's, `why` what was short."""

    tenant: str
    policy: str
    code: str
    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """Money was set aside for legs of a request, nanodollars."""

    tenant: str
    amount: int


@dataclass(frozen=True, slots=True)
class Booked:
    """A leg was settled in the ledger, or its hold freed: nanodollars. `lag_s`: since the leg's end."""

    tenant: str
    held: int
    charged: int
    overrun: int = 0
    estimated: bool = False
    lag_s: float = 0.0
    expert: str = ""
    leg_id: str = ""


@dataclass(frozen=True, slots=True)
class LedgerLost:
    """The ledger could not be reached. `what` was asked: "reserve", "settle" and so on; `open`: served without it."""

    what: str
    open: bool


@dataclass(frozen=True, slots=True)
class Waited:
    """A call came to its turn in an expert's queue, or was refused there. `tenant`: whose."""

    expert: str
    tenant: str
    seconds: float
    refused: str | None = None  # "full", "hopeless"


@dataclass(frozen=True, slots=True)
class FeedbackGiven:
    """Somebody said whether an answer was right; `counted`: it moves profiles (else it is kept, as they are frozen)."""

    policy: str
    right: bool
    counted: bool


Event = (
    Decided
    | Unserved
    | LegEnded
    | LegSettled
    | ExtraLeg
    | Concluded
    | Finished
    | Degraded
    | Turned
    | Held
    | Booked
    | LedgerLost
    | Waited
    | FeedbackGiven
)
Emit = Callable[[Event], None]
