"""Tables from elsewhere: parquet files, which columns they have and the rows that a filter leaves; and CSV files.

Reads files and says what is wrong with them. Must not know what the rows are for.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN_VALUES = 8  # of a column, in a message
NOT_OF_TYPE = (pa.ArrowInvalid, pa.ArrowNotImplementedError)  # what Arrow raises for values that cannot be cast


@dataclass(frozen=True, slots=True)
class Source:
    """A parquet file, and which of its rows count.

    Attributes:
        columns: their names in the file.
        where: column -> the value that its rows must have, written out; of columns of this file alone.
    """

    path: Path
    columns: tuple[str, ...]
    where: Mapping[str, str] = field(default_factory=dict)

    def need(self, *names: str) -> str:
        """The first of these that is a column. Raises ValueError where none is."""
        found = next((name for name in names if name in self.columns), None)
        if found is None:
            raise ValueError(
                f"{self.path}: no column {' or '.join(map(repr, names))}; its columns are {', '.join(self.columns)}: "
                "rename the one that is meant"
            )
        return found

    def maybe(self, *names: str) -> str | None:
        """The first of these that is a column; None where none is."""
        return next((name for name in names if name in self.columns), None)

    def read(self, columns: Iterable[str | None]) -> pa.Table:
        """The filtered rows of these columns; None stands for a column that the file lacks.

        Raises:
            ValueError: the file is damaged, a filter's value is none of its column's type, or no row is left.
        """
        wanted = [name for name in columns if name is not None]
        table = _table(self.path, dict.fromkeys([*wanted, *self.where]))
        for column, value in self.where.items():
            table = table.filter(self._rows(table[column], column, value))
        return table.select(wanted)

    def _rows(self, values: pa.ChunkedArray, column: str, value: str) -> pa.ChunkedArray:
        """Which rows have the value; null is no value."""
        plain = _decoded(values)
        try:
            found = pc.fill_null(pc.equal(plain, pa.scalar(value).cast(plain.type)), fill_value=False)
        except NOT_OF_TYPE as error:
            raise ValueError(
                f"--where {column}={value}: column '{column}' of {self.path} holds {plain.type}, and this is none; "
                "give a value of that type"
            ) from error
        if not pc.any(found).as_py():
            raise ValueError(f"--where {column}={value}: no row of {self.path} has it; {_instead(plain, value)}")
        return found


def open_source(path: Path) -> Source:
    """All rows of a file. Raises ValueError where it cannot be read, or is no parquet."""
    return Source(path, _columns(path))


def open_sources(questions: Path, outcomes: Path, where: Mapping[str, str]) -> tuple[Source, Source]:
    """Both files; a filter holds for each that has its column.

    Raises:
        ValueError: a file cannot be read, or neither has a column that is filtered by.
    """
    columns = {path: _columns(path) for path in (questions, outcomes)}
    both = list(dict.fromkeys((*columns[questions], *columns[outcomes])))
    for name in where:
        if name not in both:
            raise ValueError(
                f"--where {name}={where[name]}: neither {questions} nor {outcomes} has a column '{name}'; "
                f"{did_you_mean(name, both)}"
            )
    asked, recorded = (
        Source(path, columns[path], {name: value for name, value in where.items() if name in columns[path]})
        for path in (questions, outcomes)
    )
    return asked, recorded


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What was probably meant, or some of what there is; the end of a message."""
    names = list(known)
    if near := difflib.get_close_matches(name, names, n=1):
        return f"did you mean '{near[0]}'?"
    more = ", …" if len(names) > SHOWN_VALUES else ""
    return f"there are {', '.join(names[:SHOWN_VALUES])}{more}"


def many(count: int, noun: str) -> str:
    """So many of them, as a person writes it."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def strings(values: pa.ChunkedArray) -> pa.Array:
    """A column of numbers or texts as texts, in one piece; null stays null."""
    plain = _decoded(values).cast(pa.large_string())
    return pa.concat_arrays(plain.chunks) if plain.num_chunks else pa.array([], pa.large_string())


def ids_of(path: Path, table: pa.Table) -> pa.Array:
    """`question_id` as texts. Raises ValueError where a row has none."""
    ids = strings(table["question_id"])
    if ids.null_count:
        row = int(np.flatnonzero(ids.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(f"{path}: row {row + 1} has no question_id; every row needs one")
    return ids


def numbers(source: Source, table: pa.Table, column: str, high: float = np.inf) -> NDArray[np.float64]:
    """A column [R] as numbers, NaN for null.

    Raises:
        ValueError: it holds no numbers, or one beyond 0 to `high`; names the row among those that count.
    """
    try:
        values = _decoded(table[column]).cast(pa.float64()).to_numpy()
    except NOT_OF_TYPE as error:
        raise ValueError(f"{source.path}: column '{column}' holds no numbers; it needs them") from error
    wrong = np.flatnonzero((values < 0) | (values > high))
    if len(wrong):
        limits = "0 or more" if high == np.inf else f"0 to {high:g}"
        question = table["question_id"][int(wrong[0])].as_py()
        raise ValueError(
            f"{source.path}: {column} of question {question} is {values[wrong[0]]:g}; it must be {limits}: scale it"
        )
    return np.asarray(values, dtype=np.float64)


def flags(source: Source, table: pa.Table, column: str) -> NDArray[np.bool_]:
    """A column [R] of yes and no; null is no. Raises ValueError where it is none."""
    try:
        values = pc.fill_null(_decoded(table[column]).cast(pa.bool_()), fill_value=False)
    except NOT_OF_TYPE as error:
        raise ValueError(f"{source.path}: column '{column}' must hold true or false") from error
    return np.asarray(values.to_numpy(), dtype=np.bool_)


def all_ids(path: Path) -> list[str]:
    """`question_id` of every row of the file, whatever filters say. Raises ValueError where there is none."""
    source = open_source(path)
    found: list[str] = ids_of(path, source.read([source.need("question_id")])).to_pylist()
    return found


def csv_rows(path: Path, *needed: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells by column, of each row of a CSV file with a heading; cells without blanks around, "" for none.

    Raises:
        ValueError: the file cannot be read, is no CSV in UTF-8, lacks a needed column, or has a row of more values
            than columns, as a decimal comma makes it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:  # spreadsheets write a byte order mark
            rows = csv.DictReader(lines)
            columns = list(rows.fieldnames or ())
            for name in needed:
                if name not in columns:
                    there = ", ".join(columns) or "none"
                    raise ValueError(
                        f"{path}: no column '{name}'; its columns are {there}: rename the one that is meant"
                    )
            for row in rows:
                if None in row:
                    raise ValueError(
                        f"{path}:{rows.line_num}: more values than columns; write numbers with a decimal point, and "
                        "texts with commas in quotes"
                    )
                yield rows.line_num, {name: (text or "").strip() for name, text in row.items()}
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}; check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8: {error}; save it as one") from error


def csv_number(path: Path, line: int, column: str, text: str, remedy: str) -> float:
    """A cell as a finite number of 0 or more. Raises ValueError where it is none; says which cell, and the remedy."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        do = "write it with a decimal point" if "," in text else remedy
        raise ValueError(f"{path}:{line}: {column} is '{text}', not a number of 0 or more; {do}")
    return value


def unlike(source: Source, rows: NDArray[np.int64], ignored: Iterable[str]) -> tuple[str, str] | None:
    """A column in which all these rows differ, and a value of it to filter by: the one that most rows of the file have.

    Args:
        rows: of those that the source's filter leaves.
        ignored: columns that say nothing about which row is meant.
    """
    names = [name for name in source.columns if name not in set(ignored)]
    table = source.read(names)
    best: tuple[int, str, str] | None = None
    for name in names:
        values = _decoded(table[name])
        if pa.types.is_floating(values.type) or pa.types.is_nested(values.type):
            continue
        counts = pc.value_counts(values.drop_null())
        if len(values.take(rows).unique()) == len(rows) and len(counts) and (not best or len(counts) < best[0]):
            most = counts.field("values")[int(np.argmax(counts.field("counts").to_numpy()))]
            best = (len(counts), name, most.cast(pa.large_string()).as_py())
    return best[1:] if best else None


def _columns(path: Path) -> tuple[str, ...]:
    with _as_value_errors(path), path.open("rb") as handle, parquet.ParquetFile(handle) as file:
        return tuple(file.schema_arrow.names)


def _table(path: Path, columns: Iterable[str]) -> pa.Table:
    with _as_value_errors(path), path.open("rb") as handle, parquet.ParquetFile(handle) as file:
        return file.read(columns=list(columns))


@contextmanager
def _as_value_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except pa.ArrowException as error:
        raise ValueError(f"{path}: not a parquet file: {error}; give one in parquet's format") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}; check the path") from error


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _instead(values: pa.ChunkedArray, value: str) -> str:
    """The column's most frequent values, or the one that was meant."""
    counts: list[dict[str, Any]] = pc.value_counts(values.drop_null()).to_pylist()
    ordered = sorted(counts, key=lambda c: -c["counts"])
    return did_you_mean(value, [str(c["values"]) for c in ordered]) if ordered else "the column is empty"
