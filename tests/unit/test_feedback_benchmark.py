"""`loadtest.feedback`: what is read, the priors, a stream by hand, what liars do to it, and the figures."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from loadtest import feedback
from loadtest.feedback import UNBOUNDED, arms, attacks, show
from loadtest.feedback_figures import arm, attack, interval, mean_until, models, outcomes_until
from loadtest.feedback_replay import (
    BLOCK,
    Attack,
    Replay,
    Settings,
    orders,
    prior,
    read,
    replay,
    split,
)
from router.outcomes import Outcomes, profiles_of

MODELS = ("ant", "bee", "cat")
SHARES = {"math": (0.9, 0.5, 0.1), "text": (0.2, 0.5, 0.8)}  # of right answers, by model


def recorded(models: tuple[str, ...], categories: list[str], right: Any) -> Outcomes:
    """What each of these models made of as many different questions."""
    texts = tuple(f"Question {number}?" for number in range(len(categories)))
    scores = np.array(right, dtype=np.float64)
    usd = np.ones_like(scores)
    return Outcomes(texts, texts, tuple(categories), texts, models, scores, None, None, usd, "calls")


def made(questions: int = 2400) -> Outcomes:
    """Every second question is of maths; each model is right by chance at its share."""
    chance = np.random.default_rng(0)
    categories = ["math", "text"] * (questions // 2)
    shares = np.array([SHARES[name] for name in categories])
    return recorded(MODELS, categories, chance.random(shares.shape) < shares)


STREAM = made()
PARTS = split(len(STREAM), 200, 1500, 0)


def write(folder: Path, given: Outcomes) -> tuple[Path, Path]:
    """The two files, with a disputed question and one that is there twice."""
    texts = given.texts
    rows = [
        {"question_id": n, "question": text, "category": name, "rev_open": False}
        for n, (text, name) in enumerate(zip(texts, given.categories, strict=True))
    ]
    rows += [{**rows[0], "question_id": 9001}, {**rows[1], "question_id": 9002, "question": "?", "rev_open": True}]
    cells = [
        {"question_id": n, "model": model, "correct": int(given.right[n % len(texts), number])}
        for n in [*range(len(texts)), 9001, 9002]
        for number, model in enumerate(given.experts)
    ]
    questions, outcomes = folder / "questions.parquet", folder / "outcomes.parquet"
    pq.write_table(pa.Table.from_pylist(rows), questions)
    pq.write_table(pa.Table.from_pylist(cells), outcomes)
    return questions, outcomes


def test_a_question_is_read_once_and_disputed_ones_not_at_all(tmp_path: Path) -> None:
    """In the order of the models that are named."""
    small = made(20)
    found = read(*write(tmp_path, small), ["cat", "ant"])
    assert found.experts == ("cat", "ant")
    assert found.categories == small.categories
    assert (found.right == small.right[:, [2, 0]]).all()


def test_a_partly_right_answer_is_right_or_wrong(tmp_path: Path) -> None:
    """Above one half it is right: what is fed back is one or the other."""
    questions, outcomes = write(tmp_path, made(4))
    table = pq.read_table(outcomes)
    scores = [0.5 if right else 0.51 for right in table["correct"].to_pylist()]
    pq.write_table(table.set_column(2, "correct", pa.array(scores)), outcomes)
    assert (read(questions, outcomes, None).right == 1 - made(4).right).all()


def test_no_question_is_in_two_parts() -> None:
    """And what is left is judged by; there must be something left."""
    parts = np.concatenate([PARTS.calibration, PARTS.stream, PARTS.test])
    assert sorted(parts.tolist()) == list(range(len(STREAM)))
    with pytest.raises(ValueError, match="leave none to judge by"):
        split(10, 5, 5, 0)


def test_wrong_priors_give_experts_other_experts_profiles() -> None:
    """Of best a, then b, c, d: reversed all change places, swapped only the best and the worst; none knows nothing."""
    known = profiles_of(recorded(tuple("abcd"), ["math"] * 4, [[n >= m for m in range(4)] for n in range(4)]))
    hits = {
        kind: [prior(known, kind).experts[name].overall.right for name in "abcd"]
        for kind in ("right", "swapped", "reversed", "none")
    }
    blank = prior(known, "none").experts["a"]
    assert (blank.overall.asked, blank.categories, blank.skills) == (0, {}, {})
    assert hits == {"right": [4, 3, 2, 1], "swapped": [1, 3, 2, 4], "reversed": [1, 2, 3, 4], "none": [0, 0, 0, 0]}


def test_experts_are_asked_in_the_order_of_the_policy_category() -> None:
    """The best in each category first."""
    found = orders(profiles_of(STREAM.only(PARTS.calibration)), ["math", "text"])
    assert found == {"math": ["ant", "bee", "cat"], "text": ["cat", "bee", "ant"]}


def test_a_replay_is_determined_by_its_seed() -> None:
    """The same twice, another with another seed."""
    settings = Settings(prior="none")
    one, two, other = (replay(STREAM, PARTS, settings, seed) for seed in (0, 0, 1))
    assert (one.asked == two.asked).all()
    assert (one.routed == two.routed).all()
    assert (one.asked != other.asked).any()
    assert (len(one.asked), len(one.routed), len(one.worth)) == (6, 7, 7)


def test_the_right_prior_routes_right_from_the_beginning() -> None:
    """85 % here, as ant is in maths and cat in text, whether it learns or not; calibration counts in full."""
    for learns in (True, False):
        found = replay(STREAM, PARTS, Settings(learns=learns, explored=0.0), 0)
        assert found.routed == pytest.approx([0.85] * 7, abs=0.03)
        assert found.asked == pytest.approx([0.85] * 6, abs=0.08)
    assert np.isinf(replay(STREAM, PARTS, Settings(explored=0.0), 0).worth[0])


def test_a_wrong_prior_is_found_out_and_corrected() -> None:
    """With exploration and doubt it ends like the right one; with calibration in full it does not get that far."""
    wrong = Settings(prior="reversed", explored=0.1)
    found = replay(STREAM, PARTS, wrong, 0)
    assert found.routed[0] < 0.2
    assert found.routed[-1] == pytest.approx(0.85, abs=0.03)
    assert found.worth[-1] < 5
    assert replay(STREAM, PARTS, Settings(prior="reversed", learns=False), 0).routed[-1] < 0.2


@pytest.mark.parametrize("blow", ["swap", "crown"])
def test_one_liar_overturns_profiles_only_where_nothing_bounds_it(blow: Any) -> None:
    """The same lies, bounded and not."""
    lies = Attack(at=500, liars=1, outcomes=5000, blow=blow)
    bounded = replay(STREAM, PARTS, Settings(attack=lies), 0)
    unbounded = replay(STREAM, PARTS, Settings(attack=lies, per_source=UNBOUNDED, doubts=False), 0)
    assert bounded.struck is not None
    assert unbounded.struck is not None
    assert bounded.struck[0] - bounded.struck[1] < 0.01
    assert unbounded.struck[0] - unbounded.struck[1] > 0.2


def test_a_thousand_unknown_names_do_no_more_than_one_liar() -> None:
    """They share one source's bound."""
    lies = Attack(at=0, liars=1000, outcomes=20_000, blow="crown", named=False)
    found = replay(STREAM, PARTS, Settings(attack=lies), 0)
    assert found.struck is not None
    assert found.struck[0] - found.struck[1] < 0.01


def test_an_arm_has_arrived_when_it_is_near_twice_in_a_row() -> None:
    """Within a point of the other; once is chance. The mean over seeds has when it does not leave again."""
    base = np.full(5, 0.5)
    assert outcomes_until(np.array([0.3, 0.495, 0.4, 0.49, 0.6]), base) == 3 * BLOCK
    assert outcomes_until(np.array([0.3, 0.4, 0.4, 0.4, 0.6]), base) is None
    seeds = np.array([[0.3, 0.5, 0.4, 0.5, 0.5], [0.3, 0.5, 0.5, 0.5, 0.5]])
    assert mean_until(seeds, np.array([base, base])) == 3 * BLOCK
    assert mean_until(seeds[:, ::-1], np.array([base, base])) is None


def test_intervals_are_student_s_over_seeds() -> None:
    """Two seeds 2 points apart: 12.706 times the error of their mean, 1; one seed has no interval."""
    assert interval(np.array([0.49, 0.51])) == {"mean": 50.0, "interval": [37.29, 62.71]}
    assert interval(np.array([0.5])) == {"mean": 50.0, "interval": None}


def test_an_arm_s_figures() -> None:
    """Of two seeds, by hand: four blocks; the median seed arrives when more than half do."""
    mine = [Replay(np.full(4, 0.4), np.array([0.2, 0.3, 0.5, 0.5, 0.5]), None, np.full(5, np.inf)) for _ in range(2)]
    base = [Replay(np.full(4, 0.5), np.full(5, 0.5), None, np.full(5, np.inf)) for _ in range(2)]
    found = arm(Settings(), mine, base, [0, 1000])
    assert found["asked"]["mean"] == 40
    assert found["routed"]["0"]["mean"] == 20
    assert found["behind"] == {"mean": 0.0, "interval": [0.0, 0.0]}
    assert found["until_within"] == {"median": 500, "seeds": 2, "of": 2, "mean_for_good": 500}
    assert found["calibration_worth"] == {"0": None, "1000": None}


def test_an_attack_s_figures() -> None:
    """Before, after, what was lost, a thousand outcomes later, at the end."""
    routed = np.array([0.5, 0.3, 0.35, 0.4, 0.45, 0.5])
    found = attack(Settings(attack=Attack(0, 1)), [Replay(np.zeros(5), routed, (0.5, 0.3), np.zeros(6))])
    told = {name: found[name]["mean"] for name in ("before", "after", "lost", "later", "end")}
    assert told == {"before": 50, "after": 30, "lost": -20, "later": 45, "end": 50}


def test_every_arm_has_the_right_prior_beside_it() -> None:
    """And every attack is made once with all of its defences."""
    found = list(arms(Settings(), [0.0, 0.1]))
    assert len(set(found)) == len(found)
    assert sum(settings.prior == "right" for settings in found) == 5
    tried = list(attacks(Settings(), 100, (0, 500)))
    assert len(set(tried)) == len(tried)
    assert {settings.per_source for settings in tried} == {Settings().per_source, UNBOUNDED}


def test_models_are_told_the_best_first() -> None:
    """With the oracle, who is right whenever any is."""
    found = models(("a", "b"), np.array([[True, False], [False, True], [True, False], [False, False]]))
    assert list(found.items()) == [("oracle", 0.75), ("a", 0.5), ("b", 0.25)]


def test_the_whole_benchmark_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From files to a table and JSON, small."""
    questions, outcomes = write(tmp_path, made(900))
    sizes = "--calibration 100 --stream 500 --sources 10 --explored 0.1 --lies 200 --seeds 2".split()
    report = tmp_path / "report.json"
    given = ["feedback", "--questions", str(questions), "--outcomes", str(outcomes), "--json", str(report), *sizes]
    monkeypatch.setattr("sys.argv", given)
    feedback.main()
    figures = json.loads(report.read_text(encoding="utf-8"))
    assert figures["questions"] == {"calibration": 100, "stream": 500, "test": 300}
    assert list(figures["arms"][0]["routed"]) == ["0", "500"]
    shown = StringIO()
    show(figures, Console(width=200, file=shown))
    assert "reversed" in shown.getvalue()


@pytest.mark.parametrize(
    ("options", "said"),
    [("--seeds 0", "must be at least 1"), ("--stream 100", "must be at least 500"), ("--explored 2", "from 0 to 1")],
)
def test_impossible_options_are_refused(
    options: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read."""
    monkeypatch.setattr("sys.argv", ["feedback", "--questions", "q", "--outcomes", "o", *options.split()])
    with pytest.raises(SystemExit):
        feedback.main()
    assert said in capsys.readouterr().err


def test_a_missing_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, without a traceback."""
    monkeypatch.setattr("sys.argv", ["feedback", "--questions", str(tmp_path / "q"), "--outcomes", str(tmp_path / "o")])
    with pytest.raises(SystemExit, match="check the path"):
        feedback.main()
