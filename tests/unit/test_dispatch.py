"""Who is asked when, who steps in, who is cut, and that no call is ever left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.allowance import RESERVE_CALLS
from router.call import Call
from router.events import LegSettled
from router.records import Usage
from router.structured import AnswerFormat
from tests.unit.make import query
from tests.unit.stage import END, NAMES, STOP, Line, World, alone, busy, down, nonsense, panel, slow, turns, wrong


async def cancelled(work: asyncio.Task[Any]) -> None:
    work.cancel()
    await asyncio.wait([work])
    assert work.cancelled()


async def test_replies_are_whole_and_in_the_order_of_the_plan() -> None:
    """Whoever came first; each with all it said, and what is known of its cost."""
    world = await World().up()
    gathering = asyncio.create_task(world.gather(panel(["ada", "bob"])))
    world.stage.says("bob", "4", "2", END)
    await turns(20)
    assert world.heard() == {"bob": "answered"}
    world.stage.says("ada", "41", END)
    replies = (await gathering).replies
    assert [(reply.expert, reply.text) for reply in replies] == [("ada", "41"), ("bob", "42")]
    assert (replies[1].usage.completion_tokens, replies[1].usage.exact) == (2, False)
    await world.nothing_is_left()


async def test_waves_are_asked_in_order() -> None:
    """The next one when nobody of the last is awaited any more, and only if it is not decided."""
    world = await World().up()
    gathering = asyncio.create_task(world.gather(panel(["ada", "bob"], ["cy"], ["dan"], decided_at=1.0)))
    world.stage.says("ada", "1", END)
    await turns(20)
    assert (world.stage.asked, world.heard()) == (["ada", "bob"], {"ada": "answered"})
    world.stage.says("bob", "2", END)
    world.stage.says("cy", down)
    await turns(20)
    assert world.stage.asked == ["ada", "bob", "cy", "dan"]
    world.stage.says("dan", "2", END)
    gathered = await gathering
    assert ([r.text for r in gathered.replies], gathered.missing) == (["1", "2", "2"], ("cy",))
    await world.nothing_is_left()


async def test_what_is_decided_cuts_those_who_are_still_at_work() -> None:
    """They are told of as cut, not as cancelled: the client has not gone. The next wave is not asked."""
    world = await World().up()
    world.stage.says("ada", "1", END)
    world.stage.says("bob", "1", END)
    world.stage.says("cy", "I th")
    gathered = await world.gather(panel(["ada", "bob", "cy"], ["dan"], decided_at=0.6))
    assert [reply.expert for reply in gathered.replies] == ["ada", "bob"]
    await world.nothing_is_left()
    assert world.heard() == world.ends() == {"ada": "answered", "bob": "answered", "cy": "cut"}
    assert gathered.missing == ()


async def test_a_request_that_is_cancelled_cancels_its_legs() -> None:
    """Before and after their first word; nobody is told of them any more."""
    world = await World().up()
    world.stage.says("bob", "I th")
    gathering = asyncio.create_task(world.gather(panel(["ada", "bob"])))
    await turns(20)
    await cancelled(gathering)
    await world.nothing_is_left()
    assert (world.ends(), world.told) == ({"ada": "cancelled", "bob": "cancelled"}, [])


@pytest.mark.parametrize(("hosted", "usage"), [(True, Usage(7, 3)), (False, Usage(11, 2, exact=False))])
async def test_a_leg_that_was_cut_is_settled(hosted: bool, usage: Usage) -> None:
    """By our own host's count; elsewhere by what was seen of it, which is an estimate. It is told as an estimate."""
    world = await World(hosted=hosted).up()
    world.stage.says("ada", "1", END)
    world.stage.says("bob", "I", " th")
    await world.gather(panel(["ada", "bob"], quorum=1, decided_at=None))
    await world.nothing_is_left()
    assert [event.usage for event in world.events if isinstance(event, LegSettled)][-1] == usage
    assert not world.told[-1].usage.exact


async def test_a_hedge_that_is_faster_wins_and_the_slow_leg_is_cut() -> None:
    """Where the first token is late, a spare is asked beside it, rather one on another server."""
    world = await World(hasty=True).up()
    world.stage.says("cy", "42", END)
    gathered = await world.gather(alone("ada", "bob", "cy"))
    assert (world.stage.asked, world.extras()) == (["ada", "cy"], [("hedge", "ada")])
    assert [reply.expert for reply in gathered.replies] == ["cy"]
    await world.nothing_is_left()
    assert world.heard() == world.ends() == {"ada": "cut", "cy": "answered"}


async def test_a_hedge_that_is_slower_is_cut() -> None:
    """The expert that was late speaks first all the same; no third one is asked beside them."""
    world = await World(hasty=True).up()
    gathering = asyncio.create_task(world.gather(alone("ada", "cy", "dan")))
    await turns(20)
    world.stage.says("ada", "42", END)
    assert [reply.expert for reply in (await gathering).replies] == ["ada"]
    await world.nothing_is_left()
    assert world.heard() == world.ends() == {"ada": "answered", "cy": "cut"}


@pytest.mark.parametrize("late", range(6))
async def test_of_two_that_speak_at_once_one_is_cut(late: int) -> None:
    """Whoever is first by a turn of the loop, or neither: one answer is read, and the other connection is closed."""
    world = await World(hasty=True).up()
    world.stage.says("ada", late, "42", END)
    world.stage.says("cy", "42", END)
    assert len((await world.gather(alone("ada", "cy"))).replies) == 1
    await world.nothing_is_left()
    assert world.heard() == world.ends()
    assert sorted(world.ends().values()) == (["answered", "cut"] if len(world.stage.asked) == 2 else ["answered"])


async def test_a_hedge_under_way_is_replacement_enough() -> None:
    """An expert that fails while another is asked beside it is not replaced; when that one fails too, one more is."""
    world = await World(hasty=True).up()
    gathering = asyncio.create_task(world.gather(alone("ada", "cy", "dan", "eve")))
    await turns(20)
    world.stage.says("ada", down)
    await turns(20)
    assert (world.stage.asked, world.heard()) == (["ada", "cy"], {"ada": "unreachable"})
    world.stage.says("cy", down)
    world.stage.says("dan", "42", END)
    assert [reply.expert for reply in (await gathering).replies] == ["dan"]
    assert (world.stage.asked, world.extras()) == (["ada", "cy", "dan"], [("hedge", "ada"), ("retry", "cy")])
    await world.nothing_is_left()


@pytest.mark.parametrize("settings", [{"hedge_share": 0}, {"hedge_quantile": None, "hasty": False}])
async def test_without_allowance_nobody_is_hedged(settings: dict[str, Any]) -> None:
    """However late the expert is."""
    world = await World(**({"hasty": True} | settings)).up()
    gathering = asyncio.create_task(world.gather(alone("ada", "cy")))
    await turns(20)
    world.stage.says("ada", "42", END)
    await gathering
    assert (world.stage.asked, world.extras()) == (["ada"], [])
    await world.nothing_is_left()


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        ((down,), "unreachable"),
        (("The ans", slow), "timeout"),
        (("The ans", nonsense), "broken"),
        ((END,), "broken"),
        ((busy,), "refused"),
    ],
)
async def test_an_expert_that_fails_is_replaced(lines: Sequence[Line], outcome: str) -> None:
    """Before its first word or after it, which is then lost; by one on another server if there is one."""
    world = await World().up()
    world.stage.says("ada", *lines)
    world.stage.says("cy", "42", END)
    gathered = await world.gather(alone("ada", "bob", "cy"))
    assert ([(r.expert, r.text) for r in gathered.replies], gathered.missing) == ([("cy", "42")], ())
    await world.nothing_is_left()
    assert world.heard() == world.ends() == {"ada": outcome, "cy": "answered"}
    assert world.extras() == [("retry", "ada")]


async def test_an_expert_whose_server_goes_down_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that would wait for it until its limit is released; it counts as a failure, not as cancelled."""
    for period in ("HOSTED_PERIOD_S", "REMOTE_PERIOD_S"):
        monkeypatch.setattr(f"router.watch.{period}", 0)
    world = await World().up()
    gathering = asyncio.create_task(world.gather(alone("ada", "cy")))
    await turns(20)
    world.stage.says("cy", "42", END)
    world.stage.gone.add("ada")
    assert [reply.expert for reply in (await gathering).replies] == ["cy"]
    await world.nothing_is_left()
    assert world.heard() == world.ends() == {"ada": "unreachable", "cy": "answered"}


async def test_an_answer_that_breaks_the_format_is_replaced() -> None:
    """What its request asked for."""
    world = await World().up()
    world.stage.says("ada", "maybe", STOP, END)
    world.stage.says("cy", "yes", STOP, END)
    call = Call.of(query("hi", answer_format=AnswerFormat(choices=("yes", "no"))))
    assert [reply.text for reply in (await world.gather(alone("ada", "cy"), call)).replies] == ["yes"]
    await world.nothing_is_left()
    assert world.ends() == {"ada": "broken", "cy": "answered"}


async def test_an_answer_that_was_cut_off_by_its_length_breaks_no_format() -> None:
    """No other expert would get further: the client has set the bound."""
    world = await World().up()
    world.stage.says("ada", "ye", STOP | {"finish_reason": "length"}, END)
    call = Call.of(query("hi", answer_format=AnswerFormat(choices=("yes", "no"))))
    assert [reply.text for reply in (await world.gather(alone("ada", "cy"), call)).replies] == ["ye"]
    await world.nothing_is_left()


async def test_a_request_at_fault_itself_is_not_sent_to_another() -> None:
    """It would refuse it as well."""
    world = await World().up()
    world.stage.says("ada", wrong)
    gathered = await world.gather(alone("ada", "cy"))
    assert (gathered.replies, gathered.missing, world.stage.asked) == ((), ("ada",), ["ada"])
    await world.nothing_is_left()


async def test_one_replacement_is_made_for_a_request() -> None:
    """Of two that fail one is replaced; the other is missing."""
    world = await World().up()
    for expert in ("ada", "bob"):
        world.stage.says(expert, down)
    world.stage.says("cy", "42", END)
    gathered = await world.gather(panel(["ada", "bob"], spares=["cy", "dan"]))
    assert [reply.expert for reply in gathered.replies] == ["cy"]
    assert (len(gathered.missing), world.extras()) == (1, [("retry", *({"ada", "bob"} - set(gathered.missing)))])
    await world.nothing_is_left()


async def test_when_the_budget_of_retries_is_used_up_nobody_is_replaced() -> None:
    """When everything fails, retries do not double the load."""
    world = await World(retry_share=0.01).up()
    asked = int(RESERVE_CALLS) + 1
    for _ in range(asked):
        world.stage.says("ada", down)
        world.stage.says("cy", "42", END)
    gathered = [await world.gather(alone("ada", "cy")) for _ in range(asked)]
    assert [len(g.replies) for g in gathered] == [1] * (asked - 1) + [0]
    assert gathered[-1].missing == ("ada",)
    await world.watch.stop()


SAID = st.sampled_from(["1", "2"])
OUTCOMES = st.one_of(
    st.tuples(SAID, st.integers(0, 3), st.just(END)),
    st.just((down,)),
    st.just((wrong,)),
    st.tuples(st.just("I th"), st.integers(0, 3), st.just(down)),
)
LINES = st.lists(st.tuples(st.integers(0, 4), OUTCOMES), min_size=5, max_size=5)
SIZES = st.lists(st.integers(1, 2), min_size=1, max_size=2)


@pytest.mark.parametrize("hasty", [False, True])
@given(
    LINES, SIZES, st.none() | st.sampled_from([0.5, 1.0]), st.none() | st.integers(1, 2), st.none() | st.integers(0, 12)
)
def test_whatever_happens_each_is_asked_once_and_nothing_is_left(
    hasty: bool,
    lines: list[tuple[int, tuple[Line, ...]]],
    sizes: list[int],
    decided_at: float | None,
    quorum: int | None,
    leaves: int | None,
) -> None:
    """Answers, failures and hedges in any order, also at once; the client may leave at any time.

    What is told of a leg is how it ended; who was planned and asked has answered, is missing, or was cut.
    """
    names = iter(NAMES)
    waves = [[next(names) for _ in range(size)] for size in sizes]
    plan = panel(*waves, spares=[*names], decided_at=decided_at, quorum=quorum)

    async def play() -> None:
        world = await World(hasty=hasty).up()
        for expert, (late, outcome) in zip(NAMES, lines, strict=True):
            world.stage.says(expert, late, *outcome)
        gathering = asyncio.create_task(world.gather(plan))
        if leaves is not None:
            await turns(leaves)
            gathering.cancel()
        await asyncio.wait([gathering])
        await world.nothing_is_left()
        assert world.heard().items() <= world.ends().items()
        if gathering.cancelled():
            return
        gathered, ends = gathering.result(), world.ends()
        assert world.heard() == ends
        assert {reply.expert for reply in gathered.replies} == {name for name in ends if ends[name] == "answered"}
        assert len(gathered.replies) + len(gathered.missing) <= len(plan.experts)

    asyncio.run(play())
