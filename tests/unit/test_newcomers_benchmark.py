"""`loadtest.newcomers`: what is replayed on a small world of recorded outcomes, the figures, and the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from rich.console import Console

from loadtest import newcomers
from loadtest.newcomers_figures import report
from loadtest.newcomers_replay import LABELLED, Newcomer, Remembering, among, cards, replays
from loadtest.newcomers_ways import DRAWN, Tally
from router.evaluation import trial
from router.outcomes import Outcomes
from tests.unit.make_evaluation import EXPERTS, Words, outcomes, split

OTHERS = np.array([0, 2, 3])  # bob is new


class Names(Words):
    """Names of categories too: they mean what questions of theirs do."""

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return super().__call__([text if " of " in text else f"topic 0 of {text}" for text in texts])


def bob() -> tuple[Newcomer, Outcomes, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """A newcomer in a pool of three, all outcomes, and what was learned from and judged on."""
    world, parts = replace(outcomes(), answers=None), split()
    known = trial(among(world, OTHERS), parts, Names(), 0)
    return Newcomer(known, "bob", among(world.only(parts[0]), np.array([1]))), world, parts


def test_of_a_newcomer_nobody_asked_nothing_is_known() -> None:
    """Its counts say the pool's mean of every question; the product and its lead say what the mean expert will do."""
    newcomer, world, parts = bob()
    found = newcomer.predicted(np.array([], dtype=np.int64))
    mean = (world.right[parts[0]][:, OTHERS].sum() + 1) / (3 * len(parts[0]) + 2)
    np.testing.assert_allclose(found["counts"][:, -1], mean)
    np.testing.assert_allclose(found["paired"][:, -1], found["paired"][:, :-1].mean(axis=1))
    np.testing.assert_allclose(found["product"][:, -1], found["paired"][:, -1], atol=1e-2)  # Laplace's rule and base
    assert "like outcomes" not in found


def test_with_all_questions_labelled_a_newcomer_s_specialty_is_known() -> None:
    """bob is good at law and not at maths: counts and product say so. The others are predicted alike by all ways."""
    newcomer, world, parts = bob()
    found = newcomer.predicted(np.arange(len(parts[0])))
    law = np.array(world.categories)[parts[1]] == "law"
    for way in ("counts", "product"):
        assert found[way][law, -1].min() > found[way][~law, -1].max() + 0.1
    for p in found.values():
        np.testing.assert_array_equal(p[:, :-1], found["counts"][:, :-1])


@pytest.fixture(scope="module")
def replayed() -> Tally:
    """Everything, once."""
    said: list[str] = []
    found = replays(outcomes(), Remembering(Names()), [3], 1, 50, said.append)
    assert said == ["seed 3, part 0", "seed 3, part 1", "seed 3, without law", "seed 3, without math"]
    return found


def test_every_question_is_judged_by_every_way(replayed: Tally) -> None:
    """Once by each newcomer, panel and centroid, as both halves judge; of categories those that are not too small."""
    means = replayed.means()
    assert {key[0] for key in means} == {"newcomer", "panel", "centroid", "card"}
    for key, values in means.items():
        assert ((values >= 0) & (values <= 1)).all() or key[2] == "best", key
    drawn = {key[3:5] for key in means if key[0] == "newcomer"}
    assert drawn == {(str(k), how) for k in LABELLED for how in DRAWN} | {("0", "-"), ("all", "-")}


def test_the_product_is_the_product(replayed: Tally) -> None:
    """What is chosen without a newcomer is what the router chooses: better than the best single in this world."""
    means = replayed.means()
    absent = means["newcomer", "right", "any", "all", "-", "absent"].mean()
    with_it = means["newcomer", "right", "any", "all", "-", "learned with it"].mean()
    product, single, unbounded = (means["centroid", way].mean() for way in ("product", "best single", "P(right)"))
    assert with_it == pytest.approx(unbounded)
    assert product > single + 0.03
    assert absent < with_it


def test_replays_are_repeatable(replayed: Tally) -> None:
    """All chance comes from the seed."""
    again = replays(outcomes(), Remembering(Names()), [3], 1, 50, lambda _: None).means()
    for key, values in replayed.means().items():
        np.testing.assert_array_equal(values, again[key])


def test_without_recorded_answers_nobody_votes() -> None:
    """And one category cannot be left out."""
    world = replace(outcomes(120), answers=None, categories=("all",) * 120)
    tally = replays(world, Remembering(Names()), [0], 1, 10, lambda _: None)
    assert {key[0] for key in tally.means()} == {"newcomer", "centroid"}


def test_small_categories_are_not_left_out() -> None:
    """Of 60 questions each has 30."""
    world = replace(outcomes(60), answers=None)
    assert list(cards(world, Remembering(Names()), 0, 31, Tally(60))) == []


def test_each_text_is_embedded_once() -> None:
    """In any order, and several times in one call."""
    words = Words()
    remembering = Remembering(words)
    one, two = "topic 1 of law", "topic 2 of law"
    first, second = remembering([one, one]), remembering([two, one])
    assert words.seen == [one, two]
    np.testing.assert_array_equal(first[0], second[1])


def test_figures_by_hand() -> None:
    """Differences are of the same questions; what was never judged counts in neither; intervals hold the mean."""
    nan = np.nan
    means = {
        ("card", "best single"): np.array([0, 1, 0, 1, nan]),
        ("card", "product"): np.array([1, 1, 0, 1, nan]),
        ("newcomer", "right", "any", "all", "-", "absent"): np.array([0, 0, 0, 1, 1.0]),
        ("newcomer", "right", "any", "5", "random", "counts"): np.array([0, 0, 0, 0, 1.0]),
    }
    found = report(means, ["a", "b", "c", "d", "e"], 0)
    best, product = found["card"]
    assert (best["mean"], product["mean"]) == (50.0, 75.0)
    assert product["over_best_single"]["mean"] == 25.0
    assert "over_product" not in product
    low, high = product["over_best_single"]["interval"]
    assert low == 0 < high <= 100
    counts = found["newcomer"][1]
    assert (counts["labelled"], counts["drawn"], counts["way"]) == ("5", "random", "counts")
    assert counts["over_absent"]["mean"] == -20.0


def write(folder: Path) -> list[str]:
    """The small world as files, and the arguments that name them; some rows are of another benchmark."""
    world = outcomes(120)
    assert world.answers is not None, "recorded"
    questions = [
        {"question_id": name, "question": text, "category": category, "benchmark": "ours"}
        for name, text, category in zip(world.ids, world.texts, world.categories, strict=True)
    ]
    cells = [
        {"question_id": name, "model": expert, "correct": right, "pred": said}
        for name, row, answers in zip(world.ids, world.right.tolist(), world.answers.tolist(), strict=True)
        for expert, right, said in zip(EXPERTS, row, answers, strict=True)
    ]
    pq.write_table(
        pa.Table.from_pylist([*questions, {**questions[0], "question_id": "x", "benchmark": "theirs"}]),
        folder / "q.parquet",
    )
    pq.write_table(pa.Table.from_pylist(cells), folder / "o.parquet")
    return ["--questions", str(folder / "q.parquet"), "--outcomes", str(folder / "o.parquet")]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["newcomers", *arguments])
    monkeypatch.setattr(newcomers, "embedder", lambda model: Remembering(Names()))
    newcomers.main()


def test_the_command_writes_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All studies, of the pool and the rows that were asked for; and a table of each for a person."""
    file = tmp_path / "out.json"
    pool = ["--pool", "ada", "bob", "cat", "--where", "benchmark=ours"]
    run(monkeypatch, *write(tmp_path), *pool, "--seeds", "1", "--draws", "1", "--json", str(file))
    figures: dict[str, Any] = json.loads(file.read_text())
    assert list(figures["pool"]) == ["ada", "bob", "cat"]
    assert figures["questions"] == 120
    assert -1 <= figures["mean_correlation"] <= 1
    text = StringIO()
    newcomers.show(figures, Console(file=text, width=200))
    for word in ("newcomer", "panel", "centroid", "card", "like outcomes", "recruited three"):
        assert word in text.getvalue()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--pool", "ada", "zoe"], "zoe"),
        (["--where", "benchmark=none"], "benchmark"),
        (["--seeds", "0"], "at least 1"),
        (["--where", "benchmark"], "COLUMN=VALUE"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    """It says what is wrong, and nothing is replayed."""
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *write(tmp_path), *more)
    assert said in f"{stopped.value}{capsys.readouterr().err}"
