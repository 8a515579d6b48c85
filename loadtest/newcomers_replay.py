"""The replays of `loadtest.newcomers`: what the router would have predicted and chosen, on recorded outcomes.

Knows the router: who is right where an expert, or a category, is new cannot be seen over HTTP. Deterministic: all
chance comes from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deploy.teach import offline_embedder
from loadtest.newcomers_ways import (
    DRAWN,
    Key,
    Labels,
    Pool,
    Tally,
    best_trio,
    card,
    centroid_scores,
    chosen,
    in_words,
    likeness,
    paired,
    panel,
    resembling,
    voted,
)
from router.baselines import by_neighbours, by_overall
from router.config import Convening
from router.config import Embedder as EmbedderSettings
from router.correctness import Correctness, Reading
from router.diversity import correlations, mean_correlation
from router.evaluate import POLICIES
from router.evaluation import SETTINGS, Trial, trial
from router.jury import LEAST_WEIGHT
from router.outcomes import Outcomes, profiles_of
from router.outcomes import read as read_outcomes
from router.rates import Rates
from router.splits import folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from router.embed import Embedder
    from router.splits import Split

    Values = NDArray[np.float64]
    Rows = NDArray[np.int64]

LABELLED = (5, 10, 20, 50)
ALL = "all"  # instead of so many labelled questions: those that the others were profiled on
NOBODY = "-"  # how questions were drawn that were not
OUTCOME_PENALTY, PREDICTION_PENALTY = 30.0, 1.0  # predictions differ by a tenth of what outcomes do
PANEL = 3
CORRELATION_WEIGHTS = (0.25, 0.5, 1.0)  # beside rates
CARD = 3  # categories on a card
TEMPERATURE = 0.05  # a cosine
BEST_SINGLE, PRODUCT = "best single", "product"
SERVED = POLICIES["recruited-1"]  # by P(right); what is unfamiliar goes to the best single expert


@dataclass(frozen=True, slots=True, eq=False)
class Remembering:
    """An embedder that is asked for each text once; the vectors stay in memory."""

    embed: Embedder
    _kept: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.embed.name

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        new = list(dict.fromkeys(text for text in texts if text not in self._kept))
        if new:
            self._kept.update(zip(new, self.embed(new), strict=True))
        return np.array([self._kept[text] for text in texts])


def read(
    questions: Path, outcomes: Path, pool: Sequence[str] | None, where: Mapping[str, str]
) -> tuple[Outcomes, tuple[str, ...]]:
    """As `router.outcomes.read`, without prices. Raises ValueError: what is wrong with the files."""
    return read_outcomes(questions, outcomes, None, pool, where)


def embedder(model: str) -> Embedder:
    """As `symposium evaluate` opens it, so that vectors kept on disk are shared."""
    return Remembering(offline_embedder(EmbedderSettings(model=model), lambda _: None))


def replays(
    outcomes: Outcomes, embed: Embedder, seeds: Sequence[int], draws: int, least: int, say: Callable[[str], object]
) -> Tally:
    """Everything that is measured: half → half, both ways, for each seed; and by categories left out.

    Args:
        draws: of labelled questions, for each newcomer; least: questions of a category that is left out.

    Raises:
        ValueError: too few questions.
    """
    tally, plain = Tally(len(outcomes)), replace(outcomes, answers=None)  # votes and stopping need not be learned
    for seed in seeds:
        for number, split in enumerate(folds(outcomes, 2, seed)):
            say(f"seed {seed}, part {number}")
            whole = trial(plain, split, embed, 2 * seed + number)
            if outcomes.answers is not None:
                panels(outcomes, split, whole, tally)
            centroids(split, whole, tally)
            newcomers(plain, split, whole, embed, draws, tally)
        for name in cards(plain, embed, seed, least, tally):
            say(f"seed {seed}, without {name}")
    return tally


def diversity(outcomes: Outcomes) -> float:
    """Mean correlation of who is right, of all pairs."""
    return mean_correlation(outcomes.right)


def newcomers(outcomes: Outcomes, split: Split, whole: Trial, embed: Embedder, draws: int, tally: Tally) -> None:
    """Each expert in turn is new. Keys: ("newcomer", what, who, labelled, drawn, way).

    what: `brier`, the newcomer's squared errors, or `right`, whether the expert chosen of all is; who: any, or best.
    """
    every = np.arange(len(outcomes.experts))
    for column, name in enumerate(outcomes.experts):
        others = np.delete(every, column)
        known = trial(among(outcomes, others), split, embed, whole.seed)
        right = np.column_stack([known.asked.right, whole.asked.right[:, column]])
        groups = ("any", "best") if column == whole.best else ("any",)

        def note(case: Key, p: Values, right: Values = right, groups: Key = groups) -> None:
            """`p`: of the others, and of the newcomer last."""
            for who in groups:
                tally.add(("newcomer", "brier", who, *case), split[1], np.square(p[:, -1] - right[:, -1]))
                tally.add(("newcomer", "right", who, *case), split[1], chosen(p, right))

        for who in groups:
            tally.add(("newcomer", "right", who, ALL, NOBODY, "absent"), split[1], chosen(known.predicted.p, right))
        note((ALL, NOBODY, "learned with it"), whole.predicted.p[:, [*others, column]])
        newcomer = Newcomer(known, name, among(whole.known, np.array([column])))
        for labelled, drawn, rows in _samples(known, draws, np.random.default_rng([whole.seed, column])):
            for way, p in newcomer.predicted(rows).items():
                note((labelled, drawn, way), p)


def _samples(known: Trial, draws: int, rng: np.random.Generator) -> Iterator[tuple[str, str, Rows]]:
    """How many questions are labelled, how they were drawn, and which."""
    vectors, categories = known.vectors[0], known.known.categories
    for drawn, draw in DRAWN.items():
        for _ in range(draws):
            rows = draw(vectors, categories, max(LABELLED), rng)  # the first five are five so drawn
            yield from ((str(count), drawn, rows[:count]) for count in LABELLED)
    yield "0", NOBODY, np.array([], dtype=np.int64)
    yield ALL, NOBODY, np.arange(len(vectors), dtype=np.int64)


class Newcomer:
    """An expert that joins those of a trial. `alone`: its outcomes of the trial's training questions."""

    def __init__(self, known: Trial, name: str, alone: Outcomes) -> None:
        self._known, self._name, rates = known, name, known.rates
        self._alone = replace(alone, categories=known.known.categories)
        self._reading = Reading.of(
            known.asked.texts, known.vectors[1], known.categories, known.skills, rates.categories, rates.skills
        )
        base = known.learned.blend.base
        self._outcomes = Pool(known.known.right, base).apart
        self._predictions = Pool(known.learned.blend.meaning(known.vectors[0]), base).apart

    def predicted(self, rows: Rows) -> Mapping[str, Values]:
        """Way -> P(right) of the others, and of the newcomer last, [N, E], when `rows` are labelled by category.

        `counts`: its profile's rate; `product`: as served. The others' are the product's by every way.
        """
        known, strength = self._known, SETTINGS.strength
        profile = profiles_of(self._alone.only(rows)).experts[self._name]
        rates = Rates.of({**known.profiles.experts, self._name: profile}, strength)
        found = Correctness(rates, known.learned.blend).predict(self._reading)
        pool = Pool(found.p[:, :-1], known.learned.blend.base)
        labels = Labels(self._alone.right[rows, 0], known.known.right[rows])
        ways = {"counts": found.rate[:, -1], PRODUCT: found.p[:, -1], "paired": paired(labels, pool, strength)}
        if len(rows):
            for name, seen, penalty in (
                ("like outcomes", self._outcomes, OUTCOME_PENALTY),
                ("like predictions", self._predictions, PREDICTION_PENALTY),
            ):
                ways[name] = resembling(labels, pool, strength, seen[rows], penalty)
        return {way: np.column_stack([pool.p, p]) for way, p in ways.items()}


def panels(outcomes: Outcomes, split: Split, whole: Trial, tally: Tally) -> None:
    """Three experts vote. Keys: ("panel", who they are, how votes count).

    Fixed ones are the best of the training part; recruited ones those with the highest P(right) of each question. Votes
    are weighted as the product does where it learned no weights (`router/vote.py`).
    """
    known, asked = outcomes.only(split[0]), outcomes.only(split[1])
    assert known.answers is not None, "asked only where answers are recorded"
    assert asked.answers is not None, "answers of some questions are answers of all"
    together, every = correlations(known.right), np.arange(len(asked))
    fixed, recruited = by_overall(whole), whole.predicted.p
    found = {
        f"{name} three{f', correlation × {weight:g}' if weight else ''}": panel(scores, together, PANEL, weight)
        for name, scores in (("fixed", fixed), ("recruited", recruited))
        for weight in (0.0, *CORRELATION_WEIGHTS)
    }
    order = np.argsort(-fixed[0], kind="stable")
    trio = order[best_trio(known.answers[:, order], known.right[:, order])]
    found["fixed three, best together in training"] = np.broadcast_to(trio, (len(asked), PANEL))
    odds = np.maximum(np.log(Convening().alternatives * recruited / (1 - recruited)), LEAST_WEIGHT)
    for who, experts in found.items():
        said = np.take_along_axis(asked.answers, experts, axis=1)
        right = np.take_along_axis(asked.right, experts, axis=1)
        for how, weights in (("majority", np.ones(experts.shape)), ("weighted", np.take_along_axis(odds, experts, 1))):
            tally.add(("panel", who, how), split[1], right[every, voted(said, weights)])


def centroids(split: Split, whole: Trial, tally: Tally) -> None:
    """One expert, by the nearest centroid of what it was right on, or won: half of the pool at least was wrong there.

    Keys: ("centroid", way).
    """
    right, (known, asked) = whole.known.whole, whole.vectors
    ways = {BEST_SINGLE: by_overall(whole), "kNN": by_neighbours(whole), "P(right)": whole.predicted.p}
    for of, mine in (("right", right), ("won", right & (right.mean(axis=1, keepdims=True) <= 0.5))):
        nearest, average = centroid_scores(known, mine, whole.known.categories, asked)
        ways |= {f"nearest centroid, {of}": nearest, f"mean of centroids, {of}": average}
    for way, scores in ways.items():
        tally.add(("centroid", way), split[1], chosen(scores, whole.asked.right))
    tally.add(("centroid", PRODUCT), split[1], SERVED.choose(whole).right)


def cards(outcomes: Outcomes, embed: Embedder, seed: int, least: int, tally: Tally) -> Iterator[str]:
    """Each category in turn was never seen: half of all others is learned from. Keys: ("card", way).

    Yields each category of at least `least` questions before it is judged; none where all have the same one.
    """
    labels, rng = np.array(outcomes.categories), np.random.default_rng(seed)
    for name, count in zip(*np.unique(labels, return_counts=True), strict=True):
        asked = np.flatnonzero(labels == name)
        if not least <= count < len(labels):
            continue
        yield str(name)
        texts = {outcomes.groups[row] for row in asked}
        rest = rng.permutation([row for row in np.flatnonzero(labels != name) if outcomes.groups[row] not in texts])
        made = trial(outcomes, (rest[: len(rest) // 2], asked), embed, seed)
        for way, scores in _by_cards(made, embed).items():
            tally.add(("card", way), asked, chosen(scores, made.asked.right))
        tally.add(("card", PRODUCT), asked, SERVED.choose(made).right)


def _by_cards(made: Trial, embed: Embedder) -> dict[str, Values]:
    """Way -> scores [N, E], of ways that can say something about a category never seen."""
    rates, asked, overall = made.rates, made.vectors[1], made.rates.overall_rates
    leads = Pool(rates.category_rates.T, overall).apart.T
    texts = [card(dict(zip(rates.categories, lead.tolist(), strict=True)), CARD) for lead in leads]
    near = (asked @ embed(texts).T).astype(np.float64)
    names = likeness(asked, embed([in_words(name) for name in rates.categories]), TEMPERATURE)
    return {
        BEST_SINGLE: by_overall(made),
        "kNN": by_neighbours(made),
        "P(right)": made.predicted.p,
        "card": near,
        "card and overall rate": overall + near - near.mean(axis=1, keepdims=True),
        "rates in categories with names like it": names @ rates.category_rates.T,
    }


def among(outcomes: Outcomes, columns: Rows) -> Outcomes:
    """Of these experts; the questions stay. Neither answers nor tokens."""
    return replace(
        outcomes,
        experts=tuple(outcomes.experts[column] for column in columns),
        right=outcomes.right[:, columns],
        answers=None,
        tokens=None,
        usd=outcomes.usd[:, columns],
    )
