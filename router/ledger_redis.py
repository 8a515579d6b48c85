"""The ledger in Redis, for replicas on several nodes. Keeps to `ledger.py`; every method is one script there.

A call that was given up may still be on its way. One that comes late books nothing twice, as leg ids are remembered;
what it holds is freed by a `void` that was asked for later, whichever of the two arrives first.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import orjson

from router import ledger_scripts as scripts
from router import ledger_scripts_aside as aside
from router.ledger import Charge, Entry, Hold, Meter, Orphan, Payer, Rate, Settled, Short, Standing, Taken
from router.ledger_sums import EVEN, LEG_MOST, SUM_MOST, taken, within
from router.redis_calls import Argument, RedisCalls

PREFIX = "{symposium}:ledger"
PAGE, FORGOTTEN = 500, 200  # entries of the journal that are read, or forgotten, at once: others wait meanwhile
DAY_S = 86_400
OWNERS_S = 86_400.0  # so long after its end an owner is forgotten


class RedisLedger:
    """For one event loop. `timeout_s`: after so long it counts as not reached."""

    def __init__(self, url: str, timeout_s: float = 1.0, prefix: str = PREFIX) -> None:
        self._redis = RedisCalls(url, prefix, timeout_s)
        self._me, self._numbers = uuid.uuid4().hex, count(1)

    async def reserve(self, payer: Payer, holds: Sequence[Hold], now: float) -> Short | None:
        told = [argument for hold in holds for argument in _hold(hold)]
        return _short(await self._redis.run(scripts.RESERVE, *self._call(), *_payer(payer), *told))

    async def renew(self, payer: Payer, hold: Hold, now: float) -> Short | None:
        return _short(await self._redis.run(scripts.RENEW, *self._call(), *_payer(payer), *_hold(hold)))

    async def pass_on(self, leg_id: str, payer: Payer, hold: Hold, now: float) -> Short | None:
        told = *self._call(), *_payer(payer), *_hold(hold), leg_id
        return _short(await self._redis.run(scripts.PASS_ON, *told))

    async def settle(self, charges: Sequence[Charge], now: float) -> tuple[Settled, ...]:
        told = [argument for charge in charges for argument in _charge(charge)]
        booked = await self._redis.run(scripts.SETTLE, now, int(now // DAY_S), *told)
        return tuple(
            Settled(leg_id, tenant, held, charged, overrun, estimated == "1")
            for leg_id, tenant, held, charged, overrun, estimated in booked
        )

    async def void(self, leg_ids: Sequence[str], now: float) -> None:
        await self._redis.run(scripts.VOID, *self._call(), *leg_ids)

    async def standing(self, meters: Sequence[Meter]) -> tuple[Standing, ...]:
        told = await self._redis.run(scripts.STANDING, *(name for m in meters for name in (m.account, m.period)))
        amounts = map(int, told)
        return tuple(Standing(*found) for found in zip(meters, amounts, amounts, strict=True))

    async def take(self, rates: Sequence[Rate], units: Sequence[int], now: float, *, force: bool = False) -> Taken:
        told: list[Argument] = []
        for rate, wanted in zip(rates, units, strict=True):
            told += rate.account, rate.unit, rate.per_minute, wanted
        done, levels = await self._redis.run(scripts.TAKE, now, int(force), EVEN, *told)
        return taken(rates, units, [float(level) for level in levels], done=bool(done))

    async def beat(self, owner: str, now: float, until: float) -> None:
        await self._redis.run(aside.BEAT, owner, until, now - OWNERS_S)

    async def leave(self, owner: str) -> None:
        await self._redis.run(aside.LEAVE, owner)

    async def orphans(self, now: float, most: int = 100) -> tuple[Orphan, ...]:
        return tuple(map(_orphan, await self._redis.run(aside.ORPHANS, now, most)))

    async def journal(
        self, since: float, until: float, *, tenant: str | None = None, after: int = 0
    ) -> AsyncIterator[Entry]:
        first, last = await self._redis.run(aside.BOUNDS, since // DAY_S, until // DAY_S)
        after = max(after, (first or 0) - 1)
        while last is not None and after < last:
            page = [_entry(told) for told in await self._redis.run(aside.PAGE, after + 1, last, PAGE)]
            for entry in page:
                if since <= entry.at < until and tenant in (None, entry.tenant):
                    yield entry
            after = page[-1].number if page else last

    async def prune(self, before: float) -> int:
        day = datetime.fromtimestamp(before, UTC).date().isoformat()
        gone: int = await self._redis.run(aside.PRUNE, before, day, FORGOTTEN)
        return gone

    async def close(self) -> None:
        await self._redis.close()

    def _call(self) -> tuple[str, int]:
        """Tells what this replica asked for from what it asked for later."""
        return self._me, next(self._numbers)


def _payer(payer: Payer) -> tuple[str, bytes]:
    meters = [(m.account, m.period, "" if m.limit is None else str(within(m.limit, SUM_MOST))) for m in payer.meters]
    return payer.owner, orjson.dumps((payer.request_id, payer.tenant, payer.key, payer.policy, meters))


def _hold(hold: Hold) -> Iterator[Argument]:
    yield from (hold.leg_id, hold.expert, int(hold.hosted), within(hold.amount, LEG_MOST))
    yield from (within(hold.prompt_tokens, SUM_MOST), within(hold.output_tokens, SUM_MOST))


def _charge(charge: Charge) -> Iterator[Argument]:
    yield from (charge.leg_id, within(charge.amount, LEG_MOST))
    yield from (within(charge.prompt_tokens, SUM_MOST), within(charge.output_tokens, SUM_MOST), int(charge.estimated))


def _short(found: Sequence[Any] | None) -> Short | None:
    if found is None:
        return None
    account, period, limit, settled, held, asked = found
    return Short(Meter(account, period, int(limit)), int(settled), int(held), asked)


def _orphan(found: Sequence[Any]) -> Orphan:
    leg_id, owner, told, expert, hosted, amount, prompt, output = found
    request_id, tenant, key, policy, meters = orjson.loads(told)
    limited = tuple(Meter(account, period, int(limit) if limit else None) for account, period, limit in meters)
    hold = Hold(leg_id, expert, int(amount), hosted == "1", int(prompt), int(output))
    return Orphan(Payer(request_id, tenant, key, policy, owner, limited), hold)


def _entry(told: str) -> Entry:
    """Its id, and its values in the order in which SETTLE writes them."""
    name, at, request_id, leg_id, tenant, key, policy, expert, *numbers = orjson.loads(told)
    prompt, output, held, charged, overrun, estimated = map(int, numbers)
    whose = (request_id, leg_id, tenant, key, policy, expert)
    return Entry(int(name[:-2]), float(at), *whose, prompt, output, held, charged, overrun, estimated == 1)
