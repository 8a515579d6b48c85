"""A request's money: held before a call begins, grown as the answer grows, never more than the query may spend."""

from __future__ import annotations

from pathlib import Path

import pytest

from experts.errors import ExpertUnfunded
from router.events import Booked, Held
from router.records import Usage
from tests.support import becomes_true
from tests.unit.purse_world import OUT, PROMPT, money, outlook

LEGS = [("r-0", "ada"), ("r-1", "bob")]


async def test_what_is_planned_is_held_at_once_or_not_at_all(tmp_path: Path) -> None:
    """Money for one of two calls is money for none."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        one = PROMPT + 50 * OUT
        short = await world.purse(bank, 2 * one - 1, max_tokens=50).begin(LEGS)
        assert short is not None
        assert not short.passing
        assert (await world.standing()).held == 0
        purse = world.purse(bank, 2 * one, "r2", max_tokens=50)
        assert await purse.begin(LEGS) is None
        assert (await world.standing()).held == 2 * one
        purse.close()
        await bank.stop(5)
        assert (await world.standing()).held == 0


async def test_a_call_is_settled_by_what_it_used(tmp_path: Path) -> None:
    """The rest of its hold is free at once; a call that was never sent costs nothing."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        purse = world.purse(bank, 10_000, max_tokens=50)
        await purse.begin(LEGS)
        assert await purse.open("r-0", "ada") is None  # nothing bounds it but the client's own max_tokens
        await purse.open("r-1", "bob")
        purse.ended("r-0", Usage(10, 7))
        purse.ended("r-1", None)
        purse.close()
        await bank.stop(5)
        standing = await world.standing()
        assert (standing.settled, standing.held) == (PROMPT + 7 * OUT, 0)
        (entry,) = [e async for e in world.ledger.journal(0, 2e9)]
        assert (entry.leg_id, entry.expert, entry.charged, entry.overrun) == ("r-0", "ada", PROMPT + 7 * OUT, 0)


async def test_a_long_answer_is_paid_for_in_slices(tmp_path: Path) -> None:
    """Its worst case locks nobody out: what is likely is held first, as much again while the answer comes."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        purse = world.purse(bank, 10_000, outlooks={"ada": outlook("ada", tokens=100)}, slice_tokens=150)
        await purse.begin([("r-0", "ada")])
        assert (await world.standing()).held == PROMPT + 100 * OUT
        await purse.open("r-0", "ada")
        assert purse.goes_on("r-0", 50)
        assert (await world.standing()).held == PROMPT + 100 * OUT
        for tokens, covered in ((51, 200), (130, 350)):  # never more than a slice
            assert purse.goes_on("r-0", tokens)
            await becomes_true(lambda covered=covered: purse._grants["r-0"].covered == covered)  # type: ignore[misc]
            assert (await world.standing()).held == PROMPT + covered * OUT
        purse.ended("r-0", Usage(10, 60))
        await bank.stop(5)


async def test_what_is_held_while_a_call_ends_is_booked_with_it(tmp_path: Path) -> None:
    """Whatever was set aside is told to be free again: nobody counts it as held for ever."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        purse = world.purse(bank, 10_000, outlooks={"ada": outlook("ada", tokens=100)}, slice_tokens=150)
        await purse.begin([("r-0", "ada")])
        await purse.open("r-0", "ada")
        assert purse.goes_on("r-0", 90)  # asks for more, behind its back
        purse.ended("r-0", Usage(10, 91))
        await becomes_true(lambda: world.booked() == [("r-0", PROMPT + 91 * OUT)])
        await bank.stop(5)
        held = sum(event.amount for event in world.events if isinstance(event, Held))
        assert held == sum(event.held for event in world.events if isinstance(event, Booked)) > PROMPT + 100 * OUT


async def test_where_no_more_is_to_be_had_it_ends_with_what_is_paid(tmp_path: Path) -> None:
    """Up to the last token that is covered, and no further."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        likely = {"ada": outlook("ada", tokens=100)}
        purse = world.purse(bank, PROMPT + 120 * OUT, outlooks=likely, slice_tokens=100)
        await purse.begin([("r-0", "ada")])
        await purse.open("r-0", "ada")
        assert purse.goes_on("r-0", 80)
        await becomes_true(lambda: purse._grants["r-0"].dry)
        assert purse.goes_on("r-0", 99)
        assert not purse.goes_on("r-0", 100)
        purse.ended("r-0", Usage(10, 100))
        await bank.stop(5)
        assert (await world.standing()).settled == PROMPT + 100 * OUT


async def test_what_nobody_counted_costs_what_was_held(tmp_path: Path) -> None:
    """An expert elsewhere that was cut off may bill all of it."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        purse = world.purse(bank, 10_000, max_tokens=50)
        await purse.begin([("r-0", "ada")])
        assert purse.reserved("r-0") == Usage(10, 50, exact=False)
        purse.ended("r-0", purse.reserved("r-0"))
        await bank.stop(5)
        (entry,) = [e async for e in world.ledger.journal(0, 2e9)]
        assert (entry.charged, entry.held, entry.estimated) == (PROMPT + 50 * OUT, PROMPT + 50 * OUT, True)


async def test_calls_that_were_not_planned_keep_to_the_querys_own_budget(tmp_path: Path) -> None:
    """What others may still cost is set aside, what they have cost is gone; then there is none left for one more."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        purse = world.purse(bank, None, nanos=3 * PROMPT + 100 * OUT, caps={"ada": 50}, max_tokens=80)
        await purse.begin([("r-0", "ada")])
        assert await purse.open("r-0", "ada") == 50
        assert await purse.open("r-0x", "bob") == (2 * PROMPT + 50 * OUT - PROMPT) // OUT
        with pytest.raises(ExpertUnfunded):
            await purse.open("r-0r", "cy")
        purse.ended("r-0x", Usage(10, 1))
        assert (await purse.open("r-0r", "cy") or 0) > 40
        purse.close()
        for leg in ("r-0", "r-0r"):
            purse.ended(leg, Usage())
        await bank.stop(5)


async def test_tokens_are_bounded_over_all_calls_and_samples(tmp_path: Path) -> None:
    """Three samples of ten tokens are thirty."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        purse = world.purse(bank, None, tokens=50, samples=3, caps={"ada": 10}, max_tokens=20)
        await purse.begin([("r-0", "ada")])
        assert await purse.open("r-0x", "bob") == (50 - 30) // 3
        for leg in ("r-0", "r-0x"):
            purse.ended(leg, None)
        purse.close()
        await bank.stop(5)


async def test_a_call_that_failed_leaves_its_money_to_the_one_in_its_place(tmp_path: Path) -> None:
    """Also where the budget is all held: nobody else can come between."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        one = PROMPT + 50 * OUT
        purse = world.purse(bank, 2 * one, max_tokens=50)
        await purse.begin(LEGS)
        await purse.open("r-0", "ada")
        purse.ended("r-0", Usage())
        assert await world.purse(bank, 2 * one, "r2", max_tokens=50).begin([("r2-0", "ada")]) is not None
        await purse.open("r-0r", "cy")
        purse.ended("r-0r", Usage(10, 50))
        purse.ended("r-1", None)
        purse.close()
        await bank.stop(5)
        standing = await world.standing()
        assert (standing.settled, standing.held) == (one, 0)
        assert [e.leg_id async for e in world.ledger.journal(0, 2e9)] == ["r-0r"]


async def test_what_was_held_for_one_expert_does_not_pay_for_another(tmp_path: Path) -> None:
    """The aggregator that was planned is down by now: its hold goes back, the other one gets its own."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        writers = {"ada": outlook("ada", prompt_nanos=500), "bob": outlook("bob", prompt_nanos=700)}
        purse = world.purse(bank, 100_000, writers=writers, writing="r-s", max_tokens=10)
        await purse.begin([("r-0", "cy"), ("r-s-0", "ada")])
        assert (await world.standing()).held == PROMPT + 10 * OUT + 500 + 10 * OUT
        await purse.open("r-s-0", "bob")
        assert (await world.standing()).held == PROMPT + 10 * OUT + 700 + 10 * OUT
        purse.ended("r-s-0", Usage(10, 1))
        purse.close()
        await bank.stop(5)
        assert (await world.standing()).held == 0
