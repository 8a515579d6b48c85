"""The questions of recorded outcomes: a parquet file's rows that can be asked, in the words an expert is asked in.

Must not know what was answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from router.outcome_files import Source, all_ids, flags, ids_of, many, numbers, strings

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """N questions.

    Attributes:
        texts: with the options; groups: equal where the same is asked, but for case and blanks, and maybe options.
        tokens: [N] input tokens, NaN where they are not known; None where the file has none.
        all_ids: of every row of the file, those left out and those filtered out too.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    categories: tuple[str, ...]
    groups: tuple[str, ...]
    tokens: NDArray[np.float64] | None
    all_ids: frozenset[str]

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, rows: NDArray[np.int64]) -> Asked:
        """These questions, in this order."""
        return Asked(
            ids=tuple(self.ids[row] for row in rows),
            texts=tuple(self.texts[row] for row in rows),
            categories=tuple(self.categories[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            tokens=None if self.tokens is None else self.tokens[rows],
            all_ids=self.all_ids,
        )


def read_asked(source: Source) -> tuple[Asked, list[str]]:
    """The questions that have a text and an undisputed answer, and what to say about the others.

    Raises:
        ValueError: a column is missing or of another kind, an id is missing or comes twice, a question has no category
            or more options than there are letters, or none is left.
    """
    text, category = source.need("question", "instruction"), source.need("category")
    options, tokens, disputed, missing = map(source.maybe, ("options", "q_tokens", "rev_open", "question_missing"))
    table = source.read([source.need("question_id"), text, category, options, tokens, disputed, missing])
    ids = ids_of(source.path, table)
    _check_once(source, ids)
    none = np.zeros(len(ids), dtype=np.bool_)
    doubtful = flags(source, table, disputed) if disputed else none
    absent = (flags(source, table, missing) if missing else none) | _blank(strings(table[text]))
    rows = np.flatnonzero(~(doubtful | absent))
    notes = [
        f"{many(int(count), 'question')} left out: {why}"
        for count, why in (
            (doubtful.sum(), "disputed answer key (rev_open)"),
            ((absent & ~doubtful).sum(), "no text"),
        )
        if count
    ]
    if not len(rows):
        raise ValueError(f"{source.path}: no question is left ({'; '.join(notes) or 'it has no rows'}); use other rows")
    kept = table.take(rows)
    texts: list[str] = strings(kept[text]).to_pylist()
    asked = Asked(
        ids=tuple(ids.take(pa.array(rows)).to_pylist()),
        texts=_prompts(source, texts, kept, options),
        categories=_categories(source, kept, category),
        groups=tuple(" ".join(text.casefold().split()) for text in texts),
        tokens=numbers(source, kept, tokens) if tokens else None,
        all_ids=frozenset(all_ids(source.path)),
    )
    return asked, notes


def prompt(question: str, options: Sequence[str]) -> str:
    """The question with its options under letters, one a line, as a client would write them."""
    choices = (f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
    return "\n".join([question.strip(), *choices])


def _prompts(source: Source, texts: Sequence[str], table: pa.Table, options: str | None) -> tuple[str, ...]:
    if options is None:
        return tuple(prompt(text, ()) for text in texts)
    if not (pa.types.is_list(table[options].type) or pa.types.is_large_list(table[options].type)):
        raise ValueError(f"{source.path}: column '{options}' holds {table[options].type}; it needs lists of texts")
    lists: list[list[object] | None] = table[options].to_pylist()
    for row, found in enumerate(lists):
        if len(found or ()) > len(ascii_uppercase):
            question = table["question_id"][row].as_py()
            raise ValueError(
                f"{source.path}: question {question} has {len(found or ())} options, but there are "
                f"{len(ascii_uppercase)} letters; drop it"
            )
    return tuple(prompt(text, [str(o) for o in found or ()]) for text, found in zip(texts, lists, strict=True))


def _categories(source: Source, table: pa.Table, column: str) -> tuple[str, ...]:
    values = strings(table[column])
    if len(wrong := np.flatnonzero(_blank(values))):
        question = table["question_id"][int(wrong[0])].as_py()
        raise ValueError(f"{source.path}: question {question} has no category; give every question one")
    return tuple(values.to_pylist())


def _check_once(source: Source, ids: pa.Array) -> None:
    counts = pc.value_counts(ids)
    if len(twice := np.flatnonzero(counts.field("counts").to_numpy() > 1)):
        first = counts.field("values")[int(twice[0])].as_py()
        also = f" (and {len(twice) - 1:,} more)" if len(twice) > 1 else ""
        raise ValueError(
            f"{source.path}: question_id {first} comes twice{also}; keep one row of it, or tell them apart with --where"
        )


def _blank(values: pa.Array) -> NDArray[np.bool_]:
    """Which texts are null or hold nothing but blanks."""
    empty = pc.equal(pc.utf8_trim_whitespace(values), "")
    return np.asarray(pc.fill_null(empty, fill_value=True).to_numpy(zero_copy_only=False), dtype=np.bool_)
