"""Additional calls stay within their share of the requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.allowance import CAP_CALLS, RESERVE_CALLS, Allowance

ROUNDING = 1e-9


def taken(allowance: Allowance, tries: int) -> int:
    """How many of so many tries in a row were allowed."""
    return sum(allowance.take() for _ in range(tries))


def asked(allowance: Allowance, requests: int) -> Allowance:
    """The allowance after so many requests."""
    for _ in range(requests):
        allowance.deposit()
    return allowance


def test_after_a_start_there_is_a_small_reserve() -> None:
    """The first requests can be helped before any share has been saved; then it is empty."""
    assert taken(Allowance(0.25), 100) == RESERVE_CALLS


def test_each_request_adds_its_share() -> None:
    """Four requests at a quarter make one more call, three do not."""
    allowance = Allowance(0.25)
    taken(allowance, 100)
    assert taken(asked(allowance, 3), 100) == 0
    assert taken(asked(allowance, 1), 100) == 1


def test_a_quiet_time_does_not_save_up_for_a_storm() -> None:
    """However many requests needed no help, no more than the cap is there at once."""
    assert taken(asked(Allowance(0.5), 10_000), 100) == CAP_CALLS


def test_a_share_of_nothing_allows_nothing() -> None:
    """Not even the reserve: 0 turns additional calls off."""
    allowance = Allowance(0.0)
    assert taken(allowance, 10) == 0
    assert taken(asked(allowance, 1000), 10) == 0


def test_a_share_of_all_allows_one_for_each() -> None:
    """At 1 each request may have one more call, and the reserve stays."""
    allowance = Allowance(1.0)
    assert all(taken(asked(allowance, 1), 1) == 1 for _ in range(1000))
    assert taken(allowance, 100) == RESERVE_CALLS


@given(st.floats(0, 1), st.lists(st.booleans(), max_size=500))
def test_never_more_than_the_reserve_and_the_share(share: float, requests: list[bool]) -> None:
    """Over any order of requests and tries, the additional calls are within their bound."""
    allowance, deposits, takes = Allowance(share), 0, 0
    for request in requests:
        if request:
            allowance.deposit()
            deposits += 1
        else:
            takes += allowance.take()
        assert takes <= RESERVE_CALLS + share * deposits + ROUNDING


@given(st.floats(0.01, 1))
def test_who_always_tries_gets_the_share(share: float) -> None:
    """Nothing is lost on the way: with a try at each request, the calls are the reserve and the share, to one."""
    allowance, takes = Allowance(share), 0
    for _ in range(500):
        allowance.deposit()
        takes += allowance.take()
    assert takes >= min(500, share * 500 + RESERVE_CALLS - 1 - ROUNDING)
