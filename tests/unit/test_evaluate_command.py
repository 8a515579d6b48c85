"""`symposium evaluate` as a person runs it: parquet files in; a table, figures and a picture out; mistakes in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress, TaskID
from typer.testing import CliRunner, Result

from deploy import evaluate as command
from deploy.cli import app
from router.config import Embedder
from router.evaluate import ALWAYS, POLICIES
from tests.unit.make_evaluation import EXPERTS, Words, outcomes
from tests.unit.make_outcomes import Row, written

COUNT = 120
PRICES = "model,price_in_per_m,price_out_per_m,params_active_b\nada,4,8,70\nbob,4,8,70\ncat,2,4,30\ndan,1,2,3\n"
PNG = b"\x89PNG\r\n\x1a\n"
FIGURES = {
    "name", "kind", "accuracy", "ci", "diff_best_single", "diff_ci", "mean_calls", "usd_per_1k", "gap_closed",
}  # fmt: skip
FEW = ("--policies", "recruited-1")


@pytest.fixture(autouse=True, name="opened")
def _opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No model is loaded; the names of those that would be."""
    names: list[str] = []

    def opened(settings: Embedder, on_batch: Callable[[int], object]) -> Words:
        names.append(settings.model)
        return Words()

    monkeypatch.setattr(command, "offline_embedder", opened)
    return names


def asked() -> list[Row]:
    made = outcomes(COUNT)
    return [
        {"question_id": made.ids[n], "question": made.texts[n], "category": made.categories[n], "q_tokens": 50}
        for n in range(COUNT)
    ]


def recorded() -> list[Row]:
    made = outcomes(COUNT)
    assert made.answers is not None
    return [
        {"question_id": made.ids[n], "model": name, "correct": int(right), "pred": answer, "out_tokens": 100 + n}
        for n in range(COUNT)
        for name, right, answer in zip(EXPERTS, made.right[n], made.answers[n].tolist(), strict=True)
    ]


def run(folder: Path, *options: str, questions: list[Row] | None = None, rows: list[Row] | None = None) -> Result:
    """The command on two parquet files and one of prices, with an embedder that is named and none."""
    q = written(folder, "questions", asked() if questions is None else questions)
    o = written(folder, "outcomes", recorded() if rows is None else rows)
    (folder / "models.csv").write_text(PRICES)
    files = ["--questions", str(q), "--outcomes", str(o), "--models", str(folder / "models.csv")]
    return CliRunner().invoke(app, ["evaluate", *files, *options], env={"COLUMNS": "500"})


def ids(folder: Path, name: str, *numbers: int) -> str:
    """A file of question ids, one a line."""
    (folder / name).write_text("".join(f"q{n}\n" for n in numbers))
    return str(folder / name)


def sides(folder: Path, learn: range | list[int], judge: range | list[int]) -> tuple[str, ...]:
    return "--train-ids", ids(folder, "train.txt", *learn), "--test-ids", ids(folder, "test.txt", *judge)


def halves(folder: Path) -> tuple[str, ...]:
    """Learned from 60 questions, judged on 60."""
    return sides(folder, range(60), range(60, COUNT))


def figures(result: Result) -> dict[str, Any]:
    """What was printed for programs."""
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [row["name"] for row in found["policies"]]


def refused(result: Result, *words: str) -> None:
    """Exit code 1 and one line on stderr; neither a table nor a trace."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]


def test_a_table_a_file_and_a_picture(tmp_path: Path) -> None:
    """The table on stdout, all figures in the file, and where they were written to."""
    report, picture = tmp_path / "deep" / "report.json", tmp_path / "deeper" / "report.png"
    done = run(tmp_path, *FEW, *halves(tmp_path), "--json", str(report), "--plot", str(picture))
    assert done.exit_code == 0, done.output
    assert f"{COUNT - 60} test questions, {len(EXPERTS)} experts" in done.stdout
    for word in ("baselines", "policies", "curves", "best-single", "oracle", "recruited-1", "USD", *EXPERTS):
        assert word in done.stdout
    assert f"written to {report}\nwritten to {picture}" in done.stdout
    assert picture.read_bytes().startswith(PNG)
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found.keys() == {"n_test", "pool", "policies", "curves", "notes", "p_right", "mean_correlation"}
    assert -1 <= found["mean_correlation"] <= 1
    assert f"correlates at {found['mean_correlation']:.2f}" in done.stdout
    assert (found["n_test"], found["pool"]) == (COUNT - 60, list(EXPERTS))
    assert names(found) == [*EXPERTS, *(n for n in POLICIES if n in ALWAYS or n == "recruited-1")]
    for row in found["policies"]:
        assert row.keys() - {"curve"} == FIGURES
    assert found["curves"].keys() == {"single models"}
    for curve in found["curves"].values():
        assert curve.keys() == {"aiq", "points"}
        assert all(point.keys() == {"name", "usd_per_1k", "accuracy"} for point in curve["points"])


def test_what_is_printed_for_programs_is_what_is_written(tmp_path: Path) -> None:
    """JSON alone on stdout, and the same for the same seed."""
    report = tmp_path / "report.json"
    options = (*FEW, "--as-json", *halves(tmp_path))
    found = figures(run(tmp_path, *options, "--json", str(report)))
    assert found == json.loads(report.read_text(encoding="utf-8"))
    assert figures(run(tmp_path, *options)) == found
    assert figures(run(tmp_path, *options, "--seed", "3")) != found


def test_without_a_choice_all_policies_are_judged(tmp_path: Path, opened: list[str]) -> None:
    """With the embedder that is named."""
    found = figures(run(tmp_path, "--as-json", "--embedder", "static", *halves(tmp_path)))
    assert (names(found), found["n_test"]) == ([*EXPERTS, *POLICIES], COUNT - 60)
    assert found["curves"].keys() == {"single models", "sequential by calls", "sequential by price"}
    assert opened == ["static"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("recruited-3,recruited-1", {"recruited-1", "recruited-3"}),
        ("recruited-3 majority", {"recruited-3 majority"}),
        (" recruited-3,recruited-1 , recruited-5 majority,", {"recruited-3", "recruited-1", "recruited-5 majority"}),
        ("recruited-3, majority of all", {"recruited-3"}),
        ("sequential gain 0.01,all", {"sequential gain 0.01", "all"}),
        ("worth 0.3 USD", {"worth 0.3 USD"}),
        ("oracle,true category map", set()),
    ],
)
def test_policies_are_named_as_the_table_names_them(tmp_path: Path, wanted: str, expected: set[str]) -> None:
    """With commas between, and blanks around as one likes."""
    found = figures(run(tmp_path, "--policies", wanted, "--as-json", *halves(tmp_path)))
    assert {row["name"] for row in found["policies"] if row["kind"] == "policy"} == expected


def test_without_a_choice_there_are_five_folds() -> None:
    """Each question is judged in one of them."""
    splits, notes = command._splits(outcomes(COUNT), (None, None), None, 0)
    assert (len(splits), notes) == (command.FOLDS, ())
    assert sorted(row for _, judged in splits for row in judged) == list(range(COUNT))


def test_every_policy_can_be_named() -> None:
    """Alone, and all at once."""
    for name in POLICIES:
        assert command._known(name, POLICIES) == [name]
    assert command._known(",".join(POLICIES), POLICIES) == list(POLICIES)
    assert command._known(" , ", POLICIES) is None


def test_id_files_say_what_is_learned_and_judged(tmp_path: Path) -> None:
    """A note on stderr says what they lose; stdout stays what it is."""
    questions = [row | {"rev_open": row["question_id"] == "q3"} for row in asked()]
    questions[100] |= {"question": questions[0]["question"]}
    options = (*FEW, "--as-json", *sides(tmp_path, range(80), range(80, COUNT)))
    done = run(tmp_path, *options, questions=questions)
    assert figures(done)["n_test"] == COUNT - 81
    said = " ".join(done.stderr.split())
    assert "1 question left out: disputed answer key (rev_open)" in said
    assert "1 of 80 train ids skipped" in said
    assert "1 test question left out" in said


def test_pool_and_filters_choose_rows(tmp_path: Path) -> None:
    """Only these experts, and only the rows that have the value."""
    rows = [row | {"judge": judge} for row in recorded() for judge in "xy"]
    options = (*FEW, "--as-json", "--pool", "dan, ada", "--where", "judge=x")
    done = run(tmp_path, *options, *halves(tmp_path), rows=rows)
    assert figures(done)["pool"] == ["dan", "ada"]


def test_without_answers_nothing_is_voted_on(tmp_path: Path) -> None:
    """What needs them is not judged; costs that are none are called what they are."""
    rows = [{key: row[key] for key in ("question_id", "model", "correct")} for row in recorded()]
    done = run(tmp_path, *halves(tmp_path), rows=rows)
    assert done.exit_code == 0, done.output
    assert "recruited-1" in done.stdout
    assert "majority" not in done.stdout
    assert "USD" not in done.stdout
    assert "every call costs 1" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--policies", "recruted-1"), "--policies: no policy 'recruted-1'; did you mean 'recruited-1'?"),
        (("--policies", "oracle,nonsense"), "--policies: no policy 'nonsense'"),
        (("--pool", "ada,bop"), "no model 'bop', which --pool names; did you mean 'bob'?"),
        (("--pool", "ada"), "a pool of 1 leaves nothing to choose"),
        (("--where", "judge"), "--where judge: give column=value"),
        (("--where", "model=ada", "--where", "model=bob"), "'model' is filtered twice"),
        (("--folds", "1"), "1 folds cannot be made"),
        (("--folds", "0"), "0 folds cannot be made"),
        (("--folds", "1000"), "1000 folds cannot be made"),
        (("--seed", "-1"), ""),
        (("--questions", "none.parquet"), "none.parquet: cannot be read"),
        (("--outcomes", "none.parquet"), "none.parquet: cannot be read"),
        (("--models", "none.csv"), "none.csv"),
        (("--train-ids", "none.txt", "--test-ids", "none.txt"), "none.txt: cannot be read"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    """What is wrong and what was meant; no trace, and nothing on stdout."""
    refused(run(tmp_path, *options), words)


def test_mistaken_id_files_end_in_one_line(tmp_path: Path) -> None:
    """One without the other, ids on both sides or of no question, nothing left to judge, folds besides."""
    both = halves(tmp_path)
    refused(run(tmp_path, *both[:2]), "--train-ids and --test-ids go together")
    refused(run(tmp_path, *both[2:]), "--train-ids and --test-ids go together")
    refused(run(tmp_path, *both, "--folds", "2"), "--folds: the id files already say")
    refused(run(tmp_path, *sides(tmp_path, range(60), range(59, COUNT))), "1 are in both, as q59")
    refused(run(tmp_path, *sides(tmp_path, range(60), [77, 999])), "test ids: 1 of 2 belong to no question, as q999")
    refused(run(tmp_path, *sides(tmp_path, range(60), [])), "test.txt: holds no question ids")
    questions = asked()
    questions[60] |= {"question": questions[0]["question"].upper()}
    refused(run(tmp_path, *sides(tmp_path, range(60), [60]), questions=questions), "test ids: no question is left")
    questions[61] |= {"rev_open": True}
    done = run(tmp_path, *sides(tmp_path, [61], range(70, COUNT)), questions=questions)
    refused(done, "train ids: no question is left")


def test_mistaken_tables_end_in_one_line(tmp_path: Path) -> None:
    """The file, the row and a remedy: ids that come twice, outcomes that are none, no such column, no parquet."""
    refused(run(tmp_path, questions=[*asked(), asked()[5]]), "questions.parquet", "q5")
    refused(run(tmp_path, rows=[*recorded(), recorded()[0]]), "question q0 has more than one outcome of 'ada'")
    refused(run(tmp_path, rows=[row | {"correct": 2} for row in recorded()]), "it must be 0 to 1")
    refused(run(tmp_path, rows=[{"question_id": "q1", "model": "ada"}]), "no column 'correct' or 'score'")
    refused(run(tmp_path, "--questions", str(tmp_path / "models.csv")), "models.csv: not a parquet file")


def test_too_little_to_learn_from_ends_without_a_trace(tmp_path: Path) -> None:
    """Two questions: said on stderr, below how far the work had come."""
    done = run(tmp_path, *sides(tmp_path, [0, 1], range(61, 90)))
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    assert "2 different questions are too few to learn from; 20 are needed" in done.stderr.splitlines()[-1]


def test_a_benchmark_of_one_category_is_judged_by_topics(tmp_path: Path) -> None:
    """It is said on stderr and in the figures, beside what else was left out or stands in."""
    one = [row | {"category": "c", "q_tokens": None} for row in asked()]
    done = run(tmp_path, *FEW, *halves(tmp_path), "--as-json", questions=one)
    found = figures(done)
    assert found["n_test"] == COUNT - 60
    assert len(found["notes"]) == 2
    for note, words in zip(found["notes"], ("the questions have no q_tokens", "stand in for them"), strict=True):
        assert words in note
        assert note in done.stderr


def test_how_far_the_embedding_is_counts_different_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is embedded once, so the bar is full when all of them are."""
    totals: list[float | None] = []
    added = Progress.add_task

    def add(bars: Progress, description: str, *, total: float | None) -> TaskID:
        totals.append(total)
        return added(bars, description, total=total)

    monkeypatch.setattr(Progress, "add_task", add)
    questions = asked()
    for row in questions[60:70]:
        row["question"] = questions[70]["question"]
    figures(run(tmp_path, *FEW, "--folds", "2", "--as-json", questions=questions))
    assert totals[0] == COUNT - 10


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_what_was_judged_is_shown_though_a_file_cannot_be_written(tmp_path: Path, option: str) -> None:
    """An hour's work is not lost to a bad path or an unknown format."""
    (tmp_path / "taken.png").mkdir()
    files = [tmp_path / "taken.png", *([tmp_path / "report.nonsense"] if option == "--plot" else [])]
    for file in files:
        done = run(tmp_path, *FEW, *halves(tmp_path), option, str(file))
        assert done.exit_code == 1
        assert isinstance(done.exception, SystemExit)
        assert "recruited-1" in done.stdout
        assert "written to" not in done.stdout
        assert file.suffix[1:] in done.stderr


def test_a_picture_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    """A name without an ending gets one, and is named with it."""
    done = run(tmp_path, *FEW, *halves(tmp_path), "--plot", str(tmp_path / "picture"))
    assert f"written to {tmp_path / 'picture.png'}\n" in done.stdout
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG)


def test_a_picture_that_cannot_be_drawn_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    """Without matplotlib nothing is embedded."""
    monkeypatch.setattr("router.pictures.find_spec", lambda _: None)
    refused(run(tmp_path, "--plot", str(tmp_path / "r.png")), "a picture needs matplotlib")
    assert opened == []


def test_plans_under_budgets_are_judged_on_request(tmp_path: Path) -> None:
    """Two more tables, their figures beside the others, a picture."""
    files = ["--json", str(tmp_path / "all.json"), "--budgets", str(tmp_path / "budgets")]
    result = run(tmp_path, *FEW, "--folds", "2", *files)
    assert result.exit_code == 0, result.output
    assert "right, % (120 test questions) by cost of a query" in result.output
    assert "by time of a query" in result.output
    assert (tmp_path / "budgets.png").read_bytes().startswith(PNG)
    assert set(json.loads((tmp_path / "all.json").read_text())["budgets"]["bounds"]) == {"cost", "deadline"}
