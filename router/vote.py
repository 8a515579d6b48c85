"""Who agrees with whom, and how probable it is that the majority is right. Pure.

Each vote weighs the log-odds of its expert's P(correct) against one of K wrong answers: with p = P(correct), a right
expert names the right answer and a wrong one any of K others, so a vote multiplies the odds of its answer by
p K / (1 - p) (naive Bayes; K is `alternatives`). Where a jury was learned its weights stand in their place. The
posterior spreads over the answers seen and those that nobody named. The winner's own text is returned unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from router.answers import comparable
from router.jury import LEAST_WEIGHT, SURE, Jury
from router.records import Answer, Ballot, Reply
from router.values import MAX_SHORT_CHARS

EQUAL = 0.6  # P(correct) that equal votes weigh by: any above chance gives the majority
MAX_READ_CHARS = 200_000
Form = Literal["text", "json", "tools"]


@dataclass(frozen=True, slots=True)
class Camp:
    """The replies that give one answer, the most trusted first; `weight` is the sum of theirs."""

    answer: str
    replies: tuple[Reply, ...]
    weight: float


@dataclass(frozen=True)
class Electorate:
    """What votes count: P(correct) per expert (missing: 0), and among how many wrong answers wrong experts scatter.

    `equal`: all votes weigh the same, a majority; P(correct) breaks its ties all the same. `jury`: learned weights, of
    the experts that they were learned for.
    """

    p_correct: Mapping[str, float]
    alternatives: float
    form: Form = "text"
    equal: bool = False
    jury: Jury | None = None
    _read: dict[tuple[str, str], str] = field(default_factory=dict, init=False, compare=False, repr=False)

    def trust(self, expert: str) -> float:
        return self.p_correct.get(expert, 0.0)

    def evidence(self, replies: Sequence[Reply]) -> tuple[Reply, ...]:
        """The replies of experts that are right more often than by chance among K wrong answers."""
        return tuple(reply for reply in replies if self.trust(reply.expert) > 1 / (1 + self.alternatives))

    @cached_property
    def _learned(self) -> Mapping[str, float]:
        return {} if self.jury is None or self.equal else self.jury.weights(self.p_correct)

    @cached_property
    def _weights(self) -> Mapping[str, float]:
        learned = {expert: max(weight, LEAST_WEIGHT) for expert, weight in self._learned.items()}
        return {expert: self._naive(expert) for expert in self.p_correct if expert not in learned} | learned

    def weight(self, expert: str) -> float:
        """Log-odds that one vote adds to its answer."""
        known = self._weights.get(expert)
        return self._naive(expert) if known is None else known

    def _naive(self, expert: str) -> float:
        p = EQUAL if self.equal else min(max(self.trust(expert), 1 - SURE), SURE)
        return max(math.log(p * self.alternatives / (1 - p)), LEAST_WEIGHT)

    def camps(self, replies: Sequence[Reply]) -> tuple[Camp, ...]:
        """By answer, the winner first. Ties go to more trust, then by text: who answered first decides nothing."""
        found: dict[str, list[Reply]] = {}
        for reply in replies:
            found.setdefault(self._answer(reply), []).append(reply)
        camps = [
            Camp(
                answer,
                tuple(sorted(camp, key=lambda r: (-self.trust(r.expert), r.expert))),
                math.fsum(self.weight(r.expert) for r in camp),
            )
            for answer, camp in found.items()
        ]
        return tuple(sorted(camps, key=self._order))

    def _answer(self, reply: Reply) -> str:
        """What it is counted by, read once; a text too long to be read on the event loop is only like itself."""
        if len(reply.text) > MAX_READ_CHARS:
            return reply.text
        key = reply.leg_id, reply.text
        if key not in self._read:
            self._read[key] = comparable(reply.choices[0], self.form)
        return self._read[key]

    def _order(self, camp: Camp) -> tuple[bool, float, float, str]:
        trust = math.fsum(self.trust(reply.expert) for reply in camp.replies)
        # No answer never beats an answer. Weights are rounded: equal ones must not differ by the order of a sum.
        return not camp.answer, -round(camp.weight, 9), -trust, camp.answer

    def posterior(self, camps: Sequence[Camp]) -> float:
        """P(the winner is right), in [0, 1]."""
        named, _ = self.posteriors(camps)
        return named[0] if named else 0.0

    def posteriors(self, camps: Sequence[Camp]) -> tuple[tuple[float, ...], float]:
        """P(it is right) of each answer named, the winner first; and that none of them is. They sum to 1."""
        named = [camp for camp in camps if camp.answer]
        if not named:
            return (), 1.0
        if self._learned and self.jury is not None:
            unseen = self.jury.log_odds_nobody(len(named), sum(len(camp.replies) for camp in named))
        else:
            unseen = math.log(max(self.alternatives + 1 - len(named), 1.0))
        most = max(unseen, *(camp.weight for camp in named))
        odds = [math.exp(camp.weight - most) for camp in named]
        rest = math.exp(unseen - most)
        total = math.fsum(odds) + rest
        return tuple(odd / total for odd in odds), rest / total

    def settled(self, camps: Sequence[Camp], outstanding: Iterable[str]) -> bool:
        """Whether no vote of those still to come could make another answer win."""
        if not camps or not camps[0].answer:
            return False
        second = camps[1].weight if len(camps) > 1 and camps[1].answer else 0.0
        lead = camps[0].weight - second - 1e-9
        for expert in outstanding:
            if lead <= 0:
                return False
            lead -= self.weight(expert)
        return lead > 0


def elected(electorate: Electorate, replies: Sequence[Reply]) -> Answer:
    """The answer that most weight stands behind, in the words of its most trusted supporter. At least one reply."""
    camps = electorate.camps(replies)
    winner = camps[0].replies[0]
    ballot = Ballot(
        answers=tuple((c.answer[:MAX_SHORT_CHARS], tuple(r.expert for r in c.replies)) for c in camps),
        share=len(camps[0].replies) / len(replies),
        posterior=electorate.posterior(camps),
    )
    return Answer(winner.expert, winner.choices, ballot, winner.extra)
