"""Convenings replayed: waves one after the other, as far as the objects that serve requests want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.aggregate import Conclusion, aggregation
from router.records import Answer, Move, Needs, Plan, Reply, Standing
from router.replay import Replayed, replay
from tests.unit.make import reply

P = {"ada": 0.9, "bob": 0.8, "cat": 0.7, "dan": 0.6}
NAMES = tuple(P)


def said(*texts: str) -> dict[str, Reply]:
    """What ada, bob, … say."""
    return {name: reply(name, text) for name, text in zip(NAMES, texts, strict=False)}


def plan(*waves: str, decided_at: float | None = 0.99, equal: bool = False) -> Plan:
    """Waves of names with blanks between."""
    cut = tuple(tuple(wave.split()) for wave in waves)
    return Plan(cut, "vote", (), "convened", decided_at=decided_at, p_correct=P, equal=equal)


def replayed(made: Plan, texts: Sequence[str]) -> Replayed:
    return replay(made, aggregation(made, Needs(), 2.0), said(*texts))


@dataclass(slots=True)
class Patient:
    """Wants so many replies, and returns the last one; notes what it was shown."""

    wants: int
    shown: list[Standing] = field(default_factory=list)

    def move(self, standing: Standing) -> Move:
        self.shown.append(standing)
        return "stop" if len(standing.replies) >= self.wants or not standing.left else "ask"

    def conclude(self, replies: Sequence[Reply]) -> Conclusion:
        return Conclusion("vote", "vote", Answer(replies[-1].expert, replies[-1].choices))


@pytest.mark.parametrize(
    ("wants", "asked"),
    [(1, "ada"), (2, "ada bob cat"), (3, "ada bob cat"), (4, "ada bob cat dan"), (9, "ada bob cat dan")],
)
def test_waves_are_asked_whole_and_only_while_more_is_wanted(wants: int, asked: str) -> None:
    """A wave that was begun is heard to its end; none is asked after the last word."""
    found = replay(plan("ada", "bob cat", "dan"), Patient(wants), said("A", "B", "C", "D"))
    assert found.asked == tuple(asked.split())
    assert found.expert == found.asked[-1]


def test_the_aggregator_sees_what_it_would_see() -> None:
    """All replies so far, nobody running, and the waves that are left."""
    patient = Patient(9)
    replay(plan("ada", "bob cat"), patient, said("A", "B", "C"))
    first, second = patient.shown
    assert ([r.text for r in first.replies], first.running, first.left) == (["A"], (), (("bob", "cat"),))
    assert ([r.text for r in second.replies], second.running, second.left) == (["A", "B", "C"], (), ())


def test_a_sure_vote_ends_early() -> None:
    """Two who agree leave little doubt; two who do not go on to the next one."""
    made = plan("ada", "bob", "cat", "dan", decided_at=0.95)
    assert replayed(made, "AABB") == ("ada", ("ada", "bob"))
    found = replayed(made, "ABBA")
    assert found.asked[:3] == ("ada", "bob", "cat")
    everyone = plan("ada", "bob", "cat", "dan", decided_at=None)
    assert replayed(everyone, "AAAA").asked == NAMES, "without a bound everybody is heard"


def test_what_cannot_be_turned_is_not_heard_out() -> None:
    """A plain majority of three is settled by two of a kind, whoever comes third."""
    made = plan("ada", "bob", "cat", decided_at=1.0, equal=True)
    assert replayed(made, "AAB").asked == ("ada", "bob")
    assert replayed(made, "ABB") == ("bob", ("ada", "bob", "cat"))


def test_votes_weigh_what_their_experts_are_worth() -> None:
    """One of 0.9 against two of 0.7 and 0.6; among equals the two win, in the words of the more trusted."""
    weighed = Plan((("ada", "cat", "dan"),), "vote", (), "convened", p_correct=P)
    same = Plan((("ada", "cat", "dan"),), "vote", (), "convened", p_correct=P, equal=True)
    texts = "A_BB"
    assert replayed(weighed, texts).expert == "ada"
    assert replayed(same, texts).expert == "cat"


def test_one_expert_answers_alone() -> None:
    """The rest of a `single` plan is for failures, and here nobody fails."""
    alone = Plan((("bob",),), "single", ("ada", "cat"), "sure")
    assert replayed(alone, "ABC") == ("bob", ("bob",))
    waiting = Plan((("bob",), ("ada",)), "single", (), "sure")
    assert replayed(waiting, "ABC") == ("bob", ("bob",))
    assert replayed(Plan((("cat",),), "single", (), "sure"), ("", "", "")) == ("cat", ("cat",))


def test_nobody_says_anything() -> None:
    """All are asked in vain, and the most trusted one's silence is returned."""
    for equal in (False, True):
        assert replayed(plan("cat", "ada", "bob", equal=equal), ("", "", "")) == ("ada", ("cat", "ada", "bob"))


def test_any_word_is_better_than_silence() -> None:
    """However many say nothing."""
    assert replayed(plan("ada bob cat dan"), ("", "", "", "D")).expert == "dan"


def test_texts_that_only_meaning_could_compare_leave_the_first() -> None:
    """Where serving would go on to compare embeddings, the one that was asked first stands."""
    essays = [f"{word} is how this begins, " + "and so it goes on and on " * 20 for word in ("This", "That", "What")]
    assert replayed(plan("bob ada cat"), essays) == ("bob", ("bob", "ada", "cat"))


@given(
    st.lists(st.sampled_from(["A", "B", "C", ""]), min_size=4, max_size=4),
    st.sampled_from([(1, 1, 1, 1), (2, 2), (4,), (1, 3)]),
    st.sampled_from([None, 0.6, 0.9, 1.0]),
    st.booleans(),
)
def test_whoever_answers_was_asked(
    texts: list[str], sizes: tuple[int, ...], decided_at: float | None, equal: bool
) -> None:
    """Those asked are the first whole waves; and stopping where it is settled changes no plain majority."""
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    waves = [" ".join(NAMES[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    found = replayed(plan(*waves, decided_at=decided_at, equal=equal), texts)
    assert found.asked in [NAMES[:end] for end in ends]
    assert found.expert in found.asked
    if equal and decided_at == 1.0:
        whole = replayed(plan(" ".join(NAMES), decided_at=None, equal=True), texts)
        assert texts[NAMES.index(found.expert)] == texts[NAMES.index(whole.expert)]
