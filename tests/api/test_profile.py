"""`symposium profile` through a real router: what is asked, kept, taken over, counted and written."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from deploy.cli import app
from experts.recorded_book import Behaviour
from experts.version import expert_versions
from router.asking import Tally, connect
from router.calibration import Calibration
from router.config import Config
from router.journal import open_journal, partial_path
from router.profile import Measured, measure
from router.profile_plot import draw
from router.profiles import Count, Profiles
from router.questions import LabelledQuestion
from tests.api.world import BEHAVIOURS, KEY, KEY_ENV, ROWS, World, config, profiles, routing
from tests.support import becomes_true, eventually, recorded

ASKED = [
    LabelledQuestion(
        question=f"What is {n} + {n}?",
        answer=str(2 * n),
        category="sums",
        skills=("addition", "doubling") if n % 2 else ("addition",),
    )
    for n in range(6)
]
CALIBRATION = Calibration(ASKED, 64)
# ant is right on all, bee on the even ones.
MORE = [
    *((q.question, "ant", f"The answer is {q.answer}.", 6) for q in ASKED),
    *((q.question, "bee", str(q.answer) if n % 2 == 0 else "7", 1) for n, q in enumerate(ASKED)),
    *((q.question, name, str(q.answer), 1) for q in ASKED for name in ("mute", "slow1")),
]
SLOW_START = {"slow1": Behaviour(ttft_s=3600)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A router over experts that have recorded the calibration questions."""
    with pytest.MonkeyPatch.context() as patch, recorded([*ROWS, *MORE], BEHAVIOURS | SLOW_START, KEY) as experts:
        patch.setenv(KEY_ENV, KEY)
        with routing(tmp_path_factory.mktemp("world"), experts) as running:
            yield running


async def run(world: World, folder: Path, *experts: str, show: Any = lambda *_: None, **more: Any) -> Measured:
    """`measure` with its journal in a folder; never waits before it tries again."""
    options: dict[str, Any] = {"concurrency": 4, "retry_pauses_s": (0, 0)} | more
    async with connect(world.url, "", 4) as client:
        with open_journal(partial_path(folder / "profiles.json")) as journal:
            return await measure(client, CALIBRATION, experts, journal, show, **options)


def started(world: World, *experts: str) -> int:
    """Legs of experts, once none is under way."""
    eventually(lambda: world.legs("running", *experts) == 0)
    return world.legs("started", *experts)


async def test_every_expert_is_asked_every_question_once(world: World, tmp_path: Path) -> None:
    """Right ones are counted by category and skill, with what was measured, and the tally follows."""
    before, seen = started(world, "ant", "bee"), []
    found = await run(world, tmp_path, "ant", "bee", show=lambda expert, tally: seen.append((expert, tally)))
    assert started(world, "ant", "bee") - before == 12
    assert found.failed == {}
    assert found.profiles["ant"].overall == Count(right=6, asked=6)
    assert found.profiles["bee"].overall == Count(right=3, asked=6)
    assert found.profiles["bee"].categories == {"sums": Count(right=3, asked=6)}
    assert found.profiles["bee"].skills == {"addition": Count(right=3, asked=6), "doubling": Count(right=0, asked=3)}
    assert (found.profiles["ant"].output_tokens, found.profiles["bee"].output_tokens) == (36, 6)
    models = {m["id"]: m["symposium"].get("version") for m in world.http.get("/v1/models").json()["data"]}
    assert found.profiles["ant"].expert_version == models["ant"]
    assert found.profiles["ant"].questions == CALIBRATION.digest
    tallies = [tally for expert, tally in seen if expert == "bee"]
    assert (tallies[0], tallies[-1]) == (Tally(0, 0, 6, 0), Tally(6, 3, 6, 0))


async def test_a_run_that_was_cut_off_goes_on(world: World, tmp_path: Path) -> None:
    """The second run asks exactly what is missing, and comes to the counts of a run in one piece."""
    answers = itertools.count(-2)  # each expert is shown once before its first answer
    enough = asyncio.Event()

    def stop(*_: object) -> None:
        if next(answers) >= 5:
            enough.set()

    cut_off = asyncio.create_task(run(world, tmp_path, "ant", "bee", show=stop, concurrency=2))
    await enough.wait()
    cut_off.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut_off
    with open_journal(partial_path(tmp_path / "profiles.json")) as journal:
        kept = len(journal.answers)
    assert 5 <= kept < 12

    before, seen = started(world, "ant", "bee"), []
    found = await run(world, tmp_path, "ant", "bee", show=lambda _, tally: seen.append(tally))
    assert started(world, "ant", "bee") - before == 12 - kept
    assert sum(tally.taken_over for tally in seen[:2]) == kept
    assert found.profiles["ant"].overall == Count(right=6, asked=6)
    assert found.profiles["bee"].overall == Count(right=3, asked=6)


async def test_answers_of_another_version_are_asked_again(world: World, tmp_path: Path) -> None:
    """What was kept of an expert that has changed meanwhile says nothing about the new one."""
    await run(world, tmp_path, "ant")
    path = partial_path(tmp_path / "profiles.json")
    first, *rest = map(json.loads, path.read_text().splitlines())
    lines = [first | {"expert_version": "older"}, *rest]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = started(world, "ant")
    await run(world, tmp_path, "ant")
    assert started(world, "ant") - before == 1


async def test_an_expert_that_keeps_failing_does_not_hold_up_the_others(world: World, tmp_path: Path) -> None:
    """It is tried a bounded number of times and reported; the others are measured."""
    before = started(world, "mute")
    found = await run(world, tmp_path, "mute", "ant", concurrency=1)
    assert found.profiles.keys() == {"ant"}
    assert found.failed.keys() == {"mute"}
    assert found.failed["mute"].startswith("gave up after 3 tries: HTTP 502: No expert answered")
    assert started(world, "mute") - before == 3


async def test_a_refusal_is_reported_as_it_is_and_not_repeated(world: World, tmp_path: Path) -> None:
    """Too large for the expert's context: the router's own words, and no second question."""
    requests = world.metric("symposium_requests_total")
    found = await run(world, tmp_path, "tiny", concurrency=1)
    assert found.failed["tiny"].startswith("refused 'What is 0 + 0?': HTTP 400: ")
    assert "context" in found.failed["tiny"]
    assert world.metric("symposium_requests_total") - requests == 1


async def test_leaving_aborts_what_is_under_way(world: World, tmp_path: Path) -> None:
    """A cancelled run leaves no leg running."""
    cut_off = asyncio.create_task(run(world, tmp_path, "slow1"))
    await becomes_true(lambda: world.legs("running", "slow1") == 4)
    cut_off.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut_off
    await becomes_true(lambda: world.legs("running", "slow1") == 0)


async def test_another_configuration_is_not_measured(world: World, tmp_path: Path) -> None:
    """An expert that is not served is named before anybody is asked."""
    with pytest.raises(ValueError, match="does not serve nobody"):
        await run(world, tmp_path, "ant", "nobody")
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240  # an empty folder in memory


def command(world: World, folder: Path, *options: str) -> list[str]:
    """`symposium profile` on a configuration in a folder, which is what the world serves."""
    served = config(folder, world.experts.url, "http://127.0.0.1:9")
    (folder / "symposium.yaml").write_text(yaml.safe_dump(served.model_dump(mode="json")))
    rows = [q.model_dump(exclude_none=True) for q in ASKED]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ["profile", str(folder / "symposium.yaml"), "--questions", str(folder / "questions.jsonl")]
    return [*asked, "--url", world.url, *options]


def invoke(world: World, folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, command(world, folder, *options))


def test_the_command_updates_the_profiles_of_the_experts_it_asked(world: World, tmp_path: Path) -> None:
    """The others keep theirs; nothing but the file is left; the new ones fit what is configured."""
    result = invoke(world, tmp_path, "--experts", "ant,bee")
    assert result.exit_code == 0, result.output
    found, path = Profiles.load(tmp_path / "profiles.json"), tmp_path / "profiles.json"
    assert found.experts["ant"].overall == Count(right=6, asked=6)
    assert found.experts["dog"] == profiles().experts["dog"]
    assert not partial_path(path).exists()
    served = config(tmp_path, world.experts.url, "http://127.0.0.1:9")
    assert found.experts["ant"].expert_version == expert_versions(served.experts, served.engines)["ant"]


def test_the_command_goes_on_with_what_was_kept(world: World, tmp_path: Path) -> None:
    """It says how much it took over, and exits with 1 as long as an expert is missing."""
    result = invoke(world, tmp_path, "--experts", "ant,tiny", "--concurrency", "1")
    assert result.exit_code == 1
    assert "tiny was not measured: refused" in result.output
    assert Profiles.load(tmp_path / "profiles.json").experts["ant"].overall.asked == 6
    before = started(world, "ant")
    again = invoke(world, tmp_path, "--experts", "ant")
    assert (again.exit_code, started(world, "ant") - before) == (0, 0)
    assert "ant: 6 of 6 answers taken over" in again.output
    restarted = invoke(world, tmp_path, "--experts", "ant", "--restart")
    assert (restarted.exit_code, started(world, "ant") - before) == (0, 6)
    assert not partial_path(tmp_path / "profiles.json").exists()


def test_the_command_draws_what_it_measured(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it has asked and written; skills are grouped as the questions are, whatever was learned."""
    seen = list[object]()

    def watched(config: Config, file: Path, category_of_skill: dict[str, str]) -> str:
        seen.append(category_of_skill)
        return draw(config, file, category_of_skill)

    monkeypatch.setattr("router.profile_plot.draw", watched)
    result = invoke(world, tmp_path, "--experts", "ant,bee", "--plot", str(tmp_path / "p"))
    assert result.exit_code == 0, result.output
    assert result.output.index("written to") < result.output.index(f"drawn into {tmp_path / 'p.png'}")
    assert (tmp_path / "p.png").stat().st_size > 0
    assert seen == [{"addition": "sums", "doubling": "sums"}]


def test_ctrl_c_says_how_to_go_on(world: World, tmp_path: Path) -> None:
    """What was answered is kept, no leg is left, and the exit code is a shell's own for Ctrl-C."""
    entry = [sys.executable, "-c", "from deploy.cli import main; main()"]
    arguments = command(world, tmp_path, "--experts", "ant,slow1")
    kept = partial_path(tmp_path / "profiles.json")
    with subprocess.Popen([*entry, *arguments], stderr=subprocess.PIPE, text=True) as running:
        eventually(lambda: kept.exists() and kept.read_text().count("\n") == 6 and world.legs("running", "slow1") == 6)
        running.send_signal(signal.SIGINT)
        said = running.communicate()[1]
    assert running.returncode == 130, said
    assert "the same command goes on" in " ".join(said.split())
    assert "Traceback" not in said
    eventually(lambda: world.legs("running", "slow1") == 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--experts", "ant,nobody"], "no expert that answers questions: nobody"),
        (["--url", "http://127.0.0.1:9"], "Is a symposium served there?"),
        (["--aggregators", "--url", "http://127.0.0.1:9"], "Is a symposium served there?"),
        (["--aggregators", "--experts", "namer"], "no expert that aggregates or answers questions: namer"),
        (["--per-skill", "3"], "goes with --aggregators"),
    ],
)
def test_what_cannot_be_is_said(world: World, tmp_path: Path, options: list[str], said: str) -> None:
    """Exit code 1 and the reason, without a trace of Python."""
    result = invoke(world, tmp_path, *options)
    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert "Traceback" not in result.output


def test_stale_profiles_are_named_by_validate(world: World, tmp_path: Path) -> None:
    """They are used all the same: the configuration is valid."""
    invoke(world, tmp_path, "--experts", "ant")
    result = CliRunner().invoke(app, ["validate", str(tmp_path / "symposium.yaml"), "--json"])
    said = json.loads(result.stdout)
    assert (result.exit_code, said["valid"]) == (0, True)
    assert "bee" in said["stale_profiles"]
    assert "ant" not in said["stale_profiles"]
