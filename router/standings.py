"""How tenants with a budget stand in the ledger, looked up again and again: for dashboards and alerts.

Async shell of one router replica. Nothing here is asked for by a request; a ledger that cannot be reached is said, and
tried again. Must not know metrics.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from router.caller import Account, Caller
from router.config import Config
from router.config_budgets import DEFAULT_TENANT
from router.events import Emit, LedgerLost
from router.ledger import Ledger, LedgerUnavailable, Meter, Standing
from router.money import nanos

log = logging.getLogger(__name__)
EVERY_S = 5.0
Stand = tuple[str, str]  # tenant, "day" or "month"
Show = Callable[[Mapping[Stand, Standing]], None]


class Standings:
    """`config`: the one in force. `show` is told of all tenants that have a budget, whenever the ledger was asked."""

    def __init__(
        self, ledger: Ledger, config: Callable[[], Config], now: Callable[[], float], show: Show, emit: Emit
    ) -> None:
        self._ledger, self._config, self._now, self._show, self._emit = ledger, config, now, show, emit
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks once, and goes on in the background."""
        await self._look()
        self._task = asyncio.create_task(self._looking())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _looking(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._look()

    async def _look(self) -> None:
        config = self._config()
        wanted = meters(config, self._now())
        asked = list(wanted.values()) or [Meter(f"tenant/{DEFAULT_TENANT}", "")]  # whether it can be reached, at least
        try:
            found = await self._ledger.standing(asked)
        except LedgerUnavailable:
            self._emit(LedgerLost("standing", config.ledger.on_failure == "open"))
        except Exception:  # the outer shell of this task: without it gauges would stand still for good
            log.exception("how tenants stand could not be looked up")
        else:
            self._show(dict(zip(wanted, found, strict=False)))


def meters(config: Config, now: float) -> dict[Stand, Meter]:
    """The running day's and month's meter of each tenant that has a budget for it."""
    found: dict[Stand, Meter] = {}
    for name, tenant in config.tenants.items():
        for period, usd in (("day", tenant.usd_per_day), ("month", tenant.usd_per_month)):
            if usd is not None:
                account = Account(f"tenant/{name}", **{f"per_{period}": nanos(usd)})
                (found[name, period],) = Caller(accounts=(account,)).meters(now)
    return found
