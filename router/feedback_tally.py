"""Feedback as replicas follow it: how far it was read, and where it moves profiles. Pure.

What was said of an answer counts for the version of each expert that gave it, and for no other: it is kept apart by
version, so that a profile of another version finds what was said of that one.

The rule is in `feedback.py`, which counts outcome by outcome; this is the same in arrays, as a replica does it for a
hundred thousand outcomes while it serves requests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from router.feedback import PARTS, PER_SOURCE, Admitted, Evidence, Level, moved_by, worth
from router.profiles import Profiles
from router.rates import Rates
from router.registry import Asked, FeedbackState, Judged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]


class At(NamedTuple):
    """Where an outcome counts, whoever it comes from."""

    expert: str
    version: str
    level: Level
    name: str = ""


def _no_rows() -> NDArray[np.int32]:
    return np.empty((0, 3), dtype=np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """All that counts up to a number. `epoch`: of the state that it was read in; in another one it is worthless.

    `read`: number of the last feedback that was read; `number`: of the last that counts, which is what the profiles
    that it makes are called by; 0: as they were measured. `rows`: [N, 3], each outcome at each place: the number of its
    source, of the place, and whether it was right; `sources` and `places` give out those numbers.
    """

    epoch: int = 0
    read: int = 0
    number: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[At, int] = field(default_factory=dict)
    rows: NDArray[np.int32] = field(default_factory=_no_rows)

    def whole(self, state: FeedbackState) -> bool:
        """Whether nothing has to be read."""
        return self.epoch == state.epoch and self.read >= _end(state)

    def upto(self, state: FeedbackState) -> Tally:
        """Once all that there was in this state was read: the last of it may not be kept any more."""
        return replace(self, read=max(self.read, _end(state)))

    def plus(self, judged: Iterable[Judged], state: FeedbackState) -> Tally:
        """With what was read after `self.read`, of `state.epoch`; nothing from after a freeze."""
        read, number = self.read, self.number
        sources, places, rows = dict(self.sources), dict(self.places), list[tuple[int, int, int]]()
        for one in judged:
            if state.frozen is not None and one.number > state.frozen:
                break
            read = one.number
            if not one.void:
                number = one.number
                source = sources.setdefault(one.asked.source, len(sources))
                rows += [(source, places.setdefault(at, len(places)), one.right) for at in _places(one.asked)]
        more = np.array(rows, dtype=np.int32).reshape(-1, 3)
        return Tally(self.epoch, read, number, sources, places, np.concatenate([self.rows, more]))

    def moved(
        self, profiles: Profiles, known: Collection[str], *, strength: float, per_source: int = PER_SOURCE
    ) -> Profiles:
        """As `feedback.moved` does it, with calibration as `feedback.calibration_worth` has it.

        Args:
            profiles: as measured.
            known: sources that count one by one; all others count as one.
        """
        counts = self._counts(profiles, known)
        found = _findings(counts, Rates.of(profiles.experts, strength), per_source)
        return moved_by(profiles, _admitted(counts, per_source), worth(found))

    def _counts(self, profiles: Profiles, known: Collection[str]) -> _Counts:
        places, versions = list(self.places), {name: p.expert_version for name, p in profiles.experts.items()}
        strangers = len(self.sources)
        fits = np.array([versions.get(at.expert) == at.version for at in places], dtype=bool)
        counted_as = np.array([n if name in known else strangers for name, n in self.sources.items()], dtype=np.int64)
        rows = self.rows[fits[self.rows[:, 1]]] if places else self.rows
        width = max(len(places), 1)
        key = counted_as[rows[:, 0]] * width + rows[:, 1] if len(rows) else np.empty(0, dtype=np.int64)
        order = np.argsort(key, kind="stable")
        pairs, starts, asked = np.unique(key[order], return_index=True, return_counts=True)
        right = np.add.reduceat(rows[order, 2].astype(np.int64), starts) if len(starts) else asked
        return _Counts(places, strangers + 1, pairs // width, pairs % width, right, asked)


class _Counts(NamedTuple):
    """Of N pairs of a source and a place, [N] each, `right` of `asked` outcomes; and how many sources there may be."""

    places: list[At]
    sources: int
    source: Numbers
    place: Numbers
    right: Numbers
    asked: Numbers


def _places(asked: Asked) -> Iterator[At]:
    for expert, version in zip(asked.experts, asked.versions, strict=True):
        yield At(expert, version, "overall")
        if asked.category is not None:
            yield At(expert, version, "category", asked.category)
        for skill in dict.fromkeys(asked.skills):
            yield At(expert, version, "skill", skill)


def _admitted(counts: _Counts, per_source: int) -> Admitted:
    bounded = np.minimum(counts.asked, per_source)
    parts = counts.right * bounded * PARTS // np.maximum(counts.asked, 1)
    size = len(counts.places)
    right, asked = (_sums(counts.place, values, size) for values in (parts, bounded))
    found: defaultdict[str, dict[tuple[Level, str], Evidence]] = defaultdict(dict)
    for number in np.flatnonzero(asked).tolist():
        at = counts.places[number]
        found[at.expert][at.level, at.name] = Evidence(int(right[number]), int(asked[number]))
    return found


def _sums(place: Numbers, values: Numbers, size: int) -> Numbers:
    found = np.zeros(size, dtype=np.int64)
    np.add.at(found, place, values)
    return found


def _findings(counts: _Counts, rates: Rates, per_source: int) -> list[float]:
    """One of each source that has company: how its departures from what is predicted agree with all others'."""
    experts = len(rates.experts)
    known = [at.level == "category" and at.expert in rates.places for at in counts.places]
    expert = np.array([rates.places.get(at.expert, 0) for at in counts.places], dtype=np.int64)
    told = [rates.rate(at.expert, at.name) if used else 0.0 for at, used in zip(counts.places, known, strict=True)]
    at = counts.place
    used = np.array(known, dtype=bool)[at] if counts.places else np.empty(0, dtype=bool)
    at, right, number = at[used], counts.right[used], counts.asked[used]
    cell = counts.source[used] * experts + expert[at]

    def table(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """[sources, experts]"""
        sums = np.bincount(cell, values, counts.sources * experts)
        return np.asarray(sums, dtype=np.float64).reshape(counts.sources, experts)

    excess, asked = table(right - number * np.array(told)[at]), table(number.astype(np.float64))
    share = np.minimum(1.0, per_source / np.maximum(asked, 1.0))
    excess, asked = excess * share, asked * share
    pairs = (asked * (asked.sum(axis=0) - asked)).sum(axis=1)
    agreed = (excess * (excess.sum(axis=0) - excess)).sum(axis=1)
    found: list[float] = (agreed[pairs > 0] / pairs[pairs > 0]).tolist()
    return found


def _end(state: FeedbackState) -> int:
    """Number of the last feedback that may count."""
    return state.last if state.frozen is None else state.frozen
