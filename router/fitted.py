"""What `symposium fit` learned, as one file: the classifier, the skill vocabulary, how near the known lies,
and the name of the embedder they need.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from router.arrays import Meta, check, load, save
from router.classify import Classifier
from router.skills import Vocabulary

if TYPE_CHECKING:
    from router.arrays import Arrays


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
        save(
            path,
            meta,
            {
                "weights": self.classifier.weights,
                "bias": self.classifier.bias,
                "centroids": self.vocabulary.centroids,
                "name_vectors": self.vocabulary.name_vectors,
            },
        )

    @classmethod
    def load(cls, path: Path, embedder: str) -> Fitted:
        """Raises ValueError with the remedy: missing, damaged, of another format, or fitted for another embedder."""
        try:
            return load(
                path, _Meta, _fitted, embedder=embedder, made_by="symposium fit", remedy="run `symposium fit` again"
            )
        except FileNotFoundError as error:
            raise ValueError(f"{path}: no such file; run `symposium fit`") from error


class _Meta(Meta):
    format: Literal[2] = 2
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    temperature: Annotated[float, Field(gt=0)]
    skills: Annotated[tuple[str, ...], Field(min_length=1)]
    familiar_from: float
    report: dict[str, Any]


def _fitted(meta: _Meta, arrays: Arrays) -> Fitted:
    categories, skills = len(meta.labels), len(meta.skills)
    dimensions = arrays["weights"].shape[-1]
    shapes = {
        "weights": (categories, dimensions),
        "bias": (categories,),
        "centroids": (skills, dimensions),
        "name_vectors": (skills, dimensions),
    }
    check(arrays, shapes, np.float32)
    return Fitted(
        embedder=meta.embedder,
        classifier=Classifier(meta.labels, arrays["weights"], arrays["bias"], meta.temperature),
        vocabulary=Vocabulary(meta.skills, arrays["centroids"], arrays["name_vectors"]),
        familiar_from=meta.familiar_from,
        report=meta.report,
    )
