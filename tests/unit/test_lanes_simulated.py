"""Lanes under load, simulated: the limit finds an expert's capacity, tenants get their shares, floods pass by.

In virtual time and with fixed seeds: what is asserted here is computed, not measured.
"""

from __future__ import annotations

import random
from collections import Counter
from statistics import fmean

import pytest

from router.config import Concurrency
from tests.unit.lane_world import EXPERT, Job, World, in_virtual_time, poisson

SETTINGS = Concurrency()
FIRST_SHARE = 0.1  # of an answer's time, until its first token


def jobs(
    per_s: float, until_s: float, *, seed: int, tenant: str = "ada", sigma: float = 0.5, deadline_s: float | None = None
) -> list[Job]:
    """Answers of one second on the mean, log-normal."""
    rng = random.Random(seed)

    def job(at: float) -> Job:
        takes_s = rng.lognormvariate(-(sigma**2) / 2, sigma)
        return Job(at, tenant, FIRST_SHARE * takes_s, (1 - FIRST_SHARE) * takes_s, deadline_s)

    return poisson(rng, per_s, until_s, job)


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[int(q * (len(values) - 1))]


@pytest.mark.parametrize("slots", [4, 16, 64])
@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_the_limit_finds_the_capacity(slots: int, sigma: float) -> None:
    """Under twice the load that the expert can bear it settles near the number of its slots, and wastes little."""

    async def limits() -> tuple[float, float]:
        world, seen = World(slots, SETTINGS), list[int]()
        assert world.lanes is not None
        lanes = world.lanes
        seconds = 160 if slots < 64 else 120
        await world.run(jobs(2 * slots, seconds, seed=1, sigma=sigma), look=lambda: seen.append(lanes.limit(EXPERT)))
        served = [one for one in world.of("ada") if one.job.at + one.seconds < seconds]
        return fmean(seen[len(seen) // 2 :]), len(served) / seconds / slots

    limit, use = in_virtual_time(limits())
    assert 0.8 * slots <= limit <= 1.3 * slots + 2
    assert use > 0.9


def test_weights_are_respected() -> None:
    """Tenants that ask for more than there is get tokens by their weights, within 5 %, whatever the size of calls."""

    async def shares() -> dict[str, float]:
        world, calls = World(16, SETTINGS), list[Job]()
        for tenant, weight, tokens in (("ada", 1.0, 100), ("bob", 2.0, 200), ("cy", 4.0, 50)):
            size = tokens / 100
            of_size = jobs(48 / size, 180, seed=tokens, tenant=tenant)
            calls += [Job(j.at, tenant, j.first_s * size, j.rest_s * size, None, weight, tokens) for j in of_size]
        await world.run(calls)
        got = Counter[str]()
        for one in world.done:
            if one.outcome == "ok" and 15 < one.job.at + one.seconds < 180:
                got[one.job.tenant] += one.job.tokens
        return {tenant: tokens / got.total() for tenant, tokens in got.items()}

    assert in_virtual_time(shares()) == pytest.approx({"ada": 1 / 7, "bob": 2 / 7, "cy": 4 / 7}, rel=0.05)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_flood_moves_the_p99_of_others_by_a_fifth_at_most(share: float) -> None:
    """One tenant asks for five times what there is; another, of 10 or 30 % of it, hardly notices."""

    async def p99(flood: bool) -> float:
        world, seconds = World(16, SETTINGS), 800 / (share * 16)
        calls = jobs(share * 16, seconds, seed=5, tenant="bob")
        if flood:
            calls += jobs(5 * 16, seconds, seed=6)
        await world.run(calls)
        assert {one.outcome for one in world.done if one.job.tenant == "bob"} == {"ok"}
        return quantile([one.seconds for one in world.of("bob", since=10)], 0.99)

    assert in_virtual_time(p99(True)) <= 1.2 * in_virtual_time(p99(False))


@pytest.mark.parametrize("slots", [8, 16, 32])
def test_what_can_be_served_is_served_under_overload(slots: int) -> None:
    """Goodput at 2 and 10 times the capacity stays at 0.95 of its peak, and who is not served hears so at once; first
    in, first out it is gone.
    """
    needs_s = 0.88  # what half of the answers take

    async def loaded(times: float, settings: Concurrency | None) -> World:
        world = World(slots, settings)
        await world.run(jobs(times * slots, 60, seed=3, deadline_s=3.0), needs_s)
        return world

    def goodput(world: World) -> float:
        return len(world.of("ada", since=10)) / 50 / slots

    def told_late(world: World) -> float:
        waited = [one.seconds > 0 for one in world.of("ada", "hopeless")]
        return fmean(waited)

    peak = max(goodput(in_virtual_time(loaded(times, SETTINGS))) for times in (0.8, 1.0, 1.2))
    assert peak > 0.9
    for times in (2.0, 10.0):
        world = in_virtual_time(loaded(times, SETTINGS))
        assert goodput(world) >= 0.95 * peak
        assert told_late(world) < 0.02
    assert goodput(in_virtual_time(loaded(2.0, None))) < 0.5 * peak
