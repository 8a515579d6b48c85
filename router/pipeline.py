"""The journey of one query, in order. The only file that knows the order; each step is decided elsewhere.

    decide:  filter -> embed -> skills -> classify -> recruit -> plan
    answer:  dispatch -> aggregate        (whole answers; several experts)
    relay:   dispatch, passed through     (one expert, streamed)

Knows neither HTTP nor Ray. Before dispatch it awaits in two places only: the embedding, and the token count of a
prompt of which its bytes alone do not tell whether it fits.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from experts.errors import ExpertError, ExpertRefused
from experts.tokens import TokenCounter
from router import vote
from router.classify import classify
from router.config import Config, Policy
from router.dispatch import Dispatcher, LiveReply
from router.eligible import exclusions, nobody, to_count
from router.embed import MicroBatcher
from router.errors import BadRequest, ExpertsFailed, NotFound, SymposiumError
from router.events import Decided, Emit
from router.fitted import Fitted
from router.plan import named, plan
from router.profiles import Profiles
from router.records import Answer, Decision, Failure, Query, Reply, Ticket, Usage
from router.recruit import candidates
from router.skills import infer
from router.watch import Watch

BYTES_PER_TOKEN = 3  # rough, for expected cost only


@dataclass(frozen=True, slots=True)
class Result:
    """The answer with the legs behind it. `usage` sums over every expert that was called."""

    answer: Answer
    replies: tuple[Reply, ...]
    failures: tuple[Failure, ...]

    @property
    def usage(self) -> Usage:
        return sum((f.usage for f in self.failures), sum((r.usage for r in self.replies), Usage()))


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What one configuration version knows: fitted parts, profiles, tokenizers, prices."""

    config: Config
    version: str
    fitted: Fitted
    profiles: Profiles
    counters: dict[str, TokenCounter]
    usd_per_token: dict[str, tuple[float, float]]

    @classmethod
    def load(cls, config: Config) -> Knowledge:
        """Raises ValueError with the remedy when a fitted file is missing or does not fit."""
        experts, routing = config.experts, config.routing
        counter = cache(TokenCounter)
        return cls(
            config=config,
            version=_version(config),
            fitted=Fitted.load(Path(routing.fitted), routing.embedder.model),
            profiles=Profiles.load(Path(routing.profiles)),
            counters={name: counter(config.tokenizer(name), e.bytes_per_token) for name, e in experts.items()},
            usd_per_token={name: (e.price.usd(1, 0), e.price.usd(0, 1)) for name, e in experts.items()},
        )


def _version(config: Config) -> str:
    """Twelve hex digits that change with the configuration and with what was learned for it."""
    digest = hashlib.sha256(config.hash.encode())
    for file in (Path(config.routing.fitted), Path(config.routing.profiles)):
        digest.update(file.read_bytes() if file.exists() else b"")
    return digest.hexdigest()[:12]


class Pipeline:
    """Runs queries. One per router replica; holds no state of a request."""

    def __init__(
        self,
        knowledge: Knowledge,
        embed: MicroBatcher,
        dispatcher: Dispatcher,
        watch: Watch,
        emit: Emit,
        clock: Callable[[], float],
    ) -> None:
        self._knowledge, self._embed, self._dispatcher = knowledge, embed, dispatcher
        self._watch, self._emit, self._clock = watch, emit, clock

    async def decide(self, query: Query, ticket: Ticket) -> Decision:
        """The route of a query.

        Raises:
            NotFound: the model is neither a policy nor an expert.
            BadRequest, NoExpertAvailable: nobody can or may take it.
        """
        config = self._knowledge.config
        if query.model in config.experts:
            decision = await self._named(query, ticket)
        elif (policy := config.policies.get(query.model)) is not None:
            decision = await self._routed(query, ticket, policy)
        else:
            raise NotFound(
                f"The model '{query.model}' does not exist. GET /v1/models lists them.",
                code="model_not_found",
                param="model",
            )
        decision = replace(decision, overhead_s=self._clock() - ticket.admitted_at)
        self._emit(Decided(decision))
        return decision

    async def answer(self, decision: Decision) -> Result:
        """Asks the planned experts and makes one answer of theirs.

        Raises:
            BadRequest: every expert refused the request itself.
            ExpertsFailed: nobody answered.
        """
        query, asked = decision.query, decision.plan
        outcomes = await self._dispatcher.gather(query.request_id, asked, query.body)
        replies = tuple(o for o in outcomes if isinstance(o, Reply))
        failures = tuple(o for o in outcomes if isinstance(o, Failure))
        if not replies:
            raise _failed([f.error for f in failures])
        if asked.aggregator == "vote":
            answer = vote.majority(replies, {c.expert: c.p_correct for c in decision.candidates})
        else:
            answer = Answer(replies[0].expert, replies[0].choices, extra=replies[0].extra)
        return Result(answer, replies, failures)

    @asynccontextmanager
    async def relay(self, decision: Decision) -> AsyncIterator[LiveReply]:
        """The single planned expert's answer as it is generated; leaving the block aborts it.

        Raises as `answer` before the first chunk; ExpertError comes out of the chunks afterwards.
        """
        query = decision.query
        async with AsyncExitStack() as stack:
            leg = self._dispatcher.stream(query.request_id, decision.plan, query.body)
            try:
                live = await stack.enter_async_context(leg)
            except ExpertError as error:
                raise _failed([error]) from error
            yield live

    async def _named(self, query: Query, ticket: Ticket) -> Decision:
        excluded = await self._excluded(query, (query.model,))
        if query.model in excluded:
            raise nobody(excluded)
        return Decision(query, ticket, self._knowledge.version, "expert", named(query.model))

    async def _routed(self, query: Query, ticket: Ticket, policy: Policy) -> Decision:
        know, routing = self._knowledge, self._knowledge.config.routing
        allowed = policy.experts or tuple(know.config.experts)
        excluded = await self._excluded(query, allowed)
        if excluded.keys() >= set(allowed):
            raise nobody(excluded)
        vector = await self._embed(query.text)
        skills = infer(know.fitted.vocabulary, vector, routing.skill_floor, routing.max_skills)
        categories = classify(know.fitted.classifier, vector, bool(skills.weights), routing.min_confidence)
        found = candidates(
            allowed,
            know.profiles,
            categories,
            skills,
            strength=routing.prior_strength,
            usd_per_token=know.usd_per_token,
            prompt_tokens=query.prompt_bytes // BYTES_PER_TOKEN + 1,
            excluded=excluded,
        )
        chosen = plan(policy, found, categories, query.needs, routing.general_expert)
        assert chosen is not None, "somebody is not excluded"
        return Decision(query, ticket, know.version, query.model, chosen, categories, skills, found)

    async def _excluded(self, query: Query, allowed: tuple[str, ...]) -> dict[str, str]:
        experts, counters = self._knowledge.config.experts, self._knowledge.counters
        counted: dict[str, int] = {}
        if unsure := to_count(query, experts, allowed):
            each = {counters[name]: 0 for name in unsure}  # experts that share a tokenizer share a counter
            counts = await asyncio.to_thread(lambda: {c: c.count(query.texts) for c in each})
            counted = {name: counts[counters[name]] for name in unsure}
        return exclusions(query, experts, allowed, self._watch.up, counted)


def _failed(errors: list[ExpertError]) -> SymposiumError:
    refusals = [e for e in errors if isinstance(e, ExpertRefused) and not e.replaceable]
    if refusals:
        return BadRequest(refusals[0].message, code="invalid_value", param=refusals[0].param)
    reasons = ", ".join(sorted({f"{e.expert}: {e.reason}" for e in errors}))
    return ExpertsFailed(f"No expert answered ({reasons}).", code="experts_failed")
