"""`symposium validate` as a person and as a program run it: everything at once, the exit code, and probes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from tests.api.world import fitted
from tests.unit.make import YAML, yaml_file

REPOSITORY = Path(__file__).resolve().parents[2]
QUICKSTART = REPOSITORY / "configs" / "quickstart.yaml"
STATIC = YAML.replace("routing:\n", "routing:\n  embedder: {model: static}\n")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["validate", *map(str, arguments)])


def told(*arguments: object) -> list[dict[str, Any]]:
    """What programs read: a line per configuration, and nothing beside it."""
    result = run(*arguments, "--json")
    found: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == (0 if all(one["valid"] for one in found) else 1)
    return found


def test_every_configuration_of_the_repository_is_valid() -> None:
    """All of them in one call; what is still to be measured of some is a warning."""
    configs = sorted((REPOSITORY / "configs").glob("*.yaml"))
    assert len(configs) > 2
    assert [one["problems"] for one in told(*configs)] == [[]] * len(configs)


def test_several_files_are_judged_each_on_its_own(tmp_path: Path) -> None:
    """One that is wrong makes the exit code; the others are said to be valid all the same."""
    (tmp_path / "bad").mkdir()
    good, bad = yaml_file(tmp_path), yaml_file(tmp_path / "bad", YAML + "zzz: 1\npolicies: {}\n")
    result = run(good, bad, tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert "valid, version" in result.stdout
    for line in (
        f"{bad}:17:1: zzz: unknown key",
        f"{bad}:18:1: policies: 'auto' is missing",
        "cannot be read: No such",
    ):
        assert line in result.stderr
    first, second, third = told(good, bad, tmp_path / "none.yaml")
    assert (first["valid"], second["valid"], third["valid"]) == (True, False, False)
    assert second["problems"][0] | {"message": ""} == {
        "file": str(bad), "line": 17, "column": 1, "path": "zzz", "message": "",
    }  # fmt: skip


def test_what_cannot_be_reached_is_refused_with_its_line(tmp_path: Path) -> None:
    """The fitted file knows two categories; a policy that speaks of a third could never act on it."""
    fitted().save(tmp_path / "fitted.npz")
    path = yaml_file(tmp_path, YAML.replace("routing:\n", "routing:\n  embedder: {model: keywords}\n"))
    assert told(path)[0]["valid"] is True
    path.write_text(path.read_text() + "policies:\n  auto:\n    categories: {people: vote, smus: vote}\n")
    (problem,) = told(path)[0]["problems"]
    assert (problem["line"], problem["path"]) == (20, "policies.auto.categories.smus")
    assert problem["message"] == "unknown category 'smus'; did you mean 'sums'?"


def test_a_fitted_file_may_come_later_but_must_fit(tmp_path: Path) -> None:
    """`symposium fit` needs a valid configuration first; a file for another embedder is none."""
    path = yaml_file(tmp_path)
    (warning,) = told(path)[0]["warnings"]
    assert "`symposium fit` makes it" in warning["message"]
    fitted().save(tmp_path / "fitted.npz")
    (problem,) = told(path)[0]["problems"]
    assert problem["path"] == "routing.fitted"
    assert "run `symposium fit` again" in problem["message"]


def test_the_quickstart_passes_its_own_probes() -> None:
    """With the files that are committed: categories, experts and ceilings of its questions."""
    (found,) = told(QUICKSTART, "--probes")
    assert (found["problems"], found["probes"]) == ([], 11)


def test_a_wrong_probe_fails_with_its_line(tmp_path: Path) -> None:
    """File, line, the question, what was expected and what came; the others still pass."""
    probes = tmp_path / "mine.yaml"
    probes.write_text(
        "probes:\n"
        "  - {prompt: 'What is 17 plus 25?', category: math}\n"
        "  - prompt: What is 18 plus 25?\n"
        "    policy: panel\n"
        "    category: knowledge\n"
        "    max_experts: 1\n"
    )
    result = run(QUICKSTART, "--probes-file", probes)
    assert result.exit_code == 1
    lines = [line.strip() for line in result.stderr.splitlines() if "mine.yaml" in line]
    question = "'What is 18 plus 25?' to 'panel'"
    assert lines[0] == f"{probes}:5:5: probes.1.category: {question}: it is taken for math, not knowledge"
    assert lines[1].startswith(f"{probes}:6:5: probes.1.max_experts: {question}: 3 may be asked: ")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("probes: [{prompt: x, categry: math}]\n", "probes.0.categry: unknown key; did you mean 'category'?"),
        ("probes: [{prompt: x, category: maths}]\n", "probes.0.category: unknown 'maths'; did you mean 'math'?"),
        ("probes: [{category: math}]\n", "probes.0.prompt: missing: what the user says"),
        ("probes: [{prompt: x}]\n", "probes.0: nothing is expected"),
        ("probes: []\n", "probes: Tuple should have at least 1 item"),
        ("- prompt: x\n", "the file must hold a mapping"),
        ("probes: [\n", "expected the node content"),
    ],
)
def test_what_is_no_probe_is_said_like_everything_else(tmp_path: Path, text: str, words: str) -> None:
    """With file, line, path and a suggestion."""
    probes = tmp_path / "probes.yaml"
    probes.write_text(text)
    result = run(QUICKSTART, "--probes-file", probes)
    assert result.exit_code == 1
    assert words in result.stderr
    assert f"{probes}:" in result.stderr


def test_no_message_about_files_shows_a_value_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found after the YAML was read is told like what was found in it."""
    monkeypatch.setenv("WHERE", "s3cr3t-place")
    path = yaml_file(tmp_path, STATIC.replace("fitted.npz", "${WHERE}/fitted.npz"))
    result = run(path)
    assert "routing.fitted: no such file yet" in result.stderr
    assert "${WHERE}/fitted.npz" in result.stderr
    assert "s3cr3t" not in result.stderr + run(path, "--json").stdout


def test_probes_lie_beside_their_configuration(tmp_path: Path) -> None:
    """In a folder of its name, else in the same folder; none at all is said."""
    path = yaml_file(tmp_path, STATIC.replace("fitted.npz", str(QUICKSTART.parent / "quickstart" / "fitted.npz")))
    path.write_text(path.read_text().replace("static", "minilm"))
    assert "cannot be read" in run(path, "--probes").stderr
    (tmp_path / "probes.yaml").write_text("probes: [{prompt: x, category: beside}]\n")
    assert "unknown 'beside'" in run(path, "--probes").stderr
    (tmp_path / "symposium").mkdir()
    (tmp_path / "symposium" / "probes.yaml").write_text("probes: [{prompt: x, category: inside}]\n")
    assert "unknown 'inside'" in run(path, "--probes").stderr
