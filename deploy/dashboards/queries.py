"""PromQL as the dashboards use it. Three kinds of queries, so that figures can be checked against known events:

* how many: `increase(…[$__range])` at one instant. Every counter is there from the start, at zero, so a window that
  holds a replica's first sample extrapolates nothing at its beginning; at the instant of a scrape nothing at its end.
* how fast: `rate(…[$__rate_interval])` over time; times the interval, it is the same number.
* how long: `histogram_quantile` over `rate`: the extrapolation is the same for all buckets and falls out.
"""

from __future__ import annotations

ROUTERS, ENGINES = 'job="symposium-router"', 'job="symposium-engine"'


def total(metric: str, *by: str, where: str = "") -> str:
    """How many in the time range."""
    return f"sum{_by(by)}(increase({metric}{_chosen(ROUTERS, where)}[$__range]))"


def speed(metric: str, *by: str, where: str = "", job: str = ROUTERS) -> str:
    """How many a second."""
    return f"sum{_by(by)}(rate({metric}{_chosen(job, where)}[$__rate_interval]))"


def quantile(q: float, metric: str, *by: str, where: str = "", job: str = ROUTERS) -> str:
    """Of a histogram of seconds."""
    return f"histogram_quantile({q}, {speed(f'{metric}_bucket', 'le', *by, where=where, job=job)})"


def worst(metric: str, *by: str, where: str = "", job: str = ROUTERS, how: str = "max") -> str:
    """A gauge over all replicas."""
    return f"{how}{_by(by)}({metric}{_chosen(job, where)})"


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)}) " if labels else ""


def _chosen(job: str, where: str) -> str:
    return "{" + ", ".join(part for part in (job, where) if part) + "}"


def quantiles(metric: str, *by: str, where: str = "") -> dict[str, str]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return {f"{legend} p{100 * q:g}": quantile(q, metric, *by, where=where) for q in (0.5, 0.95, 0.99)}
