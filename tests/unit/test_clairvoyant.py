"""Admission that knows every duration: it serves just those that can be in time, in the order of their coming."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.clairvoyant import Arrival, admitted


def test_who_can_be_in_time_is_served() -> None:
    """With one slot the second waits for the first; whoever is refused takes no time of the third."""
    first, second = Arrival(0, 1.0, 1.0), Arrival(0.5, 1.0, 1.4)
    assert admitted([first, second], 1) == [True, False]
    assert admitted([first, second], 2) == [True, True]
    assert admitted([first, second, Arrival(0.6, 0.5, 1.0)], 1) == [True, False, True]
    assert admitted([first], 1, overhead_s=0.01) == [False]


ARRIVALS = st.lists(st.tuples(*[st.floats(0.01, 2)] * 3), max_size=30).map(
    lambda rows: [Arrival(sum(r[0] for r in rows[: i + 1]), row[1], row[2]) for i, row in enumerate(rows)]
)


@given(ARRIVALS, st.integers(1, 4))
def test_nobody_is_late_and_nobody_refused_who_had_a_free_slot_in_time(arrivals: list[Arrival], slots: int) -> None:
    """Checked against a schedule that is kept slot by slot."""
    ends = [0.0] * slots
    for arrival, served in zip(arrivals, admitted(arrivals, slots), strict=True):
        slot = min(range(slots), key=ends.__getitem__)
        done_s = max(ends[slot], arrival.at_s) + arrival.takes_s
        assert served == (done_s <= arrival.at_s + arrival.deadline_s)
        if served:
            ends[slot] = done_s
