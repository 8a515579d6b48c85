"""What a leg is charged, and how buckets fill: arithmetic."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ledger import Rate
from router.ledger_sums import LEG_MOST, SUM_MOST, chargeable, enough, refilled, taken, within

AMOUNTS = st.integers(0, LEG_MOST)
A, B = Rate("key/ci", "requests", 60), Rate("tenant/acme", "tokens", 600)


@given(AMOUNTS, AMOUNTS, st.lists(st.integers(-LEG_MOST, SUM_MOST), max_size=4))
def test_a_leg_is_charged_what_it_used_within_its_hold_and_limits(amount: int, held: int, rooms: list[int]) -> None:
    """Never more than it used, never less than was held for that, and beyond the hold only where all limits allow."""
    charged = chargeable(amount, held, rooms)
    assert min(amount, held) <= charged <= amount
    assert charged <= held or all(charged <= room for room in rooms)
    if rooms and charged < amount:
        assert charged == max(held, min(rooms))


def test_a_number_is_brought_within_bounds() -> None:
    """Whatever a server says."""
    assert [within(number, 10) for number in (-1, 0, 10, 11, 10**40)] == [0, 0, 10, 10, 10]


def test_a_thousand_legs_are_an_exact_sum() -> None:
    """In doubles, in which Lua computes."""
    assert int(float(LEG_MOST) * 1023) == LEG_MOST * 1023 <= SUM_MOST
    assert float(SUM_MOST) - 1 == SUM_MOST - 1


@given(st.floats(-100, 60), st.floats(0, 100), st.floats(0, 100))
def test_a_bucket_fills_evenly_and_not_beyond(level: float, first: float, second: float) -> None:
    """However often it is looked at on the way; not at all for a clock that is behind."""
    at_once = refilled(level, 0, 60, first + second)
    assert at_once == pytest.approx(min(60, refilled(refilled(level, 0, 60, first), first, 60, first + second)))
    assert level <= at_once <= 60
    assert refilled(level, 1000, 60, first) == level


def test_what_is_told_of_buckets() -> None:
    """Whole units, how long until each is full, and, where one was short, the one that is waited for longest."""
    full, low = taken((A, B), (1, 5), (59.9999999, -0.5), done=True).levels
    assert (full.rate, full.remaining, round(full.reset_s, 3)) == (A, 60, 0)
    assert (low.rate, low.remaining, round(low.reset_s, 3)) == (B, -1, 60.05)
    refused = taken((A, B), (10, 20), (5.0, 0.0), done=False)
    assert (refused.retry_after_s, refused.short) == (5.0, A)
    assert taken((A,), (61,), (60.0,), done=False).retry_after_s == math.inf


def test_there_is_enough_when_all_have_it() -> None:
    """What floats are off is no reason to refuse."""
    assert enough((1.0 - 1e-9, 5.0), (1, 5))
    assert not enough((1.0, 4.9), (1, 5))
    assert enough((), ())
