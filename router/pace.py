"""Holding what a policy's queries cost at a target on average: money grows dear as more is spent than that. Pure.

Dual mirror descent on the budget's multiplier, one step a query (Balseiro, Lu and Mirrokni, arXiv 2002.10421); the
follow-up of "Harder Tasks Need More Experts" (arXiv 2512.13996) moves its threshold in this way.
A step is proportional to the cost above the target, so the steps of N queries add up to N times the mean's error: as
dearness is bounded, the mean comes within ln(MOST / LEAST) / (GAIN N) of the target wherever that can be held at all.
Each router replica paces its own queries; means that are all at the target have that as their mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from router.config import Policy
from router.events import Decided, Event, LegSettled
from router.records import Usage

GAIN = 0.03
FIRST, LEAST, MOST = 0.02, 1e-3, 10.0  # right answers that a query of the target's cost must be worth
LARGEST = 100.0  # targets that one query counts as at most: a runaway answer must not starve those behind it


@dataclass(frozen=True, slots=True)
class Pace:
    """`dear`: how many right answers a query of the target's cost must be worth, as a logarithm."""

    target_usd: float
    dear: float

    @classmethod
    def of(cls, policy: Policy) -> Pace | None:
        """Where the policy has a target; begins at its `usd_per_right`, if it says one."""
        if (target := policy.target_usd_per_query) is None:
            return None
        return cls(target, 0.0)._at(math.log(target / policy.usd_per_right if policy.usd_per_right else FIRST))

    @property
    def usd_per_right(self) -> float:
        """What a right answer is worth now."""
        return self.target_usd / math.exp(self.dear)

    def asked(self) -> Pace:
        """One more query may cost the target."""
        return self._at(self.dear - GAIN)

    def spent(self, usd: float) -> Pace:
        """A query, or a part of one, has cost so much."""
        return self._at(self.dear + GAIN * min(usd / self.target_usd, LARGEST))

    def _at(self, dear: float) -> Pace:
        return replace(self, dear=min(max(dear, math.log(LEAST)), math.log(MOST)))


class Paces:
    """The paces of a router replica's policies, moved by what happens."""

    def __init__(self, policies: Mapping[str, Policy], moved: Callable[[str, float], object]) -> None:
        """`moved` is told a policy's name and what a right answer is worth to it, whenever that changes."""
        self._moved = moved
        self._paces: dict[str, Pace] = {}
        self.configured(policies)

    def configured(self, policies: Mapping[str, Policy]) -> None:
        """Paces these policies from now on; where a target stays, so does what was learned of it."""
        known, self._paces = self._paces, {}
        for name, policy in policies.items():
            if (pace := Pace.of(policy)) is not None:
                same = name in known and known[name].target_usd == pace.target_usd
                self._move(name, known[name] if same else pace)

    def priced(self, name: str, policy: Policy) -> Policy:
        """The policy, with what a right answer is worth to it now."""
        pace = self._paces.get(name)
        return policy.model_copy(update={"usd_per_right": pace.usd_per_right}) if pace else policy

    def emit(self, event: Event, usd: Callable[[str, Usage], float]) -> None:
        """`usd`: what an expert's tokens cost."""
        match event:
            case Decided(decision=decision) if pace := self._paces.get(decision.policy):
                self._move(decision.policy, pace.asked())
            case LegSettled() if pace := self._paces.get(event.model):
                self._move(event.model, pace.spent(usd(event.expert, event.usage)))

    def _move(self, name: str, pace: Pace) -> None:
        self._paces[name] = pace
        self._moved(name, pace.usd_per_right)
