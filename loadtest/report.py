"""How a benchmark's figures leave it: for a person, as JSON on standard output, and in a file when one is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console


def quantile(values: Sequence[float], q: float) -> float:
    """Nearest rank; of 20 values p99 is the largest. 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def publish(report: dict[str, Any], file: Path | None) -> None:
    text = json.dumps(report, indent=1)
    Console().print_json(text)
    if file is not None:
        file.write_text(text + "\n", encoding="utf-8")


def tell(
    measure: Callable[[Console], dict[str, Any]], show: Callable[[dict[str, Any], Console], object], file: Path | None
) -> None:
    """Measures, shows and publishes; what is wrong with the input ends the benchmark with its message alone."""
    console = Console(stderr=True)
    try:
        figures = measure(console)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    show(figures, console)
    publish(figures, file)
