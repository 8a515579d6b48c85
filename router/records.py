"""One frozen record per step of a query's journey. No behaviour beyond derived quantities.

Query -> Ticket -> CategoryScores -> SkillScores -> [Candidate] -> Plan, all in a Decision -> [Reply] -> Answer
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from experts.errors import ExpertError
from router.budget import NO_WISH, UNBOUNDED, Budget, Fit, Stopped, Wish
from router.caller import NOBODY, Caller
from router.trace_context import Trace

if TYPE_CHECKING:
    from router.outlook import Outlook
    from router.structured import AnswerFormat

JsonObject = dict[str, Any]
Aggregator = Literal["single", "vote", "consensus", "synthesize"]
Aggregate = Literal["auto", Aggregator]  # what may be asked for
Kind = Literal["chat", "completion"]
Role = Literal["answer", "keywords", "aggregator"]
Evidence = Literal["skill", "category", "overall", "pool"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What an expert must be able to do to be asked at all."""

    tools: bool = False
    json_schema: bool = False  # any response_format but text
    images: bool = False
    samples: int = 1  # OpenAI's n; of /v1/completions, n times the prompts

    def missing(self, tools: bool, json_schema: bool, images: bool) -> tuple[str, ...]:
        """Names of needed capabilities that an expert with the given ones lacks."""
        have = {"tools": tools, "json_schema": json_schema, "images": images}
        return tuple(name for name, has in have.items() if getattr(self, name) and not has)


@dataclass(frozen=True, slots=True)
class Query:
    """One request, validated: what is asked, what it needs, how it wants the answer.

    `body` is the client's own JSON (sampling parameters unchanged) without `model`, `stream`,
    `stream_options` and `symposium`. `text` is what is asked now, `earlier` what the user said before (oldest first,
    bounded): both are classified. `texts` is all that is rendered into the prompt. `session` is the client's own
    name for the conversation; `answer_format` what the answer must keep to.
    """

    request_id: str
    model: str
    text: str
    body: JsonObject
    needs: Needs
    texts: tuple[str, ...]
    max_tokens: int | None
    stream: bool = False
    include_usage: bool = False
    explain: bool = False
    progress: bool = False  # a stream that tells the route as it happens
    kind: Kind = "chat"
    aggregate: Aggregate | None = None  # None: as the policy says
    earlier: tuple[str, ...] = ()
    session: str | None = None
    answer_format: AnswerFormat | None = None
    trace: Trace | None = None  # that the request belongs to
    wish: Wish = NO_WISH  # what it says of its budget

    @property
    def prompt_bytes(self) -> int:
        return sum(len(t.encode()) for t in self.texts)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Admission's yes: who asks, and since when the whole request was there (seconds on the monotonic clock)."""

    principal: str
    admitted_at: float
    caller: Caller = NOBODY
    arrived_at: float = 0.0  # what deadlines count from: the request's first byte


@dataclass(frozen=True, slots=True)
class CategoryScores:
    """Stage 1. Calibrated probabilities; `category` is `general` when none reaches the threshold.

    `familiarity` is the cosine to the nearest known skill; `familiar` is false where that is too far from everything
    known. `confident`: familiar, and sure enough to act on.
    """

    probabilities: Mapping[str, float]
    category: str
    confident: bool
    familiarity: float = 1.0
    familiar: bool = True


@dataclass(frozen=True, slots=True)
class SkillScores:
    """Stage 2a. The question's skills, best first, with weights that sum to 1.

    Empty when the question resembles no known skill; `nearest` then says what came closest. `unknown` are keywords
    that the keyword expert repeated and that are like no known skill.
    """

    weights: Mapping[str, float]
    nearest: tuple[str, float] | None = None
    source: Literal["embedding", "keywords"] = "embedding"
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """Stage 2b. One expert with what speaks for it, or why it is out.

    `p_spread` is the standard deviation of `p_correct`; `rate` what its profile alone says of it, `observations` the
    number of calibration answers behind it, and `evidence` the level they were found on; 0 of the `pool` means that the
    expert was never measured. `score` is what the policy orders experts by.
    """

    expert: str
    p_correct: float
    observations: int
    usd_per_query: float
    excluded: str | None = None
    evidence: Evidence = "overall"
    rate: float = 0.0
    p_spread: float = 0.0
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is asked, how the answers become one, who may step in, and why this size.

    `waves` are the experts in the order they are asked: the second wave only while the first has not decided.
    `quorum`: so many answers of the last wave are enough. `decided_at`: the posterior at which nobody more is waited
    for; None: everybody is heard. `p_correct`: per expert, what its vote counts by and a tie is broken by; `equal`: all
    votes count the same. `prices`: per expert, what hearing it must add to P(right) to be worth it. `synthesizers`: who
    may write one answer of several, the best first; `agreed_at`: the posterior of the vote at which nobody has to.
    """

    waves: tuple[tuple[str, ...], ...]
    aggregator: Aggregator
    spares: tuple[str, ...]
    reason: str
    quorum: int | None = None
    decided_at: float | None = None
    p_correct: Mapping[str, float] = field(default_factory=dict)
    equal: bool = False
    prices: Mapping[str, float] = field(default_factory=dict)
    synthesizers: tuple[str, ...] = ()
    agreed_at: float | None = None
    fit: Fit | None = None  # how it keeps to the query's budget

    @property
    def experts(self) -> tuple[str, ...]:
        """All who may be convened, in order; spares not counted."""
        return tuple(expert for wave in self.waves for expert in wave)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens; `exact` is false where an expert elsewhere was cut off and only an estimate exists."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    exact: bool = True

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.exact and other.exact,
        )

    def json(self) -> JsonObject:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """One leg that was answered: the expert's choices, and what they cost. A relayed one's went by: none are here."""

    expert: str
    leg_id: str
    choices: tuple[JsonObject, ...]
    usage: Usage
    seconds: float
    extra: Mapping[str, Any] = field(default_factory=dict)  # fields such as system_fingerprint
    first_token_s: float | None = None
    stopped: Stopped | None = None  # why it ends before its end

    @property
    def texts(self) -> tuple[str, ...]:
        """What each choice says; "" for one without text."""
        return tuple(map(_text, self.choices))

    @property
    def text(self) -> str:
        return _text(self.choices[0])


def _text(choice: JsonObject) -> str:
    said = (choice.get("message") or {}).get("content", choice.get("text"))
    return said if isinstance(said, str) else ""


@dataclass(frozen=True, slots=True)
class Failure:
    """One leg that was not answered, and the error that says why. `usage` is what is known of it, or an estimate."""

    expert: str
    leg_id: str
    error: ExpertError
    usage: Usage = Usage()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """One leg that was aborted by us, because its answer was not needed any more. `usage` is what is known of it."""

    expert: str
    leg_id: str
    usage: Usage = Usage()
    seconds: float = 0.0


EndedLeg = Reply | Failure | Cut


Move = Literal["wait", "ask", "stop"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a convening stands: who has answered, whose answers are awaited, which waves were not asked yet."""

    replies: tuple[Reply, ...]
    running: tuple[str, ...]
    left: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Ballot:
    """How several replies compare: extracted answer -> the experts behind it, winner first.

    `share` is the winner's of the votes cast. `posterior` is the probability that the winner is right, as far as
    P(correct) of its supporters and opponents says; None where nothing was voted on. `spread` is the expected distance
    (1 - cosine) of open-ended responses from the one chosen; small where they say the same.
    """

    answers: tuple[tuple[str, tuple[str, ...]], ...]
    share: float
    posterior: float | None = None
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets: one expert's own choices, and how it came to be these."""

    expert: str
    choices: tuple[JsonObject, ...]
    ballot: Ballot | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The route of one query up to dispatch. Everything `explain` shows, and events carry."""

    query: Query
    ticket: Ticket
    config_version: str
    policy: str
    plan: Plan
    categories: CategoryScores | None = None  # None: the request named its expert
    skills: SkillScores | None = None
    candidates: tuple[Candidate, ...] = ()
    asides: tuple[Reply | Failure, ...] = ()  # legs that helped to decide: the keyword expert's
    stale: tuple[str, ...] = ()  # candidates of which another version was measured than the one that answers now
    turns: int = 1  # of the conversation, that were classified; the last is what is asked now
    anchor: int = 0  # the turn that the route is by
    overhead_s: float = 0.0
    budget: Budget = UNBOUNDED
    outlooks: Mapping[str, Outlook] = field(default_factory=dict)  # of all who may be asked
    profiles: int = 0  # number of the last feedback that has moved them
