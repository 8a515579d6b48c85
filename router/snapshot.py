"""A configuration as text: the file, and all that it includes, so that a version can be served again as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from router.config import Config
from router.config_file import load, read_text


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`files`: absolute path -> text. What is not among them is read from disk when it is loaded, and then kept."""

    path: Path
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, files: Mapping[str, str] | None = None) -> Snapshot:
        return cls(path.resolve(), dict(files or {}))

    def load(self) -> Config:
        """Raises ConfigError with all that is wrong with it."""
        return load(self.path, self._read)

    def _read(self, path: Path) -> str:
        if str(path) not in self.files:
            self.files[str(path)] = read_text(path)
        return self.files[str(path)]
