"""Small parquet files of recorded outcomes, written by the test that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from router.outcomes import Outcomes, read

Row = dict[str, Any]
EXPERTS = ("ada", "bob", "cat")
PRICES = "model,price_in_per_m,price_out_per_m\nada,1,2\nbob,10,20\ncat,100,200\n"


def asked(count: int = 5) -> list[Row]:
    """Questions 0 to count - 1, of two categories."""
    return [
        {"question_id": n, "question": f"Q{n}?", "category": ("math", "law")[n % 2], "q_tokens": 10 * (n + 1)}
        for n in range(count)
    ]


def recorded(count: int = 5) -> list[Row]:
    """Ada is always right, bob on even questions, cat never."""
    return [
        {"question_id": n, "model": expert, "correct": right, "pred": "AB"[1 - right], "out_tokens": 100 * (e + 1)}
        for n in range(count)
        for e, (expert, right) in enumerate(zip(EXPERTS, (1, 1 - n % 2, 0), strict=True))
    ]


def written(folder: Path, name: str, rows: list[Row]) -> Path:
    """A parquet file of these rows; a column that some lack is null there."""
    columns = dict.fromkeys(key for row in rows for key in row)
    parquet.write_table(pa.table({key: [row.get(key) for row in rows] for key in columns}), folder / f"{name}.parquet")
    return folder / f"{name}.parquet"


def world(
    folder: Path,
    questions: list[Row] | None = None,
    outcomes: list[Row] | None = None,
    models: str | None = None,
    pool: tuple[str, ...] | None = None,
    where: dict[str, str] | None = None,
) -> tuple[Outcomes, tuple[str, ...]]:
    """What is read of these files."""
    csv = folder / "models.csv"
    if models is not None:
        csv.write_text(models, encoding="utf-8")
    q = written(folder, "q", asked() if questions is None else questions)
    o = written(folder, "o", recorded() if outcomes is None else outcomes)
    return read(q, o, None if models is None else csv, pool, where or {})
