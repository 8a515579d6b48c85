"""What an operator decides about convening: policies, and how planned experts are called under all of them.

A part of `router/config.py`, which is where everybody else takes it from.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experts.spec import Name, Spec
from router.config_budgets import Budgets, Concurrency
from router.config_observability import Prompts
from router.records import Aggregate

Recruitment = Literal["predicted", "symbolic", "category", "assigned", "overall", "random"]
MAX_EXPERTS = 16  # that one policy may convene
BLIND: frozenset[Recruitment] = frozenset({"overall", "random"})  # baselines that do not look at the question


class Breakers(Spec):
    """When an expert is left out for a while: by failures in a row, by their share, by the share of slow calls.

    `failures_in_a_row`: so many. `failure_share` and `slow_share`: of the calls that count. `slow_first_token_s`: a
    call is slow whose first token took longer. `min_calls`: shares count from so many calls on. `window_s`: shares are
    of the last so many seconds. `open_s`: after so long one call probes. `max_open_s`: each failed probe doubles the
    wait, up to this. `keep`: at least so many of the experts that a query may ask stay in, however they do.
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

    `retry_share` and `hedge_share`: bounds on additional calls, by their share of the requests. `hedge_quantile`: one
    more expert is asked beside a call whose first token takes longer than this quantile of the expert's last calls;
    null: never. `alternatives`: the number of wrong answers among which experts that are wrong are taken to scatter.
    `max_chars`: bound on the question, and on each response, that an aggregating expert reads. `keepalive_after_ms`: a
    stream in which nothing could be sent for so long says so by comments, again and again. `breakers`: when an expert
    is left out. `concurrency`: how many calls of an expert are under way at once, and how many wait.
    """

    retry_share: float = Field(default=0.2, ge=0, le=1)
    hedge_share: float = Field(default=0.05, ge=0, le=1)
    hedge_quantile: float | None = Field(default=0.95, gt=0, lt=1)
    alternatives: float = Field(default=2.0, ge=1)
    max_chars: int = Field(default=4000, ge=1)
    keepalive_after_ms: int = Field(default=2000, ge=1)
    breakers: Breakers = Breakers()
    concurrency: Concurrency = Concurrency()


class Policy(Spec):
    """A virtual model: how experts are recruited, how many may be convened, and when one is enough.

    `experts`: who may be convened; null: all that answer. `max_experts`: how many of them at most. `description`: for
    people, shown by `/v1/models`. `skills`: how stage 2 finds a question's skills. `recruit`: what experts are ordered
    by (`router/ranking.py`); `category`, `overall` and `random` are the baselines that the others must beat. `enough`:
    a candidate whose predicted correctness reaches it answers alone. `min_share`: nobody joins whose predicted
    correctness is below this share of the best one's.

    `aggregate`: how several answers become one. `categories`: the same for some categories, where it is another way.
    `structured`: whether requests with tools or a JSON format are voted on (the canonical call or object) or go to one
    expert. `waves`: how many are asked at once, then how many more while the answer is undecided; the last wave takes
    all that are left of `max_experts`; null: all at once. `quorum`: with so many answers the others of the last wave
    are not waited for. `decided_at`: nobody more is waited for when the posterior of an answer reaches this, or nobody
    left could overturn it; null: everybody is heard. `min_gain`: the next wave is not asked when it is expected to add
    less than so much a call to P(right), where that was learned (`routing.learned`; of the whole pool, so a small
    policy may ask on a little too long). `usd_per_right`: what a right answer is worth; with it prices count when
    experts are ordered as `predicted`, and the next wave must be worth its price besides. `target_usd_per_query`: moves
    what a right answer is worth so that queries cost so much on the mean (`router/pace.py`). `votes`: are weighed by
    predicted correctness, or all equal (a majority, ties by trust). `prompts`: what the decision log keeps of what is
    asked and answered: a keyed hash, or the redacted text. `budget`: of each query.
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
    prompts: Prompts = "hash"
    budget: Budgets = Budgets()
    description: str = ""
