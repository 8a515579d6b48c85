"""What is shipped for Prometheus, at other addresses and quicker: tests run the very rules and scrape settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "observability"
SCRAPE = "500ms"


def shipped(admin_url: str, token: Path) -> dict[str, Any]:
    """`prometheus.yml` as it is shipped, with another admin side, another place of the token, and quick."""
    text = (FOLDER / "prometheus.yml").read_text()
    for old, new in (("http://127.0.0.1:8001", admin_url), ("admin-token}", f"{token}}}"), ("15s", SCRAPE)):
        assert old in text
        text = text.replace(old, new)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def targets(*routers: tuple[str, str], interval: str = SCRAPE) -> dict[str, Any]:
    """Settings that scrape these routers: (replica, host:port)."""
    static = [{"targets": [where], "labels": {"replica": replica}} for replica, where in routers]
    timing = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    return {"global": timing, "scrape_configs": [{"job_name": "symposium-router", "static_configs": static}]}


def shipped_rules() -> dict[str, Any]:
    """All rules as they are shipped, evaluated as often as `SCRAPE` says."""
    groups = [
        g for file in sorted((FOLDER / "rules").glob("*.yml")) for g in yaml.safe_load(file.read_text())["groups"]
    ]
    return {"groups": [group | {"interval": SCRAPE} for group in groups]}


SCALE = 120
_DURATION = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SLOW, SLOW_SCALED = 'le="30.0"', 'le="0.25"'  # 30 s / SCALE is a bound of the histogram too


def hurried(rules: Mapping[str, Any]) -> dict[str, Any]:
    """The same rules in a world where time runs SCALE times as fast: 5m is 2.5 s, the 30 s of the objective are 0.25 s.

    Ranges, `for` and the bound of what is slow are divided; expressions, thresholds and names stay as they are.
    """

    def short(match: re.Match[str]) -> str:
        return f"{max(1, int(match[1]) * _SECONDS[match[2]] * 1000 // SCALE)}ms"

    def rule(one: Mapping[str, Any]) -> dict[str, Any]:
        quick = {**one, "expr": _DURATION.sub(short, one["expr"]).replace(SLOW, SLOW_SCALED)}
        if "for" in one:
            quick["for"] = re.sub(r"^(\d+)([smhd])$", short, one["for"])
        return quick

    return {"groups": [{**g, "interval": SCRAPE, "rules": [rule(r) for r in g["rules"]]} for g in rules["groups"]]}
