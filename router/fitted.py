"""What `symposium fit` learned, as one file: the classifier, the skill vocabulary, and the embedder they need.

NumPy's .npz without pickles: loading a file must never run code.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from router.classify import Classifier
from router.skills import Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Both stages' learned parts. `report` holds the figures measured when it was fitted."""

    embedder: str
    classifier: Classifier
    vocabulary: Vocabulary
    report: dict[str, Any]

    def save(self, path: Path) -> None:
        meta = {
            "format": FORMAT,
            "embedder": self.embedder,
            "labels": self.classifier.labels,
            "temperature": self.classifier.temperature,
            "skills": self.vocabulary.names,
            "report": self.report,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            meta=np.array(json.dumps(meta)),
            weights=self.classifier.weights,
            bias=self.classifier.bias,
            centroids=self.vocabulary.centroids,
        )

    @classmethod
    def load(cls, path: Path, embedder: str) -> Fitted:
        """Raises ValueError with the remedy: missing, of another format, or fitted for another embedder."""
        try:
            with np.load(path, allow_pickle=False) as file:
                meta = json.loads(str(file["meta"]))
                arrays = {name: file[name] for name in ("weights", "bias", "centroids")}
        except FileNotFoundError as error:
            raise ValueError(f"{path}: no such file; run `symposium fit`") from error
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: not a file of `symposium fit` ({error})") from error
        if meta.get("format") != FORMAT:
            raise ValueError(f"{path}: format {meta.get('format')} is not {FORMAT}; run `symposium fit` again")
        if meta["embedder"] != embedder:
            raise ValueError(
                f"{path}: fitted for embedder '{meta['embedder']}', the configuration says '{embedder}'; "
                "run `symposium fit` again"
            )
        return cls(
            embedder=embedder,
            classifier=Classifier(tuple(meta["labels"]), arrays["weights"], arrays["bias"], float(meta["temperature"])),
            vocabulary=Vocabulary(tuple(meta["skills"]), arrays["centroids"]),
            report=meta["report"],
        )
