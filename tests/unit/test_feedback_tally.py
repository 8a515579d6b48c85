"""Feedback as it is followed: the same counts however it was read, nothing of other versions, and how it stands."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.feedback import ANONYMOUS, PER_SOURCE, Outcome, Seen, calibration_worth, moved
from router.feedback_tally import Tally
from router.feedback_versions import Standing, versions
from router.profiles import Count, Profile, Profiles
from router.registry import Asked, FeedbackState, Judged

NOW = FeedbackState(last=1_000)
PROFILES = Profiles(
    experts={
        name: Profile(expert_version=version, engine_version="e", questions="q", overall=Count(right=5, asked=10))
        for name, version in (("ada", "v1"), ("bob", "v2"))
    }
)


def judged(number: int, right: bool = True, source: str = "ann", *, void: bool = False, **about: str) -> Judged:
    """Of an answer in sums; `about`: expert -> version, of those behind it."""
    experts = about or {"ada": "v1"}
    asked = Asked(f"r{number}", source, "sums", ("adding",), tuple(experts), tuple(experts.values()), 1.0, "auto")
    return Judged(number, asked, right, 2.0, void)


STRENGTH = 8.0


def profiles_by(tally: Tally, *known: str, measured: Profiles = PROFILES) -> Profiles:
    return tally.moved(measured, known, strength=STRENGTH)


def by_the_rule(outcomes: Iterable[Outcome], *known: str, measured: Profiles = PROFILES) -> Profiles:
    """As `feedback.py` has it."""
    seen = Seen.of(outcomes, known)
    return moved(measured, seen, calibration=calibration_worth(measured, seen, strength=STRENGTH))


def asked_of_ada(tally: Tally, *known: str) -> int:
    return profiles_by(tally, *known).experts["ada"].overall.asked


STREAMS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(["ann", "ben", "cyd"]),
        st.dictionaries(st.sampled_from(["ada", "bob"]), st.sampled_from(["v1", "v2"]), min_size=1),
        st.booleans(),
    ),
    max_size=20,
).map(lambda rows: [judged(n, r, s, void=v, **a) for n, (r, s, a, v) in enumerate(rows, 1)])


@given(STREAMS, st.integers(0, 20))
def test_it_makes_no_difference_where_reading_was_interrupted(stream: list[Judged], cut: int) -> None:
    """In one piece or in two: the same profiles, version and place to go on from."""
    once, twice = Tally().plus(stream, NOW), Tally().plus(stream[:cut], NOW).plus(stream[cut:], NOW)
    assert (twice.read, twice.number) == (once.read, once.number)
    assert profiles_by(twice, "ann", "ben") == profiles_by(once, "ann", "ben")
    assert once.number == max((one.number for one in stream if not one.void), default=0)


@given(STREAMS)
def test_profiles_move_by_the_rule(stream: list[Judged]) -> None:
    """As if only such feedback had been given as was about what was measured, and not been taken out; each expert
    behind an answer has it.
    """
    expected = by_the_rule(_outcomes(stream), "ann", "ben")
    assert profiles_by(Tally().plus(stream, NOW), "ann", "ben") == expected


def _outcomes(stream: Iterable[Judged], measured: Profiles = PROFILES) -> list[Outcome]:
    versions = {name: profile.expert_version for name, profile in measured.experts.items()}
    return [
        Outcome(one.asked.source, expert, one.asked.category, one.asked.skills, one.right)
        for one in stream
        for expert, version in zip(one.asked.experts, one.asked.versions, strict=True)
        if not one.void and versions[expert] == version
    ]


@pytest.mark.parametrize("seed", range(8))
def test_calibration_is_doubted_by_the_rule(seed: int) -> None:
    """Thirty sources in many categories and skills, some of which find a wrong calibration wrong."""
    random = Random(seed)
    names = [f"e{n}" for n in range(6)]
    measured = Profiles(
        experts={
            name: Profile(
                expert_version="v1",
                engine_version="e",
                questions="q",
                overall=Count(right=random.randrange(90), asked=90),
                categories={f"c{n}": Count(right=random.randrange(30), asked=30) for n in range(3)},
            )
            for name in names
        }
    )
    stream = [
        Judged(number, _anything(random, names, number), random.random() < 0.8, 2.0) for number in range(1, 1_500)
    ]
    sources = [f"s{n}" for n in range(25)]
    seen = Seen.of(_outcomes(stream, measured), sources)
    assert calibration_worth(measured, seen, strength=STRENGTH) is not None
    found = Tally().plus(stream, FeedbackState(last=2_000)).moved(measured, sources, strength=STRENGTH)
    assert found == by_the_rule(_outcomes(stream, measured), *sources, measured=measured)


def _anything(random: Random, names: list[str], number: int) -> Asked:
    experts = tuple(random.sample(names, random.randrange(1, 3)))
    category = random.choice(["c0", "c1", "c2", "new", None])
    skills = tuple(random.sample(["s0", "s1", "s2"], random.randrange(3)))
    return Asked(f"r{number}", f"s{random.randrange(30)}", category, skills, experts, ("v1",) * len(experts), 1.0)


def test_a_version_that_is_measured_later_finds_what_was_said_of_it() -> None:
    """Nothing is read again when another configuration has another profile."""
    tally = Tally().plus([judged(1, ada="v9"), judged(2, right=False, ada="v1")], NOW)
    assert profiles_by(tally, "ann").experts["ada"].overall == Count(right=5, asked=11)
    later = PROFILES.experts["ada"].model_copy(update={"expert_version": "v9"})
    found = profiles_by(tally, "ann", measured=Profiles(experts={"ada": later}))
    assert found.experts["ada"].overall == Count(right=6, asked=11)


def test_sources_that_are_no_keys_any_more_count_as_one() -> None:
    """Who is known is asked when counts are used: a key that was revoked loses its voice."""
    stream = [judged(number, source=source) for number, source in enumerate(("ann", "ben", "cyd") * 2, 1)]
    tally = Tally().plus(stream, NOW)
    assert asked_of_ada(tally, "ann", "ben", "cyd") == 10 + 3 * PER_SOURCE
    assert asked_of_ada(tally, "ann") == 10 + 2 * PER_SOURCE
    assert asked_of_ada(tally, ANONYMOUS) == 10 + PER_SOURCE


def test_nothing_from_after_a_freeze_is_read() -> None:
    """What comes while it is frozen is found when it is thawed."""
    stream, frozen = [judged(n) for n in range(1, 6)], FeedbackState(last=5, frozen=3)
    tally = Tally().plus(stream, frozen)
    assert (tally.read, tally.number, tally.whole(frozen)) == (3, 3, True)
    thawed = FeedbackState(last=5)
    assert not tally.whole(thawed)
    assert profiles_by(tally.plus(stream[3:], thawed), "ann") == profiles_by(Tally().plus(stream, thawed), "ann")


def test_what_is_not_kept_any_more_is_not_waited_for() -> None:
    """The last numbers may be gone: then all is read that there is."""
    state = FeedbackState(last=9, epoch=2)
    tally = Tally(epoch=2).plus([judged(7)], state)
    assert not tally.whole(state)
    assert tally.upto(state).whole(state)
    assert not tally.upto(state).whole(FeedbackState(last=9, epoch=3))


def test_how_it_stands_is_told() -> None:
    """What counts, is void or waits; whose it is, who said most first; each as the version that it made."""
    found = Standing(FeedbackState(last=6, frozen=4))
    stream = [
        judged(1, source="ben"),
        judged(2, right=False),
        judged(3, void=True),
        judged(4, source="ann"),
        judged(6, source="cyd"),
    ]
    for one in stream:
        found.hear(one)
    assert found.json() == {
        "frozen": True,
        "version": 4,
        "last": 6,
        "counted": 3,
        "right": 2,
        "void": 1,
        "waiting": 1,
        "keys": [{"key": "ann", "counted": 2, "right": 1}, {"key": "ben", "counted": 1, "right": 1}],
    }
    assert [(v["version"], v["key"], v["right"], v["void"]) for v in versions(stream)][:3] == [
        (1, "ben", True, False),
        (2, "ann", False, False),
        (3, "ann", True, True),
    ]
