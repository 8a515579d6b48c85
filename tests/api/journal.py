"""The ledger's journal, read beside a running router."""

from __future__ import annotations

import asyncio
from pathlib import Path

from router.ledger import Entry
from router.ledger_sqlite import SqliteLedger


def entries(folder: Path) -> list[Entry]:
    """All of it; `folder` is the world's."""

    async def read() -> list[Entry]:
        ledger = SqliteLedger(folder / "data")
        try:
            return [entry async for entry in ledger.journal(0, 1e11)]
        finally:
            await ledger.close()

    return asyncio.run(read())
