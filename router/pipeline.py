"""The journey of one query, in order. The only file that knows the order; each step is decided elsewhere.

    decide:   filter -> embed (and keywords) -> classify -> anchor -> skills -> recruit -> rank -> plan
    respond:  one expert, streamed:   dispatch, passed through
              otherwise:              dispatch, wave by wave -> aggregate (-> embed and compare, or synthesise)

Knows neither HTTP nor Ray. Before dispatch it awaits in three places only: the token count of a prompt of which its
bytes alone do not tell whether it fits, the embeddings, and the keyword expert where a policy asks one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from experts.errors import ExpertError, ExpertRefused
from router.aggregate import Single, aggregation
from router.classify import classify
from router.config import Policy
from router.consensus import closest
from router.correctness import Reading
from router.dialogue import anchor, bounded
from router.dispatch import Dispatcher, LiveReply
from router.eligible import RESTING, exclusions, nobody, to_count
from router.embed import MicroBatcher
from router.errors import BadRequest, ExpertsFailed, NoExpertAvailable, NotFound, SymposiumError
from router.events import Concluded, Decided, Emit, Unserved
from router.health import Health
from router.keyword_expert import KeywordExpert
from router.knowledge import Knowledge
from router.legs import Call
from router.pace import Paces
from router.plan import named, plan
from router.ranking import ranked
from router.records import Answer, CategoryScores, Decision, Failure, Plan, Query, Reply, Role, Ticket
from router.recruit import candidates
from router.response import Heard, Response, unheard
from router.sessions import Sessions
from router.skills import infer
from router.synthesis import synthesis_query
from router.watch import Watch

if TYPE_CHECKING:
    from numpy.typing import NDArray

BYTES_PER_TOKEN = 3  # rough, for expected cost only
MAX_TURNS = 32  # of a conversation, that are classified: the first one and the latest


class Pipeline:
    """Runs queries. One per router replica."""

    def __init__(  # noqa: PLR0913  # one argument for each part that it puts in order
        self,
        *,
        knowledge: Knowledge,
        embed: MicroBatcher,
        dispatcher: Dispatcher,
        watch: Watch,
        health: Health,
        sessions: Sessions,
        paces: Paces,
        emit: Emit,
        clock: Callable[[], float],
    ) -> None:
        self._knowledge, self._embed, self._dispatcher = knowledge, embed, dispatcher
        self._watch, self._health, self._sessions, self._paces = watch, health, sessions, paces
        self._emit, self._clock = emit, clock
        keywords = knowledge.config.routing.keywords
        self._keywords = KeywordExpert(keywords, dispatcher, embed, self._may_ask) if keywords else None

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
            decision = await self._routed(query, ticket, self._paces.priced(query.model, policy))
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

    @asynccontextmanager
    async def respond(self, decision: Decision, heard: Heard = unheard) -> AsyncIterator[Response]:
        """Asks the planned experts and makes one answer of theirs; leaving the block aborts what is still running.

        A client that streams gets the words of a single expert, or of a synthesis, as they are generated. `heard` is
        told each leg's outcome as it comes.

        Raises:
            BadRequest: every expert refused the request itself.
            ExpertsFailed: nobody answered.
        Of a live answer, an ExpertError comes out of its chunks.
        """
        response = Response(decision, heard)
        async with AsyncExitStack() as stack:
            if decision.plan.aggregator == "single" and decision.query.stream:
                asked = (*decision.plan.experts, *decision.plan.spares)
                response.live = await self._relayed(stack, Call.of(decision.query), asked, response, "answer")
            else:
                await self._convened(stack, response)
            response.concluded_at = self._clock()
            self._emit(Concluded(decision.policy, response.how, response.why))
            yield response

    async def _convened(self, stack: AsyncExitStack, response: Response) -> None:
        query, asked = response.decision.query, response.decision.plan
        know = self._knowledge
        how = aggregation(asked, query.needs, know.config.convening.alternatives, know.learned)
        gathered = await self._dispatcher.gather(Call.of(query), asked, how.move, response.hear("answer"))
        replies, response.missing = gathered.replies, gathered.missing
        response.gathered_at = self._clock()
        if not replies:
            raise _failed([leg.error for _, leg in response.ended if isinstance(leg, Failure)])
        conclusion = how.conclude(replies)
        response.how, response.why, response.answer = conclusion.how, conclusion.why, conclusion.answer
        response.ballot = conclusion.answer.ballot if conclusion.answer else None
        if conclusion.then == "compare":
            vectors = await asyncio.gather(*(self._embed(reply.text) for reply in replies))
            response.answer = closest(replies, np.stack(vectors), asked.p_correct)
            response.ballot = response.answer.ballot
        elif conclusion.then == "synthesize" and (why := await self._synthesised(stack, response, conclusion.read)):
            # No aggregating expert could: the vote stands.
            response.how, response.why, response.answer = "vote", why, conclusion.answer

    async def _synthesised(self, stack: AsyncExitStack, response: Response, replies: tuple[Reply, ...]) -> str | None:
        """Has one answer written of the replies, or being written; or says why that could not be had."""
        writers = response.decision.plan.synthesizers
        query = synthesis_query(response.decision.query, replies, self._knowledge.config.convening.max_chars)
        excluded = await self._excluded(query, writers)
        able = tuple(name for name in writers if name not in excluded)
        if not able:
            return "no_aggregator"
        call = Call.of(query)
        if query.stream:
            try:
                response.live = await self._relayed(stack, call, able, response, "aggregator")
            except SymposiumError:
                return "aggregator_failed"
            response.answer = None
            return None
        alone = Plan(waves=(able[:1],), aggregator="single", spares=able[1:], reason="synthesize")
        gathered = await self._dispatcher.gather(call, alone, Single().move, response.hear("aggregator"))
        if not gathered.replies:
            return "aggregator_failed"
        written = gathered.replies[0]
        response.answer = Answer(written.expert, written.choices, response.ballot, written.extra)
        return None

    async def _relayed(
        self, stack: AsyncExitStack, call: Call, experts: tuple[str, ...], response: Response, role: Role
    ) -> LiveReply:
        response.role = role
        try:
            return await stack.enter_async_context(self._dispatcher.relay(call, experts, response.hear(role)))
        except ExpertError as error:
            raise _failed([error]) from error

    async def _named(self, query: Query, ticket: Ticket) -> Decision:
        asked = named(query)
        excluded = await self._excluded(query, (query.model,))
        if query.model in excluded:
            raise self._nobody("expert", query, excluded)
        return Decision(query, ticket, self._knowledge.version, "expert", asked)

    async def _routed(self, query: Query, ticket: Ticket, policy: Policy) -> Decision:
        know, routing = self._knowledge, self._knowledge.config.routing
        allowed = policy.experts or know.config.answering
        excluded = await self._excluded(query, allowed)
        if excluded.keys() >= set(allowed):
            raise self._nobody(query.model, query, excluded)
        turns = self._turns(query, ticket)
        vectors, said = await self._read(query, turns, policy)
        cosines = know.fitted.vocabulary.cosines(np.stack(vectors))
        scores = [self._classified(*turn) for turn in zip(vectors, cosines, strict=True)]
        at = anchor(scores, cosines)
        self._remember(query, ticket, turns[at])
        categories = scores[at]
        skills = infer(know.fitted.vocabulary, cosines[at], routing.skill_floor, routing.max_skills)
        if (
            self._keywords is not None and isinstance(said, Reply) and at == len(turns) - 1
        ):  # it was asked about this turn
            skills = await self._keywords.skills(know.fitted.vocabulary, said, skills, routing.max_skills)
        rates = know.correctness.rates
        reading = Reading.of([turns[at]], vectors[at][None, :], [categories], [skills], rates.categories, rates.skills)
        found = candidates(
            allowed,
            know.profiles,
            rates,
            know.correctness.predict(reading),
            usd_per_token=know.usd_per_token,
            prompt_tokens=query.prompt_bytes // BYTES_PER_TOKEN + 1,
            excluded=excluded,
        )
        found = ranked(
            found,
            policy.recruit,
            rates,
            categories.category,
            seed=turns[at],  # a conversation stays with those once drawn
            usd_per_right=policy.usd_per_right,
            assigned=know.assigned.get(categories.category),
        )
        writers = know.synthesizers[categories.category]
        chosen = plan(policy, found, categories, query, routing.general_expert, writers)
        assert chosen is not None, "somebody is not excluded"
        return Decision(
            query,
            ticket,
            know.version,
            query.model,
            chosen,
            categories,
            skills,
            found,
            asides=() if said is None else (said,),
            stale=tuple(c.expert for c in found if c.expert in know.stale),
            turns=len(turns),
            anchor=at,
        )

    def _turns(self, query: Query, ticket: Ticket) -> tuple[str, ...]:
        """The user's turns, what is asked now being the last, and before them what the session was about."""
        max_chars = self._knowledge.config.routing.embedder.max_chars
        known = self._sessions.get(_session(query, ticket), self._clock()) if query.session else None
        return bounded((*query.earlier, query.text), MAX_TURNS, max_chars, known) or (query.text,)

    def _remember(self, query: Query, ticket: Ticket, text: str) -> None:
        if query.session:
            self._sessions.put(_session(query, ticket), text, self._clock())

    async def _read(
        self, query: Query, turns: tuple[str, ...], policy: Policy
    ) -> tuple[list[NDArray[np.float32]], Reply | Failure | None]:
        """The turns' embeddings, and at the same time what the keyword expert says of the question, if it is asked."""
        asked = self._keywords if policy.skills == "keywords" else None
        async with asyncio.TaskGroup() as group:
            vectors = [group.create_task(self._embed(turn)) for turn in turns]
            named = group.create_task(asked.ask(query.request_id, query.text, query.trace)) if asked else None
        return [vector.result() for vector in vectors], named.result() if named else None

    def _classified(self, vector: NDArray[np.float32], cosines: NDArray[np.float32]) -> CategoryScores:
        fitted = self._knowledge.fitted
        return classify(
            fitted.classifier,
            vector,
            float(cosines.max()),
            fitted.familiar_from,
            self._knowledge.config.routing.min_confidence,
        )

    async def _excluded(self, query: Query, allowed: tuple[str, ...]) -> dict[str, str]:
        experts, counters = self._knowledge.config.experts, self._knowledge.counters
        counted: dict[str, int] = {}
        if unsure := to_count(query, experts, allowed):
            each = {counters[name]: 0 for name in unsure}  # experts that share a tokenizer share a counter
            counts = await asyncio.to_thread(lambda: {c: c.count(query.texts) for c in each})
            counted = {name: counts[counters[name]] for name in unsure}
        found = exclusions(query, experts, allowed, self._watch.up, counted)
        able = [name for name in allowed if name not in found]
        return found | dict.fromkeys(self._health.left_out(able), RESTING)

    def _nobody(self, policy: str, query: Query, excluded: dict[str, str]) -> SymposiumError:
        if isinstance(error := nobody(query, excluded), NoExpertAvailable):
            self._emit(Unserved(policy))
        return error

    def _may_ask(self, expert: str) -> bool:
        return self._watch.up.get(expert, False) and self._health.state(expert) != "open"


def _session(query: Query, ticket: Ticket) -> tuple[str, str, str]:
    return ticket.principal, query.model, query.session or ""


def _failed(errors: list[ExpertError]) -> SymposiumError:
    refusals = [e for e in errors if isinstance(e, ExpertRefused) and not e.replaceable]
    if refusals:
        return BadRequest(refusals[0].message, code="invalid_value", param=refusals[0].param)
    reasons = ", ".join(sorted({f"{e.expert}: {e.reason}" for e in errors}))
    return ExpertsFailed(f"No expert answered ({reasons}).", code="experts_failed")
