"""What `symposium fit` learned, as one file: the classifier, the skill vocabulary, how near the known lies,
and the name of the embedder they need.

NumPy's .npz without pickles: loading a file must never run code.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from experts.files import write_whole
from experts.spec import Spec
from router.classify import Classifier
from router.skills import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Both stages' learned parts. `report` holds the figures measured when it was fitted.

    `familiar_from`: the least cosine to the nearest skill that counts as familiar.
    """

    embedder: str
    classifier: Classifier
    vocabulary: Vocabulary
    familiar_from: float
    report: dict[str, Any]

    def save(self, path: Path) -> None:
        meta = _Meta(
            embedder=self.embedder,
            labels=self.classifier.labels,
            temperature=self.classifier.temperature,
            skills=self.vocabulary.names,
            familiar_from=self.familiar_from,
            report=self.report,
        )
        with BytesIO() as file:
            np.savez_compressed(
                file,
                meta=np.array(meta.model_dump_json()),
                weights=self.classifier.weights,
                bias=self.classifier.bias,
                centroids=self.vocabulary.centroids,
                name_vectors=self.vocabulary.name_vectors,
            )
            write_whole(path, file.getvalue())

    @classmethod
    def load(cls, path: Path, embedder: str) -> Fitted:
        """Raises ValueError with the remedy: missing, damaged, of another format, or fitted for another embedder."""
        try:
            found = _read(path)
        except FileNotFoundError as error:
            raise ValueError(f"{path}: no such file; run `symposium fit`") from error
        except Exception as error:  # NumPy, zipfile and zlib raise a dozen kinds for a damaged file
            raise ValueError(f"{path}: not a file of this version's `symposium fit` ({error}); run it") from error
        if found.embedder != embedder:
            raise ValueError(
                f"{path}: fitted for embedder '{found.embedder}', the configuration says '{embedder}'; "
                "run `symposium fit` again"
            )
        return found


class _Meta(Spec):
    format: Literal[2] = 2
    embedder: str
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    temperature: Annotated[float, Field(gt=0)]
    skills: Annotated[tuple[str, ...], Field(min_length=1)]
    familiar_from: float
    report: dict[str, Any]


def _read(path: Path) -> Fitted:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        meta = _Meta.model_validate_json(str(arrays["meta"]))
        found = {name: arrays[name] for name in ("weights", "bias", "centroids", "name_vectors")}
    categories, skills = len(meta.labels), len(meta.skills)
    dimensions = found["weights"].shape[-1]
    expected = {
        "weights": (categories, dimensions),
        "bias": (categories,),
        "centroids": (skills, dimensions),
        "name_vectors": (skills, dimensions),
    }
    for name, shape in expected.items():
        _check(name, found[name], shape)
    return Fitted(
        embedder=meta.embedder,
        classifier=Classifier(meta.labels, found["weights"], found["bias"], meta.temperature),
        vocabulary=Vocabulary(meta.skills, found["centroids"], found["name_vectors"]),
        familiar_from=meta.familiar_from,
        report=meta.report,
    )


def _check(name: str, array: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Raises ValueError for what would fail, or mislead, at the first question."""
    if array.shape != shape or 0 in shape:
        raise ValueError(f"{name} has shape {array.shape}, not {shape}")
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"{name} holds something else than finite float32 numbers")
