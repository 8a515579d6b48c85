"""No order of holding, growing, booking, freeing, crashing and asking again loses money or makes any.

Whole stories, drawn by hypothesis, are told to each ledger through two replicas, and to a model of a few lines: both
say the same after every step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from router.ledger import Charge, Hold, Ledger, Meter, Payer
from tests.conformance.ledger_model import Model
from tests.conformance.ledgers import NOW, entries, make_ledger, settle_orphans, stand

T = TypeVar("T")
LEASE_S = 10.0
SLOTS = st.integers(0, 4)  # of legs that are under way; each has many, one after another
OWNERS = st.sampled_from(("owner-1", "owner-2"))
METERS = st.lists(st.integers(0, 2), min_size=0, max_size=3, unique=True)
ANY = st.integers(0, 99)
HELD = st.integers(0, 70)
USED = st.integers(0, 120)
AGAIN = st.booleans()  # the answer was lost


@dataclass(slots=True)
class Replicas:
    """Two of one store, in an event loop of their own. Each story has accounts of its own."""

    loop: asyncio.Runner
    ledgers: tuple[Ledger, Ledger]
    stories: Iterator[int]

    def run(self, asked: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await asked

        return self.loop.run(awaited())


class Story(RuleBasedStateMachine):
    """One run through the rules."""

    def __init__(self, replicas: Replicas) -> None:
        super().__init__()
        self.replicas, self.model, self.now = replicas, Model(), NOW
        self.name = f"story-{next(replicas.stories)}"
        self.limits: list[int | None] = [150, 400, None]
        self.ceilings = list(self.limits)
        self.legs = [f"{self.name}/leg-{slot}" for slot in range(5)]
        self.turn = 0
        self.begun_after = max((entry.number for entry in self.run(entries)), default=0)

    def run(self, ask: Callable[[Ledger], Awaitable[T]]) -> T:
        """By the two replicas in turn."""
        self.turn += 1
        return self.replicas.run(ask(self.replicas.ledgers[self.turn % 2]))

    def same(self, ask: Callable[[Ledger], Awaitable[T]], model: Callable[[], T], again: bool) -> None:
        """The ledger and the model give the same answer; `again`: also to the same question, asked twice."""
        for _ in range(1 + again):
            assert self.run(ask) == model()

    @property
    def meters(self) -> list[Meter]:
        periods = ("2026-11-26", "2026-11", "2026-11-26")
        accounts = (f"{self.name}/a", f"{self.name}/a", f"{self.name}/b")
        return [Meter(*each) for each in zip(accounts, periods, self.limits, strict=True)]

    def payer(self, owner: str, numbers: list[int]) -> Payer:
        meters = tuple(self.meters[number] for number in numbers)
        return Payer(self.name, "acme", "ci", "auto", f"{self.name}/{owner}", meters)

    def other_legs(self, slots: Iterable[int]) -> None:
        """Those that were there are not spoken of again: whoever had them has crashed, or is slow."""
        for slot in slots:
            self.turn += 1
            self.legs[slot] = f"{self.name}/leg-{slot}-{self.turn}"

    @rule(
        owner=OWNERS,
        meters=METERS,
        amounts=st.dictionaries(SLOTS, HELD, min_size=1, max_size=3),
        new=st.booleans(),
        again=AGAIN,
    )
    def reserves(self, owner: str, meters: list[int], amounts: dict[int, int], new: bool, again: bool) -> None:
        if new:
            self.other_legs(amounts)
        payer = self.payer(owner, meters)
        holds = [Hold(self.legs[slot], "math", amount, True, 3, amount) for slot, amount in amounts.items()]
        self.same(
            lambda ledger: ledger.reserve(payer, holds, self.now), lambda: self.model.reserve(payer, holds), again
        )

    @rule(owner=OWNERS, meters=METERS, slot=SLOTS, amount=HELD, again=AGAIN)
    def renews(self, owner: str, meters: list[int], slot: int, amount: int, again: bool) -> None:
        payer, hold = self.payer(owner, meters), Hold(self.legs[slot], "math", amount, True, 3, amount)
        self.same(lambda ledger: ledger.renew(payer, hold, self.now), lambda: self.model.renew(payer, hold), again)

    @rule(owner=OWNERS, meters=METERS, slot=SLOTS, to=SLOTS, amount=HELD, again=AGAIN)
    def passes_on(self, owner: str, meters: list[int], slot: int, to: int, amount: int, again: bool) -> None:
        payer, hold = self.payer(owner, meters), Hold(self.legs[to], "math", amount, True, 3, amount)
        left = self.legs[slot]
        self.same(
            lambda ledger: ledger.pass_on(left, payer, hold, self.now),
            lambda: self.model.pass_on(left, payer, hold),
            again,
        )

    @precondition(lambda self: self.model.holds)
    @rule(used=st.lists(st.tuples(ANY, USED, st.booleans()), min_size=1, max_size=3), again=AGAIN)
    def settles(self, used: list[tuple[int, int, bool]], again: bool) -> None:
        held = sorted(self.model.holds)
        charges = [Charge(held[leg % len(held)], amount, 3, amount, estimated) for leg, amount, estimated in used]
        self.same(lambda ledger: ledger.settle(charges, self.now), lambda: self.model.settle(charges), again)

    @rule(slot=SLOTS, amount=USED)
    def settles_what_may_not_be_held(self, slot: int, amount: int) -> None:
        charges = [Charge(self.legs[slot], amount, 3, amount)]
        self.same(lambda ledger: ledger.settle(charges, self.now), lambda: self.model.settle(charges), again=True)

    @rule(slots=st.lists(SLOTS, max_size=3), again=AGAIN)
    def voids(self, slots: list[int], again: bool) -> None:
        leg_ids = [self.legs[slot] for slot in slots]
        self.same(lambda ledger: ledger.void(leg_ids, self.now), lambda: self.model.void(leg_ids), again)

    @rule(owner=OWNERS)
    def beats(self, owner: str) -> None:
        until = self.now + LEASE_S
        self.run(lambda ledger: ledger.beat(f"{self.name}/{owner}", self.now, until))
        self.model.lives[f"{self.name}/{owner}"] = until

    @rule(owner=OWNERS)
    def leaves(self, owner: str) -> None:
        self.run(lambda ledger: ledger.leave(f"{self.name}/{owner}"))
        self.model.lives.pop(f"{self.name}/{owner}", None)

    @rule(seconds=st.sampled_from([1.0, 6.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        """Owners that do not beat are dead by then."""
        self.now += seconds

    @rule(amount=USED, again=AGAIN)
    def a_reaper_settles(self, amount: int, again: bool) -> None:
        """All holds of the dead, and none of the living."""
        found = self.run(lambda ledger: ledger.orphans(self.now, 1000))
        assert {orphan.hold.leg_id: orphan.hold for orphan in found} == self.model.orphans(self.now)
        charges = [Charge(orphan.hold.leg_id, amount, 1, 1, True) for orphan in found]
        self.same(lambda ledger: ledger.settle(charges, self.now), lambda: self.model.settle(charges), again)

    @rule(number=st.integers(0, 1), limit=st.sampled_from([0, 60, 150, 500]))
    def an_operator_decides(self, number: int, limit: int) -> None:
        self.limits[number] = limit
        self.ceilings[number] = max(limit, self.ceilings[number] or 0)

    @invariant()
    def meters_are_the_sums_of_holds_and_entries(self) -> None:
        found = self.run(lambda ledger: stand(ledger, *self.meters))
        assert found == [self.model.stands(meter) for meter in self.meters]

    @invariant()
    def no_limit_is_passed(self) -> None:
        for meter, ceiling in zip(self.meters, self.ceilings, strict=True):
            assert ceiling is None or sum(self.model.stands(meter)) <= ceiling

    def teardown(self) -> None:
        """Everybody dies, and a reaper settles: nothing is held any more, and the journal is what was spent."""
        for owner in ("owner-1", "owner-2"):
            self.leaves(owner)
        before = {leg: hold.amount for leg, hold in self.model.orphans(self.now).items()}
        self.run(lambda ledger: settle_orphans(ledger, self.now))
        self.model.settle([Charge(leg, amount, 7, 50, True) for leg, amount in sorted(before.items())])
        assert self.run(lambda ledger: stand(ledger, *self.meters)) == [
            self.model.stands(meter) for meter in self.meters
        ]
        assert all(held == 0 for _, held in self.run(lambda ledger: stand(ledger, *self.meters)))
        found = self.run(lambda ledger: entries(ledger, after=self.begun_after))
        told = {entry.leg_id: (entry.held, entry.charged, entry.overrun, entry.estimated) for entry in found}
        assert len(told) == len(found)
        assert told == {
            entry.settled.leg_id: (
                entry.settled.held,
                entry.settled.charged,
                entry.settled.overrun,
                entry.settled.estimated,
            )
            for entry in self.model.journal
        }


@pytest.fixture
def replicas(ledger_url: str | None, tmp_path: Path) -> Iterator[Replicas]:
    with asyncio.Runner() as loop:

        async def opened() -> tuple[Ledger, Ledger]:
            return make_ledger(tmp_path, ledger_url), make_ledger(tmp_path, ledger_url)

        ledgers = loop.run(opened())
        yield Replicas(loop, ledgers, count(1))
        for ledger in ledgers:
            loop.run(ledger.close())


def test_no_story_loses_money_or_makes_any(replicas: Replicas) -> None:
    """Over each ledger: every answer and every meter is the model's, and at the end nothing is held."""

    class Told(Story):
        def __init__(self) -> None:
            super().__init__(replicas)

    slow = [HealthCheck.too_slow]  # a disk is what it is
    run_state_machine_as_test(
        Told, settings=settings(max_examples=60, stateful_step_count=30, suppress_health_check=slow)
    )
