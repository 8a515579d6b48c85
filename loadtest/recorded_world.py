"""Recorded experts as a child process, and a symposium's commands, for benchmarks in which what experts say, or how
they fail, is the point.

Owns: the book's file, the process, its counts and behaviours over HTTP. Must not know what is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.server import REPOSITORY, free_port, stop, wait_until_answering

READY_LIMIT_S = 60.0
COMMAND_LIMIT_S = 1800.0
AT_ONCE = 1_000_000  # tokens in one event: how an answer is cut into events is not what is measured
BOOK = {"question": pa.string(), "model": pa.string(), "answer": pa.string(), "output_tokens": pa.int64()}

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedServer:
    """Running recorded experts. `url` has no `/v1`."""

    url: str

    def counts(self) -> dict[str, dict[str, int]]:
        """Model -> started, running, finished, failed, aborted, output_tokens."""
        found: dict[str, dict[str, int]] = httpx.get(f"{self.url}/internal/legs").raise_for_status().json()
        return found

    def behave(self, behaviours: Mapping[str, JsonObject]) -> None:
        """From the next leg on; by model, "*" for all others."""
        httpx.put(f"{self.url}/internal/behaviours", json=dict(behaviours)).raise_for_status()

    def expert(self, model: str, **more: Any) -> JsonObject:
        """The expert as a configuration has it."""
        usual = {
            "base_url": f"{self.url}/v1",
            "model": model,
            "context_tokens": 65_536,
            "price": {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.1},
        }
        return usual | more


def write_book(file: Path, rows: Iterable[tuple[str, str, str, int]]) -> None:
    """`rows`: (question, model, answer, output tokens)."""
    columns = list(zip(*rows, strict=True))
    cells = {name: pa.array(column, kind) for (name, kind), column in zip(BOOK.items(), columns, strict=True)}
    pq.write_table(pa.table(cells), file)


@contextmanager
def recorded_experts(book: Path, log: Path) -> Iterator[RecordedServer]:
    """`python -m experts.recorded` on a free port until the block ends.

    Raises:
        RuntimeError: it ended, or did not answer within `READY_LIMIT_S`; the message holds its log.
    """
    port = free_port()
    command = [sys.executable, "-m", "experts.recorded", "--book", str(book), "--port", str(port)]
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=REPOSITORY)  # noqa: S603  # our own command, no shell
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_answering(child, f"{url}/health", log, READY_LIMIT_S)
        yield RecordedServer(url)
    finally:
        stop(child)


def symposium(*arguments: str | Path) -> str:
    """Runs a command of the product to its end; what it printed.

    Raises:
        RuntimeError: it failed, or took longer than `COMMAND_LIMIT_S`; the message holds what it printed.
    """
    command = [str(Path(sys.executable).parent / "symposium"), *map(str, arguments)]
    try:
        done = subprocess.run(  # noqa: S603  # our own command, no shell
            command,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            cwd=REPOSITORY,
            check=False,
            env=os.environ | {"COLUMNS": "120"},
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{' '.join(command)}: not done within {COMMAND_LIMIT_S:g} s") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
