"""Yes or no at the door, whose budgets hold, and what a request is told that nobody served."""

from __future__ import annotations

import pytest
import yaml

from experts.errors import (
    ExpertBusy,
    ExpertError,
    ExpertOutOfTime,
    ExpertRefused,
    ExpertUnfunded,
    ExpertUnreachable,
)
from router.admission import admit, failed, levels, overloaded
from router.caller import Caller
from router.config import Budgets, Config, Policy
from router.errors import Overloaded
from router.records import Ticket
from tests.unit.make import YAML

ADA = Caller(key="ada")
DOWN, BUSY = ExpertUnreachable("ada", "down"), ExpertBusy("ada", "full", 1.0)
LATE, POOR = ExpertOutOfTime("ada", "late"), ExpertUnfunded("ada", "poor")
WRONG = ExpertRefused("ada", 400, "temperature is too high", "temperature")


def test_below_the_bound_everybody_is_admitted() -> None:
    """The last free place is given, with who asked and since when."""
    ticket = admit(ADA, in_flight=7, max_in_flight=8, now=12.5)
    assert ticket == Ticket("ada", admitted_at=12.5, caller=ADA, arrived_at=12.5)


def test_at_the_bound_a_request_is_refused_at_once() -> None:
    """The replica is full: 429, and the same request may be sent again."""
    with pytest.raises(Overloaded) as caught:
        admit(ADA, in_flight=8, max_in_flight=8, now=0.0)
    assert caught.value.headers() == {"x-should-retry": "true", "retry-after": "1"}


def test_budgets_hold_from_the_nearest_level_on() -> None:
    """A request that names its expert has no policy; anonymous ones have no key."""
    known, own = Config.model_validate(yaml.safe_load(YAML)), {"key": Budgets(), "tenant": Budgets()}
    caller = Caller(budgets=own)
    assert [*levels(known, Policy(), caller)] == ["policy", "key", "tenant", "server"]
    assert [*levels(known, None, Caller(budgets={"tenant": Budgets()}))] == ["tenant", "server"]


def test_an_overload_may_be_tried_again() -> None:
    """Without a deadline later, with one too: the queue may be shorter then."""
    for ends_at, status in ((None, 429), (3.0, 504)):
        error = overloaded(ends_at, now=2.5, fastest={"experts": ["ada"], "seconds": 4.0})
        assert (error.status, error.headers()["x-should-retry"]) == (status, "true")
        assert error.body()["error"]["fastest"]["experts"] == ["ada"]


@pytest.mark.parametrize(
    ("errors", "status", "code"),
    [
        ([DOWN, WRONG, LATE], 400, "invalid_value"),
        ([DOWN, LATE], 504, "deadline_exceeded"),
        ([BUSY, BUSY], 429, "overloaded"),
        ([POOR], 429, "insufficient_quota"),
        ([DOWN, BUSY], 502, "experts_failed"),
        ([DOWN, POOR], 502, "experts_failed"),
        ([], 502, "experts_failed"),
    ],
)
def test_what_the_client_can_mend_comes_first(errors: list[ExpertError], status: int, code: str) -> None:
    """Then what only time can; an expert's own failure is nobody's lack of money."""
    error = failed(errors)
    assert (error.status, error.code) == (status, code)
