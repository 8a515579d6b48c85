"""What the votes of `loadtest.panels` should come to, worked out from recorded letters alone. Pure.

Written from the description of the rule, not from its code: each vote adds log(p K / (1 - p)) to its letter, with p
the expert's predicted correctness and K the wrong answers among which experts scatter; the posterior is the softmax
over the letters named and max(K + 1 - named, 1) unnamed ones. A vote may end early when the posterior reaches a bound,
or when those who are still to answer could not overturn it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

CLAMP = 0.02
LEAST_WEIGHT = 0.01
EQUAL = 0.6
SLACK = 1e-9  # sums of the same weights in another order differ by less


@dataclass(frozen=True, slots=True)
class Rule:
    """How a policy votes. `waves`: sizes; those of the last wave are all that are left. `decided_at` None: never early.

    `equal`: every vote weighs the same; predicted correctness breaks ties only.
    """

    waves: tuple[int, ...]
    alternatives: float
    decided_at: float | None
    equal: bool = False

    def seated(self, experts: Sequence[str]) -> list[list[str]]:
        """Experts, the most promising first, in their waves."""
        seats, left = [], list(experts)
        for size in self.waves[:-1]:
            seats.append(left[:size])
            left = left[size:]
        return [wave for wave in (*seats, left) if wave]


@dataclass(frozen=True, slots=True)
class Simulated:
    """`expert`: whose words are returned. `heard`: in the order of answering; `asked`: also those cut off."""

    letter: str
    expert: str
    heard: tuple[str, ...]
    asked: int


@dataclass(frozen=True, slots=True)
class Votes:
    """The letters that experts give, and what each expert's vote counts."""

    letters: Mapping[str, str]
    p: Mapping[str, float]
    alternatives: float
    equal: bool = False

    def weight(self, expert: str) -> float:
        p = EQUAL if self.equal else min(max(self.p[expert], CLAMP), 1 - CLAMP)
        return max(math.log(p * self.alternatives / (1 - p)), LEAST_WEIGHT)

    def sums(self, heard: Iterable[str]) -> dict[str, float]:
        """Letter -> the weight behind it; who named none is left out."""
        sums: dict[str, float] = {}
        for expert in heard:
            if letter := self.letters[expert]:
                sums[letter] = sums.get(letter, 0.0) + self.weight(expert)
        return sums

    def winner(self, heard: Sequence[str]) -> str:
        """The letter with most weight, at ties most predicted correctness, then the first; "" when none was named."""
        sums = self.sums(heard)
        trust = {letter: math.fsum(self.p[e] for e in heard if self.letters[e] == letter) for letter in sums}
        return min(sums, key=lambda letter: (-round(sums[letter], 9), -trust[letter], letter), default="")

    def posterior(self, heard: Sequence[str]) -> float:
        sums = self.sums(heard)
        if not sums:
            return 0.0
        unnamed = max(self.alternatives + 1 - len(sums), 1.0)
        odds = [math.exp(weight) for weight in sums.values()]
        return max(odds) / (math.fsum(odds) + unnamed)

    def beyond_reach(self, heard: Sequence[str], outstanding: Iterable[str]) -> bool:
        """Whether the leading letter wins whatever the others say."""
        first, second = [*sorted(self.sums(heard).values(), reverse=True), 0.0, 0.0][:2]
        return first - second > math.fsum(map(self.weight, outstanding)) + SLACK

    def decided(self, heard: Sequence[str], outstanding: Iterable[str], bound: float) -> bool:
        return self.posterior(heard) >= bound or self.beyond_reach(heard, outstanding)


def simulate(
    rule: Rule, experts: Sequence[str], letters: Mapping[str, str], p: Mapping[str, float], arrival: Sequence[str] = ()
) -> Simulated:
    """What the policy should do on one question.

    Args:
        experts: the most promising first, as they are asked.
        arrival: who answered first among those asked together; those missing come after, in the order of asking.
    """
    votes = Votes(letters, p, rule.alternatives, rule.equal)
    waves = rule.seated(experts)
    turn = {expert: place for place, expert in enumerate((*arrival, *(e for e in experts if e not in arrival)))}
    heard: list[str] = []
    asked = 0
    for number, wave in enumerate(waves):
        asked += len(wave)
        for expert in sorted(wave, key=turn.__getitem__):
            heard.append(expert)
            outstanding = {e for later in waves[number:] for e in later} - set(heard)
            if rule.decided_at is not None and votes.decided(heard, outstanding, rule.decided_at):
                return _ended(votes, heard, asked)
    return _ended(votes, heard, asked)


def _ended(votes: Votes, heard: Sequence[str], asked: int) -> Simulated:
    letter = votes.winner(heard)
    camp = [e for e in heard if votes.letters[e] == letter]
    return Simulated(letter, min(camp, key=lambda e: (-votes.p[e], e)), tuple(heard), asked)
