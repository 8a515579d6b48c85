"""Turns at an expert: who waits, who is told what, and that nothing is left behind by whoever leaves."""

from __future__ import annotations

import asyncio

import pytest

from experts.errors import ExpertBusy
from router.config import Concurrency
from router.events import Waited
from router.lane import LEARNING_TURNED, Lane
from tests.unit.lane_world import in_virtual_time, now
from tests.unit.turns_world import ADA, BOB, EXPERT, TWO, World, turns_of_the_loop, virtual


@virtual
async def test_nobody_waits_where_a_turn_is_free() -> None:
    """The turn is there without a turn of the event loop, and an event says so."""
    world = World()
    entering = world.enter()
    with pytest.raises(StopIteration) as done:
        entering.send(None)
    turn = done.value.value
    assert (turn.load, world.lanes.load(EXPERT)) == (1, 1)
    assert world.events == [Waited(EXPERT, "ada", 0.0)]
    world.end(turn)
    world.nothing_is_left()


@virtual
async def test_who_waits_is_next_when_a_call_ends() -> None:
    """In the order of deadlines; how long it took is told in an event."""
    world = World()
    first, second = await world.full()
    later, sooner = world.waits(ends_at=90.0), world.waits(ends_at=60.0)
    await asyncio.sleep(5)
    world.end(first)
    turn = await sooner
    assert (turn.load, later.done()) == (2, False)
    assert world.events[-1] == Waited(EXPERT, "ada", 5.0)
    world.end(second)
    world.end(turn)
    world.end(await later)
    world.nothing_is_left()


@virtual
async def test_a_turn_is_given_back_once() -> None:
    """Whoever says a second time that a call has ended gives nobody a turn."""
    world = World()
    first, second = await world.full()
    waiting = [world.waits(), world.waits()]
    await turns_of_the_loop()
    for _ in range(3):
        world.end(first)
    await turns_of_the_loop()
    assert [task.done() for task in waiting] == [True, False]
    world.end(second)
    for task in waiting:
        world.end(await task)
    world.nothing_is_left()


@virtual
async def test_a_full_queue_refuses_its_own_tenant_and_makes_room_for_others() -> None:
    """Whoever is pushed out hears of it at once, as does whoever is refused: full."""
    world = World()
    first, second = await world.full()
    mine = [world.waits() for _ in range(4)]
    await turns_of_the_loop()
    with pytest.raises(ExpertBusy) as refused:
        await world.enter()
    assert (refused.value.why, refused.value.reason, refused.value.replaceable) == ("full", "busy", True)
    other = world.waits(BOB)
    with pytest.raises(ExpertBusy):
        await mine[3]
    assert world.refused() == ["full", "full"]
    world.end(first)
    world.end(second)
    turns = [await other, await mine[0]]
    world.end(turns[0])
    world.end(turns[1])
    for task in mine[1:3]:
        world.end(await task)
    world.nothing_is_left()


@virtual
async def test_what_could_not_be_through_in_time_is_refused_as_it_comes() -> None:
    """By the wait that is foreseen, a tenth of it more, and what the call needs; without a deadline it may wait."""
    world = World()
    turns = await world.full()
    assert world.lanes.wait_s(EXPERT, ADA) == pytest.approx(0.5)
    with pytest.raises(ExpertBusy) as refused:
        await world.enter(ends_at=now() + 1.0, needs_s=0.6)
    assert refused.value.why == "hopeless"
    assert refused.value.wait_s == pytest.approx(0.5)
    waiting = [world.waits(ends_at=now() + 1.3, needs_s=0.6), world.waits()]
    await turns_of_the_loop()
    assert world.refused() == ["hopeless"]
    for turn in turns:
        world.end(turn)
    for task in waiting:
        world.end(await task)
    world.nothing_is_left()


@virtual
async def test_whose_turn_comes_too_late_hears_so_and_the_next_one_has_it() -> None:
    """An entry that became hopeless while it waited costs nobody a turn."""
    world = World()
    first, second = await world.full()
    late, alive = world.waits(ends_at=now() + 2.0, needs_s=1.0), world.waits()
    await asyncio.sleep(1.5)
    world.end(first)
    with pytest.raises(ExpertBusy, match="no turn in time"):
        await late
    world.end(await alive)
    world.end(second)
    assert world.refused() == ["hopeless"]
    world.nothing_is_left()


@virtual
async def test_who_leaves_while_waiting_leaves_nothing() -> None:
    """Before its turn, at the very moment in which it comes, and in that in which it is refused."""
    world = World()
    first, second = await world.full()
    before, at_its_turn, refused = world.waits(), world.waits(), world.waits(ends_at=now() + 1.0, needs_s=0.1)
    await turns_of_the_loop()
    before.cancel()
    await turns_of_the_loop()
    assert world.lanes.queued(EXPERT) == 2
    await asyncio.sleep(2)
    world.end(first)  # refuses one, gives the other its turn
    for task in (at_its_turn, refused):
        task.cancel()
    done = await asyncio.gather(before, at_its_turn, refused, return_exceptions=True)
    assert [type(outcome) for outcome in done] == [asyncio.CancelledError] * 3
    world.end(second)
    world.nothing_is_left()


@virtual
async def test_a_turn_does_not_go_to_one_that_is_already_leaving() -> None:
    """Cancelled, and not yet told so: the next one has it."""
    world = World()
    first, second = await world.full()
    leaving, staying = world.waits(), world.waits()
    await turns_of_the_loop()
    leaving.cancel()
    world.end(first)
    world.end(await staying)
    world.end(second)
    await asyncio.gather(leaving, return_exceptions=True)
    world.nothing_is_left()


@virtual
async def test_the_door_knows_when_all_is_in_vain() -> None:
    """As `enter` would say, for all of the experts at once."""
    world = World()
    world.lanes.configured([EXPERT, "bob"], TWO)

    def hopeless(left_s: float | None, needs_s: float = 0.0, experts: tuple[str, ...] = (EXPERT,)) -> bool:
        ends_at = None if left_s is None else now() + left_s
        return bool(world.lanes.shut_out(experts, ADA, ends_at, now(), lambda expert: needs_s))

    assert not hopeless(0.1, needs_s=9.0)  # a turn is free
    turns = await world.full()
    assert hopeless(0.53)
    assert hopeless(1.0, needs_s=0.46)
    assert not hopeless(1.0, needs_s=0.4)
    assert not hopeless(0.4, experts=(EXPERT, "bob"))
    assert not hopeless(0.4, experts=())
    assert not hopeless(None, needs_s=9.0)
    waiting = [world.waits() for _ in range(4)]
    await turns_of_the_loop()
    assert hopeless(None)
    assert not world.lanes.shut_out([EXPERT], BOB, None, now(), lambda expert: 0.0)
    for turn in turns:
        world.end(turn)
    for task in waiting:
        world.end(await task)
    world.nothing_is_left()


@pytest.mark.parametrize("door", [True, False])
def test_the_more_are_turned_away_the_surer_one_must_be_to_be_in_time(door: bool) -> None:
    """And less sure again, when calls find free turns. What nobody could do in time, queue or not, tells nothing."""

    async def work() -> None:
        world = World()

        def hopeless(left_s: float, needs_s: float = 0.0) -> bool:
            return bool(world.lanes.shut_out([EXPERT], ADA, now() + left_s, now(), lambda expert: needs_s))

        async def turned_away(left_s: float, needs_s: float = 0.0) -> None:
            if door:
                assert hopeless(left_s, needs_s)
            else:
                with pytest.raises(ExpertBusy):
                    await world.enter(ends_at=now() + left_s, needs_s=needs_s)

        turns = await world.full()
        for _ in range(150):
            await turned_away(0.1, needs_s=0.2)
        assert not hopeless(0.6)
        for _ in range(150):
            await turned_away(0.1)
        assert hopeless(1.0)
        for turn in turns:
            world.end(turn)
        for _ in range(200):
            world.end(await world.waits())
        turns = await world.full()
        assert not hopeless(0.7)
        for turn in turns:
            world.end(turn)
        world.nothing_is_left()

    in_virtual_time(work())


@virtual
async def test_of_what_several_turn_away_together_each_has_its_part() -> None:
    """Half of all that come is half at each of them, however many might have taken it."""
    lanes = [Lane.begun(TWO) for _ in range(4)]
    for number in range(2000):
        lanes[number % 4].arrived(turned_away=False)
        for lane in lanes:
            lane.arrived(turned_away=True, weight=1 / 4)
    assert [lane.turned_away for lane in lanes] == pytest.approx([0.5] * 4, abs=0.02)

    world, experts = World(), [EXPERT, "bob"]
    world.lanes.configured(experts, TWO)
    turns = [await world.lanes.enter(expert, ADA, 100) for expert in experts for _ in range(2)]
    for turn in turns:
        world.end(turn)
    for expert in experts:
        for _ in range(2):
            await world.lanes.enter(expert, ADA, 100)
    assert world.lanes.shut_out(experts, ADA, now() + 0.1, now(), lambda expert: 0.0)
    assert [world.lanes._lanes[expert].turned_away for expert in experts] == [LEARNING_TURNED / 2] * 2


@virtual
async def test_what_is_under_way_and_waits_stays_when_settings_change() -> None:
    """More turns are given at once; an expert that went is still there for those with it."""
    world = World()
    turns = await world.full()
    waiting = [world.waits() for _ in range(3)]
    await turns_of_the_loop()
    world.lanes.configured(["bob"], Concurrency(least=4, first=4, most=4))
    await turns_of_the_loop()
    assert [task.done() for task in waiting] == [True, True, False]
    world.lanes.configured(["bob"], Concurrency(least=1, first=1, most=1, queued_requests=0))
    assert (world.lanes.load(EXPERT), world.lanes.queued(EXPERT)) == (4, 1)
    for turn in turns:
        world.end(turn)
    for task in waiting:
        world.end(await task)
    world.nothing_is_left()
