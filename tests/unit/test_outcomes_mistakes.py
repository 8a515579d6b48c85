"""Mistakes in files of recorded outcomes: one sentence each, with the file and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.outcome_costs import Model, read_models
from router.outcomes import read
from tests.unit.make_outcomes import PRICES, Row, asked, recorded, world


def changed(change: Callable[[list[Row], list[Row]], object]) -> Callable[[Path], object]:
    """Reads files that this was done to."""

    def do(folder: Path) -> object:
        questions, outcomes = asked(), recorded()
        change(questions, outcomes)
        return world(folder, questions, outcomes)

    return do


def without(rows: list[Row], column: str) -> None:
    for row in rows:
        del row[column]


def set_all(rows: list[Row], **columns: Any) -> None:
    for row in rows:
        row.update(columns)


QS, OS = r"/\S*/q\.parquet: ", r"/\S*/o\.parquet: "
MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (
        lambda f: read(f / "none.parquet", f, None, None, {}),
        r"/\S*/none\.parquet: cannot be read: No such file or directory; check the path",
    ),
    "no parquet": (
        lambda f: ((f / "x").write_text("text"), read(f / "x", f, None, None, {})),
        r"/\S*/x: not a parquet file: .*; give one in parquet's format",
    ),
    "no question": (
        changed(lambda q, _: without(q, "question")),
        QS + "no column 'question' or 'instruction'; its columns are question_id, category, q_tokens: rename .*",
    ),
    "no category": (changed(lambda q, _: without(q, "category")), QS + "no column 'category'; its columns are .*"),
    "no outcome": (
        changed(lambda _, o: without(o, "correct")),
        OS + "no column 'correct' or 'score'; its columns are question_id, model, pred, out_tokens: rename .*",
    ),
    "no model": (changed(lambda _, o: without(o, "model")), OS + "no column 'model'; its columns are .*"),
    "null id": (
        changed(lambda q, _: q[2].update(question_id=None)), QS + "row 3 has no question_id; every row needs one"
    ),
    "null category": (
        changed(lambda q, _: q[2].update(category=None)), QS + "question 2 has no category; give every question one"
    ),
    "id twice": (
        changed(lambda q, _: q.append(q[0])),
        QS + "question_id 0 comes twice; keep one row of it, or tell them apart with --where",
    ),
    "ids twice": (changed(lambda q, _: q.extend(q[:3])), QS + r"question_id 0 comes twice \(and 2 more\); keep .*"),
    "all disputed": (
        changed(lambda q, _: set_all(q, rev_open=True)),
        QS + r"no question is left \(5 questions left out: disputed answer key \(rev_open\)\); use other rows",
    ),
    "no flags": (changed(lambda q, _: set_all(q, rev_open="soon")), QS + "column 'rev_open' must hold true or false"),
    "options are a text": (
        changed(lambda q, _: set_all(q, options="a, b")), QS + "column 'options' holds string; it needs lists of texts"
    ),
    "too many options": (
        changed(lambda q, _: q[1].update(options=["x"] * 27)),
        QS + "question 1 has 27 options, but there are 26 letters; drop it",
    ),
    "tokens are texts": (
        changed(lambda _, o: set_all(o, out_tokens="many")), OS + "column 'out_tokens' holds no numbers; it needs them"
    ),
    "negative tokens": (
        changed(lambda q, _: q[3].update(q_tokens=-1)),
        QS + "q_tokens of question 3 is -1; it must be 0 or more: scale it",
    ),
    "percent": (
        changed(lambda _, o: o[7].update(correct=80)),
        OS + "correct of question 2 is 80; it must be 0 to 1: scale it",
    ),
    "outcome twice": (
        changed(lambda _, o: o.append(o[4])),
        OS + r"question 1 has more than one outcome of 'bob' \(2 such rows in all\); keep one of each",
    ),
    "two judges": (
        lambda f: world(f, outcomes=[row | {"judge": j, "x": 0.5, "n": 3} for row in recorded() for j in ("I", "II")]),
        OS + r"question 0 has more than one outcome of 'ada' \(30 such .*\); --where judge=I would tell them apart",
    ),
    "stranger": (
        lambda f: world(f, pool=("ada", "bobb")), OS + "no model 'bobb', which --pool names; did you mean 'bob'\\?"
    ),
    "nobody like that": (
        lambda f: world(f, pool=("ada", "xyz")), OS + "no model 'xyz', which --pool names; there are ada, bob, cat"
    ),
    "known, never asked": (
        lambda f: world(f, models=PRICES + "dan,1,1\n", pool=("ada", "dan")),
        OS + "'dan' has no outcome of these questions; take it out of --pool",
    ),
    "asked other things": (
        lambda f: world(f, outcomes=[*recorded(), recorded(7)[-1] | {"model": "dan"}], pool=("ada", "dan")),
        OS + "'dan' has no outcome of these questions; take it out of --pool",
    ),
    "alone": (
        lambda f: world(f, pool=("ada", "ada")),
        OS + r"a pool of 1 leaves nothing to choose; name two or more models with outcomes of these .*",
    ),
    "nobody": (
        changed(lambda _, o: set_all(o, correct=None)), OS + "a pool of 0 leaves nothing to choose; name two or more .*"
    ),
    "holes": (
        changed(lambda _, o: (o.pop(1), o.pop(3), o.pop(-1))),
        OS + r"3 of 5 questions lack an outcome of a pool member \('bob' lacks most: 2\); leave that one out with "
        "--pool, or questions with --where",
    ),
    "no such column": (
        lambda f: world(f, where={"categry": "law"}),
        rf"--where categry=law: neither {QS[:-2]} nor {OS[:-2]} has a column 'categry'; did you mean 'category'\?",
    ),
    "no such value": (
        lambda f: world(f, where={"category": "maths"}),
        rf"--where category=maths: no row of {QS[:-2]} has it; did you mean 'math'\?",
    ),
    "nothing like it": (
        lambda f: world(f, where={"q_tokens": "11"}),
        rf"--where q_tokens=11: no row of {QS[:-2]} has it; there are 10, .*"
    ),
    "other type": (
        lambda f: world(f, where={"q_tokens": "ten"}),
        rf"--where q_tokens=ten: column 'q_tokens' of {QS[:-2]} holds int64, and this is none; give .*",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_with_a_remedy(tmp_path: Path, name: str) -> None:
    """It names the file, what is wrong with it, and what to do."""
    do, words = MISTAKES[name]
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared below
        do(tmp_path)
    assert re.fullmatch(words, str(caught.value)), caught.value


def test_a_mistake_in_the_models_is_named_by_line(tmp_path: Path) -> None:
    """models.csv: no file, no names, a name twice, what is no number, what is no text."""
    path = tmp_path / "models.csv"
    with pytest.raises(ValueError, match=r"models\.csv: cannot be read: No such file or directory; check the path"):
        read_models(path)
    for text, words in (
        (
            "name,price\na,1\n",
            r"models\.csv: no column 'model'; its columns are name, price: rename the one that is meant",
        ),
        ("", r"models\.csv: no column 'model'; its columns are none"),
        (PRICES + "bob,1,1\n", r"models\.csv:5: 'bob' comes twice; keep one of its rows"),
        (
            PRICES + "dan,free,1\n",
            r"models\.csv:5: price_in_per_m is 'free', not a number of 0 or more; leave it empty",
        ),
        (PRICES + 'dan,"1,5",2\n', r"models\.csv:5: price_in_per_m is '1,5', not a .*; write it with a decimal point"),
        (
            PRICES + "dan,1,5,2\n",
            r"models\.csv:5: more values than columns; write numbers with a decimal point, and .*",
        ),
        (PRICES + "dan,1,-1\n", r"models\.csv:5: price_out_per_m is '-1', not a number"),
        (PRICES + "dan,1,nan\n", r"models\.csv:5: price_out_per_m is 'nan', not a number"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=words):
            read_models(path)
    path.write_bytes(b"model\n\xff\n")
    with pytest.raises(ValueError, match=r"models\.csv: not a CSV file in UTF-8: .*; save it as one"):
        read_models(path)


def test_models_may_lack_every_column_but_the_name(tmp_path: Path) -> None:
    """What a spreadsheet writes is read: a byte order mark, more columns, empty cells, short rows."""
    path = tmp_path / "models.csv"
    path.write_text("\ufeffmodel,note,price_in_per_m,params_total_b\nada,x, 1.5 ,7\nbob\n", encoding="utf-8")
    assert read_models(path) == {"ada": Model(1.5, None, 7.0), "bob": Model(None, None, None)}
