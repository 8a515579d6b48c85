"""One replay for `loadtest.feedback`: a stream of questions, each routed by what is known by then, its recorded outcome
fed back.

It knows the router: what it measures, `router.feedback.moved` and the ranking by its profiles, takes tens of thousands
of outcomes for each point. Deterministic: all chance comes from a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from router.config import Routing
from router.feedback import PER_SOURCE, Outcome, Seen, calibration_worth, moved
from router.outcomes import Outcomes, profiles_of
from router.outcomes import read as read_outcomes
from router.profiles import Count, Profiles
from router.ranking import ranked
from router.rates import Rates, vector
from router.recruit import candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

Recorded = Outcomes  # Q questions that each of M models has answered
STRENGTH: float = Routing.model_fields["prior_strength"].default
EVERY = 50  # outcomes between two readings of the feedback by the router
BLOCK = 250  # outcomes between two judgements
Prior = Literal["right", "swapped", "reversed", "none"]
Blow = Literal["swap", "crown"]


@dataclass(frozen=True, slots=True)
class Split:
    """Numbers of questions: to calibrate on, to come one by one, and to judge by; none in two of them."""

    calibration: Rows
    stream: Rows
    test: Rows


@dataclass(frozen=True, slots=True)
class Attack:
    """Lies sent together before question `at` of the stream: `outcomes` of them, spread evenly over `liars` sources.

    `swap`: in each category the expert that is asked is always wrong and the last in rank always right. `crown`:
    everywhere everybody is wrong but the expert that in truth is the weakest.

    Attributes:
        named: whether the liars are known sources; else their names are as many as they like.
    """

    at: int
    liars: int
    outcomes: int = 100_000
    blow: Blow = "swap"
    named: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """How a replay goes.

    Attributes:
        prior: profiles as calibrated; the best expert's and the worst one's exchanged; in reversed order, so that the
            best has the worst one's, the second best the second worst one's; or blank.
        learns: False leaves the profiles as they are.
        doubts: whether calibration counts for what `calibration_worth` says, or in full.
        explored: share of questions that go to an expert drawn by chance.
        sources: honest ones; each question comes from one of them, drawn by chance.
    """

    prior: Prior = "right"
    learns: bool = True
    doubts: bool = True
    explored: float = 0.05
    sources: int = 20
    per_source: int = PER_SOURCE
    attack: Attack | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """B blocks of the stream.

    Attributes:
        asked: [B] share of right answers in the block, those of explored experts too.
        routed: [B + 1] share of test questions that the expert they would go to has right, before each block and after
            the last.
        struck: the same immediately before and after the attack, where there is one.
        worth: [B + 1] observations that calibration counted as, at most; infinity: all.
    """

    asked: NDArray[np.float64]
    routed: NDArray[np.float64]
    struck: tuple[float, float] | None
    worth: NDArray[np.float64]


def read(questions: Path, outcomes: Path, models: Sequence[str] | None) -> Recorded:
    """The questions that all of these models answered, each text once; of all models there are, if none are named.
    An answer is right or wrong (`Outcomes.whole`).

    Raises:
        ValueError: what is wrong with the files.
    """
    found, _ = read_outcomes(questions, outcomes, None, models, {})
    first: dict[str, int] = {}
    for row, group in enumerate(found.groups):
        first.setdefault(group, row)
    whole = replace(found, right=found.whole.astype(np.float64))
    return whole.only(np.array(list(first.values()), dtype=np.int64))


def split(questions: int, calibration: int, stream: int, seed: int) -> Split:
    """Drawn by chance; what `calibration` and `stream` leave is judged by.

    Raises:
        ValueError: they leave nothing.
    """
    if calibration + stream >= questions:
        raise ValueError(f"{calibration} + {stream} of {questions} questions leave none to judge by; take fewer")
    order = np.random.default_rng(seed).permutation(questions)
    return Split(order[:calibration], order[calibration : calibration + stream], order[calibration + stream :])


def prior(known: Profiles, kind: Prior) -> Profiles:
    """The profiles that a replay begins with, of those that were calibrated."""
    best_first = sorted(known.experts, key=lambda name: (-known.experts[name].overall.right, name))
    if kind == "none":
        nothing = {"overall": Count(), "categories": {}, "output_tokens": 0}
        return Profiles(experts={name: found.model_copy(update=nothing) for name, found in known.experts.items()})
    given = best_first[::-1] if kind == "reversed" else best_first
    if kind == "swapped":
        given = [best_first[-1], *best_first[1:-1], best_first[0]]
    return Profiles(experts={name: known.experts[other] for name, other in zip(best_first, given, strict=True)})


def orders(profiles: Profiles, categories: Sequence[str]) -> dict[str, list[str]]:
    """Category -> the experts as the policy `category` asks them, the first first."""
    rates = Rates.of(profiles.experts, STRENGTH)
    found = {}
    for category in categories:
        pool = candidates(
            rates.experts,
            profiles,
            rates,
            rates.predict(vector(rates.categories, {category: 1.0}), vector(rates.skills, {})),
            usd_per_token=dict.fromkeys(rates.experts, (0.0, 0.0)),
            prompt_tokens=1,
            excluded={},
        )
        found[category] = [c.expert for c in ranked(pool, "category", rates, category, seed="")]
    return found


def replay(recorded: Recorded, parts: Split, settings: Settings, seed: int) -> Replay:
    """The whole stream, in its order; what is left of it after the last whole block is not asked."""
    return _Run(recorded, parts, settings, seed).replay()


class _Run:
    """One replay under way."""

    def __init__(self, recorded: Recorded, parts: Split, settings: Settings, seed: int) -> None:
        self._recorded, self._parts, self._settings = recorded, parts, settings
        self._right = recorded.whole
        self._rng = np.random.default_rng([seed, 1])  # another chance than the split's
        self._place = {model: number for number, model in enumerate(recorded.experts)}
        self._categories = sorted(set(recorded.categories))
        self._known = {f"honest-{number}" for number in range(settings.sources)}
        if settings.attack is not None and settings.attack.named:
            self._known |= {f"liar-{number}" for number in range(settings.attack.liars)}
        self._profiles = prior(profiles_of(recorded.only(parts.calibration)), settings.prior)
        test = np.array([recorded.categories[row] for row in parts.test])
        self._hits = {name: self._right[parts.test[test == name]].sum(axis=0) for name in self._categories}
        self._seen = Seen()
        self._read()

    def replay(self) -> Replay:
        attack, struck = self._settings.attack, None
        asked, routed, worth = [], [], []
        for start in range(0, len(self._parts.stream) // BLOCK * BLOCK, EVERY):
            if attack is not None and start == attack.at:
                struck = self._strike(attack)
            if start % BLOCK == 0:
                routed.append(self._routed())
                worth.append(self._worth)
            asked += self._ask(self._parts.stream[start : start + EVERY])
        blocks = np.array(asked, dtype=np.float64).reshape(-1, BLOCK)
        return Replay(blocks.mean(axis=1), np.array([*routed, self._routed()]), struck, np.array([*worth, self._worth]))

    def _read(self) -> None:
        """The router takes up what was fed back."""
        settings, profiles = self._settings, self._profiles
        per_source, worth = settings.per_source, None
        if settings.learns:
            if settings.doubts:
                worth = calibration_worth(profiles, self._seen, strength=STRENGTH, per_source=per_source)
            profiles = moved(profiles, self._seen, per_source=per_source, calibration=worth)
        self._worth = np.inf if worth is None else float(worth)
        self._orders = orders(profiles, self._categories)

    def _routed(self) -> float:
        hits = sum(int(right[self._place[self._orders[name][0]]]) for name, right in self._hits.items())
        return hits / len(self._parts.test)

    def _ask(self, rows: Rows) -> list[bool]:
        """Whether each question was answered right; all are fed back before the router reads again."""
        outcomes = [self._outcome(row) for row in rows]
        self._feed(outcomes)
        return [outcome.right for outcome in outcomes]

    def _outcome(self, row: np.int64) -> Outcome:
        category = self._recorded.categories[row]
        source = f"honest-{self._rng.integers(self._settings.sources)}"
        explores, drawn = self._rng.random() < self._settings.explored, self._rng.integers(len(self._place))
        expert = self._recorded.experts[drawn] if explores else self._orders[category][0]
        return Outcome(source, expert, category, (), bool(self._right[row, self._place[expert]]))

    def _feed(self, outcomes: Sequence[Outcome]) -> None:
        self._seen = self._seen.plus(Seen.of(outcomes, self._known))
        self._read()

    def _strike(self, attack: Attack) -> tuple[float, float]:
        before = self._routed()
        self._feed(list(self._lies(attack)))
        return before, self._routed()

    def _lies(self, attack: Attack) -> Iterator[Outcome]:
        hits = np.sum(list(self._hits.values()), axis=0)
        weakest = self._recorded.experts[int(hits.argmin())]
        for number in range(attack.outcomes):
            turn, liar = divmod(number, attack.liars)
            turn, place = divmod(turn, len(self._categories))
            ranks = self._orders[self._categories[place]]
            about = [ranks[0], ranks[-1]] if attack.blow == "swap" else ranks
            crowned = ranks[-1] if attack.blow == "swap" else weakest
            expert = about[turn % len(about)]
            yield Outcome(f"liar-{liar}", expert, self._categories[place], (), expert == crowned)
