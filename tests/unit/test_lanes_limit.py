"""What calls tell of the limit of those under way: by first tokens and ends, and while this process was busy."""

from __future__ import annotations

import asyncio

import pytest

from router.concurrency import MOST_CALM
from router.config import Concurrency
from router.lanes import Lanes
from tests.unit.lane_world import in_virtual_time
from tests.unit.turns_world import ADA, EXPERT, World, turns_of_the_loop

ADAPTING = Concurrency(least=1, first=8, most=64)
SHARED = 7  # of eight, by whoever is alone


async def limit_after(outcome: str, first_token_s: float | None, seconds: float, *, failed: bool = False) -> int:
    """The limit once a good many such calls have ended, of an expert whose first tokens take 0.1 s undisturbed."""
    world = World(ADAPTING)
    for _ in range(2 * MOST_CALM):
        turn = await world.enter()
        await asyncio.sleep(1)
        world.lanes.ended(turn, "answered", 0.1, 1.0)
    for _ in range(4):
        turns = [await world.enter() for _ in range(SHARED)]
        await asyncio.sleep(seconds)
        for turn in turns:
            world.lanes.ended(turn, outcome, first_token_s, seconds, failed=failed)
        if world.lanes.limit(EXPERT) < 8:
            break
    return world.lanes.limit(EXPERT)


def test_failures_and_calls_that_had_to_go_lower_the_limit() -> None:
    """An expert that fails, or has sent nothing by a deadline: by those in time alone it would be thought well."""
    assert in_virtual_time(limit_after("timeout", None, 5.0, failed=True)) < 8
    assert in_virtual_time(limit_after("deadline", None, 5.0)) < 8
    assert in_virtual_time(limit_after("cut", None, 5.0)) < 8
    assert in_virtual_time(limit_after("answered", 4.0, 5.0)) < 8


def test_clients_that_leave_and_refused_questions_say_nothing() -> None:
    """Neither the limit's growth nor its fall rests on them; nor on calls that were cut before anything was due."""
    for outcome in ("cancelled", "refused"):
        assert in_virtual_time(limit_after(outcome, None, 5.0)) == 8
    assert in_virtual_time(limit_after("cut", None, 0.05)) == 8


@pytest.mark.parametrize(("first_token_s", "learned"), [(1.0, (1.0 - 2 * 0.2,)), (0.5, ())])
def test_what_keeps_this_process_busy_is_not_the_experts_delay(first_token_s: float, learned: tuple[float]) -> None:
    """As long as the loop takes for a round, so long a first token may have waited here; where that is most of the
    delay, it tells nothing.
    """
    clock = [5.0]
    lanes = Lanes([EXPERT], ADAPTING, lambda: clock[0], lambda event: None)

    async def heard() -> tuple[float, ...]:
        turn = await lanes.enter(EXPERT, ADA, 100)
        asyncio.get_running_loop().call_soon(clock.__setitem__, 0, 5.2)  # somebody else's work
        lanes.spoke(turn, first_token_s)
        await turns_of_the_loop()
        lanes.ended(turn, "answered", first_token_s, 2.0)
        return lanes._lanes[EXPERT].limit.calm

    assert in_virtual_time(heard()) == pytest.approx(learned)


def test_calls_that_do_well_raise_it() -> None:
    """As soon as their first tokens are there; their ends do not count again."""

    async def limits() -> tuple[float, float]:
        world = World(ADAPTING)
        for _ in range(2 * MOST_CALM):
            world.end(await world.enter())
        spoke = 0.0
        for _ in range(4):
            turns = [await world.enter() for _ in range(SHARED)]
            await asyncio.sleep(0.1)
            for turn in turns:
                world.lanes.spoke(turn, 0.1)
            await turns_of_the_loop()
            spoke = world.lanes._lanes[EXPERT].limit.calls
            await asyncio.sleep(0.9)
            for turn in turns:
                world.end(turn)
        return spoke, world.lanes._lanes[EXPERT].limit.calls

    spoke, ended = in_virtual_time(limits())
    assert spoke == ended > 8
