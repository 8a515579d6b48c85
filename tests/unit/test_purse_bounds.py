"""What all calls of a query together may take, whatever order they come in: random stories against one sum."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from experts.errors import ExpertUnfunded
from router.outlook import Outlook
from router.purse import Purse, Terms
from router.records import Usage
from tests.support import becomes_true
from tests.unit.purse_world import OUT, PROMPT, MoneyWorld, money, outlook

WRITER = "w"
LEAST_WRITTEN = 20


@dataclass
class Story:
    """A query of four planned experts in two waves, two spares and, it may be, an aggregator; each call takes all that
    it may, or nothing. The budget pays for what is planned, and for nothing more.
    """

    request: str
    draw: random.Random
    outlooks: dict[str, Outlook] = field(init=False)
    under_way: list[tuple[str, str, int]] = field(default_factory=list)
    spent_nanos: int = 0
    spent_tokens: int = 0

    def __post_init__(self) -> None:
        draw = self.draw
        self.names = [f"e{number}" for number in range(6)]
        self.outlooks = {
            name: outlook(name, prompt_nanos=draw.choice([0, PROMPT]), token_nanos=draw.choice([0, 1, 9.7]))
            for name in (*self.names, WRITER)
        }
        self.samples, self.written = draw.choice([1, 3]), draw.random() < 0.5
        self.caps = {name: draw.randint(1, 60) for name in self.names[:4]}
        planned = self.caps | ({WRITER: LEAST_WRITTEN} if self.written else {})
        self.nanos = sum(self.outlooks[name].nanos(cap) for name, cap in planned.items())
        self.tokens = sum(planned.values()) * self.samples

    def purse(self, world: MoneyWorld) -> Purse:
        bank = world.bank()
        terms = Terms(
            self.outlooks, {WRITER: self.outlooks[WRITER]}, f"{self.request}-s", self.caps,
            samples=self.samples, nanos=self.nanos, tokens=self.tokens,
        )  # fmt: skip
        payer = world.purse(bank, None, self.request)._payer
        return Purse(bank, payer, terms, lambda name, _, output: self.outlooks[name].nanos(output / self.samples))

    async def told(self, purse: Purse) -> None:
        """From its first call to its last."""
        legs = [(f"{self.request}-{place}", name) for place, name in enumerate(self.names[:4])]
        extra = [(f"{self.request}-0x", "e4"), (f"{self.request}-1r", "e5")]
        writing = (f"{self.request}-s-0", WRITER)
        await purse.begin([*legs[:2], *([writing] if self.written else [])])
        for leg in legs[:2]:
            assert await self.opened(purse, *leg) == self.caps[leg[1]]
        for leg in sorted([*legs[2:], *extra], key=lambda _: self.draw.random()):
            if self.under_way and self.draw.random() < 0.5:
                self.ended(purse)
            cap = await self.opened(purse, *leg)
            assert leg in extra or cap == self.caps[leg[1]]  # nobody takes what is planned for another one
        if self.written:
            assert (await self.opened(purse, *writing) or 0) >= LEAST_WRITTEN
        while self.under_way:
            self.ended(purse)
        purse.close()

    async def opened(self, purse: Purse, leg_id: str, expert: str) -> int | None:
        try:
            cap = await purse.open(leg_id, expert)
        except ExpertUnfunded:
            return None
        self.under_way.append((leg_id, expert, self.outlooks[expert].room if cap is None else cap))
        return cap

    def ended(self, purse: Purse) -> None:
        leg_id, expert, cap = self.under_way.pop(self.draw.randrange(len(self.under_way)))
        if self.draw.random() < 0.2:
            purse.ended(leg_id, Usage())
            return
        purse.ended(leg_id, Usage(10, cap * self.samples))
        self.spent_nanos += self.outlooks[expert].nanos(cap)
        self.spent_tokens += cap * self.samples


async def test_all_calls_together_never_cost_more_than_the_query_may_spend(tmp_path: Path) -> None:
    """Planned ones, an aggregator, hedges, replacements, later waves: money and tokens."""
    draw = random.Random(7)
    async with money(tmp_path) as world:
        for number in range(200):
            story = Story(f"r{number}", draw)
            await story.told(story.purse(world))
            assert story.spent_nanos <= story.nanos
            assert story.spent_tokens <= story.tokens


async def test_an_expert_that_writes_on_beyond_its_bound_is_stopped(tmp_path: Path) -> None:
    """Whatever it was told: where the budget ends, so does its answer. Chunks without a token are no reason."""
    async with money(tmp_path) as world:
        purse = world.purse(world.bank(), None, nanos=PROMPT + 50 * OUT, caps={"ada": 50})
        await purse.begin([("r-0", "ada")])
        assert await purse.open("r-0", "ada") == 50
        assert purse.goes_on("r-0", 52)
        assert not purse.goes_on("r-0", 70)


async def test_money_that_is_left_when_all_is_over_is_free(tmp_path: Path) -> None:
    """Also where a call in another's place got none of it just then."""
    async with money(tmp_path) as world:
        bank = world.bank()
        await bank.start()
        one = PROMPT + 50 * OUT
        dear = {name: outlook(name, prompt_nanos=PROMPT if name == "ada" else 10 * PROMPT) for name in ("ada", "bob")}
        purse = world.purse(bank, one, max_tokens=50, outlooks=dear)
        await purse.begin([("r-0", "ada")])
        await purse.open("r-0", "ada")
        purse.ended("r-0", Usage())
        purse._closed = True
        with pytest.raises(ExpertUnfunded):
            await purse.open("r-0r", "bob")
        await becomes_true(lambda: len(world.booked()) == 1)
        await bank.stop(5)
        assert (await world.standing()).held == 0
