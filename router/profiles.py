"""Measured profiles: how many calibration questions each expert answered, and how many of them right.

Counts, never means: a mean cannot say how much it knows. Pure records and their JSON file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from experts.files import write_whole
from experts.spec import Spec

UNMEASURED_OUTPUT_TOKENS = 128.0


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
    """One expert, measured through its served endpoint, with what was measured.

    Attributes:
        expert_version: what answered (`experts/version.py`), as the served system named it.
        engine_version: the `system_fingerprint` of the answers (of vLLM: its version and a hash of its
            configuration), several joined by ", "; "unknown" where the server sends none.
        questions: digest of the calibration set.
        output_tokens: sum over the `overall.asked` answers.
    """

    expert_version: str
    engine_version: str
    questions: str
    overall: Count = Count()
    categories: Mapping[str, Count] = Field(default_factory=dict)
    skills: Mapping[str, Count] = Field(default_factory=dict)
    output_tokens: Annotated[int, Field(ge=0)] = 0

    @property
    def mean_output_tokens(self) -> float:
        return self.output_tokens / self.overall.asked if self.overall.asked else UNMEASURED_OUTPUT_TOKENS


class Profiles(Spec):
    """All profiles of one file.

    Attributes:
        experts: who answered how many calibration questions right.
        aggregators: who made how many right final answers of others' responses (`router/panels.py`). A file may be
            without: nothing is then known of who aggregates best.
    """

    format: Literal[2] = 2
    experts: Mapping[str, Profile] = Field(default_factory=dict)
    aggregators: Mapping[str, Profile] = Field(default_factory=dict)

    def output_tokens(self, expert: str) -> float:
        """Expected of an expert's answer."""
        profile = self.experts.get(expert)
        return profile.mean_output_tokens if profile else UNMEASURED_OUTPUT_TOKENS

    def updated(self, measured: Mapping[str, Profile]) -> Profiles:
        """With these profiles in place of their experts' old ones; everything else stays."""
        return Profiles(experts={**self.experts, **measured}, aggregators=self.aggregators)

    def updated_aggregators(self, measured: Mapping[str, Profile]) -> Profiles:
        """As `updated`, for those that were measured at aggregating."""
        return Profiles(experts=self.experts, aggregators={**self.aggregators, **measured})

    def save(self, path: Path) -> None:
        write_whole(path, (self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Profiles:
        """Profiles of a file; none where there is no file yet: `symposium profile` makes it from a running system.

        Raises:
            ValueError: the file is no profile file, or one of another version of this project; with the remedy.
        """
        if not path.exists():
            return cls()
        raw = path.read_bytes()
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            if (found := _format(raw)) not in (None, 2):
                why = f"profiles of format {found}, and this version reads format 2"
            else:
                why = f"not a profile file: {error.errors()[0]['msg']}"
            raise ValueError(
                f"{path}: {why}; delete it, then `symposium serve` and `symposium profile` make it anew"
            ) from error


def _format(raw: bytes) -> Any:
    try:
        return json.loads(raw).get("format")
    except (ValueError, AttributeError):
        return None


def stale(profiles: Profiles, versions: Mapping[str, str]) -> tuple[str, ...]:
    """Experts of which something else was measured than what answers under their name now.

    Args:
        versions: expert -> version now (`experts/version.py`). Experts without a profile are not stale but unknown.
    """
    return _of_other_versions(profiles.experts, versions)


def stale_aggregators(profiles: Profiles, versions: Mapping[str, str]) -> tuple[str, ...]:
    """As `stale`, for those that were measured at aggregating."""
    return _of_other_versions(profiles.aggregators, versions)


def _of_other_versions(measured: Mapping[str, Profile], versions: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        name for name, profile in measured.items() if name in versions and profile.expert_version != versions[name]
    )
