"""The ledger that a configuration names."""

from __future__ import annotations

from pathlib import Path

from router.config import LedgerSettings
from router.config_budgets import SQLITE
from router.ledger import Ledger
from router.ledger_sqlite import SqliteLedger


def open_ledger(settings: LedgerSettings, data: Path) -> Ledger:
    """To be closed. Nothing is asked of a server here: one that is away is LedgerUnavailable later.

    Raises:
        ValueError: the file in the data folder is of a later version, or no such file.
    """
    if settings.url == SQLITE:
        return SqliteLedger(data, settings.timeout_s)
    from router.ledger_redis import RedisLedger  # a driver that only those load who need it

    return RedisLedger(settings.url, settings.timeout_s)
