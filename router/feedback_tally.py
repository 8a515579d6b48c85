"""Feedback as replicas follow it: how far it was read, and what of it counts for experts as they are profiled. Pure.

What was said of an answer counts for the version of each expert that gave it, and for no other: it is kept apart by
version, so that a profile of another version finds what was said of that one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from router.feedback import Outcome, Seen
from router.profiles import Profiles
from router.registry import FeedbackState, Judged


@dataclass(frozen=True, slots=True)
class Tally:
    """All that counts up to a number. `epoch`: of the state that it was read in; in another one it is worthless.

    `read`: number of the last feedback that was read; `number`: of the last that counts, which is what the profiles
    that it makes are called by; 0: as they were measured. `seen`: (expert, version) -> outcomes.
    """

    epoch: int = 0
    read: int = 0
    number: int = 0
    seen: Mapping[tuple[str, str], Seen] = field(default_factory=dict)

    def whole(self, state: FeedbackState) -> bool:
        """Whether nothing has to be read."""
        return self.epoch == state.epoch and self.read >= _end(state)

    def upto(self, state: FeedbackState) -> Tally:
        """Once all that there was in this state was read: the last of it may not be kept any more."""
        return replace(self, read=max(self.read, _end(state)))

    def plus(self, judged: Iterable[Judged], state: FeedbackState) -> Tally:
        """With what was read after `self.read`, of `state.epoch`; nothing from after a freeze."""
        read, number = self.read, self.number
        outcomes: defaultdict[tuple[str, str], list[Outcome]] = defaultdict(list)
        for one in judged:
            if state.frozen is not None and one.number > state.frozen:
                break
            read = one.number
            if not one.void:
                number = one.number
                for expert, version in zip(one.asked.experts, one.asked.versions, strict=True):
                    outcomes[expert, version].append(_outcome(one, expert))
        seen = dict(self.seen)
        for about, found in outcomes.items():
            more = Seen.of(found, {outcome.source for outcome in found})  # who is known is asked when it is used
            seen[about] = seen.get(about, Seen()).plus(more)
        return Tally(self.epoch, read, number, seen)

    def of(self, profiles: Profiles, known: Collection[str]) -> Seen:
        """What counts for these profiles; those of sources that are not `known` count as one."""
        places = [
            self.seen.get((name, profile.expert_version), Seen()).counts for name, profile in profiles.experts.items()
        ]
        return Seen({place: count for found in places for place, count in found.items()}).known(known)


def _end(state: FeedbackState) -> int:
    """Number of the last feedback that may count."""
    return state.last if state.frozen is None else state.frozen


def _outcome(judged: Judged, expert: str) -> Outcome:
    asked = judged.asked
    return Outcome(asked.source, expert, asked.category, asked.skills, judged.right)
