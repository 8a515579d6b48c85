"""What `symposium fit` learned, as one file: the classifier, the skill vocabulary, and the embedder they need.

NumPy's .npz without pickles: loading a file must never run code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from experts.spec import Spec
from router.classify import Classifier
from router.skills import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Both stages' learned parts. `report` holds the figures measured when it was fitted."""

    embedder: str
    classifier: Classifier
    vocabulary: Vocabulary
    report: dict[str, Any]

    def save(self, path: Path) -> None:
        meta = _Meta(
            embedder=self.embedder,
            labels=self.classifier.labels,
            temperature=self.classifier.temperature,
            skills=self.vocabulary.names,
            report=self.report,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                meta=np.array(meta.model_dump_json()),
                weights=self.classifier.weights,
                bias=self.classifier.bias,
                centroids=self.vocabulary.centroids,
            )

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
    format: Literal[1] = 1
    embedder: str
    labels: tuple[str, ...]
    temperature: Annotated[float, Field(gt=0)]
    skills: tuple[str, ...]
    report: dict[str, Any]


def _read(path: Path) -> Fitted:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        meta = _Meta.model_validate_json(str(arrays["meta"]))
        weights, bias, centroids = arrays["weights"], arrays["bias"], arrays["centroids"]
    if weights.shape != (len(meta.labels), weights.shape[-1]) or bias.shape != (len(meta.labels),):
        raise ValueError("labels and weights do not fit")
    if centroids.shape != (len(meta.skills), weights.shape[-1]):
        raise ValueError("skills and centroids do not fit")
    return Fitted(
        embedder=meta.embedder,
        classifier=Classifier(meta.labels, weights, bias, meta.temperature),
        vocabulary=Vocabulary(meta.skills, centroids),
        report=meta.report,
    )
