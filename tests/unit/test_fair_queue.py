"""An expert's queue: who is next, who is refused, and that nobody can take more than is due for long."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.fair_queue import KEPT_TENANTS, Entry, FairQueue

MANY = 1_000_000


def pushed(queue: FairQueue, tenant: str, tokens: int = 10, weight: float = 1.0, **more: float) -> Entry:
    entry, others = queue.push(tenant, weight, tokens, **more)
    assert entry is not None
    assert others == ()
    return entry


def served(queue: FairQueue, now: float = 0.0) -> Entry | None:
    """The next one, which is through at once."""
    entry, _ = queue.next(now, MANY, MANY)
    if entry is not None:
        queue.ended(entry.tenant)
    return entry


def test_the_earliest_deadline_of_a_tenant_is_first_and_none_is_last() -> None:
    """Among equal ones, and among those without, the order of their coming."""
    queue = FairQueue(9, 999)
    late, none, soon, none_too, soon_too = (
        pushed(queue, "ada", ends_at=ends_at) for ends_at in (9.0, math.inf, 3.0, math.inf, 3.0)
    )
    assert [served(queue) for _ in range(6)] == [soon, soon_too, late, none, none_too, None]


def test_tenants_are_served_by_weight_and_tokens() -> None:
    """While all wait, each has had tokens for its weight, as even as whole calls allow."""
    queue, given_tokens = FairQueue(MANY, MANY), Counter[str]()
    of = {"ada": (1.0, 30), "bob": (2.0, 10), "cy": (4.0, 70)}
    for tenant, (weight, tokens) in of.items():
        for _ in range(1000):
            pushed(queue, tenant, tokens, weight)
    for _ in range(1000):
        entry = served(queue)
        assert entry is not None
        given_tokens[entry.tenant] += entry.tokens
        shares = {tenant: given_tokens[tenant] / weight for tenant, (weight, _) in of.items()}
        assert max(shares.values()) - min(shares.values()) <= 30 / 1 + 70 / 4


def test_who_was_away_saves_nothing_up() -> None:
    """A tenant that comes back begins where the others are."""
    queue = FairQueue(99, MANY)
    for _ in range(50):
        pushed(queue, "ada")
        served(queue)
    for tenant in ("ada", "bob") * 10:
        pushed(queue, tenant)
    order = [entry.tenant for _ in range(20) if (entry := served(queue))]
    assert [Counter(order[:half])["bob"] for half in (2, 10, 20)] == [1, 5, 10]


def test_calls_that_need_not_wait_count_as_well() -> None:
    """Who has filled the expert while nobody waited is behind, once somebody does."""
    queue = FairQueue(9, 999)
    for tenant in ("bob", "ada", "ada", "ada"):
        queue.begin(tenant, 1.0, 10)
    for tenant in ("ada", "ada", "bob", "bob"):
        pushed(queue, tenant)
    assert [entry.tenant for _ in range(4) if (entry := served(queue))] == ["bob", "bob", "ada", "ada"]


def test_what_a_call_took_counts_not_what_was_expected() -> None:
    """A tenant whose answers are longer than expected waits for it afterwards."""
    queue, given_calls = FairQueue(MANY, MANY), Counter[str]()
    for tenant in ("ada", "bob") * 300:
        pushed(queue, tenant)
    for _ in range(300):
        entry, _ = queue.next(0.0, MANY, MANY)
        assert entry is not None
        given_calls[entry.tenant] += 1
        queue.ended(entry.tenant, more_tokens=20 if entry.tenant == "ada" else 0)
    assert given_calls == {"ada": 75, "bob": 225}


def test_the_hopeless_are_dropped_when_they_would_be_next() -> None:
    """What could not be through by its deadline takes nobody's turn."""
    queue = FairQueue(9, 999)
    dead = pushed(queue, "ada", ends_at=5.0, needs_s=2.0)
    alive = pushed(queue, "ada", ends_at=6.0, needs_s=2.0)
    assert queue.next(3.5, MANY, MANY) == (alive, (dead,))
    assert (len(queue), queue.queued_tokens, queue.under_way) == (0, 0, 1)
    pushed(queue, "ada", ends_at=5.0)
    assert queue.next(5.0, 1, 1) == (None, ())
    assert len(queue) == 1


def test_it_is_bounded_in_requests_and_tokens() -> None:
    """A tenant's own flood finds the door shut."""
    queue = FairQueue(2, 25)
    pushed(queue, "ada")
    assert not queue.admits("ada", 1.0, 20)
    assert queue.push("ada", 1.0, 20) == (None, ())
    pushed(queue, "ada")
    assert queue.push("ada", 1.0, 1) == (None, ())
    assert (len(queue), queue.queued_tokens) == (2, 20)
    assert FairQueue(0, 99).push("ada", 1.0, 1) == (None, ())
    assert FairQueue(9, 9).push("ada", 1.0, 10) == (None, ())


def test_a_flood_cannot_lock_the_door_for_others() -> None:
    """Who has less of the queue pushes out the latest of who has most, down to even shares by weight."""
    queue = FairQueue(8, 999)
    mine = [pushed(queue, "ada", ends_at=float(n)) for n in range(8)]
    for number in range(4):
        assert queue.admits("bob", 1.0, 10)
        entry, out = queue.push("bob", 1.0, 10)
        assert entry is not None
        assert out == (mine[7 - number],)
    assert not queue.admits("bob", 1.0, 10)
    assert queue.push("bob", 1.0, 10) == (None, ())
    assert queue.push("cy", 3.0, 10)[0] is not None


def test_tokens_make_room_for_tokens() -> None:
    """One long prompt may push out several; where that would be more than its due, none goes."""
    queue = FairQueue(99, 100)
    mine = [pushed(queue, "ada", 10, ends_at=float(n)) for n in range(10)]
    entry, out = queue.push("bob", 1.0, 35)
    assert entry is not None
    assert out == (mine[9], mine[8], mine[7], mine[6])
    assert queue.push("cy", 1.0, 70) == (None, ())
    assert (len(queue), queue.queued_tokens) == (7, 95)
    assert served(queue) == mine[0]


def test_who_leaves_is_gone() -> None:
    """Removed once, and served never; a second time nothing happens."""
    queue = FairQueue(9, 999)
    first, second = pushed(queue, "ada", ends_at=1.0), pushed(queue, "ada", ends_at=1.0)
    queue.remove(first)
    queue.remove(first)
    assert (len(queue), queue.queued_tokens) == (1, 10)
    assert served(queue) == second
    queue.remove(second)
    assert (len(queue), queue.queued_tokens) == (0, 0)


def test_the_last_turns_are_for_those_with_less_than_their_part() -> None:
    """Beyond what is shared, a flood has to leave them free; who is alone has no part, and leaves them, too."""
    queue = FairQueue(9, 999)
    for _ in range(3):
        assert queue.opens("ada", 1.0, 4, 3)
        queue.begin("ada", 1.0, 10)
    assert not queue.opens("ada", 1.0, 4, 3)
    pushed(queue, "ada")
    assert queue.next(0.0, 4, 3) == (None, ())
    assert queue.opens("bob", 1.0, 4, 3)
    queue.begin("bob", 1.0, 10)
    assert not queue.opens("cy", 1.0, 4, 3)
    bobs = pushed(queue, "bob")
    queue.ended("ada")
    assert queue.next(0.0, 4, 3) == (bobs, ())


def test_what_would_be_served_before_is_foreseen() -> None:
    """Its own tenant's earlier deadlines, and of others as much as is due to them by then."""
    queue = FairQueue(99, MANY)
    assert queue.tokens_before("ada", 1.0, 5.0) == 0
    for ends_at in (4.0, 6.0):
        pushed(queue, "ada", ends_at=ends_at)
    assert queue.tokens_before("ada", 1.0, 5.0) == 10
    assert queue.tokens_before("ada", 1.0, math.inf) == 20
    for _ in range(50):
        pushed(queue, "bob")
    assert queue.tokens_before("ada", 1.0, 5.0) == 10 + 20
    assert queue.tokens_before("cy", 1.0, 5.0) == 10 + 10


def test_tenants_that_were_passed_are_forgotten() -> None:
    """However many there were."""
    queue = FairQueue(9, 999)
    for number in range(50 * KEPT_TENANTS):
        queue.begin(f"tenant {number}", 1.0, 10)
        queue.ended(f"tenant {number}")
        queue.begin("ada", 1.0, 10)
        queue.ended("ada")
    assert len(queue._flows) <= KEPT_TENANTS + 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("push", "push", "push", "next", "next", "end", "leave")),
        st.sampled_from("abc"),
        st.integers(1, 40),
        st.sampled_from((3.0, 30.0, math.inf)),
        st.integers(0, 5),
    ),
    max_size=80,
)


@given(STEPS, st.integers(0, 5), st.integers(1, 100), st.integers(1, 4))
def test_nobody_is_lost_and_nobody_served_twice(
    steps: list[tuple[str, str, int, float, int]], requests: int, tokens: int, allowed: int
) -> None:
    """Who was taken in waits, is served, was dropped, was pushed out or has left; the bounds hold at every step."""
    queue = FairQueue(requests, tokens)
    waits, runs = dict[int, Entry](), list[str]()
    weights = {"a": 1.0, "b": 2.0, "c": 0.5}
    for now, (step, tenant, size, ends_at, which) in enumerate(steps):
        match step:
            case "push":
                expected = queue.admits(tenant, weights[tenant], size)
                entry, out = queue.push(tenant, weights[tenant], size, ends_at, needs_s=1.0)
                assert expected or entry is None
                for other in out:
                    assert waits.pop(other.number).tenant != tenant
                if entry is not None:
                    waits[entry.number] = entry
            case "next":
                entry, hopeless = queue.next(float(now), allowed, allowed)
                for late in hopeless:
                    assert waits.pop(late.number).begins_by < now
                if entry is not None:
                    assert waits.pop(entry.number).begins_by >= now
                    runs.append(entry.tenant)
                assert entry is not None or not waits or len(runs) == allowed
            case "end" if runs:
                queue.ended(runs.pop(which % len(runs)), size - 20)
            case "leave" if waits:
                queue.remove(waits.pop(sorted(waits)[which % len(waits)]))
        assert (len(queue), queue.under_way) == (len(waits), len(runs))
        assert queue.queued_tokens == sum(entry.tokens for entry in waits.values()) <= tokens
        assert len(queue) <= requests
        assert len(runs) <= allowed


@pytest.mark.parametrize("weight", [0.5, 1.0, 8.0])
def test_a_newcomer_is_served_among_the_first(weight: float) -> None:
    """However much others have waiting, whoever has had nothing waits for what is under way, not for their queue."""
    queue = FairQueue(999, MANY)
    for _ in range(500):
        pushed(queue, "ada", weight=weight)
    for _ in range(20):
        served(queue)
    pushed(queue, "bob")
    assert "bob" in [entry.tenant for _ in range(2) if (entry := served(queue))]
