"""How several replies become one answer: one protocol, one class per aggregator. Pure.

    Single       one expert's own answer
    Vote         the answer that most weight stands behind; responses that cannot be voted on go to consensus
    Consensus    the response closest to the others; needs their embeddings
    Synthesis    an aggregating expert writes one answer of them all, unless they agree

`move` is the rule that convening goes by; `conclude` says what is to be done with what was heard: an answer, or what
the pipeline has to fetch for one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from router.answers import is_open_ended
from router.learned import Learned
from router.records import Aggregator, Answer, Move, Needs, Plan, Reply, Standing
from router.stopping import Outlook, Stopping
from router.synthesis import LEAST, worth_reading
from router.vote import Camp, Electorate, Form, elected

Next = Literal["compare", "synthesize"]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """An answer, and why it is this one; or the next thing to do about the replies.

    Before a synthesis, `answer` is what stands where none can be had, and `read` the replies that are to be read.
    """

    how: Aggregator
    why: str
    answer: Answer | None = None
    then: Next | None = None
    read: tuple[Reply, ...] = ()


class Aggregation(Protocol):
    """What becomes of replies. Pure: the same replies in any order give the same conclusion."""

    def move(self, standing: Standing) -> Move: ...

    def conclude(self, replies: Sequence[Reply]) -> Conclusion:
        """At least one reply."""
        ...


@dataclass(frozen=True, slots=True)
class Single:
    """One expert answers; the next one is asked only when it could not."""

    def move(self, standing: Standing) -> Move:
        return _go_on(standing, enough=bool(standing.replies))

    def conclude(self, replies: Sequence[Reply]) -> Conclusion:
        return Conclusion("single", "single", Answer(replies[0].expert, replies[0].choices, extra=replies[0].extra))


@dataclass(frozen=True, slots=True)
class Vote:
    """Stops early where the answer is decided. `decided_at` None: everybody is heard."""

    electorate: Electorate
    decided_at: float | None
    quorum: int | None
    spares: tuple[str, ...] = ()  # whoever of them steps in for one that is awaited votes with a weight of its own
    stopping: Stopping | None = None
    prices: Mapping[str, float] = field(default_factory=dict)  # what hearing an expert must add to P(right), by expert

    def move(self, standing: Standing) -> Move:
        return _go_on(standing, enough=self.decided(standing), quorum=self.quorum)

    def decided(self, standing: Standing) -> bool:
        """Probably enough right, beyond the reach of all who are still to answer, or not worth asking the next ones."""
        if self.decided_at is None or not standing.replies:
            return False
        camps = self.electorate.camps(standing.replies)
        named, nobody = self.electorate.posteriors(camps)
        if named and named[0] >= self.decided_at:
            return True
        awaited = [*standing.running, *(expert for wave in standing.left for expert in wave)]
        weight = self.electorate.weight
        spare = max(self.spares, key=weight, default=None)
        heaviest = awaited if spare is None else (max(name, spare, key=weight) for name in awaited)
        if self.electorate.settled(camps, heaviest):
            return True
        # It was learned of votes that the most promising began: who merely answered first of several says nothing.
        begun = bool(standing.left) and not standing.running
        return begun and self._no_gain(camps, (*named, 0.0, 0.0)[:2], nobody, awaited)

    def _no_gain(
        self, camps: Sequence[Camp], posteriors: Sequence[float], nobody: float, awaited: Sequence[str]
    ) -> bool:
        """Whether those awaited are expected to add less to P(right) than hearing them costs.

        Args:
            posteriors: of the first two answers; nobody: that none is right.
        """
        if self.stopping is None or self.electorate.equal:
            return False
        first, second = posteriors
        weights = [*(camp.weight for camp in camps if camp.answer), 0.0, 0.0]
        trust = [self.electorate.trust(name) for name in awaited]
        seen = (first, second, nobody, weights[0] - weights[1], trust[0], math.fsum(trust) / len(trust))
        heard = sum(len(camp.replies) for camp in camps)
        price = self.prices.get(awaited[0], 0.0)
        return bool(self.stopping.gain(heard, Outlook(*(np.array([value]) for value in seen)), price)[0] <= 0)

    def sure(self, camps: Sequence[Camp]) -> bool:
        return self.decided_at is not None and self.electorate.posterior(camps) >= self.decided_at

    def conclude(self, replies: Sequence[Reply]) -> Conclusion:
        if len(replies) == 1:
            return Conclusion("single", "one_reply", elected(self.electorate, replies))
        if self.electorate.form == "text" and _nothing_to_vote_on(self.electorate, replies):
            return Conclusion("consensus", "open_ended", then="compare")
        return Conclusion("vote", "vote", elected(self.electorate, replies))


@dataclass(frozen=True, slots=True)
class Consensus:
    """Everybody is heard, or the quorum."""

    electorate: Electorate
    quorum: int | None

    def move(self, standing: Standing) -> Move:
        return _go_on(standing, enough=False, quorum=self.quorum)

    def conclude(self, replies: Sequence[Reply]) -> Conclusion:
        if len(replies) == 1:
            return Conclusion("single", "one_reply", elected(self.electorate, replies))
        return Conclusion("consensus", "consensus", then="compare")


@dataclass(frozen=True, slots=True)
class Synthesis:
    """An expert reads the responses, unless they agree: all of them, or as far as the posterior reaches `agreed_at`
    (MOSAIC skips by shares). `agreed_at` None: it always reads. What experts say that are no better than chance here
    is not read: an aggregating expert is easily talked round.
    """

    vote: Vote
    agreed_at: float | None

    def move(self, standing: Standing) -> Move:
        enough = self.vote.sure(self.vote.electorate.camps(standing.replies))
        return _go_on(standing, enough=enough, quorum=self.vote.quorum)

    def conclude(self, replies: Sequence[Reply]) -> Conclusion:
        if len(replies) == 1:
            return Conclusion("single", "one_reply", elected(self.vote.electorate, replies))
        voted, counted = elected(self.vote.electorate, replies), self.vote.electorate.evidence(replies)
        camps = self.vote.electorate.camps(counted or replies)
        unanimous = len(camps) == 1 and bool(camps[0].answer)
        if self.agreed_at is not None and (unanimous or self.vote.electorate.posterior(camps) >= self.agreed_at):
            return Conclusion("vote", "agreed" if unanimous else "sure", voted)
        read = tuple(sorted(worth_reading(counted), key=lambda reply: reply.expert))
        if len(read) < LEAST:
            return Conclusion("vote", "too_few_texts", voted)
        return Conclusion("synthesize", "synthesize", voted, "synthesize", read)


def aggregation(plan: Plan, needs: Needs, alternatives: float, learned: Learned | None = None) -> Aggregation:
    """The plan's aggregator, over this query's form of answers.

    Args:
        learned: of votes; without it P(correct) alone weighs them, and only certainty ends them early.
    """
    form: Form = "tools" if needs.tools else "json" if needs.json_schema else "text"
    electorate = Electorate(plan.p_correct, alternatives, form, plan.equal, learned.jury if learned else None)
    vote = Vote(
        electorate, plan.decided_at, plan.quorum, plan.spares, learned.stopping if learned else None, plan.prices
    )
    match plan.aggregator:
        case "single":
            return Single()
        case "vote":
            return vote
        case "consensus":
            return Consensus(electorate, plan.quorum)
        case "synthesize":
            return Synthesis(vote, plan.agreed_at)


def _go_on(standing: Standing, *, enough: bool, quorum: int | None = None) -> Move:
    """Stop when enough was heard; ask the next wave when nobody of the last one is awaited any more.

    A quorum ends the wait for the last wave: as long as there are others, an undecided answer goes on to them.
    """
    if enough:
        return "stop"
    if standing.left:
        return "wait" if standing.running else "ask"
    heard_enough = quorum is not None and len(standing.replies) >= quorum
    return "wait" if standing.running and not heard_enough else "stop"


def _nothing_to_vote_on(electorate: Electorate, replies: Sequence[Reply]) -> bool:
    """No two texts agree, and none of them is an answer that could be compared."""
    return all(is_open_ended(reply.text) for reply in replies) and len(electorate.camps(replies)) == len(replies)
