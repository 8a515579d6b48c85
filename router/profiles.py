"""Measured profiles: how many calibration questions each expert answered, and how many of them right.

Counts, never means: a mean cannot say how much it knows. Pure records and their JSON form.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from experts.spec import Spec


class Count(Spec):
    """`right` of `asked` questions."""

    right: Annotated[int, Field(ge=0)] = 0
    asked: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.right > self.asked:
            raise ValueError("right must not exceed asked")
        return self

    def plus(self, right: bool) -> Count:
        return Count(right=self.right + right, asked=self.asked + 1)

    def rate(self, prior: float, strength: float) -> float:
        """Posterior mean of a Beta prior with mean `prior` worth `strength` observations."""
        return (self.right + strength * prior) / (self.asked + strength)


class Profile(Spec):
    """One expert, measured through its served endpoint. `version` names what was measured."""

    version: str
    overall: Count = Count()
    categories: Mapping[str, Count] = Field(default_factory=dict)
    skills: Mapping[str, Count] = Field(default_factory=dict)
    mean_output_tokens: float = Field(default=128.0, ge=0)


class Profiles(Spec):
    """All profiles, and what they were measured with."""

    format: Literal[1] = 1
    experts: Mapping[str, Profile] = Field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Profiles:
        """Profiles of a file; none where there is no file yet: `symposium profile` makes it from a running system.

        Raises:
            ValueError: the file is no profile file.
        """
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(f"{path}: not a profile file: {error.errors()[0]['msg']}") from error
