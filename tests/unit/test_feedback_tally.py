"""Feedback as it is followed: the same counts however it was read, nothing of other versions, and how it stands."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from router.feedback import ANONYMOUS, Outcome, Seen
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


def counted(tally: Tally, *known: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(source, expert) -> right and asked, overall."""
    counts = tally.of(PROFILES, known).counts
    return {(p.source, p.expert): (c.right, c.asked) for p, c in counts.items() if p.level == "overall"}


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
    """In one piece or in two: the same counts, version and place to go on from."""
    once = Tally().plus(stream, NOW)
    assert Tally().plus(stream[:cut], NOW).plus(stream[cut:], NOW) == once
    assert once.number == max((one.number for one in stream if not one.void), default=0)


@given(STREAMS)
def test_what_counts_is_what_was_said_of_the_version_that_was_measured(stream: list[Judged]) -> None:
    """As if only such feedback had been given, and not been taken out; each expert behind an answer has it."""
    expected = Seen.of(_outcomes(stream), {"ann", "ben"})
    assert Tally().plus(stream, NOW).of(PROFILES, {"ann", "ben"}) == expected


def _outcomes(stream: Iterable[Judged]) -> list[Outcome]:
    measured = {name: profile.expert_version for name, profile in PROFILES.experts.items()}
    return [
        Outcome(one.asked.source, expert, "sums", ("adding",), one.right)
        for one in stream
        for expert, version in zip(one.asked.experts, one.asked.versions, strict=True)
        if not one.void and measured[expert] == version
    ]


def test_a_version_that_is_measured_later_finds_what_was_said_of_it() -> None:
    """Nothing is read again when another configuration has another profile."""
    tally = Tally().plus([judged(1, ada="v9"), judged(2, ada="v1")], NOW)
    assert counted(tally, "ann") == {("ann", "ada"): (1, 1)}
    later = PROFILES.experts["ada"].model_copy(update={"expert_version": "v9"})
    assert tally.of(Profiles(experts={"ada": later}), {"ann"}) == Tally().plus([judged(1)], NOW).of(PROFILES, {"ann"})


def test_sources_that_are_no_keys_any_more_count_as_one() -> None:
    """Who is known is asked when counts are used: a key that was revoked loses its voice."""
    tally = Tally().plus([judged(1, source="ann"), judged(2, source="ben"), judged(3, source="cyd")], NOW)
    assert counted(tally, "ann") == {("ann", "ada"): (1, 1), (ANONYMOUS, "ada"): (2, 2)}


def test_nothing_from_after_a_freeze_is_read() -> None:
    """What comes while it is frozen is found when it is thawed."""
    stream, frozen = [judged(n) for n in range(1, 6)], FeedbackState(last=5, frozen=3)
    tally = Tally().plus(stream, frozen)
    assert (tally.read, tally.number, tally.whole(frozen)) == (3, 3, True)
    thawed = FeedbackState(last=5)
    assert not tally.whole(thawed)
    assert tally.plus(stream[3:], thawed) == Tally().plus(stream, thawed)


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
