"""`symposium profile --aggregators` through a real router: on which responses, who is asked, what is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from deploy.cli import app
from router.calibration import Calibration
from router.panels import panels
from router.profiles import Count, Profiles
from router.questions import LabelledQuestion
from tests.api.world import BEHAVIOURS, KEY, KEY_ENV, ROWS, World, config, profiles, routing
from tests.support import eventually, recorded

MAX_CHARS = 400
CALIBRATION = Calibration(
    [
        LabelledQuestion(question=f"What is {n} + {n}?", answer=str(2 * n), category="sums", skills=("addition",))
        for n in range(6)
    ],
    64,
)
# ant is right on all, bee on the even ones, cat on none: the odd ones alone have two different wrong responses.
FIRST = [
    row
    for n, q in enumerate(CALIBRATION.questions)
    for row in (
        (q.question, "ant", f"The answer is {q.answer}.", 6),
        (q.question, "bee", str(q.answer) if n % 2 == 0 else "7", 1),
        (q.question, "cat", "9", 1),
    )
]
PANELS = panels(CALIBRATION, {CALIBRATION.keys[n]: (f"The answer is {2 * n}.", "7", "9") for n in (1, 3, 5)}, MAX_CHARS)
# dog makes the right answer of all panels, ant of one, bee and cat of none; tiny has no room to read them.
FINAL = [
    row
    for n, q in enumerate(PANELS.questions)
    for row in (
        (q.question, "dog", str(q.answer), 1),
        (q.question, "ant", str(q.answer) if n == 0 else "7", 1),
        (q.question, "bee", "9", 1),
        (q.question, "cat", "Who knows", 2),
    )
]
WITH_A_PART = ("ant", "bee", "cat", "dog", "tiny", "namer")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A router over experts that have recorded the questions and the panels."""
    with pytest.MonkeyPatch.context() as patch, recorded([*ROWS, *FIRST, *FINAL], BEHAVIOURS, KEY) as experts:
        patch.setenv(KEY_ENV, KEY)
        with routing(tmp_path_factory.mktemp("world"), experts) as running:
            yield running


def aggregating(world: World, folder: Path, *options: str, without: str = "") -> Result:
    """The command on a configuration of those experts alone that have a part in the panels; dog is made for it."""
    served = config(folder, world.experts.url, "http://127.0.0.1:9").model_dump(mode="json")
    served["experts"] = {name: served["experts"][name] for name in WITH_A_PART if name != without}
    served["experts"]["dog"]["part"] = "aggregator"
    served |= {"policies": {"auto": {}}, "convening": {"max_chars": MAX_CHARS}}
    (folder / "symposium.yaml").write_text(yaml.safe_dump(served))
    rows = [q.model_dump(exclude_none=True) for q in CALIBRATION.questions]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["profile", str(folder / "symposium.yaml"), "--questions", str(folder / "questions.jsonl")]
    return CliRunner().invoke(app, [*arguments, "--aggregators", "--url", world.url, *options])


def said(result: Result) -> str:
    """All it printed, without the terminal's line breaks."""
    return " ".join(result.output.split())


def legs(world: World, *experts: str) -> int:
    """Of these experts, once none is under way."""
    eventually(lambda: world.legs("running", *experts) == 0)
    return world.legs("started", *experts)


def test_aggregators_are_measured_on_real_responses(world: World, tmp_path: Path) -> None:
    """Everybody that may aggregate, on the questions with a triple; who cannot read them is wrong, not left out.

    Those who answer keep their profiles, and no journal is left.
    """
    result = aggregating(world, tmp_path)
    assert result.exit_code == 0, result.output
    found = Profiles.load(tmp_path / "profiles.json")
    right = {name: profile.overall.right for name, profile in found.aggregators.items()}
    assert right == {"dog": 3, "ant": 1, "bee": 0, "cat": 0, "tiny": 0}
    assert {profile.overall.asked for profile in found.aggregators.values()} == {3}
    assert found.aggregators["dog"].categories == {"sums": Count(right=3, asked=3)}
    assert found.aggregators["dog"].questions == PANELS.digest
    assert found.experts == profiles().experts
    assert "3 questions with one right and two wrong responses each: by chance 33% would be right" in said(result)
    assert "3 of 6 questions got no such responses" in said(result)
    assert not list(tmp_path.glob("*.partial.jsonl"))


def test_some_aggregators_are_measured_on_some_questions(world: World, tmp_path: Path) -> None:
    """Responses are those of all that answer; nobody else is asked to aggregate."""
    before = legs(world, "dog")
    result = aggregating(world, tmp_path, "--experts", "dog", "--per-skill", "5")
    assert result.exit_code == 0, result.output
    found = Profiles.load(tmp_path / "profiles.json")
    assert found.aggregators.keys() == {"dog"}
    asked = found.aggregators["dog"].overall.asked
    assert asked in (2, 3)
    assert legs(world, "dog") - before == asked
    assert f"{5 - asked} of 5 questions got no such responses" in said(result)


def test_new_profiles_stand_beside_the_others(world: World, tmp_path: Path) -> None:
    """Who was not measured this time keeps what was measured before."""
    aggregating(world, tmp_path, "--experts", "ant")
    older = Profiles.load(tmp_path / "profiles.json").aggregators["ant"]
    known = profiles().updated_aggregators({"ant": older, "dog": older})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.api.world.profiles", lambda: known)
        aggregating(world, tmp_path, "--experts", "dog")
    found = Profiles.load(tmp_path / "profiles.json").aggregators
    assert (found["ant"], found["dog"].overall.right) == (older, 3)


def test_without_wrong_responses_nobody_is_measured(world: World, tmp_path: Path) -> None:
    """Nothing is made up in their place: it is said, and the profiles stay."""
    result = aggregating(world, tmp_path, without="bee")
    assert result.exit_code == 1
    assert "none of 6 questions got one right and two different wrong responses" in said(result)
    assert Profiles.load(tmp_path / "profiles.json") == profiles()


def test_stale_aggregators_are_named_by_validate(world: World, tmp_path: Path) -> None:
    """With the command that measures them anew."""
    aggregating(world, tmp_path, "--experts", "dog")
    path = tmp_path / "profiles.json"
    dog = Profiles.load(path).aggregators["dog"]
    Profiles(aggregators={"dog": dog.model_copy(update={"expert_version": "older"})}).save(path)
    result = CliRunner().invoke(app, ["validate", str(tmp_path / "symposium.yaml"), "--json"])
    assert json.loads(result.stdout)["stale_profiles"] == ["dog"]
    assert "`symposium profile --aggregators --experts dog`" in " ".join(result.stderr.split())
