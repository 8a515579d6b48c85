"""A configuration in force: what it knows, and the pipeline that decides by it. A request keeps the one it began on."""

from __future__ import annotations

from dataclasses import dataclass

from router.config import Config
from router.knowledge import Knowledge
from router.pipeline import Pipeline


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """Made by `Service.prepare`; of one router replica."""

    knowledge: Knowledge
    pipeline: Pipeline

    @property
    def config(self) -> Config:
        return self.knowledge.config

    @property
    def version(self) -> str:
        return self.knowledge.version
