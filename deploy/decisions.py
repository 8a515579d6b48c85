"""`symposium decisions`: what was asked lately, who answered and what it cost; or all of it as Parquet files.

Reads the decision log of a configuration's data folder, also while a symposium writes to it. Decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.show import AsJson, ConfigFile, fail, load_config, out, print_json, table
from router.decision_files import FOLDER, TABLES, Row, columns, read
from router.decision_rows import DecisionRow, LegRow

if TYPE_CHECKING:
    import pyarrow

COLUMNS = ["ended (UTC)", "request", "policy", "category", "outcome", "answered by", "legs", "USD", "s"]
ROWS = 10_000  # of a table that are in memory at once
JSON = "_json"


def decisions(
    config: ConfigFile,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the latest requests.")] = 20,
    as_json: AsJson = False,
    parquet: Annotated[
        Path | None, typer.Option(help="Write the whole log into this folder: decisions.parquet and legs.parquet.")
    ] = None,
) -> None:
    """Show the latest decisions and what came of them, the latest first."""
    folder = Path(load_config(config).data) / FOLDER
    if parquet is not None:
        _export(folder, parquet)
        return
    found = list(islice(read(folder, DecisionRow), last))
    if as_json:
        print_json(_with_calls(folder, found))
    else:
        out.print(table("", COLUMNS, [_line(row) for row in found]))


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    ended = datetime.fromtimestamp(row["unix_s"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    outcome = row["outcome"] if row["code"] is None else f"{row['outcome']} ({row['status']} {row['code']})"
    cost = "" if row["cost_usd"] is None else f"{row['cost_usd']:.6g}"
    told = [row["policy"], row["category"], outcome, row["answered_by"], row["legs"], cost, f"{row['seconds']:.3f}"]
    return ended, row["request_id"], *("" if value is None else value for value in told)


def _with_calls(folder: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each request with its calls, and what is JSON in the file as what it says."""
    calls: dict[str, list[dict[str, Any]]] = {row["request_id"]: [] for row in rows}
    for call in read(folder, LegRow, list(calls)):
        calls[call["request_id"]].append(call)
    return [_plain(row) | {"calls": calls[row["request_id"]][::-1]} for row in rows]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removesuffix(JSON): json.loads(value) if name.endswith(JSON) and value is not None else value
        for name, value in row.items()
    }


def _export(folder: Path, target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
        for kind, name in TABLES.items():
            path = target / f"{name}.parquet"
            out.print(f"{path}: {_write(folder, kind, path)} rows", markup=False, soft_wrap=True)
    except OSError as error:
        fail(f"{target}: {error}")


def _write(folder: Path, kind: type[Row], path: Path) -> int:
    """The number of rows; a file that is there is replaced once the new one is whole."""
    import pyarrow
    from pyarrow import parquet

    schema, count, new = _schema(kind), 0, path.with_name(f".{path.name}.new")
    with parquet.ParquetWriter(new, schema) as writer:
        for rows in _chunks(read(folder, kind)):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
            count += len(rows)
    new.replace(path)
    return count


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while some := list(islice(rows, ROWS)):
        yield [row | {name: bool(row[name]) for name in _BOOLEANS if row.get(name) is not None} for row in some]


_BOOLEANS = sorted({name for kind in TABLES for name, of in columns(kind).items() if of == "BOOLEAN"})


def _schema(kind: type[Row]) -> pyarrow.Schema:
    import pyarrow

    types = {"INTEGER": "int64", "REAL": "float64", "TEXT": "string", "BOOLEAN": "bool_"}
    return pyarrow.schema([(name, getattr(pyarrow, types[of])()) for name, of in columns(kind).items()])
