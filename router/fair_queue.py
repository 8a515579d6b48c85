"""What waits for one expert, and who is next: fair across tenants, by deadline within one. No clock, no waiting.

Across tenants: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) by expected tokens over weight. What a
tenant has been given is its tag; the lowest tag is served next, and a tenant that comes back begins where the others
are, so nobody saves up. Within a tenant: the earliest deadline first, those without one last, in the order they came.

Bounded in requests and tokens. Where it is full, somebody who holds less of it for their weight pushes out the latest
of the tenant that holds most: a flood cannot lock the door for others, only for its own tenant.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import count

KEPT_TENANTS = 64  # without anything waiting, before those are forgotten that the others have caught up with


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One call that waits. `begins_by`: from then on it could not be through by its deadline; infinite without one."""

    ends_at: float
    number: int
    tenant: str = field(compare=False)
    tokens: int = field(compare=False)
    begins_by: float = field(compare=False)


@dataclass(slots=True)
class _Flow:
    """One tenant. `tag`: tokens over weight that it has been given; `under_way`: its calls at the expert."""

    weight: float
    tag: float = 0.0
    entries: list[Entry] = field(default_factory=list)  # in their order
    tokens: int = 0  # of them
    under_way: int = 0

    @property
    def idle(self) -> bool:
        return not self.entries and self.under_way == 0


class FairQueue:
    """Of one expert. It knows what is under way, too: what `begin` or `next` took, until `ended` gives it back."""

    def __init__(self, requests: int, tokens: int) -> None:
        """`requests`, `tokens`: as many may wait at most. Zero requests: nobody waits."""
        self.requests, self.tokens = requests, tokens
        self.queued = self.queued_tokens = self.under_way = 0
        self._flows: dict[str, _Flow] = {}
        self._tag = 0.0  # of the one that was served last
        self._numbers = count()

    def __len__(self) -> int:
        return self.queued

    def push(
        self, tenant: str, weight: float, tokens: int, ends_at: float = math.inf, needs_s: float = 0.0
    ) -> tuple[Entry | None, tuple[Entry, ...]]:
        """The newcomer's entry, None where it is refused; and those that were pushed out for it."""
        flow = self._flow(tenant, weight)
        entry = Entry(ends_at, next(self._numbers), tenant, tokens, ends_at - needs_s)
        pushed: list[Entry] = []
        while self._full(tokens):
            loser = self._loser(flow, tokens)
            if loser is None:
                for other in pushed:
                    self._add(other)
                self._forget()
                return None, ()
            pushed.append(loser.entries[-1])
            self.remove(loser.entries[-1])
        self._add(entry)
        return entry, tuple(pushed)

    def opens(self, tenant: str, weight: float, allowed: int, shared: int) -> bool:
        """Whether its next call need not wait. `allowed` and `shared`: as for `next`."""
        flow = self._flows.get(tenant) or _Flow(weight)
        if flow.entries or self.under_way >= allowed:
            return False
        first = self._first() if self.queued else None
        if first is not None and first.tag < max(flow.tag, self._tag):
            return False
        return self.under_way < shared or self._within(flow, allowed)

    def begin(self, tenant: str, weight: float, tokens: int) -> None:
        """Its call is under way, without having waited."""
        flow = self._flow(tenant, weight)
        flow.tag = max(flow.tag, self._tag)
        self._begun(flow, tokens)

    def admits(self, tenant: str, weight: float, tokens: int) -> bool:
        """Whether `push` takes it, unless it takes the places of several; changes nothing."""
        if not self._full(tokens):
            return True
        flow = self._flows.get(tenant) or _Flow(weight)
        return self._loser(flow, tokens) is not None

    def remove(self, entry: Entry) -> None:
        """It waits no longer; nothing where it did not."""
        flow = self._flows.get(entry.tenant)
        if flow is None:
            return
        at = bisect_left(flow.entries, entry)
        if at < len(flow.entries) and flow.entries[at] is entry:
            del flow.entries[at]
            self._waits_no_more(flow, entry)

    def next(self, now: float, allowed: int, shared: int) -> tuple[Entry | None, tuple[Entry, ...]]:
        """Who is served now, if anybody, and those before it that could not be through by their deadlines any more.

        `allowed`: calls that may be under way; those beyond `shared` only of tenants that have less than their part.
        """
        hopeless: list[Entry] = []
        while self.under_way < allowed and (flow := self._first()) is not None:
            if self.under_way >= shared and not self._within(flow, allowed):
                break
            entry = flow.entries.pop(0)
            self._waits_no_more(flow, entry)
            if now > entry.begins_by:
                hopeless.append(entry)
                continue
            self._begun(flow, entry.tokens)
            return entry, tuple(hopeless)
        return None, tuple(hopeless)

    def ended(self, tenant: str, more_tokens: int = 0) -> None:
        """One of its calls is through, and took so many tokens more than was expected (less, where negative)."""
        flow = self._flows[tenant]
        flow.under_way -= 1
        self.under_way -= 1
        flow.tag += more_tokens / flow.weight
        self._forget()

    def tokens_before(self, tenant: str, weight: float, ends_at: float) -> float:
        """Tokens that would be served before a newcomer with this deadline, as it stands now."""
        own = self._flows.get(tenant) or _Flow(weight)
        waiting = sum(entry.tokens for entry in own.entries if entry.ends_at <= ends_at)
        until = max(own.tag, self._tag) + waiting / weight
        others = (flow for name, flow in self._flows.items() if flow.entries and name != tenant)
        # As it is served whole, one more of each may begin before the tags are even.
        ahead = (min(flow.tokens, max(until - flow.tag, 0.0) * flow.weight + flow.entries[0].tokens) for flow in others)
        return waiting + sum(ahead)

    def _flow(self, tenant: str, weight: float) -> _Flow:
        flow = self._flows.setdefault(tenant, _Flow(weight))
        flow.weight = weight  # may change with the configuration
        return flow

    def _add(self, entry: Entry) -> None:
        flow = self._flows[entry.tenant]
        if not flow.entries:
            flow.tag = max(flow.tag, self._tag)
        insort(flow.entries, entry)
        flow.tokens += entry.tokens
        self.queued += 1
        self.queued_tokens += entry.tokens

    def _begun(self, flow: _Flow, tokens: int) -> None:
        self._tag = max(self._tag, flow.tag)
        flow.tag += tokens / flow.weight
        flow.under_way += 1
        self.under_way += 1

    def _waits_no_more(self, flow: _Flow, entry: Entry) -> None:
        flow.tokens -= entry.tokens
        self.queued -= 1
        self.queued_tokens -= entry.tokens

    def _first(self) -> _Flow | None:
        """Whose turn is next: the lowest tag's; of equal ones, who has less under way."""
        waiting = (flow for flow in self._flows.values() if flow.entries)
        return min(waiting, key=lambda flow: (flow.tag, flow.under_way / flow.weight), default=None)

    def _within(self, flow: _Flow, allowed: int) -> bool:
        """Whether one call more is within its part of those allowed; somebody who is alone has no part."""
        others = sum(other.weight for other in self._flows.values() if not other.idle and other is not flow)
        return others > 0 and flow.under_way + 1 <= allowed * flow.weight / (flow.weight + others)

    def _full(self, tokens: int) -> bool:
        return self.queued >= self.requests or self.queued_tokens + tokens > self.tokens

    def _share(self, flow: _Flow, requests: int = 0, tokens: int = 0) -> float:
        """Of the queue, for its weight: of requests or tokens, whichever is more. Zero bounds hold nobody."""
        of_requests = (len(flow.entries) + requests) / max(self.requests, 1)
        of_tokens = (flow.tokens + tokens) / max(self.tokens, 1)
        return max(of_requests, of_tokens) / flow.weight

    def _loser(self, newcomer: _Flow, tokens: int) -> _Flow | None:
        """Whose latest goes for a newcomer of so many tokens; None: nobody's."""
        if self.requests == 0 or tokens > self.tokens:
            return None
        waiting = (flow for flow in self._flows.values() if flow.entries)
        most = max(waiting, key=self._share, default=None)
        if most is None or most is newcomer or self._share(newcomer, 1, tokens) >= self._share(most):
            return None
        return most

    def _forget(self) -> None:
        """Bounds what is remembered: a tenant with nothing here whose tag was passed would begin at the same tag."""
        if len(self._flows) > KEPT_TENANTS:
            self._flows = {n: flow for n, flow in self._flows.items() if not flow.idle or flow.tag > self._tag}
