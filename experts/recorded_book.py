"""What recorded experts say and how they behave: the book of answers, and the behaviours laid over it. Pure.

Knows neither HTTP nor the chat's shape. Same seed, model and question: same fate.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from math import exp
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, NamedTuple, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, model_validator

Files = str | Path | Sequence[str | Path]
TEXT = pa.large_string()
Share = Annotated[float, Field(ge=0, le=1)]
AtLeast0 = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
SCHEMA = pa.schema({"question": TEXT, "model": TEXT, "answer": TEXT, "output_tokens": pa.int64()})


class Answer(NamedTuple):
    question: str
    text: str
    tokens: int

    def piece(self, start: int, end: int) -> str:
        """The text of tokens `start` to `end`."""
        return self.text[len(self.text) * start // self.tokens : len(self.text) * end // self.tokens]


class AnswerBook:
    """Answers by model and question; of a repeated pair the first counts. Texts stay in Arrow's buffers."""

    def __init__(self, table: pa.Table) -> None:
        """`table` has the columns of SCHEMA. Raises ValueError for an empty cell or a negative count."""
        tokens = table["output_tokens"].to_pylist()
        if any(column.null_count for column in table.columns) or min(tokens, default=0) < 0:
            raise ValueError("a book has no empty cells and no negative output_tokens")
        self._texts, self._tokens = table["answer"].combine_chunks(), array("q", tokens)
        self._rows: dict[str, dict[str, int]] = {}
        once: dict[str, str] = {}  # one string object per question, however many models answered it
        pairs = zip(table["model"].to_pylist(), table["question"].to_pylist(), strict=True)
        for row, (model, question) in enumerate(pairs):
            self._rows.setdefault(model, {}).setdefault(once.setdefault(question, question), row)

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[str, str, str, int]]) -> Self:
        """`rows`: (question, model, answer, output tokens)."""
        cells = [dict(zip(SCHEMA.names, row, strict=True)) for row in rows]
        return cls(pa.Table.from_pylist(cells, schema=SCHEMA))

    @classmethod
    def from_parquet(cls, paths: Files, columns: Mapping[str, str] | None = None) -> Self:
        """`columns`: name in SCHEMA -> name in the files. Raises KeyError for a column that is not there."""
        names = [(columns or {}).get(name, name) for name in SCHEMA.names]
        files = [paths] if isinstance(paths, str | Path) else paths
        tables = [pq.ParquetFile(file).read(columns=names, use_threads=False).select(names) for file in files]
        return cls(pa.concat_tables([table.rename_columns(SCHEMA.names).cast(SCHEMA) for table in tables]))

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def find(self, model: str, question: str) -> Answer | None:
        """None: not recorded. An answer has at least one token. KeyError: no such model."""
        if (row := self._rows[model].get(question)) is None:
            return None
        return Answer(question, self._texts[row].as_py(), max(self._tokens[row], 1))


class Behaviour(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How one model's endpoint behaves; the default answers at once and never fails.

    Shares of questions are drawn by seed, model and question: a repeat meets the same fate, a replica with
    another seed its own. An answer with fewer tokens than stall or drop wait for stays whole.
    """

    ttft_s: Annotated[float, Field(ge=0)] = 0  # time to the first token, or to the failure
    tokens_per_s: Annotated[float, Field(gt=0)] | None = None  # rate after the first token; None: all at once
    tokens_per_chunk: AtLeast1 = 1  # tokens in one streamed event
    jitter: Share = 0  # all delays of one answer are multiplied by one factor in 1 - jitter .. 1 + jitter
    tail: Annotated[float, Field(ge=0, le=3)] = 0  # … and by a log-normal one of median 1 with this sigma
    slots: AtLeast1 | None = None  # answers at once; further questions wait, the first one first
    seed: int = 0
    fail_rate: Share = 0  # of the questions are answered with fail_status
    fail_always: bool = False
    fail_status: Annotated[int, Field(ge=400, le=599)] = 500
    fault_rate: Share = 1  # of the questions meet the fault, which is one of the following
    stall_after_tokens: AtLeast0 | None = None  # silence until the client goes
    drop_after_tokens: AtLeast0 | None = None  # the connection is cut
    garbage_bytes: Annotated[int, Field(ge=0, le=50 * 1024 * 1024)] = 0  # instead of an answer

    @model_validator(mode="after")
    def _one_fault(self) -> Self:
        if [self.stall_after_tokens, self.drop_after_tokens, self.garbage_bytes or None].count(None) < 2:
            raise ValueError("set only one of stall_after_tokens, drop_after_tokens and garbage_bytes")
        return self

    def fate(self, model: str, question: str) -> tuple[float, bool, bool]:
        """(factor on every delay, fails, meets the fault)."""
        if not self.jitter and not self.tail and {self.fail_rate, self.fault_rate} <= {0, 1}:
            return 1, self.fail_always or self.fail_rate == 1, self.fault_rate == 1
        digest = blake2b(orjson.dumps([str(self.seed), model, question]), digest_size=18).digest()
        delay, fail, fault = (int.from_bytes(digest[i : i + 6]) / 2**48 for i in (0, 6, 12))  # even in [0, 1)
        fails = self.fail_always or fail < self.fail_rate
        factor = exp(self.tail * NormalDist().inv_cdf((delay * 2**48 + 0.5) / 2**48))
        return factor * (1 + self.jitter * (2 * delay - 1)), fails, fault < self.fault_rate

    def takes_s(self, model: str, question: str, tokens: int) -> float:
        """How long a whole answer takes once it is begun, seconds."""
        return self.fate(model, question)[0] * self.due_s(tokens)

    def due_s(self, tokens: int) -> float:
        """When so many tokens are generated, in seconds after the request, before jitter."""
        return self.ttft_s + (max(tokens - 1, 0) / self.tokens_per_s if self.tokens_per_s else 0)
