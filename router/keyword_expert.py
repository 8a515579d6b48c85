"""Asking the keyword expert for a question's skills, while the question is being embedded. Thin shell around
`keywords`: what is sent, within which limit, and what becomes of the samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from experts.errors import ExpertUnreachable
from experts.prompts import keywords_prompt
from router.budget import Budget
from router.call import Call
from router.callers import usable_experts
from router.config import Keywords
from router.dispatch import Dispatcher
from router.embed import MicroBatcher
from router.keywords import named_skills, repeated, strange
from router.records import Failure, JsonObject, Query, Reply, SkillScores, Ticket
from router.skills import Vocabulary
from router.trace_context import ROUTE

Paid = Callable[[Query, Ticket, Budget, str, int, Call], Call]  # for whom, whom it asks, how many samples


class KeywordExpert:
    """One per router replica. `may_ask` says whether an expert is up and not left out."""

    def __init__(
        self, settings: Keywords, dispatcher: Dispatcher, embed: MicroBatcher, may_ask: Callable[[str], bool]
    ) -> None:
        self._settings, self._dispatcher, self._embed, self._may_ask = settings, dispatcher, embed, may_ask

    async def ask(self, query: Query, ticket: Ticket, budget: Budget, paid: Paid) -> Reply | Failure | None:
        """The expert's samples; None where it is not for whoever asks. `paid` gives a call its money.

        Never raises ExpertError.
        """
        request_id, question, trace = query.request_id, query.text, query.trace
        settings, leg_id = self._settings, f"{request_id}-k"
        if not usable_experts(ticket.caller, (settings.expert,)):
            return None
        if not self._may_ask(settings.expert):
            return Failure(settings.expert, leg_id, ExpertUnreachable(settings.expert, "its server does not answer"))
        body: JsonObject = {
            "messages": [{"role": "user", "content": keywords_prompt(question, settings.max_question_chars)}],
            "n": settings.samples,
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
        }
        inside = trace.below(f"{request_id}/{ROUTE}") if trace else None
        call = paid(query, ticket, budget, settings.expert, settings.samples, Call(leg_id, body, trace=inside))
        leg = await self._dispatcher.aside(leg_id, settings.expert, call, settings.timeout_s)
        # Whatever the expert sent: as many samples as were asked for, of a length that names skills can have.
        return replace(leg, choices=leg.choices[: settings.samples]) if isinstance(leg, Reply) else leg

    async def skills(self, vocabulary: Vocabulary, named: Reply, nearest: SkillScores, max_skills: int) -> SkillScores:
        """By the keywords where they name known skills, else the nearest ones."""
        words = repeated(named.texts, self._settings.min_repeats)
        foreign = strange(vocabulary, words)
        vectors = dict(zip(foreign, await asyncio.gather(*map(self._embed, foreign)), strict=True))
        skills = named_skills(vocabulary, words, vectors, self._settings.floor, max_skills)
        return skills if skills.weights else replace(nearest, unknown=skills.unknown)
