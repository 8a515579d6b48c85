"""The picture of what was measured: what is drawn where, in which order, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from deploy.cli import app
from experts.intervals import wilson
from router.config import Config
from router.config_file import load
from router.learned import Learned
from router.profile_plot import ALL, DPI, FEW, MOST_IN, draw, picture
from router.profiles import Count, Profile, Profiles
from tests.unit.make import YAML, yaml_file
from tests.unit.test_learn import known

CATEGORIES = {"sums": "math", "products": "math", "rhymes": "text", "letters": "text"}
BINS: dict[str, Any] = {
    "ece": 0.0421,
    "edges": [tenth / 10 for tenth in range(11)],
    "counts": [1000, 0, 0, 0, 0, 4, 0, 0, 0, 50],
    "confidence": [0.05, None, None, None, None, 0.55, None, None, None, 0.95],
    "accuracy": [0.04, None, None, None, None, 0.75, None, None, None, 1.0],
}


def profile(right: Mapping[str, int], asked: int = 20, version: str = "v1") -> Profile:
    """So many right of `asked` in each skill."""
    skills = {skill: Count(right=n, asked=asked) for skill, n in right.items()}
    overall = Count(right=sum(right.values()), asked=asked * len(right))
    return Profile(expert_version=version, engine_version="e", questions="q", overall=overall, skills=skills)


# In a file's order: nobody stands where he belongs.
POOL = {
    "all-round": profile({"sums": 18, "rhymes": 18, "products": 18, "letters": 18}),
    "reader": profile({"sums": 2, "rhymes": 20, "products": 1, "letters": 19}),
    "adder": profile({"sums": 20, "rhymes": 1, "products": 12, "letters": 0}),
    "calculator": profile({"sums": 19, "rhymes": 2, "products": 19, "letters": 2}),
}


def heat_map(made: Figure) -> Axes:
    return made.axes[0]


def shown(made: Figure) -> tuple[list[str], list[str]]:
    """The names of rows and columns."""
    axes = heat_map(made)
    return [t.get_text() for t in axes.get_yticklabels()], [t.get_text() for t in axes.get_xticklabels()]


def cells(made: Figure) -> NDArray[np.float64]:
    """What is coloured, [E, S + 1] in percent; NaN where nothing is."""
    found = heat_map(made).images[0].get_array()
    assert isinstance(found, np.ma.MaskedArray)
    return np.asarray(found.filled(np.nan))


def curve(axes: Axes) -> ErrorbarContainer:
    """The points of a calibration curve, with their bars."""
    (found,) = axes.containers
    assert isinstance(found, ErrorbarContainer)
    return found


def texts(axes: Axes) -> list[str]:
    return [t.get_text() for t in axes.texts if t.get_text()]


def titles(made: Figure) -> list[str]:
    return [part.get_suptitle() for part in made.subfigs]


def test_skills_of_a_category_and_who_is_good_at_them_stand_together() -> None:
    """Categories in the order of the questions; specialists along the diagonal, the better first; all-rounders last."""
    made = picture(POOL, CATEGORIES, None)
    rows, columns = shown(made)
    assert rows == ["calculator", "adder", "reader", "all-round"]
    assert columns == ["sums", "products", "rhymes", "letters", ALL]
    assert [text for text in texts(heat_map(made)) if text in ("math", "text")] == ["math", "text"]


def test_without_categories_skills_stand_as_they_were_asked() -> None:
    """No names above them; experts by their best skill."""
    made = picture(POOL, {}, None)
    rows, columns = shown(made)
    assert columns == ["sums", "rhymes", "products", "letters", ALL]
    assert rows == ["adder", "reader", "calculator", "all-round"]
    assert not {"math", "text"} & set(texts(heat_map(made)))


def test_cells_hold_shares_of_right_answers() -> None:
    """As colours and as numbers, in percent; the last column is of all answers."""
    made = picture({"adder": POOL["adder"]}, CATEGORIES, None)
    np.testing.assert_allclose(cells(made), [[100, 60, 5, 0, 41.25]])
    assert [text for text in texts(heat_map(made)) if text.isdigit()] == ["100", "60", "5", "0", "41"]


def test_shares_of_few_answers_are_not_shown() -> None:
    """Nor of none; the title says what grey means, and only where there is some."""
    thin = profile({"sums": FEW - 1}, FEW - 1)
    made = picture({"thin": thin, "adder": POOL["adder"]}, CATEGORIES, None)
    row = shown(made)[0].index("thin")
    assert np.isnan(cells(made)[row]).all()
    assert np.isnan(cells(made)).sum() == 5
    assert f"grey: fewer than {FEW} answers" in titles(made)[0]
    assert "grey" not in titles(picture({"just": profile({"sums": 1}, FEW)}, {}, None))[0]


def test_numbers_and_names_go_where_there_is_no_room() -> None:
    """A picture does not grow without bounds; the names of categories stay."""
    skills = {f"skill_{n}": n % 20 for n in range(300)}
    made = picture({"one": profile(skills)}, {skill: f"c{n // 100}" for n, skill in enumerate(skills)}, None)
    assert made.get_figwidth() == MOST_IN
    assert texts(heat_map(made)) == ["c0", "c1", "c2"]
    assert shown(made) == (["one"], [])
    narrow = picture({"one": profile(dict(list(skills.items())[:120]))}, {}, None)
    assert {t.get_rotation() for t in heat_map(narrow).get_xticklabels()} == {90.0}
    assert len(shown(narrow)[1]) == 121


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    """Dollar signs make no formula; folders are made; the picture has its size, and something on it."""
    made = picture({"$a_{$": profile({"$x^$": 3})}, {"$x^$": "$_$"}, {"profiles": BINS, "learned": BINS})
    made.savefig(tmp_path / "p.png")
    pixels = imread(tmp_path / "p.png")
    assert pixels.shape[:2] == tuple(int(inches * DPI) for inches in (made.get_figheight(), made.get_figwidth()))
    assert pixels.std() > 0.05


def test_calibration_is_drawn_of_both() -> None:
    """Points of bins that hold something, with their error in the title and how many answers are behind them."""
    better = BINS | {"ece": 0.012, "confidence": [0.04, *BINS["confidence"][1:]]}
    made = picture(POOL, CATEGORIES, {"profiles": BINS, "learned": better})
    profiles, learned, counts, _ = made.subfigs[1].axes
    assert profiles.get_title() == "Profiles alone: ECE 0.042"
    assert learned.get_title() == "With what was learned: ECE 0.012"
    for axes, least in ((profiles, 0.05), (learned, 0.04)):
        points = np.asarray(curve(axes).lines[0].get_xydata(), dtype=np.float64)
        np.testing.assert_allclose(points, [[least, 0.04], [0.55, 0.75], [0.95, 1.0]])
    assert texts(counts) == ["1,000", "4", "50"]
    assert len(made.subfigs) == 2


def test_bars_say_how_sure_a_share_is() -> None:
    """Wilson's intervals: long where few answers are behind a point, bounded where all were right."""
    made = picture(POOL, CATEGORIES, {"profiles": BINS, "learned": BINS})
    bars = curve(made.subfigs[1].axes[0]).lines[2][0]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, [wilson(40, 1000), wilson(3, 4), wilson(50, 50)])


LEARNS = YAML.replace("routing:\n", "routing:\n  learned: learned.npz\n  embedder: {model: cloud}\n")
VERSIONS = {"ada": "v1", "bob": "v1"}


def folder(path: Path, text: str = LEARNS, **versions: str) -> Config:
    """A configuration with profiles of these versions."""
    right = {"sums": 3, "rhymes": 5, "products": 7}
    found = {name: profile(right, version=version) for name, version in versions.items()}
    Profiles(experts=found).save(path / "profiles.json")
    return load(yaml_file(path, text))


@cache
def learned() -> Learned:
    """Something learned of ada and bob, with its report."""
    _, _, found = known()
    return replace(found, versions={"ada": "v1", "bob": "v1", "cy": "v1"})


def test_a_picture_is_drawn_of_what_the_files_hold(tmp_path: Path) -> None:
    """Experts, and calibration where there is some: nothing has to be asked. Without a note: all is there."""
    config = folder(tmp_path, **VERSIONS, cy="v1")
    learned().save(tmp_path / "learned.npz")
    assert draw(config, tmp_path / "deep" / "p.png", CATEGORIES) == ""
    whole = imread(tmp_path / "deep" / "p.png").shape[0]
    (tmp_path / "learned.npz").unlink()
    assert "learned.npz is not there yet" in draw(config, tmp_path / "q.png", CATEGORIES)
    assert imread(tmp_path / "q.png").shape[0] < whole


def test_without_questions_skills_are_grouped_as_they_were_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report keeps which category each skill is of; questions that are at hand go first."""
    config, seen = folder(tmp_path, **VERSIONS, cy="v1"), list[Mapping[str, str]]()
    learned().save(tmp_path / "learned.npz")

    def watched(profiles: Mapping[str, Profile], category_of_skill: Mapping[str, str], _: object) -> Figure:
        seen.append(category_of_skill)
        return picture(profiles, category_of_skill, None)

    monkeypatch.setattr("router.profile_plot.picture", watched)
    draw(config, tmp_path / "p.png", {})
    draw(config, tmp_path / "p.png", {"sums": "other"})
    assert seen == [{"sums": "math", "words": "text"}, {"sums": "other"}]


def test_calibration_of_something_else_is_not_drawn(tmp_path: Path) -> None:
    """Of experts in other versions, or that are not measured any more; what is drawn is said."""
    learned().save(tmp_path / "learned.npz")
    newer = folder(tmp_path, **VERSIONS, cy="v2")
    assert "other versions of experts" in draw(newer, tmp_path / "p.png", {})
    fewer = folder(tmp_path, **VERSIONS)
    assert "other versions of experts" in draw(fewer, tmp_path / "p.png", {})


def test_what_an_earlier_version_learned_has_no_calibration(tmp_path: Path) -> None:
    """The remedy is to measure again; the rest is drawn."""
    config = folder(tmp_path, **VERSIONS, cy="v1")
    old = {"questions": 200, "brier": 0.2}
    replace(learned(), report=old).save(tmp_path / "learned.npz")
    assert "is of an earlier version" in draw(config, tmp_path / "p.png", {})
    assert (tmp_path / "p.png").exists()


def test_a_configuration_that_learns_nothing_has_no_calibration(tmp_path: Path) -> None:
    """And is told what would change that."""
    assert "routing.learned" in draw(folder(tmp_path, YAML, **VERSIONS), tmp_path / "p.png", {})


def test_nobody_measured_is_no_picture(tmp_path: Path) -> None:
    """Neither without a file, nor where it is of experts that are not configured."""
    config = load(yaml_file(tmp_path, YAML))
    with pytest.raises(ValueError, match="no expert was measured yet"):
        draw(config, tmp_path / "p.png", {})
    with pytest.raises(ValueError, match="no expert was measured yet"):
        draw(folder(tmp_path, YAML, zoe="v1"), tmp_path / "p.png", {})
    assert not (tmp_path / "p.png").exists()


def test_a_format_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    """By the name's ending."""
    with pytest.raises(ValueError, match="not supported"):
        draw(folder(tmp_path, YAML, **VERSIONS), tmp_path / "p.xyz", {})


def invoke(path: Path, *options: str) -> Result:
    """`symposium profile` with a configuration whose symposium is not served."""
    return CliRunner().invoke(app, ["profile", str(path / "symposium.yaml"), "--url", "http://127.0.0.1:9", *options])


def test_the_command_draws_what_was_measured_before(tmp_path: Path) -> None:
    """Without questions nobody is asked; a name without an ending is a PNG's; what is missing in it is said."""
    folder(tmp_path, **VERSIONS)
    result = invoke(tmp_path, "--plot", str(tmp_path / "p"))
    assert result.exit_code == 0, result.output
    assert f"drawn into {tmp_path / 'p.png'}" in result.output
    assert "without a calibration curve of P(right)" in result.output
    assert (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--questions: needed"),
        (["--experts", "ada"], "--questions: needed"),
        (["--plot", "p.png", "--experts", "ada"], "--questions: needed"),
        (["--plot", "p.png", "--restart"], "--questions: needed"),
        (["--plot", "p.png", "--aggregators"], "does not go with --aggregators"),
        (["--plot", "p.png"], "no expert was measured yet"),
    ],
)
def test_a_command_that_says_too_little_or_too_much_is_refused(tmp_path: Path, options: list[str], said: str) -> None:
    """What to ask goes with questions."""
    load(yaml_file(tmp_path, YAML))
    result = invoke(tmp_path, *options)
    assert (result.exit_code, said in " ".join(result.output.split())) == (1, True), result.output


def test_matplotlib_is_looked_for_before_anybody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody should wait for answers only to be told that there is no picture; without --plot it is not needed."""
    config = folder(tmp_path, **VERSIONS)
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "1?", "answer": "1", "category": "math"}\n')
    monkeypatch.setattr("router.pictures.find_spec", lambda _: None)
    asked = ("--questions", str(questions))
    assert "needs matplotlib" in invoke(tmp_path, *asked, "--plot", str(tmp_path / "p.png")).output
    assert "Is a symposium served there?" in invoke(tmp_path, *asked).output
    with pytest.raises(ValueError, match="needs matplotlib"):
        draw(config, tmp_path / "p.png", {})
