"""`symposium decisions`: the latest requests on the screen, as JSON, or the whole log as Parquet."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from deploy.cli import app
from router.decision_files import DecisionFiles
from router.decision_rows import decision_row
from tests.unit.make import YAML, yaml_file
from tests.unit.make_decisions import NOON, TERMS, call, refused, row, settings, words

RUN = CliRunner(env={"COLUMNS": "300"})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with three requests in its log: two that were answered by two calls each, and one refused."""
    DecisionFiles(tmp_path / "data", settings()).write(
        [
            *(row(f"req_{n}", NOON + n) for n in range(2)),
            *(call(f"req_{n}-{m}") for n in range(2) for m in range(2)),
            decision_row(refused("req_2"), NOON + 2, TERMS, words()),
        ],
        NOON,
    )
    return yaml_file(tmp_path, YAML)


def test_the_latest_requests_are_shown(config: Path) -> None:
    """The latest first: when, how it ended, who answered, what it cost."""
    shown = RUN.invoke(app, ["decisions", str(config), "--last", "2"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.index("req_2") < shown.output.index("req_1")
    assert "req_0" not in shown.output
    for told in ("refused (401 invalid_api_key)", "2025-12-31 12:00:01", "math", "ada", "30", "0.500"):
        assert told in shown.output, told


def test_programs_get_all_of_it(config: Path) -> None:
    """Every column, JSON as what it says, and each request's calls in the order in which they ended."""
    shown = RUN.invoke(app, ["decisions", str(config), "--json"])
    found = json.loads(shown.stdout)
    assert [entry["request_id"] for entry in found] == ["req_2", "req_1", "req_0"]
    assert [entry["leg_id"] for entry in found[1]["calls"]] == ["req_1-0", "req_1-1"]
    assert found[1]["candidates"][0]["expert"] == "ada"
    assert (found[0]["calls"], found[0]["candidates"]) == ([], None)


def test_the_whole_log_can_be_had_as_parquet(config: Path, tmp_path: Path) -> None:
    """Both tables, typed; an earlier export is replaced."""
    for _ in range(2):
        shown = RUN.invoke(app, ["decisions", str(config), "--parquet", str(tmp_path / "out")])
        assert shown.exit_code == 0, shown.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["decisions.parquet", "legs.parquet"]
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "decisions.parquet").to_pylist()
    assert [(r["request_id"], r["cost_usd"], r["stream"]) for r in rows] == [
        ("req_2", None, None),
        ("req_1", 30.0, False),
        ("req_0", 30.0, False),
    ]
    assert pyarrow.parquet.read_table(tmp_path / "out" / "legs.parquet").num_rows == 4


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Nothing was asked yet: no error, no rows."""
    config = yaml_file(tmp_path, YAML)
    assert RUN.invoke(app, ["decisions", str(config), "--json"]).stdout == "[]\n"
    shown = RUN.invoke(app, ["decisions", str(config), "--parquet", str(tmp_path / "out")])
    assert "decisions.parquet: 0 rows" in shown.output.replace("\n", "")


def test_a_place_that_cannot_be_written_to_is_said(config: Path) -> None:
    """One line, not a traceback."""
    shown = RUN.invoke(app, ["decisions", str(config), "--parquet", str(config / "below-a-file")])
    assert shown.exit_code == 1
    assert "below-a-file" in shown.output
