"""`GET /v1/usage` of both sides: sums over the ledger's journal as JSON or CSV. HTTP's shape only."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from router.errors import Overloaded
from router.ledger import Ledger
from router.usage import Usage, Wanted, report, table

BREATH = 256  # entries, after which others have their turn
MOST_WAITING = 16


class Sums:
    """One report at a time: a long journal takes seconds, and memory that is bounded for each."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._turn, self._waiting = ledger, asyncio.Lock(), 0

    async def answer(self, of: Wanted) -> Response:
        """Raises Overloaded where too many wait already, LedgerUnavailable."""
        if self._waiting >= MOST_WAITING:
            raise Overloaded("Too many ask for usage at once; try again shortly.", code="overloaded")
        self._waiting += 1
        try:
            async with self._turn:
                sums = await self._summed(of)
        finally:
            self._waiting -= 1
        if of.form == "csv":
            return Response(table(sums, of), media_type="text/csv")
        return JSONResponse(report(sums, of))

    async def _summed(self, of: Wanted) -> Usage:
        sums, count = Usage(of.by), 0
        async for entry in self._ledger.journal(of.span.since, of.span.until, tenant=of.tenant):
            sums.add(entry)
            count += 1
            if count % BREATH == 0:
                await asyncio.sleep(0)
        return sums
