"""Yes or no at the door, in constant time. Pure; the seam where rates, deadlines and budgets will enter."""

from __future__ import annotations

from router.errors import Overloaded
from router.records import Ticket


def admit(principal: str, in_flight: int, max_in_flight: int, now: float) -> Ticket:
    """A ticket for one request.

    Raises:
        Overloaded: this replica already holds `max_in_flight` requests.
    """
    if in_flight >= max_in_flight:
        raise Overloaded(f"{max_in_flight} requests are under way; try again shortly.", code="overloaded")
    return Ticket(principal=principal, admitted_at=now)
