"""Metrics of several replicas as numbers: read from Prometheus' text, summed, compared with an earlier look. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """Sample name -> labels -> value, summed over the replicas; `at`: seconds on any clock that does not go back."""

    at: float
    values: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Iterable[str], at: float) -> Samples:
        """Raises ValueError for what is no such text."""
        found: dict[str, dict[Labels, float]] = {}
        for text in texts:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    series = found.setdefault(sample.name, {})
                    labels = tuple(sorted(sample.labels.items()))
                    series[labels] = series.get(labels, 0.0) + sample.value
        return cls(at, found)

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series that have these labels, whatever others."""
        wanted = set(labels.items())
        return sum(value for found, value in self.values.get(name, {}).items() if wanted <= set(found))

    def rate(self, before: Samples, name: str, **labels: str) -> float:
        """How fast a counter grew, per second; 0 where it is less than before: a replica has begun anew."""
        seconds = self.at - before.at
        grown = self.total(name, **labels) - before.total(name, **labels)
        return max(grown, 0.0) / seconds if seconds > 0 else 0.0

    def mean(self, before: Samples, name: str, **labels: str) -> float | None:
        """The mean of what a histogram observed in between; None for nothing."""
        count = self.total(f"{name}_count", **labels) - before.total(f"{name}_count", **labels)
        spent = self.total(f"{name}_sum", **labels) - before.total(f"{name}_sum", **labels)
        return spent / count if count > 0 else None
