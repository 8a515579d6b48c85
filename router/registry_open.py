"""Which registry a configuration means: beside the ledger, in the data folder or in the same Redis."""

from __future__ import annotations

from pathlib import Path

from router.config_budgets import SQLITE, LedgerSettings
from router.registry import Registry
from router.registry_sqlite import SqliteRegistry


def open_registry(settings: LedgerSettings, data: Path) -> Registry:
    """Raises ValueError when the data folder's file is damaged or of a later version. A server that cannot be reached
    says so when it is asked.
    """
    if settings.url == SQLITE:
        return SqliteRegistry(data, settings.timeout_s)
    from router.registry_redis import RedisRegistry

    return RedisRegistry(settings.url, settings.timeout_s)
