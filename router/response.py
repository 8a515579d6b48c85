"""What a query comes to, as far as it has: the answer or the words as they are generated, and every leg behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from experts.errors import ExpertError, ExpertOutOfTime, ExpertUnfunded
from router.budget import Stopped
from router.dispatch import LiveReply
from router.records import Aggregator, Answer, Ballot, Decision, EndedLeg, Failure, JsonObject, Reply, Role, Usage

Heard = Callable[[Role, EndedLeg], None]


def unheard(role: Role, leg: EndedLeg) -> None:
    """Nobody listens."""


@dataclass(slots=True)
class Response:
    """What a query comes to. Whole in `answer`; or `live` is being generated, and the legs are all there once it is
    through. `missing` are planned experts that neither answered nor were replaced: the answer is made without them.
    """

    decision: Decision
    heard: Heard
    how: Aggregator = "single"
    why: str = "single"
    answer: Answer | None = None
    live: LiveReply | None = None
    ballot: Ballot | None = None
    missing: tuple[str, ...] = ()
    role: Role = "answer"  # of the live reply's expert
    ended: list[tuple[Role, EndedLeg]] = field(default_factory=list)
    gathered_at: float | None = None  # experts were heard whole: seconds on the monotonic clock
    concluded_at: float | None = None  # and became one answer, or what will be relayed

    def hear(self, role: Role) -> Callable[[EndedLeg], None]:
        def told(leg: EndedLeg) -> None:
            self.ended.append((role, leg))
            self.heard(role, leg)

        return told

    @property
    def legs(self) -> tuple[tuple[Role, EndedLeg], ...]:
        """Every call made for the query, to decide or to answer, with what it was for."""
        asides: list[tuple[Role, EndedLeg]] = [("keywords", leg) for leg in self.decision.asides]
        return (*asides, *self.ended)

    @property
    def usage(self) -> Usage:
        """Summed over every expert that was called."""
        return sum((leg.usage for _, leg in self.legs), Usage())

    @property
    def ended_early(self) -> Stopped | None:
        """Why the answer is less than was planned, where time or money ran out; of the two, time is said."""
        said: set[str | None] = {leg.stopped for _, leg in self.ended if isinstance(leg, Reply)}
        lost = [leg for role, leg in self.ended if role == "aggregator" or self.missing]
        said |= {leg.error.reason for leg in lost if isinstance(leg, Failure)}
        if ExpertOutOfTime.reason in said:
            return "deadline"
        return "budget" if said & {"budget", ExpertUnfunded.reason} else None

    @property
    def answered(self) -> tuple[str, ...]:
        """The experts whose replies the answer rests on, or that are answering."""
        replied = [leg.expert for role, leg in self.ended if isinstance(leg, Reply) and role == "answer"]
        found = [name for name in replied if name not in self.missing]  # who was cut short beside others has no vote
        return (*found, self.live.expert) if self.live is not None and self.role == "answer" else tuple(found)

    async def chunks(self) -> AsyncGenerator[JsonObject, None]:
        """The live reply's words as they come. Raises ExpertError when its expert fails on the way."""
        assert self.live is not None, "there is a whole answer"
        try:
            async for chunk in self.live.chunks:
                yield chunk
        except ExpertError as error:
            self.hear(self.role)(self.live.failure(error))
            raise
        self.hear(self.role)(self.live.reply())
