"""Everything an operator decides, as one frozen, validated configuration. Knows nothing of what is done with it,
and nothing of files: `router/config_file.py` reads them.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from experts.spec import Engine, Expert, Name, Spec
from router.config_checks import reference_problems
from router.records import Aggregate

AUTO = "auto"
Recruitment = Literal["predicted", "symbolic", "category", "assigned", "overall", "random"]
MAX_EXPERTS = 16  # that one policy may convene
BLIND: frozenset[Recruitment] = frozenset({"overall", "random"})  # baselines that do not look at the question


class RequestLimits(Spec):
    """Bounds on one request, and on how many are held at once by one router replica."""

    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    max_messages: int = Field(default=256, ge=1)
    max_n: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=32_768, ge=1)
    max_in_flight: int = Field(default=512, ge=1)


class ApiKey(Spec):
    """A client key, stored as the SHA-256 of all of it (`symposium key` makes one)."""

    name: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Server(Spec):
    """The public side. Without `api_keys` everybody who reaches the port may ask."""

    host: str = "127.0.0.1"
    api_keys: tuple[ApiKey, ...] = ()
    limits: RequestLimits = RequestLimits()
    public_metrics: bool = True
    router_replicas: int = Field(default=1, ge=1)


class Embedder(Spec):
    """`minilm` is all-MiniLM-L6-v2 from an installed package; `static` its word vectors alone: a hundred times cheaper,
    as good at categories, much worse at noticing foreign questions. Any other name or path: sentence-transformers.
    """

    model: str = "minilm"
    max_batch: int = Field(default=32, ge=1)
    max_chars: int = Field(default=2000, ge=1)


class Keywords(Spec):
    """The expert that is asked for a question's skills, and what counts of its samples (Symbolic-MoE).

    It is asked once for `samples` choices (OpenAI's `n`). A keyword stays when at least `min_repeats` of them name it.
    One that is no known skill counts as the nearest one if their names' cosine reaches `floor`. After `timeout_s`
    seconds, or when it fails, the skills are found by embedding.
    """

    expert: Name
    samples: int = Field(default=5, ge=1, le=16)
    min_repeats: int = Field(default=2, ge=1)
    temperature: float = Field(default=0.7, ge=0, le=2)
    floor: float = Field(default=0.6, ge=-1, le=1)
    max_tokens: int = Field(default=48, ge=1)
    max_question_chars: int = Field(default=2000, ge=1)
    timeout_s: float = Field(default=2.0, gt=0)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.min_repeats > self.samples:
            raise ValueError("min_repeats must not exceed samples")
        return self


class Assigning(Spec):
    """Which expert serves which category, as `symposium assign` finds it and policies with `recruit: assigned` use it.

    `resident_b`: billions of parameters (`parameters_b`) that all assigned experts may have together, a model that
    several are on counted once. `usd_per_query`: what a query of `prompt_tokens` may cost on the mean. `forced`:
    category -> the expert that it must have; `forbidden`: category -> those that it must not.
    """

    resident_b: float | None = Field(default=None, ge=0)
    usd_per_query: float | None = Field(default=None, ge=0)
    prompt_tokens: int = Field(default=256, ge=0)
    forced: dict[Name, Name] = Field(default_factory=dict)
    forbidden: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)


class Routing(Spec):
    """The two stages. `fitted` is written by `symposium fit`, `profiles` and `learned` by `symposium profile`."""

    embedder: Embedder = Embedder()
    fitted: str
    profiles: str
    learned: str | None = None
    general_expert: Name
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    skill_floor: float = Field(default=0.35, ge=-1, le=1)
    max_skills: int = Field(default=3, ge=1)
    prior_strength: float = Field(default=8.0, gt=0)
    assignment: Assigning = Assigning()
    keywords: Keywords | None = None


class Breakers(Spec):
    """When an expert is left out for a while: by failures in a row, by their share, by the share of slow calls.

    Shares are of the last `window_s` seconds, once they hold `min_calls`. A call is slow whose first token took longer
    than `slow_first_token_s`. After `open_s` seconds one call probes; each failed probe doubles the wait up to
    `max_open_s`. At least `keep` of the experts that a query may ask stay in, however they do.
    """

    failures_in_a_row: int = Field(default=5, ge=1)
    failure_share: float = Field(default=0.5, gt=0, le=1)
    slow_share: float = Field(default=0.8, gt=0, le=1)
    slow_first_token_s: float = Field(default=10.0, gt=0)
    min_calls: int = Field(default=20, ge=1)
    window_s: float = Field(default=30.0, gt=0)
    open_s: float = Field(default=5.0, gt=0)
    max_open_s: float = Field(default=60.0, gt=0)
    keep: int = Field(default=1, ge=1)


class Convening(Spec):
    """How planned experts are called, for every policy.

    `retry_share` and `hedge_share` bound additional calls by their share of the requests. A call is hedged (one more
    expert asked beside it) when its first token takes longer than the `hedge_quantile` of this expert's last calls;
    None: never.
    `alternatives`: the number of wrong answers among which experts that are wrong are taken to scatter.
    `max_chars`: bound on the question, and on each response, that an aggregating expert reads.
    A stream in which nothing could be sent for `keepalive_after_ms` says so by comments, again and again.
    """

    retry_share: float = Field(default=0.2, ge=0, le=1)
    hedge_share: float = Field(default=0.05, ge=0, le=1)
    hedge_quantile: float | None = Field(default=0.95, gt=0, lt=1)
    alternatives: float = Field(default=2.0, ge=1)
    max_chars: int = Field(default=4000, ge=1)
    keepalive_after_ms: int = Field(default=2000, ge=1)
    breakers: Breakers = Breakers()


class Policy(Spec):
    """A virtual model: how experts are recruited, how many may be convened, and when one is enough.

    `skills`: how stage 2 finds a question's skills. `recruit`: what experts are ordered by (`router/ranking.py`);
    `category`, `overall` and `random` are the baselines that the others must beat. `enough`: a candidate whose
    predicted correctness reaches it answers alone. `min_share`: nobody joins whose predicted correctness is below this
    share of the best one's.

    `aggregate`: how several answers become one; `categories` says otherwise for some. `structured`: whether requests
    with tools or a JSON format are voted on (the canonical call or object) or go to one expert. `waves`: how many are
    asked at once, then how many more while the answer is undecided; the last wave takes all that are left of
    `max_experts`; None: all at once. `quorum`: with so many answers the others of the last wave are not waited for.
    `decided_at`: nor when the posterior of an answer reaches this, or nobody left could overturn it; None: everybody is
    heard. `min_gain`: the next wave is not asked when it is expected to add less than so much a call to P(right), where
    that was learned (`routing.learned`; of the whole pool, so a small policy may ask on a little too long).
    `usd_per_right`: what a right answer is worth; then prices count when experts are ordered as `predicted`, and the
    next wave must be worth its price besides. `target_usd_per_query`: moves that worth so that queries cost so much on
    the mean (`router/pace.py`). `votes`: weighed by predicted correctness, or all equal (a majority, ties by trust).
    """

    experts: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    max_experts: int = Field(default=3, ge=1, le=MAX_EXPERTS)
    aggregate: Aggregate = "auto"
    categories: dict[Name, Aggregate] = Field(default_factory=dict)
    structured: Literal["vote", "single"] = "vote"
    waves: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] | None = None
    quorum: int | None = Field(default=None, ge=1)
    decided_at: float | None = Field(default=0.98, gt=0, le=1)
    min_gain: float = Field(default=0.002, ge=0, le=1)
    usd_per_right: float | None = Field(default=None, gt=0)
    target_usd_per_query: float | None = Field(default=None, gt=0)
    votes: Literal["predicted", "equal"] = "predicted"
    skills: Literal["embedding", "keywords"] = "embedding"
    recruit: Recruitment = "predicted"
    enough: float = Field(default=0.85, ge=0, le=1)
    min_share: float = Field(default=0.3, ge=0, le=1)
    description: str = ""


class Config(Spec):
    """One version of everything. Paths are absolute after `load`; `data` is where a running symposium writes to."""

    version: Literal[1]
    data: str = "data"
    server: Server = Server()
    engines: dict[Name, Engine] = Field(default_factory=dict)
    experts: dict[Name, Expert] = Field(min_length=1)
    routing: Routing
    convening: Convening = Convening()
    policies: dict[Name, Policy] = Field(default_factory=lambda: {AUTO: Policy()})

    @property
    def hash(self) -> str:
        """Twelve hex digits that change whenever anything in the configuration does."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @property
    def answering(self) -> tuple[str, ...]:
        """The experts that answer questions: whom a policy without a list of its own may convene."""
        return tuple(name for name, expert in self.experts.items() if expert.part == "answers")

    @property
    def sizeless(self) -> tuple[str, ...]:
        """The experts that answer of which it is not known what they hold resident."""
        return tuple(name for name in self.answering if self._sizeless(self.experts[name]))

    def _sizeless(self, expert: Expert) -> bool:
        """An engine's own model holds what the engine says; an adapter, or an expert elsewhere, has to say its own."""
        engine = self.engines.get(expert.engine or "")
        of_engine = expert.lora is None and engine is not None and engine.parameters_b is not None
        return expert.parameters_b is None and not of_engine

    def loras(self, engine: str) -> dict[str, str]:
        """Expert name -> adapter, for the LoRA experts of one engine."""
        return {n: e.lora for n, e in self.experts.items() if e.engine == engine and e.lora is not None}

    def tokenizer(self, expert: str) -> str | None:
        """Folder or file of an expert's tokenizer: its own, else that of its engine's local model."""
        spec = self.experts[expert]
        if spec.tokenizer is None and spec.engine is not None:
            engine = self.engines[spec.engine]
            return str(engine.args.get("tokenizer") or engine.model)
        return spec.tokenizer

    @model_validator(mode="after")
    def _references(self) -> Self:
        problems = [*reference_problems(self)]
        if AUTO not in self.policies:
            problems.append(f"policies: '{AUTO}' is missing; it is what clients ask for by default")
        if problems:
            raise ValueError("\n".join(problems))
        return self
