"""The registry in Redis, for replicas on several nodes. Keeps to `registry.py`; every method is one step there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Any, Literal

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from router import registry_scripts as scripts
from router.ledger import LedgerUnavailable
from router.registry import (
    CLAIM_BYTES,
    Asked,
    Bounds,
    Claim,
    FeedbackState,
    Judged,
    Kept,
    Key,
    RegistryFull,
    counting,
    counts,
)
from router.registry_rows import asked_of, asked_row, headers_of, headers_row, key_of, key_row

PREFIX = "{symposium}:registry"
CONNECTIONS = 32  # of one replica; who comes when all are busy waits for one
TOGETHER = 1000  # are forgotten at once: others wait meanwhile


class RedisRegistry:
    """`timeout_s`: after so long it counts as not reached."""

    def __init__(self, url: str, timeout_s: float = 1.0, bounds: Bounds | None = None) -> None:
        # Once again: a connection that was idle for long may have been closed by the other side.
        pool = BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, retry=Retry(NoBackoff(), 1))
        self._redis = Redis.from_pool(pool)
        self._timeout_s, self._bounds = timeout_s, bounds or Bounds()
        self._scripts = {
            name: self._redis.register_script(scripts.whole(text))
            for name, text in vars(scripts).items()
            if name.isupper() and not name.startswith("_")
        }

    async def put_key(self, key: Key) -> None:
        kept = await self._run("PUT_KEY", key.id, key_row(key), self._bounds.keys)
        if kept >= 0:
            raise RegistryFull(f"{kept} keys are kept; one more there cannot be")

    async def keys(self) -> tuple[Key, ...]:
        return tuple(sorted(map(key_of, await self._run("KEYS")), key=lambda key: key.id))

    async def claim(self, scope: str, key: str, fingerprint: str, owner: str, now: float, until: float) -> Claim:
        state, *kept = await self._run("CLAIM", scope, key, fingerprint, owner, now, until)
        if not kept or kept[0] is None:
            return Claim(state.decode())
        status, headers, body = kept
        return Claim("done", Kept(int(status), headers_of(headers), body))

    async def keep_claim(self, scope: str, key: str, owner: str, until: float) -> None:
        await self._run("KEEP_CLAIM", scope, key, owner, until)

    async def answer(self, scope: str, key: str, owner: str, kept: Kept | None, until: float) -> None:
        response = (kept.status, headers_row(kept.headers), kept.body) if kept else ()
        size = CLAIM_BYTES + (len(response[1]) + len(response[2]) if response else 0)
        if size > self._bounds.kept_bytes:
            response, size = (), CLAIM_BYTES
        await self._run("ANSWER", scope, key, owner, until, size, self._bounds.kept_bytes, *response)

    async def drop_claim(self, scope: str, key: str, owner: str) -> None:
        await self._run("DROP_CLAIM", scope, key, owner)

    async def asked(self, requests: Sequence[Asked]) -> None:
        rows = [part for r in requests for part in (r.request_id, r.source, r.at, asked_row(r))]
        await self._run("ASKED", self._bounds.asked, *rows)

    async def judge(self, request_id: str, source: str, right: bool, now: float) -> Judged | Literal["unknown", "done"]:
        found = await self._run("JUDGE", request_id, source, int(right), now, self._bounds.feedback)
        if len(found) == 1:
            return "done" if found[0] == b"done" else "unknown"
        number, row = found
        return Judged(number, asked_of(row), right, now)

    async def judged(self, after: int = 0, most: int = 10_000) -> tuple[Judged, ...]:
        rows, restores = await self._run("JUDGED", after, most)
        ranges = counting([(int(number), int(last)) for number, last in map(bytes.split, restores)])
        return tuple(_judged(row, ranges) for row in rows)

    async def feedback_state(self) -> FeedbackState:
        last, frozen, epoch = await self._run("STATE")
        return FeedbackState(last, None if frozen is None else int(frozen), epoch)

    async def freeze(self, frozen: bool) -> None:
        await self._run("FREEZE", int(frozen))

    async def restore(self, number: int) -> bool:
        return number >= 0 and bool(await self._run("RESTORE", number))

    async def prune(self, *, claims: float, asked: float, keys: float) -> None:
        while await self._run("PRUNE", claims, asked, TOGETHER) == TOGETHER:
            pass
        found = await self.keys()
        last = max((inf if key.ends is None else key.ends for key in found), default=inf)
        for key in found:
            if key.ends is not None and key.ends < min(keys, last):
                await self._run("FORGET_KEY", key.id, key_row(key))

    async def close(self) -> None:
        await self._redis.aclose()

    async def _run(self, script: str, *args: bytes | str | float) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._scripts[script](keys=[PREFIX], args=args)
        except (RedisError, OSError, TimeoutError) as error:
            raise LedgerUnavailable(f"redis: {str(error) or 'no answer in time'}") from error


def _judged(row: bytes, ranges: Sequence[tuple[int, float]]) -> Judged:
    number, right, at, asked = row.split(b"\0", 3)
    return Judged(int(number), asked_of(asked), right == b"1", float(at), not counts(int(number), ranges))
