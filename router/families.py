"""Metrics in a registry of their own, each listed with what it means. Must not know which metrics there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

M = TypeVar("M", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as the reference lists it. `name` is as Prometheus shows it, a counter's with `_total`."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...]
    metric: Counter | Gauge | Histogram = field(repr=False)

    def values(self) -> set[tuple[str, ...]]:
        """The label values of all series that are there now."""
        samples = (sample for found in self.metric.collect() for sample in found.samples)
        return {tuple(sample.labels[name] for name in self.labels) for sample in samples}


class Families:
    """In a registry of its own: replicas in one process share nothing."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.families: list[Family] = []

    def counter(self, name: str, about: str, *names: str) -> Counter:
        return self._added("counter", about, names, Counter(f"symposium_{name}", about, names, registry=self.registry))

    def gauge(self, name: str, about: str, *names: str) -> Gauge:
        return self._added("gauge", about, names, Gauge(f"symposium_{name}", about, names, registry=self.registry))

    def histogram(self, name: str, about: str, buckets: Sequence[float], *names: str) -> Histogram:
        made = Histogram(f"symposium_{name}", about, names, buckets=buckets, registry=self.registry)
        return self._added("histogram", about, names, made)

    def keep(self, label: str, names: Set[str]) -> None:
        """Series with another value of this label go."""
        for family in self.families:
            if label not in family.labels:
                continue
            at = family.labels.index(label)
            for values in family.values():
                if values[at] not in names:
                    family.metric.remove(*values)

    def _added(self, kind: str, about: str, names: tuple[str, ...], metric: M) -> M:
        name = next(iter(metric.describe())).name + ("_total" if kind == "counter" else "")
        self.families.append(Family(name, kind, about, names, metric))
        return metric


def begun(metrics: Iterable[Counter | Gauge | Histogram], *values: str) -> None:
    """Each has this series from now on, at zero."""
    for metric in metrics:
        metric.labels(*values)
