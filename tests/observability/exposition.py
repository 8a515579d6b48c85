"""Prometheus' text format read by other means than Prometheus, so that one can be held against the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True, slots=True)
class Exposition:
    """The samples of one scrape."""

    samples: tuple[Sample, ...]

    @classmethod
    def of(cls, text: str) -> Exposition:
        return cls(tuple(s for family in text_string_to_metric_families(text) for s in family.samples))

    def sums(self, name: str, label: str = "", where: Mapping[str, str] | None = None) -> dict[str, float]:
        """Label value -> the sum over its series."""
        found: dict[str, float] = defaultdict(float)
        for sample in self._of(name, where):
            found[sample.labels.get(label, "")] += sample.value
        return dict(found)

    def quantiles(self, q: float, name: str, label: str, where: Mapping[str, str] | None) -> dict[str, float]:
        """Label value -> the quantile of its histogram, within a bucket linear; of one without labels under "".

        Left out: no observations, an empty label.
        """
        buckets: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
        for sample in self._of(f"{name}_bucket", where):
            buckets[sample.labels[label] if label else ""][float(sample.labels["le"])] += sample.value
        return {
            value: _quantile(q, sorted(b.items())) for value, b in buckets.items() if (value or not label) and b[inf]
        }

    def _of(self, name: str, where: Mapping[str, str] | None) -> Iterable[Sample]:
        given = (where or {}).items()
        return (s for s in self.samples if s.name == name and all(s.labels[k] == v for k, v in given))


def _quantile(q: float, buckets: list[tuple[float, float]]) -> float:
    rank = q * buckets[-1][1]
    at = next(i for i, (_, count) in enumerate(buckets) if count >= rank)
    upper, count = buckets[at]
    if upper == inf:
        return buckets[-2][0]
    lower, below = buckets[at - 1] if at else (0.0, 0.0)
    return lower + (upper - lower) * (rank - below) / (count - below)
