"""How the experts do: what calls say of them, and who is told."""

from __future__ import annotations

from typing import Any

import pytest

from router.allowance import RESERVE_CALLS
from router.config import Breakers, Convening
from router.health import MIN_HEDGE_AFTER_S, Health
from router.latency import MIN_CALLS

BREAKERS = Breakers(failures_in_a_row=2, slow_first_token_s=10.0, min_calls=50, open_s=5.0, max_open_s=20.0)


class World:
    """The health of two experts, a clock that is moved by hand, and what was told of them."""

    def __init__(self, **settings: Any) -> None:
        self.now = 1000.0
        self.told: list[tuple[str, str]] = []
        self.health = Health(
            ("ada", "bob"),
            Convening(breakers=BREAKERS, **settings),
            clock=lambda: self.now,
            on_change=lambda expert, state: self.told.append((expert, state)),
        )

    def call(
        self, expert: str, outcome: str = "answered", first_token_s: float | None = None, seconds: float = 0.5
    ) -> None:
        """One call from its start to its end; an error's reason is a failure of the expert."""
        self.health.asked(expert)
        self.now += seconds
        failed = outcome in ("unreachable", "timeout", "refused", "broken")
        self.health.ended(expert, outcome, first_token_s, seconds, failed=failed)

    def first_tokens(self, *seconds: float) -> None:
        """Answers of `ada` whose first tokens took so long."""
        for s in seconds:
            self.call("ada", first_token_s=s, seconds=s + 0.5)


def test_all_start_closed_and_nothing_is_told() -> None:
    """Nobody is left out before anything was heard."""
    world = World()
    assert (world.health.state("ada"), world.health.left_out(["ada", "bob"])) == ("closed", frozenset())
    assert world.told == []


@pytest.mark.parametrize("reason", ["unreachable", "timeout", "refused", "broken"])
def test_an_expert_that_fails_is_left_out_until_a_probe_is_answered(reason: str) -> None:
    """Each change of its breaker is told once; that it is half-open is told when somebody asks."""
    world = World()
    world.call("ada", reason)
    world.call("ada", reason)
    assert world.health.left_out(["ada", "bob"]) == {"ada"}
    assert world.told == [("ada", "open")]
    world.now += 5.0
    assert world.told == [("ada", "open")]
    assert world.health.left_out(["ada", "bob"]) == frozenset()
    assert world.told == [("ada", "open"), ("ada", "half_open")]
    world.health.asked("ada")
    assert world.health.left_out(["ada", "bob"]) == {"ada"}
    world.now += 1.0
    world.health.ended("ada", "answered", 0.5, 1.0, failed=False)
    assert world.health.left_out(["ada", "bob"]) == frozenset()
    assert world.told == [("ada", "open"), ("ada", "half_open"), ("ada", "closed")]


def test_a_probe_tells_of_the_half_open_state_before_it_ends_it() -> None:
    """A gauge sees the states in their order, also where nobody asked in between."""
    world = World()
    world.call("ada", "timeout")
    world.call("ada", "timeout")
    world.now += 5.0
    world.call("ada", "timeout")
    assert world.told == [("ada", "open"), ("ada", "half_open"), ("ada", "open")]


def test_somebody_stays_in_when_all_fail() -> None:
    """The one that reopens soonest."""
    world = World()
    for expert in ("bob", "bob", "ada", "ada"):
        world.call(expert, "timeout")
    assert world.health.left_out(["ada", "bob"]) == {"ada"}
    assert world.health.left_out(["ada"]) == frozenset()


@pytest.mark.parametrize("outcome", ["refused", "cancelled", "cut"])
def test_what_is_not_the_experts_fault_is_not_held_against_it(outcome: str) -> None:
    """A request that was refused for its own sake says as little as one that was cut: nor is it an answer."""
    world = World()
    world.call("ada", "timeout")
    for _ in range(10):
        world.health.asked("ada")
        world.health.ended("ada", outcome, None, 0.5, failed=False)
    assert world.health.state("ada") == "closed"
    world.call("ada", "timeout")
    assert world.health.state("ada") == "open"


def test_a_hedge_waits_as_long_as_is_usual() -> None:
    """The quantile of the first tokens of this expert; unmeasured, there is no hedge."""
    world = World(hedge_quantile=0.9)
    world.first_tokens(*(i / 8 for i in range(1, MIN_CALLS)))
    assert world.health.hedge_after_s("ada") is None
    world.first_tokens(MIN_CALLS / 8)
    assert world.health.hedge_after_s("ada") == 18 / 8
    assert world.health.hedge_after_s("bob") is None


def test_a_hedge_waits_a_little_however_fast_the_expert_is() -> None:
    """Never less than MIN_HEDGE_AFTER_S."""
    world = World()
    world.first_tokens(*[0.001] * MIN_CALLS)
    assert world.health.hedge_after_s("ada") == MIN_HEDGE_AFTER_S


def test_without_a_quantile_nothing_is_hedged() -> None:
    """`hedge_quantile: null` turns it off, whatever was measured."""
    world = World(hedge_quantile=None)
    world.first_tokens(*[0.5] * MIN_CALLS)
    assert world.health.hedge_after_s("ada") is None
    world.call("ada", "cut", seconds=8.0)


def test_answers_without_a_first_token_are_not_measured() -> None:
    """How long a whole answer took is no time to first token."""
    world = World()
    for _ in range(MIN_CALLS):
        world.call("ada", seconds=8.0)
    assert world.health.hedge_after_s("ada") is None
    world.first_tokens(*[1.0] * MIN_CALLS)
    world.call("ada", seconds=8.0)
    world.call("ada", seconds=8.0)
    assert world.health.hedge_after_s("ada") == 1.0


def test_calls_that_a_hedge_has_cut_count_as_slow_as_they_were() -> None:
    """The stragglers among them: were only the fast ones measured, hedges would come ever sooner."""
    world = World(hedge_quantile=0.5)
    world.first_tokens(*[1.0] * MIN_CALLS)
    for _ in range(MIN_CALLS + 1):
        world.call("ada", "cut", seconds=2.0)
    assert world.health.hedge_after_s("ada") == 2.0


def test_calls_that_were_cut_early_are_not_measured() -> None:
    """A client that left soon does not make an expert fast."""
    world = World(hedge_quantile=0.5)
    world.first_tokens(*[1.0] * MIN_CALLS)
    for _ in range(10 * MIN_CALLS):
        world.call("ada", "cancelled", seconds=0.5)
    assert world.health.hedge_after_s("ada") == 1.0


def test_retries_and_hedges_have_allowances_of_their_own() -> None:
    """Made from the settings: using one up leaves the other."""
    health = World(retry_share=0.5, hedge_share=0.0).health
    assert sum(health.retries.take() for _ in range(10)) == RESERVE_CALLS
    health.retries.deposit()
    health.retries.deposit()
    health.hedges.deposit()
    assert (health.retries.take(), health.hedges.take()) == (True, False)
