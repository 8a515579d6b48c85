"""What experts are asked on behalf of one request, and one call of one expert as far as it has come.

No I/O: `legs.py` runs them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field, replace

from experts.assembly import Assembly
from experts.client import Endpoint
from experts.errors import ExpertError, ExpertRefused, ExpertTimeout, ExpertUnreachable
from router.budget import Fit, Stopped
from router.caller import NOBODY, Caller
from router.lane import Turn
from router.outlook import Outlook
from router.purse import FREE, Funds
from router.records import Cut, Decision, Failure, JsonObject, Kind, Query, Reply, Usage
from router.trace_context import Trace

CHARS_PER_TOKEN = 3  # rough
UNKNOWN_TOKENS = 256  # of a call of which nobody knows how long such calls are


@dataclass(frozen=True, slots=True)
class Call:
    """What experts are asked on behalf of one request. `model` is what the client asked for; "" where it did not.
    `problem` says what is wrong with an answer, if anything. `funds` pays for it; `caller` is whose turn it is in
    experts' queues; at `ends_at` (monotonic seconds) it is over. `outlooks`: what was expected of each expert;
    `category`: the one acted on.
    """

    request_id: str
    body: JsonObject
    kind: Kind = "chat"
    model: str = ""
    problem: Callable[[tuple[JsonObject, ...]], str | None] | None = None
    trace: Trace | None = None
    funds: Funds = FREE
    caller: Caller = NOBODY
    ends_at: float | None = None
    outlooks: Mapping[str, Outlook] = field(default_factory=dict)
    category: str | None = None
    samples: int = 1  # that each expert is asked for

    def left_s(self, now: float) -> float:
        """Until it is over."""
        return math.inf if self.ends_at is None else self.ends_at - now

    def tokens(self, expert: str, cap: int | None) -> int:
        """Prompt and answer, as expected."""
        outlook = self.outlooks.get(expert)
        if outlook is None:
            return UNKNOWN_TOKENS
        answer = round(outlook.mean_tokens)
        return max(1, outlook.prompt_tokens + (answer if cap is None else min(answer, cap)))

    def least_s(self, expert: str) -> float:
        """What its answer takes if all goes well; 0 where nobody knows."""
        outlook = self.outlooks.get(expert)
        return outlook.early.seconds(round(outlook.mean_tokens)) if outlook is not None and outlook.known else 0.0

    def needs_s(self, expert: str, cap: int | None) -> float:
        """What has to be left once its turn has come: what half of such answers take; 0 where nobody knows."""
        outlook = self.outlooks.get(expert)
        if outlook is None or not outlook.known:
            return 0.0
        return outlook.usual.seconds(round(outlook.mean_tokens if cap is None else min(outlook.mean_tokens, cap)))

    @classmethod
    def of(cls, query: Query) -> Call:
        """The client's own request; where it names a format, answers must keep to it."""
        if (wanted := query.answer_format) is None:
            return cls(query.request_id, query.body, query.kind, query.model, trace=query.trace)

        def problem(choices: tuple[JsonObject, ...]) -> str | None:
            finished = [c for c in choices if c.get("finish_reason") == "stop"]
            said = [c.get("message") or {"content": c.get("text")} for c in finished]
            texts = (message.get("content") for message in said if not message.get("tool_calls"))
            return next((why for text in texts if (why := wanted.problem(text)) is not None), None)

        return cls(query.request_id, query.body, query.kind, query.model, problem, query.trace)

    @classmethod
    def decided(cls, decision: Decision, funds: Funds) -> Call:
        """The client's own request, with what was decided about it."""
        return replace(
            cls.of(decision.query),
            funds=funds,
            caller=decision.ticket.caller,
            ends_at=decision.budget.ends_at(decision.ticket.arrived_at),
            outlooks=decision.outlooks,
            category=decision.categories.category if decision.categories else None,
            samples=decision.query.needs.samples,
        )

    def within(self, fit: Fit | None, now: float) -> Call:
        """Where somebody is to write one answer of the replies, these must be there so early that there is time."""
        if fit is None or fit.answers_within_s is None or self.ends_at is None:
            return self
        return replace(self, ends_at=min(self.ends_at, now + fit.answers_within_s))

    def writing(self, query: Query, outlooks: Mapping[str, Outlook]) -> Call:
        """What an aggregating expert is asked for the same request."""
        return replace(Call.of(query), funds=self.funds, caller=self.caller, ends_at=self.ends_at, outlooks=outlooks)


@dataclass(slots=True)
class Leg:
    """One call under way. Its chunks are read once: `first`, then `rest`."""

    endpoint: Endpoint
    leg_id: str
    call: Call
    started: float
    now: Callable[[], float] = field(repr=False)
    assembly: Assembly | None = None  # of its chunks, where somebody wants the whole answer
    chunks: int = 0
    first_token_s: float | None = None
    usage: Usage | None = None
    extra: JsonObject = field(default_factory=dict)
    cut: bool = False  # aborted by us, not by the client's leaving
    cap: int | None = None  # output tokens of each sample that it is sent with, where it is not the client's own
    turn: Turn | None = None  # at the expert, as long as it has it
    sent_at: float | None = None
    settled: Usage | None = None  # what was booked for it
    unused: bool = False  # it generated nothing
    stopped: Stopped | None = None  # why its answer ends before its end
    open_choices: dict[int, None] = field(default_factory=dict)  # begun, and not finished
    source: AsyncGenerator[JsonObject, None] | None = None
    head: JsonObject | None = None

    @property
    def expert(self) -> str:
        return self.endpoint.expert

    def used(self) -> Usage:
        """Tokens as far as known here: reported, or an estimate.

        Of an expert elsewhere that was cut off nobody knows what it has generated, and will bill: all that was held for
        it. What our own hosts have generated they say when it is settled; until then, what has come of it.
        """
        if self.settled is not None:
            return self.settled
        if self.usage is not None:
            return self.usage
        if self.unused or not self.sent:
            return Usage()
        if self.endpoint.hosted and not self.chunks:
            return Usage(exact=False)
        if not self.endpoint.hosted and (reserved := self.call.funds.reserved(self.leg_id)) is not None:
            return reserved
        prompt = self.call.body.get("messages", self.call.body.get("prompt"))
        return Usage(len(str(prompt)) // CHARS_PER_TOKEN, self.chunks, exact=False)

    @property
    def sent(self) -> bool:
        return self.sent_at is not None

    @property
    def waited_s(self) -> float:
        """For money and for its turn, before it was sent; all the time where it was not."""
        return (self.now() if self.sent_at is None else self.sent_at) - self.started

    @property
    def output_tokens(self) -> int:
        """So far: as the expert counts them where it does, else a token a chunk."""
        return self.chunks if self.usage is None else self.usage.completion_tokens

    @property
    def seconds(self) -> float:
        return self.now() - self.started

    async def rest(self) -> AsyncGenerator[JsonObject, None]:
        """All chunks, from the first one on; `close` aborts the leg."""
        assert self.source is not None, "opened"
        if self.head is not None:
            yield self.head
        async for chunk in self.source:
            yield chunk

    async def close(self) -> None:
        """Aborts it, if it has not ended."""
        if self.source is not None:
            await self.source.aclose()

    def reply(self, choices: tuple[JsonObject, ...] = ()) -> Reply:
        """As it stands, with the given choices."""
        used, first_s = self.used(), self.first_token_s
        return Reply(self.expert, self.leg_id, choices, used, self.seconds, self.extra, first_s, self.stopped)

    def add(self, chunk: JsonObject) -> None:
        """One more chunk with choices has come."""
        self.chunks += 1
        for choice in chunk["choices"]:
            index = choice.get("index") or 0
            if choice.get("finish_reason") is None:
                self.open_choices[index] = None
            else:
                self.open_choices.pop(index, None)
        if self.assembly is not None:
            self.assembly.add(chunk)

    def cut_short(self) -> JsonObject:
        """The chunk that ends what was begun."""
        end = {"finish_reason": "length", "logprobs": None}
        said: JsonObject = {"delta": {}} if self.call.kind == "chat" else {"text": ""}
        return {"choices": [{"index": index, **said, **end} for index in sorted(self.open_choices)]}

    def failure(self, error: ExpertError) -> Failure:
        return Failure(self.expert, self.leg_id, error, self.used(), self.seconds)

    def failed(self, error: ExpertError) -> None:
        """Whether the expert has generated nothing: it refused, or was never reached. Whether our own hosts were
        reached they say themselves.
        """
        unreached = isinstance(error, ExpertTimeout) and error.phase == "connection"
        unreached |= isinstance(error, ExpertUnreachable) and not self.endpoint.hosted
        self.unused = self.chunks == 0 and (unreached or isinstance(error, ExpertRefused))

    def dropped(self) -> Cut:
        return Cut(self.expert, self.leg_id, replace(self.used(), exact=False), self.seconds)
