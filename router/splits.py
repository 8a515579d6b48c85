"""Which questions a router learns from and which judge it: by ids from files, or by folds.

Rows are those of `router.outcomes.Outcomes`; no group of questions (the same text) is ever on both sides. Must not
know what is learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from router.folds import frequent, grouped_folds
from router.outcome_files import all_ids, csv_rows, many
from router.outcomes import Outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Split = tuple["NDArray[np.int64]", "NDArray[np.int64]"]  # rows to learn from, rows to be judged on
RARE = "rare"


def read_ids(path: Path) -> tuple[str, ...]:
    """The question ids of a file, each once: one a line, a JSON list, or a column `question_id` of CSV or parquet.

    Raises:
        ValueError: the file cannot be read, is not what its name says, or holds no ids.
    """
    try:
        found = _ids(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}; check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text in UTF-8; save it as one, or as parquet") from error
    ids = tuple(dict.fromkeys(text for text in map(str.strip, found) if text))
    if not ids:
        raise ValueError(f"{path}: holds no question ids; give one a line")
    return ids


def split_by_ids(outcomes: Outcomes, train: Sequence[str], test: Sequence[str]) -> tuple[Split, tuple[str, ...]]:
    """The rows of these ids, in their order, and notes for a person.

    Ids that the outcomes left out (`Outcomes.left_out`) are skipped, and test questions whose text is among those to
    learn from are left out; both are noted.

    Raises:
        ValueError: an id is unknown or on both sides, or a side is empty.
    """
    if both := set(train).intersection(test):
        first = next(name for name in train if name in both)
        raise ValueError(f"train and test ids: {len(both):,} are in both, as {first}; keep each on one side")
    learnt, notes = _rows(outcomes, "train", train)
    asked, more = _rows(outcomes, "test", test)
    known = {outcomes.groups[row] for row in learnt}
    judged = [row for row in asked if outcomes.groups[row] not in known]
    notes += more
    if shared := len(asked) - len(judged):
        texts = len(known.intersection(outcomes.groups[row] for row in asked))
        notes.append(
            f"{many(shared, 'test question')} left out: they share {many(texts, 'text')} with those to learn from"
        )
    for side, rows in (("train", learnt), ("test", judged)):
        if not rows:
            why = f" ({'; '.join(notes)})" if notes else ""
            raise ValueError(f"{side} ids: no question is left{why}; name others")
    return (np.array(learnt, dtype=np.int64), np.array(judged, dtype=np.int64)), tuple(notes)


def _rows(outcomes: Outcomes, side: str, ids: Sequence[str]) -> tuple[list[int], list[str]]:
    """The rows of these ids, and a note where some were left out on reading. Raises ValueError for unknown ones."""
    row_of = {name: row for row, name in enumerate(outcomes.ids)}
    absent = [name for name in ids if name not in row_of]
    if unknown := [name for name in absent if name not in outcomes.left_out]:
        raise ValueError(
            f"{side} ids: {len(unknown):,} of {len(ids):,} belong to no question, as {unknown[0]}; take them out"
        )
    notes = [f"{len(absent):,} of {len(ids):,} {side} ids skipped: their questions were left out"] if absent else []
    return [row_of[name] for name in ids if name in row_of], notes


def folds(outcomes: Outcomes, k: int, seed: int) -> list[Split]:
    """Every question is judged once, by what was learnt from the other folds; categories are spread evenly.

    Categories with fewer than `k` questions count as one.

    Raises:
        ValueError: `k` is below 2, or greater than the number of different texts allows.
    """
    different = len(set(outcomes.groups))
    if not 2 <= k <= different:
        raise ValueError(f"{k} folds cannot be made of {different:,} different questions; choose 2 to {different:,}")
    strata = frequent(outcomes.categories, k, [RARE] * len(outcomes))
    made = grouped_folds(strata, outcomes.groups, k, seed)
    if not all(len(test) for _, test in made):
        raise ValueError(f"{k} folds cannot be filled from texts so unevenly repeated; choose fewer")
    return made


def _ids(path: Path) -> list[str]:
    """Raises ValueError where the file is not what its name says, or cannot be read."""
    kind = path.suffix.lower()
    if kind == ".parquet":
        return all_ids(path)
    if kind == ".csv":
        return [row["question_id"] for _, row in csv_rows(path, "question_id")]
    text = path.read_text(encoding="utf-8-sig")
    if kind != ".json":
        return text.splitlines()
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}; give a list of ids") from error
    if not isinstance(found, list) or not all(isinstance(name, str | int) for name in found):
        raise ValueError(f"{path}: not a list of texts or whole numbers; give a list of ids")
    return [str(name) for name in found]
