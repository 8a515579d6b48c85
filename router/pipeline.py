"""The journey of one query, in order. The only file that knows the order; each step is decided elsewhere.

    decide:  filter -> embed (and keywords) -> classify -> skills -> recruit -> rank -> plan
    answer:  dispatch -> aggregate        (whole answers; several experts)
    relay:   dispatch, passed through     (one expert, streamed)

Knows neither HTTP nor Ray. Before dispatch it awaits in three places only: the token count of a prompt of which its
bytes alone do not tell whether it fits, the embedding, and the keyword expert where a policy asks one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from experts.errors import ExpertError, ExpertRefused, ExpertUnreachable
from experts.prompts import keywords_prompt
from experts.tokens import TokenCounter
from experts.version import expert_versions
from router import vote
from router.classify import classify
from router.config import Config, Keywords, Policy
from router.dispatch import Dispatcher, Heard, LiveReply
from router.eligible import exclusions, nobody, to_count
from router.embed import MicroBatcher
from router.errors import BadRequest, ExpertsFailed, NotFound, SymposiumError
from router.events import Decided, Emit
from router.fitted import Fitted
from router.keywords import named_skills, repeated, strange
from router.plan import named, plan
from router.profiles import Profiles, stale
from router.ranking import ranked
from router.records import Answer, Decision, Failure, JsonObject, Query, Reply, SkillScores, Ticket, Usage
from router.recruit import candidates
from router.skills import infer
from router.watch import Watch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BYTES_PER_TOKEN = 3  # rough, for expected cost only


@dataclass(frozen=True, slots=True)
class Result:
    """The answer with the legs behind it. `usage` sums over every expert that was called, to decide or to answer."""

    answer: Answer
    replies: tuple[Reply, ...]
    failures: tuple[Failure, ...]
    asides: tuple[Reply | Failure, ...]

    @property
    def usage(self) -> Usage:
        legs: tuple[Reply | Failure, ...] = (*self.replies, *self.failures, *self.asides)
        return sum((leg.usage for leg in legs), Usage())


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What one configuration version knows: fitted parts, profiles, tokenizers, prices.

    `versions` says what answers under each expert's name; `stale` are those of which something else was measured.
    """

    config: Config
    version: str
    fitted: Fitted
    profiles: Profiles
    counters: dict[str, TokenCounter]
    usd_per_token: dict[str, tuple[float, float]]
    versions: dict[str, str]
    stale: frozenset[str]

    @classmethod
    def load(cls, config: Config) -> Knowledge:
        """Raises ValueError with the remedy when a fitted file is missing or does not fit."""
        experts, routing = config.experts, config.routing
        counter = cache(TokenCounter)
        profiles, versions = Profiles.load(Path(routing.profiles)), expert_versions(experts, config.engines)
        return cls(
            config=config,
            version=_version(config),
            fitted=Fitted.load(Path(routing.fitted), routing.embedder.model),
            profiles=profiles,
            counters={name: counter(config.tokenizer(name), e.bytes_per_token) for name, e in experts.items()},
            usd_per_token={name: (e.price.usd(1, 0), e.price.usd(0, 1)) for name, e in experts.items()},
            versions=versions,
            stale=frozenset(stale(profiles, versions)),
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
        own_s = self._clock() - ticket.admitted_at - sum(leg.seconds for leg in decision.asides)
        decision = replace(decision, overhead_s=max(0.0, own_s))
        self._emit(Decided(decision))
        return decision

    async def answer(self, decision: Decision, heard: Heard = lambda outcome: None) -> Result:
        """Asks the planned experts and makes one answer of theirs; `heard` is told each leg's outcome as it comes.

        Raises:
            BadRequest: every expert refused the request itself.
            ExpertsFailed: nobody answered.
        """
        query, asked = decision.query, decision.plan
        outcomes = await self._dispatcher.gather(query.request_id, asked, query.body, heard)
        replies = tuple(o for o in outcomes if isinstance(o, Reply))
        failures = tuple(o for o in outcomes if isinstance(o, Failure))
        if not replies:
            raise _failed([f.error for f in failures])
        if asked.aggregator == "vote":
            answer = vote.majority(replies, {c.expert: c.p_correct for c in decision.candidates})
        else:
            answer = Answer(replies[0].expert, replies[0].choices, extra=replies[0].extra)
        return Result(answer, replies, failures, decision.asides)

    @asynccontextmanager
    async def relay(self, decision: Decision, heard: Heard = lambda outcome: None) -> AsyncIterator[LiveReply]:
        """The single planned expert's answer as it is generated; leaving the block aborts it.

        `heard` is told of each expert that failed before the first chunk.

        Raises as `answer` before the first chunk; ExpertError comes out of the chunks afterwards.
        """
        query = decision.query
        async with AsyncExitStack() as stack:
            leg = self._dispatcher.stream(query.request_id, decision.plan, query.body, heard)
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
        allowed = policy.experts or know.config.answering
        excluded = await self._excluded(query, allowed)
        if excluded.keys() >= set(allowed):
            raise nobody(excluded)
        vector, named = await self._read(query, policy)
        fitted, cosines = know.fitted, know.fitted.vocabulary.cosines(vector)
        familiarity = float(cosines.max())
        categories = classify(fitted.classifier, vector, familiarity, fitted.familiar_from, routing.min_confidence)
        skills, asides = await self._skills(cosines, named)
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
        found = ranked(
            found,
            policy.recruit,
            know.profiles,
            categories.category,
            strength=routing.prior_strength,
            seed=query.request_id,
        )
        chosen = plan(policy, found, categories, query.needs, routing.general_expert)
        assert chosen is not None, "somebody is not excluded"
        outdated = tuple(c.expert for c in found if c.expert in know.stale)
        return Decision(query, ticket, know.version, query.model, chosen, categories, skills, found, asides, outdated)

    async def _read(self, query: Query, policy: Policy) -> tuple[NDArray[np.float32], Reply | Failure | None]:
        """The question's embedding, and at the same time what the keyword expert says of it, if the policy asks one."""
        keywords = self._knowledge.config.routing.keywords
        if policy.skills == "embedding" or keywords is None:
            return await self._embed(query.text), None
        async with asyncio.TaskGroup() as group:
            vector = group.create_task(self._embed(query.text))
            named = group.create_task(self._keywords(query, keywords))
        return vector.result(), named.result()

    async def _keywords(self, query: Query, keywords: Keywords) -> Reply | Failure:
        leg_id = f"{query.request_id}-k"
        if not self._watch.up[keywords.expert]:
            return Failure(keywords.expert, leg_id, ExpertUnreachable(keywords.expert, "its server does not answer"))
        body: JsonObject = {
            "messages": [{"role": "user", "content": keywords_prompt(query.text, keywords.max_question_chars)}],
            "n": keywords.samples,
            "temperature": keywords.temperature,
            "max_tokens": keywords.max_tokens,
        }
        leg = await self._dispatcher.aside(leg_id, keywords.expert, body, keywords.timeout_s)
        # Whatever the expert sent: as many samples as were asked for, of a length that names skills can have.
        return replace(leg, choices=leg.choices[: keywords.samples]) if isinstance(leg, Reply) else leg

    async def _skills(
        self, cosines: NDArray[np.float32], named: Reply | Failure | None
    ) -> tuple[SkillScores, tuple[Reply | Failure, ...]]:
        """By the keywords where they name known skills, else by embedding; with the keyword expert's leg."""
        vocabulary, routing = self._knowledge.fitted.vocabulary, self._knowledge.config.routing
        nearest = infer(vocabulary, cosines, routing.skill_floor, routing.max_skills)
        if named is None or routing.keywords is None:
            return nearest, ()
        if isinstance(named, Failure):
            return nearest, (named,)
        words = repeated(named.texts, routing.keywords.min_repeats)
        foreign = strange(vocabulary, words)
        vectors = dict(zip(foreign, await asyncio.gather(*map(self._embed, foreign)), strict=True))
        skills = named_skills(vocabulary, words, vectors, routing.keywords.floor, routing.max_skills)
        return (skills if skills.weights else replace(nearest, unknown=skills.unknown)), (named,)

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
