"""Who can be asked now, and what asking each of them is expected to take: live state as frozen records. Async shell.

Everything that changes from one moment to the next meets here: which servers are up, whose breaker is open, what waits
in experts' queues, how long they have taken of late. Counting a prompt's tokens is what is awaited, off the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from experts.tokens import TokenCounter
from router.caller import Caller
from router.eligible import NOT_ALLOWED, RESTING, exclusions, to_count
from router.forecast import Forecast
from router.health import Health
from router.knowledge import Knowledge
from router.lanes import Lanes
from router.money import NANOS, cost
from router.outlook import Outlook
from router.records import Query
from router.watch import Watch

BYTES_PER_TOKEN = 3  # rough: where nothing is held for a prompt
MOST_COUNTED_HERE = 4096  # bytes: longer prompts are counted in a thread
Counting = Callable[[TokenCounter, Sequence[str]], int]


class Outlooks:
    """Of one router replica, by one edition's knowledge."""

    def __init__(self, knowledge: Knowledge, watch: Watch, health: Health, lanes: Lanes, forecast: Forecast) -> None:
        self._knowledge, self._watch, self._health = knowledge, watch, health
        self._lanes, self._forecast = lanes, forecast
        self.hosted = frozenset(name for name, e in knowledge.config.experts.items() if e.engine is not None)

    async def excluded(self, query: Query, allowed: Collection[str], caller: Caller) -> dict[str, str]:
        """Expert -> why it must not be asked, of all there are."""
        experts = self._knowledge.config.experts
        counted: dict[str, int] = {}
        if unsure := to_count(query, experts, allowed):
            counted = await self._counted(query, unsure, TokenCounter.count)
        found = exclusions(query, experts, allowed, self._watch.up, counted)
        if caller.experts is not None:
            found |= {name: NOT_ALLOWED for name in allowed if name not in caller.experts}
        able = [name for name in allowed if name not in found]
        return found | dict.fromkeys(self._health.left_out(able), RESTING)

    def may_ask(self, expert: str) -> bool:
        """Whether it is up, and not left out."""
        return self._watch.up.get(expert, False) and self._health.state(expert) != "open"

    def shut_out(
        self, experts: Iterable[str], caller: Caller, ends_at: float | None, now: float, max_tokens: int | None
    ) -> tuple[str, float] | None:
        """Where none of those that are up would take a call now, or be in time with it: the one that would be through
        first, and in how many seconds. Cheap.
        """
        able = [name for name in experts if self.may_ask(name)]

        def needs_s(name: str) -> float:
            prior = self._knowledge.profiles.output_tokens(name)
            return self._forecast.needs_s(name, self._lanes.load(name), prior, max_tokens)

        through_s = self._lanes.shut_out(able, caller, ends_at, now, needs_s)
        return min(through_s.items(), key=lambda item: item[1], default=None)

    def cheapest_nanos(self, query: Query, experts: Iterable[str]) -> int:
        """Less than any call for this query can cost, whatever its tokens are: for refusing early."""
        experts_of = self._knowledge.config.experts
        prompt = query.prompt_bytes // 256  # no tokenizer makes one token of more bytes
        return min((cost(experts_of[name].price, prompt, 1) for name in experts), default=0)

    async def of(
        self,
        query: Query,
        names: Sequence[str],
        caller: Caller,
        *,
        category: str | None,
        ends_at: float | None,
        paid: bool,
    ) -> dict[str, Outlook]:
        """What asking each of these is expected to take now.

        Args:
            paid: money is bounded, so prompts are counted as exactly as can be.
        """
        rough = query.prompt_bytes // BYTES_PER_TOKEN + 1
        prompts = await self._counted(query, names, TokenCounter.billed) if paid else dict.fromkeys(names, rough)
        return {name: self._outlook(name, prompts[name], query, caller, category, ends_at) for name in names}

    def writing(self, query: Query, writers: Sequence[str], readings: int, caller: Caller) -> dict[str, Outlook]:
        """The same of those who may write one answer of so many replies, by the longest prompt there can be in the
        question's own script: characters are told by bytes, and tokens by bytes again.
        """
        experts, max_chars = self._knowledge.config.experts, self._knowledge.config.convening.max_chars
        per_char = query.prompt_bytes / max(1, sum(map(len, query.texts)))
        found = {}
        for name in writers:
            size = (readings + 1) * max_chars * per_char + query.prompt_bytes
            prompt = -int(-size // experts[name].bytes_per_token)
            found[name] = self._outlook(name, prompt, query, caller, None, None)
        return found

    def _outlook(
        self, name: str, prompt: int, query: Query, caller: Caller, category: str | None, ends_at: float | None
    ) -> Outlook:
        know, expert = self._knowledge, self._knowledge.config.experts[name]
        found = self._forecast.outlook(
            name,
            category or "",
            prompt_nanos=cost(expert.price, prompt, 0),
            token_nanos=know.usd_per_token[name][1] * NANOS * query.needs.samples,
            room=max(1, expert.context_tokens - prompt),
            wait_s=self._lanes.wait_s(name, caller, ends_at),
            load=self._lanes.load(name),
            mean_tokens_prior=know.profiles.output_tokens(name),
        )
        return replace(found, prompt_tokens=prompt)

    async def _counted(self, query: Query, names: Sequence[str], how: Counting) -> dict[str, int]:
        """Tokens of the prompt for each; experts that share a tokenizer share a counter."""
        counters = self._knowledge.counters
        each = dict.fromkeys(counters[name] for name in names)

        def count() -> dict[TokenCounter, int]:
            return {counter: how(counter, query.texts) for counter in each}

        counts = count() if query.prompt_bytes <= MOST_COUNTED_HERE else await asyncio.to_thread(count)
        return {name: counts[counters[name]] for name in names}
