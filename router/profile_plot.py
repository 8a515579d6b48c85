"""Draws what `symposium profile` measured: who is right at what, and how far predictions of that can be trusted.

Above, right answers of experts in skills; below, where something was learned, P(right) against what came.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from experts.intervals import wilson
from router.config import Config
from router.learned import Learned
from router.pictures import BLUE, GREY, ORANGE, blank, need_matplotlib, save
from router.profiles import Count, Profile, Profiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import NDArray

    Bins = Mapping[str, Any]  # of `router.fit_report.reliability`, with "ece"

FEW = 10  # answers: a share of fewer is not shown
DPI = 130
CELL_IN, ROW_IN = 0.36, 0.27  # inches; in a picture of the largest size cells get smaller
LEAST_IN, MOST_IN = 10.0, 24.0  # a picture's width, and the height of all rows at most
NAMES_IN = 2.4  # for the experts' names and the scale beside the cells, or for those of skills and categories
CALIBRATION_IN = 5.6
FONT_POINTS, SMALL_POINTS = 10, 8
NUMBER_IN = (0.24, 0.14)  # what a cell's number needs: width, height
NAME_IN, SMALL_NAME_IN = 0.19, 0.12  # what the name of a row or a column needs
LETTER_IN = 0.085  # a letter's width in a category's name
MISSING = "#D9D9D9"
DARK_TO = 55  # percent: the colours up to here are written on in white
ALL = "all skills"
PANELS = {"profiles": ("Profiles alone", ORANGE, "s"), "learned": ("With what was learned", BLUE, "o")}


def draw(config: Config, file: Path, category_of_skill: Mapping[str, str]) -> str:
    """Draws what the configuration's files hold, of experts that answer questions.

    Args:
        category_of_skill: of the calibration questions; empty where they are not at hand.

    Returns:
        Why there is no calibration in the picture, for a person; empty where there is.

    Raises:
        ValueError: nobody was measured; a file is damaged; matplotlib is missing or knows no such format.
        OSError: the picture cannot be written.
    """
    need_matplotlib()
    routing = config.routing
    known = Profiles.load(Path(routing.profiles)).experts
    measured = {name: known[name] for name in config.answering if name in known and known[name].skills}
    if not measured:
        raise ValueError(f"{routing.profiles}: no expert was measured yet, so there is nothing to draw")
    learned = Learned.load(Path(routing.learned), routing.embedder.model) if routing.learned else None
    calibration, note = _calibration(config, learned, known)
    categories = category_of_skill or (learned.report.get("category_of_skill", {}) if learned else {})
    save(picture(measured, categories, calibration), file)
    return note


def _calibration(
    config: Config, learned: Learned | None, known: Mapping[str, Profile]
) -> tuple[Mapping[str, Bins] | None, str]:
    """The bins of what was learned, or why they cannot be drawn."""
    path = config.routing.learned
    if path is None:
        why = "nothing is learned (routing.learned)"
    elif learned is None:
        why = f"{path} is not there yet"
    elif any(name not in known or known[name].expert_version != was for name, was in learned.versions.items()):
        why = f"{path} was learned of other versions of experts than those measured now"
    elif "calibration" not in learned.report:
        why = f"{path} is of an earlier version; `symposium profile` with --questions makes it anew"
    else:
        return learned.report["calibration"], ""
    return None, f"without a calibration curve of P(right): {why}"


def picture(
    profiles: Mapping[str, Profile], category_of_skill: Mapping[str, str], calibration: Mapping[str, Bins] | None
) -> Figure:
    """Experts × skills, and below it what `calibration` holds of `PANELS`.

    Args:
        profiles: at least one.
        category_of_skill: what skills stand together by; one that it lacks stands with others that it lacks.
    """
    table = _table(profiles, category_of_skill)
    rows, columns = table.percent.shape
    width = float(np.clip(columns * CELL_IN + NAMES_IN, LEAST_IN, MOST_IN))
    cells_in = min(rows * ROW_IN, MOST_IN)
    heights = [cells_in + NAMES_IN, *([CALIBRATION_IN] if calibration else [])]
    made, _ = blank(width, sum(heights), DPI)
    made.clear()  # parts in place of the one pair of axes
    above, *below = made.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _heat_map(above, table, ((width - NAMES_IN) / columns, cells_in / rows))
    if calibration:
        _panels(below[0], calibration)
    return made


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """What is shown of E experts and S skills.

    Attributes:
        skills, categories: of each column but the last one, which is of all skills; categories are empty texts where
            none is known.
        percent: [E, S + 1], right answers; NaN where fewer than `FEW` were given.
    """

    experts: Sequence[str]
    skills: Sequence[str]
    categories: Sequence[str]
    percent: NDArray[np.float64]


def _table(profiles: Mapping[str, Profile], category_of_skill: Mapping[str, str]) -> _Table:
    """Skills by category, in the order of the questions; experts by what they stand out at, so that what each was made
    for lies along the diagonal, and those that are good at everything come last.
    """
    found = list(dict.fromkeys(skill for profile in profiles.values() for skill in profile.skills))
    order = list(dict.fromkeys(category_of_skill.get(skill, "") for skill in found))
    skills = sorted(found, key=lambda skill: order.index(category_of_skill.get(skill, "")))
    categories = [category_of_skill.get(skill, "") for skill in skills]
    percent = np.array([
        [*(_percent(profile.skills.get(skill, Count())) for skill in skills), _percent(profile.overall)]
        for profile in profiles.values()
    ])  # fmt: skip
    strongest = _stands_out(percent[:, :-1], categories if any(categories) else skills)
    rows = np.lexsort((-np.nan_to_num(percent[:, -1]), strongest))
    return _Table([list(profiles)[row] for row in rows], skills, categories, percent[rows])


def _percent(count: Count) -> float:
    return 100 * count.right / count.asked if count.asked >= FEW else float("nan")


def _stands_out(percent: NDArray[np.float64], groups: Sequence[str]) -> NDArray[np.int64]:
    """The group [E] of skills in which each expert is furthest above the mean of all; of one that is above it in each
    group, a number beyond them. `groups`: of the S skills.
    """
    known = ~np.isnan(percent)
    mean = np.nan_to_num(percent).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    apart = np.where(known, percent - mean, 0.0)
    columns = [np.flatnonzero(np.array(groups) == group) for group in dict.fromkeys(groups)]
    leads = np.stack([apart[:, own].mean(axis=1) for own in columns])
    return np.where((leads > 0).all(axis=0), len(columns), leads.argmax(axis=0))


def _heat_map(part: SubFigure, table: _Table, cell_in: tuple[float, float]) -> None:
    """Args: cell_in: a cell's width and height, in inches; names and numbers that need more are left out."""
    axes = part.subplots()
    shown = axes.imshow(table.percent, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    axes.set_facecolor(MISSING)
    if all(room >= need for room, need in zip(cell_in, NUMBER_IN, strict=True)):
        _numbers(axes, table.percent)
    _names(axes, "y", table.experts, cell_in[1])
    slant: dict[str, Any] = {"rotation": 55 if cell_in[0] >= NAME_IN else 90, "ha": "right", "rotation_mode": "anchor"}
    _names(axes, "x", [*(skill.replace("_", " ") for skill in table.skills), ALL], cell_in[0], va="center", **slant)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.axvline(len(table.skills) - 0.5, color="white", linewidth=5)
    _categories(axes, table.categories, cell_in[0])
    scale = part.colorbar(shown, ax=axes, pad=0.01, aspect=25)
    scale.outline.set_visible(False)
    missing = f"; grey: fewer than {FEW} answers" if np.isnan(table.percent).any() else ""
    part.suptitle(f"Right answers of each expert in each skill, %{missing}", fontsize=FONT_POINTS + 2)


def _names(axes: Axes, which: Literal["x", "y"], names: Sequence[str], room_in: float, **look: Any) -> None:
    """One for each row or column, as far as there is room; a name may hold a dollar sign, which is no formula."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    points = FONT_POINTS if room_in >= NAME_IN else SMALL_POINTS
    shown = names if room_in >= SMALL_NAME_IN else []
    axis.set_ticks(range(len(shown)), shown, parse_math=False, fontsize=points, **look)


def _numbers(axes: Axes, percent: NDArray[np.float64]) -> None:
    for (row, column), value in np.ndenumerate(percent):
        if not np.isnan(value):
            colour = "white" if value <= DARK_TO else "black"
            look: dict[str, Any] = {"ha": "center", "va": "center", "color": colour, "fontsize": SMALL_POINTS}
            axes.text(column, row, f"{value:.0f}", **look).set_in_layout(False)


def _categories(axes: Axes, categories: Sequence[str], cell_in: float) -> None:
    """A white line between categories, and their names above: slanted where one is wider than its columns."""
    if not any(categories):
        return
    groups = [(name, len(list(members))) for name, members in itertools.groupby(categories)]
    level = all(len(name) * LETTER_IN <= size * cell_in for name, size in groups)
    look: dict[str, Any] = {"ha": "center"} if level else {"ha": "left", "rotation": 30, "rotation_mode": "anchor"}
    start = 0
    for name, size in groups:
        axes.axvline(start + size - 0.5, color="white", linewidth=3)
        middle = start + (size - 1) / 2
        axes.text(middle, -0.65, name, va="bottom", color=BLUE, fontsize=FONT_POINTS, parse_math=False, **look)
        start += size


def _panels(part: SubFigure, calibration: Mapping[str, Bins]) -> None:
    grid = part.subplots(2, len(PANELS), height_ratios=(4, 1), sharex=True, squeeze=False)
    for column, (key, (title, colour, mark)) in enumerate(PANELS.items()):
        found, (above, below) = calibration[key], grid[:, column]
        _reliability(above, found, colour, mark)
        above.set_title(f"{title}: ECE {found['ece']:.3f}", fontsize=FONT_POINTS + 1)
        _counts(below, found, colour)
    part.suptitle(
        "Can P(right) be trusted? Yes, where points lie on the line; each question is predicted from others only",
        fontsize=FONT_POINTS + 2,
    )


def _reliability(axes: Axes, found: Bins, colour: str, mark: str) -> None:
    """Each bin's mean prediction against its share of right answers, with that share's interval."""
    filled = [
        (predicted, right, *wilson(round(right * count), count))
        for predicted, right, count in zip(found["confidence"], found["accuracy"], found["counts"], strict=True)
        if count
    ]
    predicted, right, low, high = np.array(filled).T
    bars = np.maximum([right - low, high - right], 0)  # what was rounded in a report may lie a hair outside
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="right as often as predicted")
    label = "measured (bars: 95 % intervals)"
    axes.errorbar(predicted, right, bars, color=colour, marker=mark, capsize=3, linewidth=1.6, label=label)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.03), ylabel="share of right answers")
    axes.legend(loc="upper left", frameon=False, fontsize=FONT_POINTS)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _counts(axes: Axes, found: Bins, colour: str) -> None:
    """How many answers each point above stands for."""
    edges = np.array(found["edges"])
    bars = axes.bar((edges[:-1] + edges[1:]) / 2, found["counts"], width=0.085, color=colour, alpha=0.75)
    axes.bar_label(bars, [f"{count:,}" if count else "" for count in found["counts"]], fontsize=SMALL_POINTS, padding=2)
    axes.set(xlabel="predicted P(right)", ylabel="answers")
    axes.margins(y=0.35)
    axes.spines[["top", "right"]].set_visible(False)
