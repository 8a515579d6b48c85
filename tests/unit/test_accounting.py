"""What each leg cost: when it is final, what is remembered, who is woken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.accounting import LegCount, LegLedger


def ledger(capacity: int = 100) -> LegLedger:
    """Its clock ticks once a reading: 1, 2, 3, …"""
    ticks = count(1)
    return LegLedger(lambda: float(next(ticks)), capacity)


async def turns() -> None:
    """Lets everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_leg_from_arrival_to_end() -> None:
    """Opened, started, settled, closed; the times are when HTTP and engine ended."""
    legs = ledger()
    legs.http_opened("a")
    legs.engine_started("a", 10)
    assert legs.get("a") == LegCount(prompt_tokens=10, engine_running=1, http_open=True)
    legs.engine_settled("a", 5)
    legs.http_closed("a", aborted=False)
    assert legs.get("a") == LegCount(10, 5, http_ended_at=2.0, engine_ended_at=1.0)


def test_a_leg_is_final_when_http_and_every_engine_request_have_ended() -> None:
    """In whichever order they end; an abort is remembered."""
    legs = ledger()
    states = []
    steps: list[Callable[[], None]] = [
        lambda: legs.http_opened("a"),
        lambda: legs.engine_started("a", 10),
        lambda: legs.engine_started("a", 10),
        lambda: legs.http_closed("a", aborted=True),
        lambda: legs.engine_settled("a", 3),
        lambda: legs.engine_settled("a", 4),
    ]
    for step in steps:
        step()
        leg = legs.get("a")
        assert leg is not None
        states.append(leg.final)
    assert states == [False, False, False, False, False, True]
    leg = legs.get("a")
    assert leg is not None
    assert (leg.aborted, leg.output_tokens) == (True, 7)


def test_the_prompt_of_parallel_samples_is_counted_once() -> None:
    """n > 1 makes several engine requests of one prompt: its tokens are paid once, the outputs each."""
    legs = ledger()
    for _ in range(3):
        legs.engine_started("a", 10)
    for output in (1, 2, 3):
        legs.engine_settled("a", output)
    leg = legs.get("a")
    assert leg is not None
    assert (leg.prompt_tokens, leg.output_tokens, leg.engine_running) == (10, 6, 0)


def test_an_engine_request_that_was_never_seen_starting_is_settled_too() -> None:
    """Its output counts, and nothing runs below zero."""
    legs = ledger()
    legs.engine_settled("a", 5)
    leg = legs.get("a")
    assert leg is not None
    assert (leg.output_tokens, leg.engine_running, leg.final) == (5, 0, True)


async def test_a_final_leg_is_told_at_once() -> None:
    """No waiting for what can no longer change."""
    legs = ledger()
    legs.http_opened("a")
    legs.http_closed("a", aborted=False)
    assert await legs.final("a", 30) == legs.get("a")


async def test_waiting_ends_when_the_leg_is_final() -> None:
    """Everybody who waits is woken, with the counts as they then are."""
    legs = ledger()
    legs.http_opened("a")
    waiting = [asyncio.create_task(legs.final("a", 30)) for _ in range(2)]
    await turns()
    assert not any(task.done() for task in waiting)
    legs.engine_started("a", 10)
    legs.engine_settled("a", 5)
    legs.http_closed("a", aborted=False)
    await turns()
    assert [task.result() for task in waiting] == [legs.get("a")] * 2


async def test_waiting_begins_before_the_leg_arrives() -> None:
    """A question may overtake the request it is about."""
    legs = ledger()
    waiting = asyncio.create_task(legs.final("a", 30))
    await turns()
    legs.http_opened("a")
    legs.http_closed("a", aborted=True)
    await turns()
    assert waiting.result() == legs.get("a")


async def test_one_who_gives_up_does_not_keep_others_from_being_woken() -> None:
    """Two wait for one leg; the one with less patience leaves; the other is still told."""
    legs = ledger()
    legs.http_opened("a")
    patient = asyncio.create_task(legs.final("a", 30))
    await turns()
    assert await legs.final("a", 0.001) == LegCount(http_open=True)
    legs.http_closed("a", aborted=False)
    await turns()
    told = patient.done()
    patient.cancel()
    assert told


async def test_after_its_patience_a_waiter_gets_what_there_is() -> None:
    """A leg under way as it stands; None for one that never came."""
    legs = ledger()
    legs.engine_started("a", 10)
    found = await legs.final("a", 0.001)
    assert found == LegCount(prompt_tokens=10, engine_running=1)
    assert await legs.final("nobody", 0.001) is None


def test_the_oldest_final_legs_are_forgotten_first() -> None:
    """Capacity counts legs; one under way outlives younger final ones."""
    legs = ledger(capacity=2)
    legs.http_opened("running")
    for name in ("one", "two"):
        legs.http_opened(name)
        legs.http_closed(name, aborted=False)
    assert list(legs.latest(10)) == ["two", "running"]


def test_capacity_holds_even_when_everything_runs() -> None:
    """Memory is bounded whatever happens: then the oldest goes."""
    legs = ledger(capacity=2)
    for name in "abc":
        legs.http_opened(name)
    assert list(legs.latest(10)) == ["c", "b"]


def test_the_latest_legs_come_newest_first() -> None:
    """Order is that of the last change, not of arrival."""
    legs = ledger()
    for name in "abc":
        legs.http_opened(name)
    legs.engine_started("a", 1)
    assert list(legs.latest(2)) == ["a", "c"]
    assert legs.latest(0) == {}


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["open", "close", "start", "settle"]), st.integers(0, 9)),
        max_size=40,
    ),
    st.integers(1, 3),
)
def test_whatever_happens_memory_is_bounded_and_nothing_negative(
    steps: list[tuple[str, str, int]], capacity: int
) -> None:
    """Any order of events, also impossible ones, leaves at most `capacity` legs with counts of at least 0."""
    legs = ledger(capacity)
    for name, step, tokens in steps:
        match step:
            case "open":
                legs.http_opened(name)
            case "close":
                legs.http_closed(name, aborted=bool(tokens % 2))
            case "start":
                legs.engine_started(name, tokens)
            case _:
                legs.engine_settled(name, tokens)
        known = legs.latest(100)
        assert len(known) <= capacity
        assert all(min(leg.prompt_tokens, leg.output_tokens, leg.engine_running) >= 0 for leg in known.values())


@pytest.mark.parametrize("wait_s", [0.0, 0.001])
async def test_waiting_leaves_nothing_behind(wait_s: float) -> None:
    """Questions about legs that never come do not pile up."""
    legs = ledger()
    for number in range(50):
        await legs.final(f"never-{number}", wait_s)
    assert legs.latest(100) == {}
    assert not legs._waiters
