"""Money held, grown, booked and freed, over both ledgers: a file in the data folder, and a real Redis."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.ledger import Charge, Hold, Ledger, Meter, Orphan, Settled, Short, Standing
from router.ledger_sums import LEG_MOST, SUM_MOST
from tests.conformance.ledgers import DAY, FOREVER, KEY, MONTH, NOW, Ledgers, charge, entries, hold, payer, stand


@pytest.fixture
async def ledger(ledgers: Ledgers) -> Ledger:
    found = ledgers.open()
    await found.beat("replica", NOW, FOREVER)
    return found


async def test_all_of_a_request_is_held_on_all_of_its_meters(ledger: Ledger) -> None:
    """One step holds every leg, on each account and period that it counts on."""
    assert await ledger.reserve(payer(DAY, MONTH, KEY), [hold("a", 100), hold("b", 200)], NOW) is None
    assert await stand(ledger, DAY, MONTH, KEY) == [(0, 300), (0, 300), (0, 300)]


async def test_what_does_not_fit_is_not_held_at_all(ledger: Ledger) -> None:
    """Where any meter would be over its limit nothing is held on any, and that meter is told, as it stands."""
    await ledger.reserve(payer(MONTH), [hold("first", 4500)], NOW)
    await ledger.settle([charge("first", 4400)], NOW)
    await ledger.reserve(payer(DAY, MONTH), [hold("second", 300)], NOW)
    short = await ledger.reserve(payer(DAY, MONTH), [hold("a", 200), hold("b", 101)], NOW)
    assert short == Short(MONTH, settled=4400, held=300, asked=301)
    assert short.passing
    assert await stand(ledger, DAY, MONTH) == [(0, 300), (4400, 300)]
    assert await ledger.reserve(payer(DAY, MONTH), [hold("a", 200), hold("b", 100)], NOW) is None
    never = await ledger.reserve(payer(DAY), [hold("c", 1001)], NOW)
    assert never is not None
    assert not never.passing


async def test_a_limit_may_be_spent_to_the_last_nanodollar(ledger: Ledger) -> None:
    """Settled and held together may be the limit, never more; also of a meter that nobody has used yet."""
    assert await ledger.reserve(payer(DAY), [hold("a", 1001)], NOW) == Short(DAY, 0, 0, 1001)
    assert await ledger.reserve(payer(DAY), [hold("a", 1000)], NOW) is None
    await ledger.settle([charge("a", 1000)], NOW)
    assert await ledger.reserve(payer(DAY), [hold("b", 1)], NOW) == Short(DAY, 1000, 0, 1)
    assert await ledger.reserve(payer(DAY), [hold("b", 0)], NOW) is None
    nothing = replace(DAY, account="tenant/poor", limit=0)
    assert await ledger.reserve(payer(nothing), [hold("c", 1)], NOW) == Short(nothing, 0, 0, 1)


async def test_asking_again_holds_nothing_twice(ledger: Ledger) -> None:
    """Who had no answer asks again with the same legs: only those that are new are held, and asked for."""
    for _ in range(3):
        assert await ledger.reserve(payer(DAY), [hold("a", 600)], NOW) is None
    assert await ledger.reserve(payer(DAY), [hold("a", 600), hold("b", 400)], NOW) is None
    assert await stand(ledger, DAY) == [(0, 1000)]
    assert await ledger.reserve(payer(DAY), [hold("a", 600), hold("c", 1)], NOW) == Short(DAY, 0, 1000, 1)


async def test_a_settled_leg_is_never_held_again(ledger: Ledger) -> None:
    """A late or repeated question about it changes nothing."""
    await ledger.reserve(payer(DAY), [hold("a", 100)], NOW)
    await ledger.settle([charge("a", 80)], NOW)
    assert await ledger.reserve(payer(DAY), [hold("a", 100)], NOW) is None
    assert await ledger.renew(payer(DAY), hold("a", 2000), NOW) is None
    await ledger.void(["a"], NOW)
    assert await ledger.settle([charge("a", 80)], NOW) == ()
    assert await stand(ledger, DAY) == [(80, 0)]
    assert len(await entries(ledger)) == 1


async def test_a_hold_grows_or_stays_as_it_was(ledger: Ledger) -> None:
    """A renewal adds to what is held, within all limits; a leg that was not planned gets a hold of its own."""
    assert await ledger.renew(payer(DAY), hold("a", 400), NOW) is None
    assert await ledger.renew(payer(DAY), hold("a", 500), NOW) is None
    assert await ledger.renew(payer(DAY), hold("a", 101), NOW) == Short(DAY, 0, 900, 101)
    assert await ledger.renew(payer(DAY), hold("b", 101), NOW) == Short(DAY, 0, 900, 101)
    assert await stand(ledger, DAY) == [(0, 900)]
    await ledger.leave("replica")
    (orphan,) = await ledger.orphans(NOW)
    assert (orphan.hold.amount, orphan.hold.prompt_tokens, orphan.hold.output_tokens) == (900, 10, 200)
    assert await ledger.settle([charge("a", 10)], NOW) == (Settled("a", "acme", 900, 10, 0, estimated=False),)
    assert await stand(ledger, DAY) == [(10, 0)]


async def test_a_hold_grows_on_the_meters_it_was_made_on(ledger: Ledger) -> None:
    """A request keeps its day and its limits to its end: what is held there is freed there."""
    await ledger.reserve(payer(DAY), [hold("a", 100)], NOW)
    tomorrow = Meter(DAY.account, "2026-11-27", 100)
    assert await ledger.renew(payer(tomorrow), hold("a", 200), NOW) is None
    assert await stand(ledger, DAY, tomorrow) == [(0, 300), (0, 0)]
    await ledger.void(["a"], NOW)
    assert await stand(ledger, DAY, tomorrow) == [(0, 0), (0, 0)]


async def test_a_charge_is_booked_once_and_frees_the_rest(ledger: Ledger) -> None:
    """A leg pays what it used; what was held for it is free; asked for again it is left out."""
    await ledger.reserve(payer(DAY, MONTH), [hold("a", 300), hold("b", 400), hold("c", 100)], NOW)
    booked = await ledger.settle([charge("b", 400, estimated=True), charge("a", 120), charge("x", 1)], NOW + 1)
    assert booked == (
        Settled("b", "acme", 400, 400, 0, estimated=True),
        Settled("a", "acme", 300, 120, 0, estimated=False),
    )
    assert await ledger.settle([charge("a", 120), charge("c", 0), charge("c", 50)], NOW + 2) == (
        Settled("c", "acme", 100, 0, 0, estimated=False),
    )
    assert await stand(ledger, DAY, MONTH) == [(520, 0), (520, 0)]
    assert [entry.leg_id for entry in await entries(ledger)] == ["b", "a", "c"]


async def test_what_was_used_beyond_the_hold_is_charged_as_far_as_limits_allow(ledger: Ledger) -> None:
    """The rest is in the journal, and nobody pays it: a meter never shows more than its limit."""
    await ledger.reserve(payer(DAY, MONTH), [hold("other", 500)], NOW)
    await ledger.reserve(payer(DAY, MONTH), [hold("a", 100), hold("b", 100)], NOW)
    assert await ledger.settle([charge("a", 250)], NOW) == (Settled("a", "acme", 100, 250, 0, estimated=False),)
    assert await ledger.settle([charge("b", 350)], NOW) == (Settled("b", "acme", 100, 250, 100, estimated=False),)
    assert await stand(ledger, DAY, MONTH) == [(500, 500), (500, 500)]
    assert [(entry.held, entry.charged, entry.overrun) for entry in await entries(ledger)] == [
        (100, 250, 0),
        (100, 250, 100),
    ]
    await ledger.reserve(payer(KEY), [hold("c", 1)], NOW)
    assert await ledger.settle([charge("c", 10_000)], NOW) == (Settled("c", "acme", 1, 10_000, 0, estimated=False),)


async def test_a_limit_that_is_lowered_refuses_what_is_new(ledger: Ledger) -> None:
    """Also below what is settled; what was held before is paid."""
    await ledger.reserve(payer(DAY), [hold("a", 300), hold("b", 300)], NOW)
    await ledger.settle([charge("a", 300)], NOW)
    lower = replace(DAY, limit=200)
    assert await ledger.reserve(payer(lower), [hold("c", 1)], NOW) == Short(lower, 300, 300, 1)
    assert await ledger.settle([charge("b", 300)], NOW) == (Settled("b", "acme", 300, 300, 0, estimated=False),)
    assert await ledger.reserve(payer(DAY), [hold("c", 1)], NOW) is None


async def test_what_was_held_is_paid_whatever_became_of_the_limits(ledger: Ledger) -> None:
    """A leg goes by the limits it was held within; where others have passed them since, it gets its hold alone."""
    await ledger.reserve(payer(DAY), [hold("a", 300)], NOW)
    higher = replace(DAY, limit=2000)
    await ledger.reserve(payer(higher), [hold("b", 1500)], NOW)
    assert await ledger.settle([charge("a", 400)], NOW) == (Settled("a", "acme", 300, 300, 100, estimated=False),)
    assert await stand(ledger, DAY) == [(300, 1500)]


async def test_a_hold_that_is_voided_is_as_if_it_had_never_been(ledger: Ledger) -> None:
    """Free at once, without an entry in the journal, as often as it is asked for; its leg may be held again."""
    await ledger.reserve(payer(DAY), [hold("a", 300), hold("b", 300)], NOW)
    for _ in range(2):
        await ledger.void(["a", "unknown"], NOW)
    assert await stand(ledger, DAY) == [(0, 300)]
    assert await ledger.reserve(payer(DAY), [hold("a", 700)], NOW) is None
    assert await stand(ledger, DAY) == [(0, 1000)]
    assert await entries(ledger) == []


async def test_a_leg_that_used_nothing_leaves_its_money_to_another(ledger: Ledger) -> None:
    """In one step, of a budget in which there is no other money; asked for again, nothing changes."""
    await ledger.reserve(payer(DAY), [hold("a", 300), hold("b", 700)], NOW)
    for _ in range(2):
        assert await ledger.pass_on("a", payer(DAY), hold("c", 200), NOW) is None
        assert await stand(ledger, DAY) == [(0, 900)]
    await ledger.settle([charge("a", 100), charge("c", 150)], NOW)
    assert [(entry.leg_id, entry.held, entry.charged) for entry in await entries(ledger)] == [("c", 200, 150)]
    assert await stand(ledger, DAY) == [(150, 700)]


async def test_what_is_too_little_for_another_leg_stays(ledger: Ledger) -> None:
    """Nothing is lost by asking; with more room it grows on its way."""
    await ledger.reserve(payer(DAY), [hold("a", 300), hold("b", 600)], NOW)
    short = await ledger.pass_on("a", payer(DAY), hold("c", 401), NOW)
    assert short is not None
    assert await stand(ledger, DAY) == [(0, 900)]
    assert await ledger.pass_on("a", payer(DAY), hold("c", 400), NOW) is None
    assert await stand(ledger, DAY) == [(0, 1000)]
    assert await ledger.pass_on("unknown", payer(DAY), hold("d", 1), NOW) is not None
    assert await ledger.pass_on("c", payer(DAY), hold("c", 100), NOW) is None
    assert await stand(ledger, DAY) == [(0, 700)]
    await ledger.leave("replica")
    assert {orphan.hold.leg_id for orphan in await ledger.orphans(NOW)} == {"b", "c"}


async def test_meters_stand_in_the_order_asked_for(ledger: Ledger) -> None:
    """Zeros where nothing was ever held; an account stands in each of its periods by itself."""
    await ledger.reserve(payer(MONTH), [hold("a", 5)], NOW)
    assert await ledger.standing([DAY, MONTH, KEY]) == (Standing(DAY, 0, 0), Standing(MONTH, 0, 5), Standing(KEY, 0, 0))
    assert await ledger.standing([]) == ()


async def test_holds_of_owners_that_are_gone_are_found_whole(ledger: Ledger) -> None:
    """Whoever settles them needs what is known of the leg and of who pays; those of the living are nobody else's."""
    holds = [Hold("a", "math", 100, hosted=True, prompt_tokens=3, output_tokens=9), Hold("b", "remote", 50)]
    whose = payer(DAY, MONTH, KEY)
    await ledger.reserve(whose, holds, NOW)
    await ledger.reserve(payer(owner="never"), [hold("c", 1)], NOW)
    assert await ledger.orphans(NOW) == (Orphan(payer(owner="never"), hold("c", 1)),)
    found = await ledger.orphans(FOREVER)
    assert {orphan.hold.leg_id: orphan for orphan in found if orphan.payer.owner == "replica"} == {
        each.leg_id: Orphan(whose, each) for each in holds
    }
    assert len(await ledger.orphans(FOREVER, most=2)) == 2


async def test_who_leaves_leaves_its_holds_at_once_and_who_beats_again_has_them(ledger: Ledger) -> None:
    """`leave` does not wait for the lease's end; a beat that was late makes the owner live again."""
    await ledger.reserve(payer(DAY), [hold("a", 100)], NOW)
    assert await ledger.orphans(NOW) == ()
    await ledger.leave("replica")
    assert [orphan.hold.leg_id for orphan in await ledger.orphans(NOW)] == ["a"]
    await ledger.beat("replica", NOW, NOW + 10)
    assert await ledger.orphans(NOW + 9.9) == ()
    assert [orphan.hold.leg_id for orphan in await ledger.orphans(NOW + 10)] == ["a"]


async def test_an_orphan_is_settled_by_one_of_many(ledgers: Ledgers, ledger: Ledger) -> None:
    """Its owner, should it come back, and other reapers have nothing left to settle."""
    other = ledgers.open()
    await ledger.reserve(payer(DAY), [hold("a", 100)], NOW)
    (orphan,) = await other.orphans(FOREVER)
    assert await other.settle([charge("a", orphan.hold.amount, estimated=True)], FOREVER)
    assert await ledger.orphans(FOREVER) == ()
    assert await ledger.settle([charge("a", 70)], FOREVER) == ()
    assert await ledger.renew(payer(DAY), hold("a", 10), FOREVER) is None
    assert await stand(ledger, DAY) == [(100, 0)]


async def test_every_nanodollar_of_large_sums_is_counted(ledger: Ledger) -> None:
    """Up to nine million dollars in a period, where doubles begin to be even numbers only."""
    rich = replace(DAY, limit=SUM_MOST)
    legs = [hold(f"leg-{number}", LEG_MOST - number) for number in range(5)]
    await ledger.reserve(payer(rich), legs, NOW)
    await ledger.settle([charge(leg.leg_id, leg.amount) for leg in legs], NOW)
    assert await stand(ledger, rich) == [(5 * LEG_MOST - 10, 0)]
    assert [entry.charged for entry in await entries(ledger)] == [LEG_MOST - number for number in range(5)]
    tight = replace(DAY, limit=5 * LEG_MOST - 10)
    assert await ledger.reserve(payer(tight), [hold("one", 1)], NOW) == Short(tight, 5 * LEG_MOST - 10, 0, 1)


async def test_no_number_that_a_server_says_can_harm_the_books(ledger: Ledger) -> None:
    """A usage beyond all reason is booked as the largest that there may be, one below zero as none."""
    await ledger.reserve(payer(DAY), [hold("a", 100), hold("b", 100)], NOW)
    await ledger.settle([Charge("a", 10**40, 10**40, 10**40), Charge("b", -5, -5, -5)], NOW)
    first, second = await entries(ledger)
    assert (first.charged, first.overrun, first.output_tokens) == (900, LEG_MOST - 900, SUM_MOST)
    assert (second.charged, second.overrun, second.prompt_tokens) == (0, 0, 0)
    assert await stand(ledger, DAY) == [(900, 0)]
