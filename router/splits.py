"""Which questions a router learns from and which judge it: by ids from files, or by folds.

Rows are those of `router.outcomes.Outcomes`; no group of questions (the same text) is ever on both sides. Must not
know what is learnt.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from router.outcome_files import all_ids
from router.outcomes import Outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Split = tuple["NDArray[np.int64]", "NDArray[np.int64]"]  # rows to learn from, rows to be judged on


def read_ids(path: Path) -> tuple[str, ...]:
    """The question ids of a file, each once: one a line, a JSON list, or a column `question_id` of CSV or parquet.

    Raises:
        ValueError: the file cannot be read, is not what its name says, or holds no ids.
    """
    kind = path.suffix.lower()
    try:
        found = all_ids(path) if kind == ".parquet" else _ids(path, kind, path.read_text(encoding="utf-8-sig"))
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
        notes.append(f"{shared:,} test questions left out: {texts:,} texts are among those to learn from, too")
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

    scikit-learn's StratifiedGroupKFold, shuffled by `seed`; categories with fewer than `k` questions count as one.

    Raises:
        ValueError: `k` is below 2, or greater than the number of different texts allows.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    different = len(set(outcomes.groups))
    if not 2 <= k <= different:
        raise ValueError(f"{k} folds cannot be made of {different:,} different questions; choose 2 to {different:,}")
    names, which, counts = np.unique(np.array(outcomes.categories), return_inverse=True, return_counts=True)
    strata = np.where(counts[which] >= k, which, len(names))
    number: dict[str, int] = {}  # and not numpy's texts: each would take the room of the longest question
    groups = np.array([number.setdefault(group, len(number)) for group in outcomes.groups])
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # few questions of one kind are no obstacle: their folds are only less even
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        made = list(splitter.split(strata, strata, groups))
    if not all(len(test) for _, test in made):
        raise ValueError(f"{k} folds cannot be filled from texts so unevenly repeated; choose fewer")
    return [(np.asarray(train, dtype=np.int64), np.asarray(test, dtype=np.int64)) for train, test in made]


def _ids(path: Path, kind: str, text: str) -> list[str]:
    """Raises ValueError where the text is not what the file's name says."""
    if kind == ".csv":
        rows = csv.DictReader(text.splitlines())
        if "question_id" not in (rows.fieldnames or ()):
            raise ValueError(f"{path}: no column 'question_id'; rename the one that is meant, or give one id a line")
        return [row["question_id"] or "" for row in rows]
    if kind != ".json":
        return text.splitlines()
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}; give a list of ids") from error
    if not isinstance(found, list) or not all(isinstance(name, str | int) for name in found):
        raise ValueError(f"{path}: not a list of texts or whole numbers; give a list of ids")
    return [str(name) for name in found]
