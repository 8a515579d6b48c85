"""Outcomes seen later: how replicas add them up, how far they move a profile, and how far one source can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.feedback import (
    ANONYMOUS,
    PER_SOURCE,
    Outcome,
    Place,
    Seen,
    calibration_worth,
    moved,
)
from router.profiles import Count, Profile, Profiles
from router.rates import Rates

STRENGTH = 8.0
EXPERTS = ("ada", "bob")
SOURCES = ("s1", "s2", "s3")
HUGE = 10**6
COUNTS = st.integers(0, 60).flatmap(lambda asked: st.builds(Count, right=st.integers(0, asked), asked=st.just(asked)))
FLOODS = st.integers(0, HUGE).flatmap(lambda n: st.builds(Count, right=st.integers(0, n), asked=st.just(n)))
LEVELS = st.sampled_from([("overall", ""), ("category", "math"), ("category", "text"), ("skill", "sums")])
OUTCOMES = st.lists(
    st.builds(
        Outcome,
        source=st.sampled_from([*SOURCES, "stranger"]),
        expert=st.sampled_from(EXPERTS),
        category=st.sampled_from(["math", "text", None]),
        skills=st.sampled_from([(), ("sums",), ("sums", "words"), ("sums", "sums")]),
        right=st.booleans(),
    ),
    max_size=30,
)


NOTHING = Count()


def profile(overall: Count = NOTHING, **levels: Mapping[str, Count]) -> Profile:
    """A profile of version 1."""
    versions: dict[str, Any] = dict.fromkeys(("expert_version", "engine_version", "questions"), "1")
    known: dict[str, Any] = dict(levels)
    return Profile(**versions, **known, overall=overall)


PROFILES = st.fixed_dictionaries(
    {
        name: st.builds(
            profile,
            COUNTS,
            categories=st.dictionaries(st.sampled_from(["math", "text"]), COUNTS),
            skills=st.dictionaries(st.just("sums"), COUNTS),
        )
        for name in EXPERTS
    }
).map(lambda found: Profiles(experts=found))


def seen_by(sources: Iterable[str], counts: st.SearchStrategy[Count]) -> st.SearchStrategy[Seen]:
    """Any counts at any level of any expert, of these sources."""
    places = st.builds(
        lambda source, expert, at: Place(source, expert, *at),
        st.sampled_from(list(sources)),
        st.sampled_from(EXPERTS),
        LEVELS,
    )
    return st.dictionaries(places, counts, max_size=12).map(Seen)


def furthest(asked: int, strength: float, per_source: int = PER_SOURCE, above: float = 0.0) -> float:
    """The most by which one source can move a shrunken rate (`Count.rate`); the proof is in `router/feedback.py`.

    Args:
        asked: observations at this level without the source; fewer than there are give a safe bound.
        strength: observations that the prior counts as.
        above: the most by which the source can move the prior.
    """
    return (per_source + strength * above) / (asked + strength + per_source)


def outcomes(source: str, expert: str, right: int, wrong: int, category: str | None = "math") -> list[Outcome]:
    """So many right and wrong answers."""
    return [Outcome(source, expert, category, (), number < right) for number in range(right + wrong)]


@given(OUTCOMES, st.data())
def test_replicas_add_up_to_what_one_would_have_seen(found: list[Outcome], data: st.DataObject) -> None:
    """However outcomes are dealt to three replicas, and in whatever order theirs are added: the same counts."""
    dealt = [data.draw(st.integers(0, 2)) for _ in found]
    a, b, c = (Seen.of([o for o, to in zip(found, dealt, strict=True) if to == n], SOURCES) for n in range(3))
    whole = Seen.of(found, SOURCES)
    assert a.plus(b).plus(c) == whole
    assert a.plus(b.plus(c)) == whole
    assert c.plus(a).plus(b) == whole
    assert whole.plus(Seen()) == Seen().plus(whole) == whole


@given(OUTCOMES, PROFILES, st.randoms(use_true_random=False))
def test_the_order_of_outcomes_does_not_matter(found: list[Outcome], known: Profiles, chance: Any) -> None:
    """Profiles, and what calibration is worth, are the same to the last bit."""
    other = list(found)
    chance.shuffle(other)
    one, two = Seen.of(found, SOURCES), Seen.of(other, SOURCES)
    assert moved(known, one) == moved(known, two)
    assert calibration_worth(known, one, strength=STRENGTH) == calibration_worth(known, two, strength=STRENGTH)


@given(OUTCOMES)
def test_nothing_is_lost(found: list[Outcome]) -> None:
    """Every outcome is counted with its source or with the anonymous one."""
    overall = {
        place: count.asked for place, count in Seen.of(found, SOURCES).counts.items() if place.level == "overall"
    }
    assert sum(overall.values()) == len(found)
    strangers = sum(asked for place, asked in overall.items() if place.source == ANONYMOUS)
    assert strangers == sum(o.source == "stranger" for o in found)


@given(OUTCOMES, st.sets(st.sampled_from([*SOURCES, "stranger"])))
def test_a_source_that_is_known_no_more_is_anonymous(found: list[Outcome], known: set[str]) -> None:
    """Later or from the beginning: the same, and no more sources are remembered than are known, and one."""
    all_sources = {*SOURCES, "stranger"}
    assert Seen.of(found, all_sources).known(known) == Seen.of(found, known)
    assert {place.source for place in Seen.of(found, known).counts} <= known | {ANONYMOUS}


def test_an_outcome_counts_once_at_each_of_its_levels() -> None:
    """Overall, in its category where one was acted on, and for each skill, however often it is named."""
    right = Outcome("s1", "ada", "math", ("sums", "sums", "words"), True)
    seen = Seen.of([right, Outcome("s1", "ada", None, (), False)], SOURCES)
    one = Count(right=1, asked=1)
    assert seen.counts == {
        Place("s1", "ada", "overall"): Count(right=1, asked=2),
        Place("s1", "ada", "category", "math"): one,
        Place("s1", "ada", "skill", "sums"): one,
        Place("s1", "ada", "skill", "words"): one,
    }


@given(PROFILES, seen_by(SOURCES[1:], COUNTS), seen_by(SOURCES[:1], FLOODS), st.integers(1, 20), st.integers(0, 50))
def test_one_source_moves_no_rate_further_than_the_bound(
    known: Profiles, others: Seen, flood: Seen, per_source: int, calibration: int
) -> None:
    """However many outcomes it sends at however many levels: of the pool, of an expert, in a category, in a skill."""
    before = moved(known, others, per_source=per_source, calibration=calibration)
    after = moved(known, others.plus(flood), per_source=per_source, calibration=calibration)
    low, high = (Rates.of(profiles.experts, STRENGTH) for profiles in (before, after))
    slack = 1e-9
    pool = furthest(int(low.overall[1].sum()), 2.0, per_source * len(EXPERTS))  # Laplace's rule: two observations
    assert abs(high.mean - low.mean) <= pool + slack
    for expert in EXPERTS:
        row, one, two = low.places[expert], before.experts[expert], after.experts[expert]
        overall = furthest(one.overall.asked, STRENGTH, per_source, above=pool)
        assert abs(high.overall_rates[row] - low.overall_rates[row]) <= overall + slack
        for name, count in two.categories.items():
            earlier = one.categories.get(name, Count())
            was = low.category_rates[row, low.categories.index(name)] if name in low.categories else None
            was = low.overall_rates[row] if was is None else was
            shift = abs(high.category_rates[row, high.categories.index(name)] - was)
            assert shift <= furthest(earlier.asked, STRENGTH, per_source, above=overall) + slack
            assert count.asked - earlier.asked <= per_source
        for name, count in two.skills.items():
            earlier = one.skills.get(name, Count())
            shift = abs(count.rate(0.5, STRENGTH) - earlier.rate(0.5, STRENGTH))
            assert shift <= furthest(earlier.asked, STRENGTH, per_source) + slack


@given(PROFILES, seen_by(SOURCES, FLOODS), st.integers(1, 20))
def test_sources_together_weigh_no_more_than_their_bounds(known: Profiles, seen: Seen, per_source: int) -> None:
    """Calibration, and `per_source` observations of each source."""
    for expert, found in moved(known, seen, per_source=per_source).experts.items():
        assert found.overall.asked <= known.experts[expert].overall.asked + per_source * len(SOURCES)


@given(PROFILES, seen_by(SOURCES, FLOODS), st.sampled_from(SOURCES), st.sampled_from(EXPERTS), LEVELS)
def test_a_further_right_outcome_never_lowers_a_rate(
    known: Profiles, seen: Seen, source: str, expert: str, at: tuple[Any, str]
) -> None:
    """Nor does a wrong one raise it, also of a source that is over its bound."""
    place = Place(source, expert, *at)

    def rate(more: Count) -> float:
        found = moved(known, seen.plus(Seen({place: more}))).experts[expert]
        levels = {"overall": {"": found.overall}, "category": found.categories, "skill": found.skills}
        return levels[at[0]].get(at[1], Count()).rate(0.5, STRENGTH)

    assert rate(Count(right=1, asked=1)) >= rate(Count()) >= rate(Count(right=0, asked=1))


def test_over_its_bound_a_source_speaks_at_its_own_rate() -> None:
    """3000 of 4000 right counts as 1.5 of 2, with another one as 3 of 4; alone it is rounded up; by hand."""
    many = Count(right=3000, asked=4000)
    known = Profiles(experts={"ada": profile()})
    one = Seen({Place("s1", "ada", "overall"): many})
    assert moved(known, one, per_source=2).experts["ada"].overall == Count(right=2, asked=2)
    two = one.plus(Seen({Place("s2", "ada", "overall"): many}))
    assert moved(known, two, per_source=2).experts["ada"].overall == Count(right=3, asked=4)


def test_a_thousand_names_that_nobody_gave_out_are_one_source() -> None:
    """A flood under invented names moves a profile as far as one source can."""
    known = Profiles(experts={"ada": profile(Count(right=30, asked=40))})
    flood = [o for n in range(1000) for o in outcomes(f"stranger-{n}", "ada", 0, 3)]
    found = moved(known, Seen.of(flood, SOURCES)).experts["ada"]
    assert found.overall == Count(right=30, asked=40 + PER_SOURCE)
    assert found.categories == {"math": Count(right=0, asked=PER_SOURCE)}


def test_calibration_may_count_less_at_its_own_rate() -> None:
    """300 of 400 as 15 of 20; what is less than that stays."""
    known = Profiles(
        experts={"ada": profile(Count(right=300, asked=400), categories={"math": Count(right=3, asked=9)})}
    )
    found = moved(known, Seen(), calibration=20).experts["ada"]
    assert (found.overall, found.categories["math"]) == (Count(right=15, asked=20), Count(right=3, asked=9))


def test_what_outcomes_do_not_tell_stays() -> None:
    """Versions, the mean length of answers, aggregators; and nobody without a profile gets one."""
    ada = profile(Count(right=3, asked=4)).model_copy(update={"output_tokens": 400})
    known = Profiles(experts={"ada": ada, "bob": profile()}, aggregators={"ada": ada})
    seen = Seen.of([*outcomes("s1", "ada", 1, 0), *outcomes("s1", "eve", 1, 0)], SOURCES)
    found = moved(known, seen)
    assert found.aggregators == known.aggregators
    assert found.experts.keys() == known.experts.keys()
    assert found.experts["ada"].expert_version == "1"
    assert found.experts["ada"].mean_output_tokens == pytest.approx(100)
    assert found.experts["bob"] == known.experts["bob"]
    assert moved(known, Seen()) == known


WRONG = Profiles(experts={"ada": profile(Count(right=90, asked=100), categories={"math": Count(right=90, asked=100)})})


def worth(seen: Iterable[Outcome], known: int = 40) -> int | None:
    return calibration_worth(WRONG, Seen.of(seen, [f"s{n}" for n in range(known)]), strength=STRENGTH, per_source=5)


def test_calibration_that_independent_sources_contradict_counts_for_little() -> None:
    """Eight sources that find 2 of 10 right instead of 90 %: next to nothing. Seven do not decide."""
    contra = [o for n in range(8) for o in outcomes(f"s{n}", "ada", 2, 8)]
    found = worth(contra)
    assert found is not None
    assert found < 1
    assert worth(contra[:70]) is None
    assert worth([]) is None


def test_the_further_off_the_less_calibration_is_worth() -> None:
    """By the square of what it is off by: 0.024 / t^2."""
    slightly = worth([o for n in range(8) for o in outcomes(f"s{n}", "ada", 7, 3)])
    predicted = Rates.of(WRONG.experts, STRENGTH).category_rates[0, 0]
    assert slightly == int(0.024 / (predicted - 0.7) ** 2)


@given(PROFILES, seen_by([*SOURCES, ANONYMOUS], FLOODS))
def test_few_sources_never_put_calibration_in_doubt(known: Profiles, seen: Seen) -> None:
    """Whatever they send."""
    assert calibration_worth(known, seen, strength=STRENGTH) is None


@pytest.mark.parametrize("seed", range(10))
def test_one_liar_among_honest_sources_puts_nothing_in_doubt(seed: int) -> None:
    """Twenty that find by chance more or fewer right than the calibration did, and a flood that denies it."""
    chance = Random(seed)
    honest = [Outcome(f"s{n % 20}", "ada", "math", (), chance.random() < 0.9) for n in range(400)]
    lies = outcomes("s39", "ada", 0, 5000)
    for found in (worth(honest), worth([*honest, *lies])):
        assert found is None or found > 100
