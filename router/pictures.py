"""What pictures share: matplotlib where it is installed, axes that read alike, colours.

Colours are Okabe and Ito's, which colour-blind eyes tell apart. No pyplot: it keeps figures and a backend for the whole
process. Must not know what is drawn.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, ORANGE, BLUE, GREEN = "#6E6E6E", "#D55E00", "#0072B2", "#009E73"
PINK, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#E69F00", "#000000"


def need_matplotlib() -> None:
    """Raises ValueError with the remedy where it is not installed."""
    if find_spec("matplotlib") is None:
        raise ValueError("a picture needs matplotlib, which is not installed: pip install matplotlib")


def file_of(plot: Path) -> Path:
    """The file that will be written: a name without an ending gets the one that matplotlib would choose."""
    return plot if plot.suffix else plot.with_suffix(".png")


def blank(width_in: float, height_in: float, dpi: int) -> tuple[Figure, Axes]:
    """An empty picture with one pair of axes, open above and to the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as NewFigure

    made = NewFigure(figsize=(width_in, height_in), dpi=dpi, layout="constrained")
    FigureCanvasAgg(made)  # a canvas of its own: nothing global, no display
    axes = made.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return made, axes


def logarithmic(axes: Axes) -> None:
    """The axis of x, with its numbers written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def save(made: Figure, file: Path) -> None:
    """In the format that the file's name ends in; folders are made.

    Raises:
        ValueError: matplotlib knows no such format.
        OSError: the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    made.savefig(file)
