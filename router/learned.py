"""What `symposium profile` learned from who answered what, as one file: the blend, the jury, when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from router.arrays import Meta, check, load, save
from router.correctness import VIEWS, Blend, Linear
from router.jury import NOBODY_FEATURES, Jury
from router.stopping import FEATURES as STOPPING_FEATURES
from router.stopping import Stopping
from router.surface import FEATURES as SURFACE_FEATURES

if TYPE_CHECKING:
    from router.arrays import Arrays

PARTS = ("mean", "weights", "bias")  # of a `Linear`


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """`versions`: which version of each expert it was learned of, as its profile names it. `report`: the figures
    measured meanwhile, on questions that the parts were not fitted on, but for base rates, penalties and shares.
    """

    embedder: str
    versions: Mapping[str, str]
    blend: Blend
    jury: Jury
    stopping: Stopping
    report: dict[str, Any]

    def save(self, path: Path) -> None:
        meta = _Meta(
            embedder=self.embedder, versions=dict(self.versions), experts=self.blend.experts, report=self.report
        )
        save(path, meta, _arrays(self))

    @classmethod
    def load(cls, path: Path, embedder: str) -> Learned | None:
        """None where there is no file yet: profiles alone are routed by then.

        Raises:
            ValueError: damaged, of another format, or learned with another embedder; with the remedy.
        """
        try:
            return load(
                path,
                _Meta,
                _learned,
                embedder=embedder,
                made_by="symposium profile",
                remedy="delete it, and run `symposium profile` again",
            )
        except FileNotFoundError:
            return None


class _Meta(Meta):
    format: Literal[1] = 1
    versions: dict[str, str]
    experts: tuple[str, ...]
    report: dict[str, Any]


def _arrays(learned: Learned) -> Arrays:
    blend, jury, stopping = learned.blend, learned.jury, learned.stopping
    lines = {"meaning": blend.meaning, "form": blend.form}
    return {
        **{f"{name}_{part}": getattr(line, part) for name, line in lines.items() for part in PARTS},
        "surface_mean": blend.surface_mean,
        "surface_scale": blend.surface_scale,
        "base": blend.base,
        "difficulty": blend.difficulty,
        "relative": blend.relative,
        "jury_bias": jury.bias,
        "jury_slope": jury.slope,
        "jury_shared": np.array([jury.shared]),
        "jury_nobody": jury.nobody,
        "stopping_prices": stopping.prices,
        "stopping_weights": stopping.weights,
    }


def _learned(meta: _Meta, found: Arrays) -> Learned:
    size, dimensions = len(meta.experts), len(found["meaning_mean"])
    prices, horizon = found["stopping_weights"].shape[:2]
    shapes = {
        **_line("meaning", dimensions, size),
        **_line("form", len(SURFACE_FEATURES), size),
        "surface_mean": (len(SURFACE_FEATURES),),
        "surface_scale": (len(SURFACE_FEATURES),),
        "base": (size,),
        "difficulty": (len(VIEWS),),
        "relative": (len(VIEWS),),
        "jury_bias": (size,),
        "jury_slope": (size,),
        "jury_shared": (1,),
        "jury_nobody": (NOBODY_FEATURES,),
        "stopping_prices": (prices,),
        "stopping_weights": (prices, horizon, STOPPING_FEATURES),
    }
    check(found, shapes, np.float64)
    if meta.versions.keys() != set(meta.experts):
        raise ValueError("its versions are of other experts")
    if (found["surface_scale"] <= 0).any():
        raise ValueError("surface_scale holds something else than positive numbers")
    meaning, form = (Linear(*(found[f"{name}_{part}"] for part in PARTS)) for name in ("meaning", "form"))
    blend = Blend(
        meta.experts,
        meaning,
        form,
        found["surface_mean"],
        found["surface_scale"],
        found["base"],
        found["difficulty"],
        found["relative"],
    )
    jury = Jury(
        meta.experts, found["jury_bias"], found["jury_slope"], float(found["jury_shared"][0]), found["jury_nobody"]
    )
    return Learned(
        meta.embedder,
        meta.versions,
        blend,
        jury,
        Stopping(found["stopping_prices"], found["stopping_weights"]),
        meta.report,
    )


def _line(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}_mean": (inputs,), f"{name}_weights": (inputs, outputs), f"{name}_bias": (outputs,)}
