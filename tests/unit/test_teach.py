"""`symposium fit` as a person runs it: files in, a fitted file and figures out, mistakes in plain words."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from deploy.cli import app
from router.fitted import Fitted
from tests.unit.make import YAML, yaml_file

ASKED = {
    "math": ["Add {} and {}.", "What is {} plus {}?", "Sum of {} and {}?", "{} and {} make what?", "{} + {} = ?"],
    "place": ["Which city has {} of {}?", "Where is {} by {}?", "Is {} near {}?", "Town {} or {}?", "Map of {} or {}?"],
}  # fmt: skip
FOREIGN = ["Write a poem about autumn.", "My knee hurts, what now?", "Explain inflation to a child."]


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(folder: Path, *options: str) -> Result:
    """`symposium fit` with the cheap embedder."""
    config = yaml_file(folder, YAML + "  embedder: {model: static}\n")
    return CliRunner().invoke(app, ["fit", str(config), *options])


def rows() -> list[dict[str, str]]:
    """Two categories, five wordings each, four questions a wording."""
    return [
        {"question": wording.format(n, n + 3), "category": category, "group": wording}
        for category, wordings in ASKED.items()
        for wording in wordings
        for n in range(4)
    ]


def json_lines(path: Path, found: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(path)


def test_questions_become_a_fitted_file_and_figures(tmp_path: Path) -> None:
    """Tables for people; the report in a file for whoever draws it; the vectors kept for the next time."""
    questions = json_lines(tmp_path / "q.jsonl", rows())
    foreign = json_lines(tmp_path / "f.jsonl", [{"question": q} for q in FOREIGN])
    report = tmp_path / "deep" / "report.json"
    done = run(tmp_path, "--questions", questions, "--test", questions, "--foreign", foreign, "--report", str(report))
    assert done.exit_code == 0, done.output
    for words in ("category accuracy", "cross-validated", "test file", "foreign, to general", "accuracy of the rest"):
        assert words in done.output
    assert "40 test questions are of wordings that were fitted on" in " ".join(done.output.split())
    fitted = Fitted.load(tmp_path / "fitted.npz", "static")
    assert json.loads(report.read_text()) == fitted.report
    assert fitted.vocabulary.names == ("math", "place")
    assert fitted.report["foreign"]["questions"] == 3
    assert list((tmp_path / "cache" / "symposium" / "vectors").glob("static-*/vectors.sqlite"))


def test_json_is_all_there_is_on_stdout(tmp_path: Path) -> None:
    """A users' parquet does as well as JSON lines; progress goes to stderr."""
    parquet.write_table(pa.Table.from_pylist([row | {"gold": "A"} for row in rows()]), tmp_path / "q.parquet")
    done = run(tmp_path, "--questions", str(tmp_path / "q.parquet"), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["questions"] == 40


def test_mistakes_end_in_plain_words(tmp_path: Path) -> None:
    """Exit code 1 and the file's name; nothing is written."""
    few = json_lines(tmp_path / "few.jsonl", rows()[:20])
    good = json_lines(tmp_path / "good.jsonl", rows())
    other = json_lines(tmp_path / "other.jsonl", [{"question": "Is it legal?", "category": "law"}])
    for options, words in (
        (("--questions", str(tmp_path / "none.jsonl")), "none.jsonl: cannot be read"),
        (("--questions", few), "at least two categories"),
        (("--questions", good, "--test", other), "category 'law'"),
    ):
        done = run(tmp_path, *options)
        assert done.exit_code == 1
        assert words in " ".join(done.output.split())
        assert not (tmp_path / "fitted.npz").exists()
