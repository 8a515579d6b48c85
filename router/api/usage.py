"""`GET /v1/usage` of both sides: sums over the ledger's journal as JSON or CSV. HTTP's shape only."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from router.ledger import Ledger
from router.usage import Usage, Wanted, report, table

BREATH = 256  # entries, after which others have their turn


async def answer(ledger: Ledger, of: Wanted) -> Response:
    """Raises LedgerUnavailable."""
    sums, count = Usage(of.by), 0
    async for entry in ledger.journal(of.span.since, of.span.until, tenant=of.tenant):
        sums.add(entry)
        count += 1
        if count % BREATH == 0:
            await asyncio.sleep(0)
    if of.form == "csv":
        return Response(table(sums, of), media_type="text/csv")
    return JSONResponse(report(sums, of))
