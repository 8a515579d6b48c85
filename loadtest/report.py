"""How a benchmark's figures leave it: JSON on standard output, and in a file when one is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console


def publish(report: dict[str, Any], file: Path | None) -> None:
    text = json.dumps(report, indent=1)
    Console().print_json(text)
    if file is not None:
        file.write_text(text + "\n", encoding="utf-8")
