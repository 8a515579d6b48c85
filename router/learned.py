"""What `symposium profile` learned from who answered what, as one file: the blend, the jury, when to stop.

NumPy's .npz without pickles: loading a file must never run code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from experts.files import write_whole
from experts.spec import Spec
from router.correctness import VIEWS, Blend, Linear
from router.jury import NOBODY_FEATURES, Jury
from router.stopping import FEATURES as STOPPING_FEATURES
from router.stopping import Stopping
from router.surface import FEATURES as SURFACE_FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

LINE = ("mean", "weights", "bias")
Arrays = dict[str, "NDArray[np.float64]"]


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """`versions`: which version of each expert it was learned of, as its profile names it. `report`: the figures
    measured meanwhile, on questions that each part was not fitted on.
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
        with BytesIO() as file:
            named: Any = _arrays(self)  # NumPy's stub takes them for its own flags
            np.savez_compressed(file, meta=np.array(meta.model_dump_json()), **named)
            write_whole(path, file.getvalue())

    @classmethod
    def load(cls, path: Path, embedder: str) -> Learned | None:
        """None where there is no file yet: profiles alone are routed by then.

        Raises:
            ValueError: damaged, of another format, or learned with another embedder; with the remedy.
        """
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                meta = _Meta.model_validate_json(str(arrays["meta"]))
                found = {name: arrays[name] for name in arrays.files if name != "meta"}
            learned = _learned(meta, found)
        except Exception as error:  # NumPy, zipfile and zlib raise a dozen kinds for a damaged file
            raise ValueError(
                f"{path}: not a file of this version's `symposium profile` ({error}); delete it, and run it again"
            ) from error
        if learned.embedder != embedder:
            raise ValueError(
                f"{path}: learned with embedder '{learned.embedder}', the configuration says '{embedder}'; delete it, "
                "and run `symposium profile` again"
            )
        return learned


class _Meta(Spec):
    format: Literal[1] = 1
    embedder: str
    versions: dict[str, str]
    experts: tuple[str, ...]
    report: dict[str, Any]


def _arrays(learned: Learned) -> Arrays:
    blend, jury, stopping = learned.blend, learned.jury, learned.stopping
    lines = {"meaning": blend.meaning, "form": blend.form}
    return {
        **{f"{name}_{part}": getattr(line, part) for name, line in lines.items() for part in LINE},
        "form_scale": blend.form_scale,
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
    """Raises ValueError for what would fail, or mislead, at the first question; KeyError for what is missing."""
    size, dimensions = len(meta.experts), len(found["meaning_mean"])
    prices, horizon = found["stopping_weights"].shape[:2]
    expected = {
        **_line("meaning", dimensions, size),
        **_line("form", len(SURFACE_FEATURES), size),
        "form_scale": (len(SURFACE_FEATURES),),
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
    for name, shape in expected.items():
        array = found[name]
        if array.shape != shape or 0 in shape or array.dtype != np.float64 or not np.isfinite(array).all():
            raise ValueError(f"{name} is no array {shape} of finite float64 numbers")
    if (found["form_scale"] <= 0).any():
        raise ValueError("form_scale holds something else than positive numbers")
    line = {
        name: Linear(found[f"{name}_mean"], found[f"{name}_weights"], found[f"{name}_bias"])
        for name in ("meaning", "form")
    }
    blend = Blend(
        meta.experts,
        line["meaning"],
        line["form"],
        found["form_scale"],
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
