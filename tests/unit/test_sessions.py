"""A session's memory: bounded in number and in age, and never another session's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.sessions import SessionKey, Sessions


def key(session: str, principal: str = "ann") -> SessionKey:
    """A session under the policy `auto`."""
    return (principal, "auto", session)


def test_what_was_put_last_is_found() -> None:
    """A session's newer anchor takes the place of the older one; a session never heard of has none."""
    sessions = Sessions(10, 60)
    sessions.put(key("a"), "one", now=0)
    sessions.put(key("a"), "two", now=1)
    assert (sessions.get(key("a"), now=2), sessions.get(key("b"), now=2)) == ("two", None)
    assert len(sessions) == 1


def test_another_principal_with_the_same_session_name_finds_nothing() -> None:
    """A session belongs to who asks: names are chosen by clients, and are guessed."""
    sessions = Sessions(10, 60)
    sessions.put(key("chat-1", "ann"), "ann's", now=0)
    assert sessions.get(key("chat-1", "ben"), now=0) is None


def test_a_session_is_forgotten_after_its_time() -> None:
    """Counted from its last request; being looked at does not prolong it. It is let go of, not only hidden."""
    sessions = Sessions(10, 60)
    sessions.put(key("a"), "one", now=0)
    assert sessions.get(key("a"), now=59.9) == "one"
    assert sessions.get(key("a"), now=60) is None
    assert len(sessions) == 0
    sessions.put(key("a"), "one", now=100)
    sessions.put(key("a"), "one", now=130)
    assert sessions.get(key("a"), now=189) == "one"


def test_who_asked_longest_ago_makes_room() -> None:
    """At the capacity the session goes whose last request is oldest."""
    sessions = Sessions(2, 60)
    for now, name in enumerate(["a", "b", "a", "c"]):
        sessions.put(key(name), name, now)
    assert [sessions.get(key(name), now=4) for name in "abc"] == ["a", None, "c"]


@pytest.mark.parametrize(("capacity", "ttl_s"), [(0, 60), (10, 0)])
def test_a_memory_of_no_size_or_no_time_holds_nothing(capacity: int, ttl_s: float) -> None:
    """Either switches it off."""
    sessions = Sessions(capacity, ttl_s)
    sessions.put(key("a"), "one", now=0)
    assert sessions.get(key("a"), now=0) is None
    assert len(sessions) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 20)), max_size=40), st.integers(1, 4))
def test_it_holds_the_latest_sessions_and_no_other(asked: list[tuple[str, int]], capacity: int) -> None:
    """After any requests: those that asked last, up to the capacity, as far as their time has not passed."""
    sessions, now, last = Sessions(capacity, 30), 0, dict[str, int]()
    for name, pause_s in asked:
        now += pause_s
        sessions.put(key(name), f"{name}{now}", now)
        last.pop(name, None)
        last[name] = now  # the latest at the end
        assert len(sessions) <= capacity
    kept = {name: f"{name}{at}" for name, at in list(last.items())[-capacity:] if now - at < 30}
    assert {name: sessions.get(key(name), now) for name in "abcdef"} == {name: kept.get(name) for name in "abcdef"}
