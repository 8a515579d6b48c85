"""The metrics of money: what is held, charged and refused, by tenant, and how the ledger does. Amounts in US dollars.

A part of `router/metrics.py`. Must not know events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from router import labels
from router.families import Families, begun
from router.ledger import Standing
from router.money import usd

_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class MoneyMetrics:
    """What this replica has done with money, and how tenants stand in the ledger that all replicas share."""

    def __init__(self, families: Families) -> None:
        counter, gauge = families.counter, families.gauge
        self.reserved = counter(
            "budget_reserved_usd", "Set aside for calls, before they began or while they went on.", "tenant"
        )
        self.held = gauge(
            "budget_held_usd", "Set aside by this replica for calls that are not settled yet; as of now.", "tenant"
        )
        self.settled = counter("budget_settled_usd", "Charged for what calls used.", "tenant")
        self.estimated = counter(
            "budget_estimated_usd", "Of what was charged: for calls whose tokens nobody counted exactly.", "tenant"
        )
        self.overrun = counter(
            "budget_overrun_usd", "Used beyond what was held and what budgets had left: nobody pays for it.", "tenant"
        )
        self.refusals = counter(
            "refusals",
            "Requests turned away before anything was spent, for their budget, their tenant's, a rate, or overload.",
            "code", "reason", "tenant",
        )  # fmt: skip
        self.lag = families.histogram(
            "settle_lag_seconds",
            "The end of a call to its booking in the ledger; whoever is asked waits for none.",
            _LAG,
        )
        self.up = gauge("ledger_up", "1 when the ledger did what it was asked for last.")
        self.lost = counter(
            "ledger_lost",
            "Times that the ledger, or what is kept beside it, could not be reached.",
            "operation", "mode",
        )  # fmt: skip
        of_tenants = "as the ledger says it for all replicas; of the running period, in UTC."
        self.limits = gauge("tenant_limit_usd", f"What a tenant may spend, {of_tenants}", "tenant", "period")
        self.tenant_settled = gauge(
            "tenant_settled_usd", f"Charged to a tenant that has a budget, {of_tenants}", "tenant", "period"
        )
        self.tenant_held = gauge(
            "tenant_held_usd", f"Held for calls of a tenant that has a budget, {of_tenants}", "tenant", "period"
        )
        self.tenants: tuple[str, ...] = ()
        self._held: dict[str, int] = {}  # nanodollars by tenant, also of tenants that have gone: sums of floats drift
        self._standing: set[tuple[str, str]] = set()
        self.up.set(1)
        for operation in (*labels.OPERATIONS, labels.OTHER):
            begun([self.lost], operation, "open")
            begun([self.lost], operation, "closed")
        self._series_of(labels.OTHER)

    def configured(self, tenants: Sequence[str]) -> None:
        """These are known by name; everybody else's series are gone by now."""
        for tenant in tenants:
            self._series_of(tenant)
        self.tenants = tuple(tenants)
        for tenant in (*tenants, labels.OTHER):
            self._show_held(tenant)

    def of(self, tenant: str) -> str:
        """The label of a tenant."""
        return labels.known(tenant, self.tenants)

    def move_held(self, tenant: str, nanos: int) -> None:
        """So much more is held, or less; never below nothing, where what was held was not heard of."""
        self._held[tenant] = max(0, self._held.get(tenant, 0) + nanos)
        if not self._held[tenant]:
            del self._held[tenant]
        self._show_held(self.of(tenant))

    def stand(self, standings: Mapping[tuple[str, str], Standing]) -> None:
        """How tenants stand, as the ledger says it: (tenant, one of `labels.PERIODS`) -> standing. The ledger is there.

        A tenant that is not among them has no budget, or not for that period.
        """
        self.up.set(1)
        gauges = (self.limits, self.tenant_settled, self.tenant_held)
        for gauge in gauges:
            for key in self._standing - standings.keys():
                with suppress(KeyError):  # it went with its tenant
                    gauge.remove(*key)
        for (tenant, period), found in standings.items():
            for gauge, amount in zip(gauges, (found.meter.limit or 0, found.settled, found.held), strict=True):
                gauge.labels(tenant, period).set(usd(amount))
        self._standing = set(standings)

    def _show_held(self, label: str) -> None:
        names = [name for name in self._held if self.of(name) == label]
        self.held.labels(label).set(usd(sum(self._held[name] for name in names)))

    def _series_of(self, tenant: str) -> None:
        begun((self.reserved, self.held, self.settled, self.estimated, self.overrun), tenant)
        for code, reason in labels.REFUSALS:
            self.refusals.labels(code, reason, tenant)
