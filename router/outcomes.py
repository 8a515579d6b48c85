"""Recorded outcomes: which questions several experts were asked, who was right, and what each call cost.

Reads files; asks nobody. Must not know how a router decides, or how its decisions are judged.

Columns of the questions: `question_id`, `question` or `instruction`, `category`; where there are: `options` (a list),
`q_tokens`, `rev_open` and `question_missing` (such rows are left out). Columns of the outcomes: `question_id`, `model`,
`correct` or `score` (0 to 1); where there are: `pred` (what was answered), `out_tokens_trim` or `out_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from router.calibration import core
from router.outcome_costs import Model, UsdFrom, price, read_models
from router.outcome_files import Source, did_you_mean, ids_of, many, numbers, open_sources, strings, unlike
from router.outcome_questions import Asked, read_asked
from router.profiles import Count, Profile, Profiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOST_AT_MOST = 0.2  # of the questions, for want of an outcome; more, and the rest says little about all
RECORDED = "recorded"  # the version of what answered
ABOUT_THE_CALL = (  # columns that do not say which of several outcomes is meant
    "question_id model correct score win answered pred pred_recorded out_tokens out_tokens_trim out_chars".split()
)


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """N questions, each asked of all E experts.

    Attributes:
        ids: N, as texts, whatever they are in the file.
        texts: N, what an expert is asked: the question, and its options one a line under letters.
        categories: N.
        groups: N; questions of one group have the same text, but for case and blanks, and must not be split.
        experts: E names.
        right: [N, E] in [0, 1].
        answers: [N, E] cores of what was answered (`router.calibration.core`), which compare by equality; "" for
            nothing. None where it is not recorded.
        tokens: [N, E] output tokens. None where they are not recorded.
        usd: [N, E] cost of each call, by the measure in `usd_from` (`router.outcome_costs.cost`).
        left_out: ids that the file of questions has too, but that were left out on reading.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    categories: tuple[str, ...]
    groups: tuple[str, ...]
    experts: tuple[str, ...]
    right: NDArray[np.float64]
    answers: NDArray[np.str_] | None
    tokens: NDArray[np.float64] | None
    usd: NDArray[np.float64]
    usd_from: UsdFrom
    left_out: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """[N, E]: whether an answer counts as right where it has to be either: with a score above one half."""
        return np.asarray(self.right > 0.5)

    def only(self, rows: NDArray[np.int64]) -> Outcomes:
        """These questions, in this order; the experts stay."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            texts=tuple(self.texts[row] for row in rows),
            categories=tuple(self.categories[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            right=self.right[rows],
            answers=None if self.answers is None else self.answers[rows],
            tokens=None if self.tokens is None else self.tokens[rows],
            usd=self.usd[rows],
        )


def read(
    questions: Path, outcomes: Path, models: Path | None, pool: Sequence[str] | None, where: Mapping[str, str]
) -> tuple[Outcomes, tuple[str, ...]]:
    """Every question that all experts of the pool have an outcome of.

    Args:
        models: CSV with `model`, `price_in_per_m`, `price_out_per_m`, `params_active_b`, `params_total_b`.
        pool: the experts, in this order; None: all that have an outcome, by name.
        where: column -> value; rows of either file that have the column and another value do not count.

    Returns:
        The outcomes, and notes for a person: what was left out, and what stands in for what is not recorded.

    Raises:
        ValueError: one sentence that names the file, what is wrong with it and what to do.
    """
    asked_file, recorded_file = open_sources(questions, outcomes, where)
    known = read_models(models) if models else {}
    asked, notes = read_asked(asked_file)
    recorded, rows, more = _recorded(recorded_file, asked, pool, known)
    kept = asked.only(rows)
    priced, stand_ins = price(recorded.experts, kept.tokens, recorded.tokens, known)
    made = Outcomes(
        ids=kept.ids,
        texts=kept.texts,
        categories=kept.categories,
        groups=kept.groups,
        experts=recorded.experts,
        right=recorded.right,
        answers=recorded.answers,
        tokens=priced.tokens,
        usd=np.ones_like(recorded.right) if priced.usd is None else priced.usd,
        usd_from=priced.usd_from,
        left_out=asked.all_ids.difference(kept.ids),
    )
    return made, (*notes, *more, *stand_ins)


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded:
    """What the file of outcomes says of the questions that it has every outcome of [N], by the pool [E].

    Attributes:
        tokens: [N, E], NaN where a count is missing.
    """

    experts: tuple[str, ...]
    right: NDArray[np.float64]
    answers: NDArray[np.str_] | None
    tokens: NDArray[np.float64] | None


def _recorded(
    source: Source, asked: Asked, pool: Sequence[str] | None, known: Mapping[str, Model]
) -> tuple[_Recorded, NDArray[np.int64], list[str]]:
    """Also returns which of the asked questions [N] they are, and notes."""
    value = source.need("correct", "score")
    answer, length = source.maybe("pred"), source.maybe("out_tokens_trim", "out_tokens")
    table = source.read([source.need("question_id"), source.need("model"), value, answer, length])
    ids, models = ids_of(source.path, table), strings(table["model"])
    question_of = pc.index_in(ids, pa.array(asked.ids, pa.large_string()))
    judged = pc.and_(question_of.is_valid(), table[value].combine_chunks().is_valid())
    experts = _pool(source, pool, models, models.filter(judged), known)
    expert_of = pc.index_in(models, pa.array(experts, pa.large_string()))
    found = np.flatnonzero(pc.and_(judged, expert_of.is_valid()).to_numpy(zero_copy_only=False))
    cells = question_of.take(found).to_numpy() * np.int64(len(experts)) + expert_of.take(found).to_numpy()
    _check_once(source, cells, found, asked.ids, experts)
    some, shape = table.take(found), (len(asked), len(experts))
    right = _matrix(shape, cells, numbers(source, some, value, high=1))
    rows, notes = _complete(source, right, experts)
    if strangers := len(ids) - pc.sum(pc.is_in(ids, pa.array(sorted(asked.all_ids), pa.large_string()))).as_py():
        notes.append(f"{many(strangers, 'outcome')} ignored: no such question_id among the questions")
    tokens = _matrix(shape, cells, numbers(source, some, length))[rows] if length else None
    answers = _answers(shape, cells, strings(some[answer]), rows) if answer else None
    return _Recorded(experts, right[rows], answers, tokens), rows, notes


def _pool(
    source: Source, pool: Sequence[str] | None, models: pa.Array, judged: pa.Array, known: Mapping[str, Model]
) -> tuple[str, ...]:
    """Args: models: of all outcomes; judged: of those that count; known: models that exist at all."""
    there: list[str] = sorted(judged.drop_null().unique().to_pylist())
    experts = tuple(there if pool is None else dict.fromkeys(pool))
    for name in sorted(set(experts).difference(there)):
        everywhere: list[str] = sorted(models.drop_null().unique().to_pylist())
        if name in everywhere or name in known:
            raise ValueError(f"{source.path}: '{name}' has no outcome of these questions; take it out of --pool")
        raise ValueError(f"{source.path}: no model '{name}', which --pool names; {did_you_mean(name, everywhere)}")
    if len(experts) < 2:
        raise ValueError(
            f"{source.path}: a pool of {len(experts)} leaves nothing to choose; name two or more models with outcomes "
            "of these questions (--pool)"
        )
    return experts


def _check_once(
    source: Source, cells: NDArray[np.int64], rows: NDArray[np.int64], ids: Sequence[str], experts: Sequence[str]
) -> None:
    """Raises ValueError where a question has two outcomes of one expert; says by which column they could be told apart.

    Args:
        cells: [R] question × E + expert; rows: [R] the rows of the file that they are from.
    """
    twice = np.bincount(cells, minlength=1)[cells] > 1
    if not twice.any():
        return
    cell = cells[int(np.argmax(twice))]
    column = unlike(source, rows[cells == cell], ABOUT_THE_CALL)
    remedy = f"--where {column[0]}={column[1]} would tell them apart" if column else "keep one of each"
    raise ValueError(
        f"{source.path}: question {ids[cell // len(experts)]} has more than one outcome of "
        f"'{experts[cell % len(experts)]}' ({twice.sum():,} such rows in all); {remedy}"
    )


def _complete(
    source: Source, right: NDArray[np.float64], experts: Sequence[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """The questions that every expert has an outcome of, and a note of the others.

    Raises ValueError where too many are lost.
    """
    missing = np.isnan(right)
    rows = np.flatnonzero(~missing.any(axis=1))
    if not (lost := len(right) - len(rows)):
        return rows, []
    worst = int(missing.sum(axis=0).argmax())
    why = f"'{experts[worst]}' lacks most: {missing[:, worst].sum():,}"
    if lost > LOST_AT_MOST * len(right):
        raise ValueError(
            f"{source.path}: {lost:,} of {len(right):,} questions lack an outcome of a pool member ({why}); leave that "
            "one out with --pool, or questions with --where"
        )
    return rows, [f"{lost:,} of {len(right):,} questions left out: they lack an outcome of a pool member ({why})"]


def _matrix(shape: tuple[int, int], cells: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, E] of the values [R] of these cells; NaN elsewhere."""
    made = np.full(shape, np.nan)
    made.flat[cells] = values
    return made


def _answers(
    shape: tuple[int, int], cells: NDArray[np.int64], values: pa.Array, rows: NDArray[np.int64]
) -> NDArray[np.str_] | None:
    """[len(rows), E]; None where all of them are empty."""
    encoded = values.dictionary_encode()
    codes = np.zeros(shape, dtype=np.int64)
    codes.flat[cells] = 1 + encoded.indices.fill_null(-1).to_numpy()
    cores = np.array(["", *map(core, encoded.dictionary.to_pylist())])
    found = cores[codes[rows]]
    return found if (found != "").any() else None


def profiles_of(outcomes: Outcomes, skills: Sequence[str] = ()) -> Profiles:
    """What `symposium profile` would have counted on these questions. An answer is one token: costs are by the call.

    Scores between 0 and 1 are added up and the sum is rounded: a judge's ties are half as good as wins.

    Args:
        skills: the skill of each question [N]; without any, nothing is counted by skill.
    """
    experts = {}
    for name, right in zip(outcomes.experts, outcomes.right.T, strict=True):
        overall = Count(right=round(right.sum()), asked=len(right))
        experts[name] = Profile(
            expert_version=RECORDED,
            engine_version=RECORDED,
            questions=RECORDED,
            overall=overall,
            categories=_counts(outcomes.categories, right),
            skills=_counts(skills, right) if skills else {},
            output_tokens=overall.asked,
        )
    return Profiles(experts=experts)


def _counts(labels: Sequence[str], right: NDArray[np.float64]) -> dict[str, Count]:
    names, which = np.unique(np.array(labels), return_inverse=True)
    asked, good = np.bincount(which), np.bincount(which, weights=right)
    return {str(name): Count(right=round(good[i]), asked=int(asked[i])) for i, name in enumerate(names)}
