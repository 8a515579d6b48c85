"""Yes or no at the door."""

from __future__ import annotations

import pytest

from router.admission import admit
from router.errors import Overloaded
from router.records import Ticket


def test_below_the_bound_everybody_is_admitted() -> None:
    """The last free place is given, with who asked and since when."""
    assert admit("ada", in_flight=7, max_in_flight=8, now=12.5) == Ticket("ada", 12.5)


def test_at_the_bound_a_request_is_refused_at_once() -> None:
    """The replica is full: 429, and the same request may be sent again."""
    with pytest.raises(Overloaded) as caught:
        admit("ada", in_flight=8, max_in_flight=8, now=0.0)
    assert caught.value.headers() == {"x-should-retry": "true", "retry-after": "1"}
