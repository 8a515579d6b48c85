"""Vectors kept on disk, so that fitting again embeds only what is new. For work offline; no query waits for it.

One SQLite file per model, in a folder that may be deleted at any time. A cache must never stop or falsify the work:
what is damaged, locked or cannot be written is computed.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from router.embed import Embedder

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ROWS = 100_000  # 150 MB at 384 dimensions; the oldest go first
SELECTED_AT_ONCE = 500  # SQLite's oldest limit on parameters is 999
CRC_BYTES = 4
RECIPE = 1  # goes up with every change in how `router/embedders.py` makes vectors of texts


def cache_folder(model: str, max_chars: int, weights: Path | None, base: Path | None = None) -> Path:
    """Where a model's vectors are kept: another model, other weights, another cut or way of embedding, another folder.

    Args:
        weights: the model's local folder, whose files' sizes and times tell new weights; None for a hub's name, of
            which new weights are not noticed: delete the folder then.
        base: default `$XDG_CACHE_HOME/symposium/vectors`, else `~/.cache/symposium/vectors`.
    """
    home = os.environ.get("XDG_CACHE_HOME", "").strip()
    base = base or (Path(home) if home else Path.home() / ".cache") / "symposium" / "vectors"
    files = sorted(p for p in weights.rglob("*") if p.is_file()) if weights else []
    stamps = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    digest = hashlib.sha256(
        repr((RECIPE, version("sentence-transformers"), model, max_chars, stamps)).encode()
    ).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", model).strip("-.")[-40:]
    return base / f"{readable}-{digest}"


class Cached:
    """An embedder that computes each text once. `folder` belongs to its model alone."""

    def __init__(self, embed: Embedder, folder: Path, max_rows: int = MAX_ROWS) -> None:
        self.name = embed.name
        self._embed = embed
        self._file = folder / "vectors.sqlite"
        self._max_rows = max_rows

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        known = self._read(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if not keys:
            return np.zeros((0, 0), dtype=np.float32)
        if missing:
            made = dict(zip(missing, self._embed(list(missing.values())), strict=True))
            self._write(made)
            known |= made
        return np.stack([known[key] for key in keys])

    def _read(self, keys: list[bytes]) -> dict[bytes, NDArray[np.float32]]:
        rows: list[tuple[bytes, bytes]] = []
        try:
            with self._database() as database:
                for start in range(0, len(keys), SELECTED_AT_ONCE):
                    some = keys[start : start + SELECTED_AT_ONCE]
                    marks = ",".join("?" * len(some))
                    rows += database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some)  # noqa: S608  # only question marks
        except (sqlite3.Error, OSError) as error:
            self._discard(error)
            return {}
        found = {key: vector for key, blob in rows if (vector := _unpacked(blob)) is not None}
        return found if len({len(vector) for vector in found.values()}) <= 1 else {}

    def _write(self, made: Mapping[bytes, NDArray[np.float32]]) -> None:
        rows = [(key, _packed(vector)) for key, vector in made.items()]
        try:
            with self._database() as database, database:  # one transaction: all of it or nothing
                database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
                database.execute(
                    "DELETE FROM vectors WHERE rowid <= (SELECT max(rowid) FROM vectors) - ?", (self._max_rows,)
                )
        except (sqlite3.Error, OSError) as error:
            self._discard(error)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._file, timeout=5)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
            yield database

    def _discard(self, error: Exception) -> None:
        """A damaged file goes; one that is locked, full or not ours to write stays as it is."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                self._file.unlink()


def _packed(vector: NDArray[np.float32]) -> bytes:
    raw = np.ascontiguousarray(vector, dtype="<f4").tobytes()
    return zlib.crc32(raw).to_bytes(CRC_BYTES, "big") + raw


def _unpacked(blob: object) -> NDArray[np.float32] | None:
    """None for a row that is not as it was written."""
    if not isinstance(blob, bytes) or len(blob) <= CRC_BYTES or (len(blob) - CRC_BYTES) % 4:
        return None
    raw = blob[CRC_BYTES:]
    if zlib.crc32(raw).to_bytes(CRC_BYTES, "big") != blob[:CRC_BYTES]:
        return None
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)
