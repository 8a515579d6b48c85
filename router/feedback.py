"""Outcomes seen after calibration, and how far they may move a profile. Pure.

Learning from outcomes is OpenAGI's "reinforcement learning from task feedback" (arXiv 2304.04370), here without
gradients: profiles are counts, so an outcome is one more count, and P(correct) follows by the formula it always had.

What one source says is bounded. At each level (overall, a category, a skill of one expert) its outcomes count as at
most k = `per_source` observations, at the source's own rate. Let a rate be (R + s p) / (N + s), the mean of a Beta
posterior with R of N right without this source and a prior p worth s observations, and let the source add r of a, with
0 <= r <= a <= k. Then

    after - before = a / (N + s + a) * (r / a - before),    so    |after - before| <= k / (N + s + k)

however many outcomes it sends. The prior p is the rate one level up, which the source may have moved as well, by B at
most; then |after - before| <= (k + s B) / (N + s + k). N holds calibration and what all others sent: a
profile with more behind it moves less, and m sources together weigh k m observations against the calibration.

How much calibration counts (`calibration`) is a decision of its own: `calibration_worth` lets it count less where
independent sources find it wrong. The bound above holds for any one value of it.

Who is a source is said by whoever gives out names: outcomes by any other name count together as `ANONYMOUS`, one source
with one source's bound. Nothing in the outcomes themselves could tell a thousand clients from one with a thousand
names (Douceur 2002), and keeping the heaviest or the newest of them would let a flood push out the honest. So a `Seen`
is a function of the outcomes alone, not of their order or of who counted which: replicas add theirs up. Its size is
bounded by the known sources times the router's own experts, categories and skills.

Must not know where outcomes come from, how they are kept, or which version of an expert they are about: whoever keeps
them begins anew with an expert's version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import fsum
from typing import Literal, NamedTuple

from router.profiles import Count, Profile, Profiles
from router.rates import Rates

ANONYMOUS = "anonymous"
PER_SOURCE = 2  # loadtest.feedback: with more, one liar costs accuracy; honest sources lose little by it
PARTS = 1_000_000  # of an observation; whole numbers add up the same in any order, and are rounded once
UNSURE = 200  # a finding counts at 1 - 1/200: at 1 - 1/40 calibrations that were right were doubted now and then
# Calibration that is off by t counts as DOUBT / t^2 observations. A sample of p (1 - p) / t^2 is off by as much through
# chance; calibration found wrong is given a tenth of it, since what is wrong elsewhere shows only once it is asked.
DOUBT = 0.024
Level = Literal["overall", "category", "skill"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer of one expert, and whether its `source` found it right.

    `category`: the one acted on, None where none was; `skills`: the question's, each counted once.
    """

    source: str
    expert: str
    category: str | None
    skills: tuple[str, ...]
    right: bool


class Place(NamedTuple):
    """Where an outcome counts. `name`: of the category or skill; "" for `overall`."""

    source: str
    expert: str
    level: Level
    name: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """Every outcome seen so far, as counts. Nothing is left out here; bounds apply where it is used (`moved`)."""

    counts: Mapping[Place, Count] = field(default_factory=dict)

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], known: Collection[str]) -> Seen:
        """Counts of these outcomes; those of sources that are not `known` under `ANONYMOUS`."""
        found = _Tally()
        for outcome in outcomes:
            for place in _places(outcome):
                found.add(place, known, int(outcome.right), 1)
        return found.seen()

    def plus(self, other: Seen) -> Seen:
        """Both together, as if counted at once: commutative, associative, and `Seen()` is neutral."""
        found = _Tally()
        for counts in (self.counts, other.counts):
            for place, count in counts.items():
                found.add(place, None, count.right, count.asked)
        return found.seen()

    def known(self, sources: Collection[str]) -> Seen:
        """As if only these sources had ever been known: the others' outcomes are `ANONYMOUS` now."""
        found = _Tally()
        for place, count in self.counts.items():
            found.add(place, sources, count.right, count.asked)
        return found.seen()


class _Tally:
    """Sums under way: place -> [right, asked]."""

    def __init__(self) -> None:
        self._sums: defaultdict[Place, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, place: Place, known: Collection[str] | None, right: int, asked: int) -> None:
        named = known is None or place.source in known
        sums = self._sums[place if named else place._replace(source=ANONYMOUS)]
        sums[0] += right
        sums[1] += asked

    def seen(self) -> Seen:
        return Seen({place: Count(right=right, asked=asked) for place, (right, asked) in self._sums.items()})


def _places(outcome: Outcome) -> Iterator[Place]:
    yield Place(outcome.source, outcome.expert, "overall")
    if outcome.category is not None:
        yield Place(outcome.source, outcome.expert, "category", outcome.category)
    for skill in dict.fromkeys(outcome.skills):
        yield Place(outcome.source, outcome.expert, "skill", skill)


class Evidence(NamedTuple):
    """Admitted at one level of one expert: `right` in PARTS of an observation, `asked` in observations."""

    right: int = 0
    asked: int = 0

    def plus(self, count: Count, most: int) -> Evidence:
        """With a count that weighs as at most `most` observations, at its own rate."""
        if count.asked <= most:
            return Evidence(self.right + count.right * PARTS, self.asked + count.asked)
        return Evidence(self.right + count.right * most * PARTS // count.asked, self.asked + most)

    def rounded(self) -> Count:
        """Rounded half up: unlike half to even, a source of `a` observations adds 0 to `a` right ones to any sum."""
        return Count(right=(self.right + PARTS // 2) // PARTS, asked=self.asked)


Admitted = Mapping[str, Mapping[tuple[Level, str], Evidence]]  # expert -> (level, name) -> what counts there


def moved(profiles: Profiles, seen: Seen, *, per_source: int = PER_SOURCE, calibration: int | None = None) -> Profiles:
    """The profiles with what was seen added to what was measured; aggregators stay as they are.

    Only experts with a profile move: it says of which version the counts are. The mean length of answers stays, since
    outcomes do not tell it.

    Args:
        per_source: observations that one source counts as at each level of each expert, at most.
        calibration: observations that calibration counts as at each level, at most; None: all of them.
    """
    found: defaultdict[str, dict[tuple[Level, str], Evidence]] = defaultdict(dict)
    for place, count in seen.counts.items():
        levels, key = found[place.expert], (place.level, place.name)
        levels[key] = levels.get(key, Evidence()).plus(count, per_source)
    return moved_by(profiles, found, calibration)


def moved_by(profiles: Profiles, admitted: Admitted, calibration: int | None) -> Profiles:
    """As `moved`, of what is bounded already."""
    experts = profiles.experts.items()
    return profiles.updated({name: _moved(profile, admitted.get(name, {}), calibration) for name, profile in experts})


def _moved(profile: Profile, evidence: Mapping[tuple[Level, str], Evidence], calibration: int | None) -> Profile:
    def whole(measured: Count, level: Level, name: str = "") -> Count:
        most = measured.asked if calibration is None else calibration
        return evidence.get((level, name), Evidence()).plus(measured, most).rounded()

    def each(measured: Mapping[str, Count], level: Level) -> dict[str, Count]:
        """Those that were measured, then those that were only seen."""
        names = dict.fromkeys([*measured, *sorted(name for at, name in evidence if at == level)])
        return {name: whole(measured.get(name, Count()), level, name) for name in names}

    overall = whole(profile.overall, "overall")
    return profile.model_copy(
        update={
            "overall": overall,
            "categories": each(profile.categories, "category"),
            "skills": each(profile.skills, "skill"),
            "output_tokens": round(profile.mean_output_tokens * overall.asked),
        }
    )


def calibration_worth(profiles: Profiles, seen: Seen, *, strength: float, per_source: int = PER_SOURCE) -> int | None:
    """How many observations calibration should count as at each level, at most; None: nothing speaks against it.

    Each source departs from what the calibration predicts, expert by expert: by chance, or because the calibration is
    wrong. Chance is each source's own, a wrong calibration is common to all. So one source's finding is how its
    departures agree with all others', the sum over experts of d_s (D - d_s) per pair of observations: an unbiased
    estimate of t^2, the mean square of what the calibration is off by (Cochran 1954's moments, between sources). Of all
    findings the one is taken that more than half of the sources exceed, by a sign test; so no single source decides,
    and fewer than eight decide nothing. A third of all sources that agree on a lie can make calibration doubted.

    Args:
        profiles: as calibrated, not as moved.
        strength: observations that the prior of a shrunken rate counts as.
    """
    return worth(_findings(_departures(profiles, seen, strength, per_source)))


def worth(findings: Iterable[float]) -> int | None:
    """As `calibration_worth`, of the sources' findings."""
    findings = sorted(findings)
    rank = _surely_below_median(len(findings))
    if rank is None or findings[rank] <= 0:
        return None
    return int(DOUBT / findings[rank])


class _Departure(NamedTuple):
    """Right answers over those predicted, and of how many, both as bounded for one source."""

    excess: float
    asked: float


def _departures(profiles: Profiles, seen: Seen, strength: float, per_source: int) -> dict[str, dict[str, _Departure]]:
    """Source -> expert -> its departure, where it said something in a category."""
    rates = Rates.of(profiles.experts, strength)
    excess: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    asked: defaultdict[tuple[str, str], int] = defaultdict(int)
    for place, count in seen.counts.items():
        if place.level == "category" and count.asked and place.expert in rates.places:
            predicted = rates.rate(place.expert, place.name)
            excess[place.source, place.expert].append(count.right - count.asked * predicted)
            asked[place.source, place.expert] += count.asked
    found: defaultdict[str, dict[str, _Departure]] = defaultdict(dict)
    for (source, expert), number in asked.items():
        share = min(1.0, per_source / number)
        found[source][expert] = _Departure(share * fsum(excess[source, expert]), share * number)
    return found


def _findings(departures: Mapping[str, Mapping[str, _Departure]]) -> Iterator[float]:
    """One of each source that has company: its agreement with all others (fsum, so that no order matters)."""
    of_expert: defaultdict[str, list[_Departure]] = defaultdict(list)
    for experts in departures.values():
        for expert, departure in experts.items():
            of_expert[expert].append(departure)
    excess = {expert: fsum(d.excess for d in found) for expert, found in of_expert.items()}
    asked = {expert: fsum(d.asked for d in found) for expert, found in of_expert.items()}
    for experts in departures.values():
        pairs = fsum(d.asked * (asked[expert] - d.asked) for expert, d in experts.items())
        if pairs > 0:
            yield fsum(d.excess * (excess[expert] - d.excess) for expert, d in experts.items()) / pairs


def _surely_below_median(size: int) -> int | None:
    """The highest rank, from 0, whose value lies below the median of what `size` values were drawn from, by a one-sided
    sign test at 1 / UNSURE; None where there are too few to say.
    """
    rank, below, ways, limit = -1, 1, 1, 2**size  # ways: of choosing rank + 1 of them
    while below * UNSURE <= limit:
        rank += 1
        ways = ways * (size - rank) // (rank + 1)
        below += ways
    return rank if rank >= 0 else None
