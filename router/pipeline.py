"""The journey of one query, in order. The only file that knows the order; each step is decided elsewhere.

    decide:   budget -> door -> filter -> embed (and keywords) -> classify -> anchor -> skills -> recruit -> rank
              -> plan -> what of it the budget allows
    fund:     money is held for it, or for less, or it is refused
    respond:  one expert, streamed:   dispatch, passed through
              otherwise:              dispatch, wave by wave -> aggregate (-> embed and compare, or synthesise)

Knows neither HTTP nor Ray. Before dispatch it awaits in four places only: the token count of a prompt where bytes alone
do not tell enough, the embeddings, the keyword expert where a policy asks one, and the reservation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from experts.errors import ExpertError
from router.admission import failed
from router.aggregate import Single, aggregation
from router.bank import Bank
from router.budget import Budget
from router.call import Call
from router.callers import check_model, usable_experts
from router.classify import classify
from router.config import Policy
from router.consensus import closest
from router.correctness import Reading
from router.dialogue import anchor, bounded
from router.dispatch import Dispatcher, LiveReply
from router.eligible import nobody
from router.embed import MicroBatcher
from router.errors import NoExpertAvailable, SymposiumError
from router.events import Concluded, Emit, Unserved
from router.funding import Funding
from router.keyword_expert import KeywordExpert
from router.knowledge import Knowledge
from router.outlooks import BYTES_PER_TOKEN, Outlooks
from router.pace import Paces
from router.plan import named, plan
from router.purse import FREE, Funds
from router.ranking import ranked
from router.records import Answer, CategoryScores, Decision, Failure, Plan, Query, Reply, Role, Ticket
from router.recruit import candidates
from router.response import Heard, Response, unheard
from router.sessions import Sessions
from router.skills import infer
from router.synthesis import synthesis_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_TURNS = 32  # of a conversation, that are classified: the first one and the latest


class Pipeline:
    """Runs queries. One per router replica."""

    def __init__(  # noqa: PLR0913  # one argument for each part that it puts in order
        self,
        *,
        knowledge: Knowledge,
        embed: MicroBatcher,
        dispatcher: Dispatcher,
        outlooks: Outlooks,
        bank: Bank,
        sessions: Sessions,
        paces: Paces,
        emit: Emit,
        clock: Callable[[], float],
    ) -> None:
        self._knowledge, self._embed, self._dispatcher, self._outlooks = knowledge, embed, dispatcher, outlooks
        self._sessions, self._paces, self._emit, self._clock = sessions, paces, emit, clock
        self._funding = Funding(knowledge, bank, outlooks, emit)
        self.funded = self._funding.held  # money for all that is asked first, before any of it is
        keywords = knowledge.config.routing.keywords
        self._keywords = KeywordExpert(keywords, dispatcher, embed, outlooks.may_ask) if keywords else None

    async def decide(self, query: Query, ticket: Ticket) -> Decision:
        """The route of a query, as far as its budget allows. Nothing is held for it yet.

        Raises:
            NotFound: the model is neither a policy nor an expert that may be asked.
            BadRequest, NoExpertAvailable: nobody can or may take it.
            Overloaded, InsufficientQuota, DeadlineUnreachable, DeadlineExceeded: it cannot be had now, or for that.
        """
        config, caller = self._knowledge.config, ticket.caller
        check_model(caller, query.model, config)
        policy = config.policies.get(query.model)
        budget = self._funding.budget(query, ticket, policy)
        allowed = (query.model,) if policy is None else policy.experts or config.answering
        self._funding.check_door(query, ticket, usable_experts(caller, allowed), budget)
        async with self._funding.in_time(ticket, budget):
            if policy is None:
                decision = await self._named(query, ticket, budget)
            else:
                decision = await self._routed(query, ticket, self._paces.priced(query.model, policy), budget)
        decision = self._funding.fitted(decision)
        own_s = self._clock() - ticket.admitted_at - sum(leg.seconds for leg in decision.asides)
        return replace(decision, overhead_s=max(0.0, own_s), profiles=self._knowledge.feedback)

    @asynccontextmanager
    async def respond(self, decision: Decision, funds: Funds = FREE, heard: Heard = unheard) -> AsyncIterator[Response]:
        """Asks the planned experts and makes one answer of theirs; leaving the block aborts what is still running.

        A client that streams gets the words of a single expert, or of a synthesis, as they are generated. `heard` is
        told each leg's outcome as it comes. At the deadline it is made of what has come.

        Raises:
            BadRequest: every expert refused the request itself.
            ExpertsFailed: nobody answered.
            DeadlineExceeded: nothing had come by the deadline.
        Of a live answer, an ExpertError comes out of its chunks.
        """
        response, call = Response(decision, heard), Call.decided(decision, funds)
        async with AsyncExitStack() as stack:
            if decision.plan.aggregator == "single" and decision.query.stream:
                asked = (*decision.plan.experts, *decision.plan.spares)
                response.live = await self._relayed(stack, call, asked, response, "answer")
            else:
                await self._convened(stack, call, response)
            response.concluded_at = self._clock()
            self._emit(Concluded(decision.policy, response.how, response.why))
            yield response

    async def _convened(self, stack: AsyncExitStack, call: Call, response: Response) -> None:
        query, asked = response.decision.query, response.decision.plan
        know = self._knowledge
        how = aggregation(asked, query.needs, know.config.convening.alternatives, know.learned)
        gathered = await self._dispatcher.gather(
            call.within(asked.fit, self._clock()), asked, how.move, response.hear("answer")
        )
        # What was cut short is no vote beside what was not.
        replies = tuple(reply for reply in gathered.replies if not reply.stopped) or gathered.replies[:1]
        response.missing = (*gathered.missing, *(r.expert for r in gathered.replies if r not in replies))
        response.gathered_at = self._clock()
        if not replies:
            raise failed([leg.error for _, leg in response.ended if isinstance(leg, Failure)])
        conclusion = how.conclude(replies)
        response.how, response.why, response.answer = conclusion.how, conclusion.why, conclusion.answer
        response.ballot = conclusion.answer.ballot if conclusion.answer else None
        if conclusion.then == "compare":
            vectors = await asyncio.gather(*(self._embed(reply.text) for reply in replies))
            response.answer = closest(replies, np.stack(vectors), asked.p_correct)
            response.ballot = response.answer.ballot
        elif conclusion.then == "synthesize" and (
            why := await self._synthesised(stack, call, response, conclusion.read)
        ):
            # No aggregating expert could: the vote stands.
            response.how, response.why, response.answer = "vote", why, conclusion.answer

    async def _synthesised(
        self, stack: AsyncExitStack, asked: Call, response: Response, replies: tuple[Reply, ...]
    ) -> str | None:
        """Has one answer written of the replies, or being written; or says why that could not be had."""
        writers, caller = response.decision.plan.synthesizers, response.decision.ticket.caller
        query = synthesis_query(response.decision.query, replies, self._knowledge.config.convening.max_chars)
        excluded = await self._outlooks.excluded(query, writers, caller)
        able = tuple(name for name in writers if name not in excluded)
        if not able:
            return "no_aggregator"
        outlooks = self._outlooks.writing(query, able, 0, caller)
        call = asked.writing(query, outlooks)
        able = tuple(name for name in able if self._dispatcher.in_time(call, name))
        if not able:
            return "no_time"
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
            raise failed([error]) from error

    async def _named(self, query: Query, ticket: Ticket, budget: Budget) -> Decision:
        asked, name, caller = named(query), query.model, ticket.caller
        excluded = await self._outlooks.excluded(query, (name,), caller)
        if name in excluded:
            raise self._nobody("expert", query, excluded)
        outlooks = await self._funding.outlooks(query, (name,), ticket, None, budget)
        return Decision(query, ticket, self._knowledge.version, "expert", asked, budget=budget, outlooks=outlooks)

    async def _routed(self, query: Query, ticket: Ticket, policy: Policy, budget: Budget) -> Decision:
        know, routing = self._knowledge, self._knowledge.config.routing
        allowed = policy.experts or know.config.answering
        excluded = await self._outlooks.excluded(query, allowed, ticket.caller)
        if excluded.keys() >= set(allowed):
            raise self._nobody(query.model, query, excluded)
        turns = self._turns(query, ticket)
        vectors, said = await self._read(query, turns, policy, ticket, budget)
        cosines = know.fitted.vocabulary.cosines(np.stack(vectors))
        scores = [self._classified(*turn) for turn in zip(vectors, cosines, strict=True)]
        at = anchor(scores, cosines)
        if query.session:
            self._sessions.put(_session(query, ticket), turns[at], self._clock())
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
        writers = {name: writers[name] for name in usable_experts(ticket.caller, writers)}
        chosen = plan(policy, found, categories, query, routing.general_expert, writers)
        assert chosen is not None, "somebody is not excluded"
        names = tuple(c.expert for c in found if c.excluded is None)
        outlooks = await self._funding.outlooks(query, names, ticket, categories.category, budget)
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
            budget=budget,
            outlooks=outlooks,
        )

    def _turns(self, query: Query, ticket: Ticket) -> tuple[str, ...]:
        """The user's turns, what is asked now being the last, and before them what the session was about."""
        max_chars = self._knowledge.config.routing.embedder.max_chars
        known = self._sessions.get(_session(query, ticket), self._clock()) if query.session else None
        return bounded((*query.earlier, query.text), MAX_TURNS, max_chars, known) or (query.text,)

    async def _read(
        self, query: Query, turns: tuple[str, ...], policy: Policy, ticket: Ticket, budget: Budget
    ) -> tuple[list[NDArray[np.float32]], Reply | Failure | None]:
        """The turns' embeddings, and at the same time what the keyword expert says of the question, if it is asked."""
        asked = self._keywords if policy.skills == "keywords" else None
        async with asyncio.TaskGroup() as group:
            vectors = [group.create_task(self._embed(turn)) for turn in turns]
            named = group.create_task(asked.ask(query, ticket, budget, self._funding.aside)) if asked else None
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

    def _nobody(self, policy: str, query: Query, excluded: dict[str, str]) -> SymposiumError:
        if isinstance(error := nobody(query, excluded), NoExpertAvailable):
            self._emit(Unserved(policy))
        return error


def _session(query: Query, ticket: Ticket) -> tuple[str, str, str]:
    return ticket.principal, query.model, query.session or ""
