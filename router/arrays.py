"""What was learned, as one file: arrays and what is to be known about them. Checked, or not loaded.

NumPy's .npz without pickles: loading a file must never run code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from experts.files import write_whole
from experts.spec import Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]


class Meta(Spec):
    """`embedder`: the model whose vectors the arrays belong to."""

    embedder: str


M = TypeVar("M", bound=Meta)
T = TypeVar("T")


def save(path: Path, meta: Meta, arrays: Arrays) -> None:
    """As a whole, or not at all."""
    with BytesIO() as file:
        named: Any = arrays  # NumPy's stub takes them for its own flags
        np.savez_compressed(file, meta=np.array(meta.model_dump_json()), **named)
        write_whole(path, file.getvalue())


def load(path: Path, meta: type[M], build: Callable[[M, Arrays], T], *, embedder: str, made_by: str, remedy: str) -> T:
    """What `build` makes of a file's meta data and arrays.

    Args:
        embedder: the one that is configured.
        made_by: the command that writes such files; remedy: what to do about one that is of no use.

    Raises:
        FileNotFoundError.
        ValueError: damaged, of another format, made with another embedder, or refused by `build`; with the remedy.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            said = meta.model_validate_json(str(found["meta"]))
            made = build(said, {name: found[name] for name in found.files if name != "meta"})
    except FileNotFoundError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib raise a dozen kinds for a damaged file
        raise ValueError(f"{path}: not a file of this version's `{made_by}` ({error}); {remedy}") from error
    if said.embedder != embedder:
        raise ValueError(f"{path}: made with embedder '{said.embedder}', the configuration says '{embedder}'; {remedy}")
    return made


def check(arrays: Arrays, shapes: Mapping[str, tuple[int, ...]], kind: type[np.floating[Any]]) -> None:
    """Raises ValueError for what would fail, or mislead, at the first question; KeyError for what is missing."""
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or 0 in shape:
            raise ValueError(f"{name} has shape {array.shape}, not {shape}")
        if array.dtype != kind or not np.isfinite(array).all():
            raise ValueError(f"{name} holds something else than finite {kind.__name__} numbers")
