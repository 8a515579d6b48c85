"""What has to be restarted before one configuration can take the place of another, and what differs at all. Pure.

Engines, adapters, listeners and what is sized at a start stay as they are while a system runs; everything else of a
configuration can change between two requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from router.config import Config

Path = tuple[str, ...]
# What is read once, when the system starts. A path also stands for what is below it.
FIXED: tuple[Path, ...] = (
    ("data",),
    ("ledger",),
    ("decisions",),
    ("tracing",),
    ("engines",),
    ("server", "host"),
    ("server", "router_replicas"),
    ("server", "drain_s"),  # the command has it
    ("server", "limits", "max_body_bytes"),  # the edge's too
    ("server", "limits", "max_in_flight"),  # Serve's own limits follow from it
    ("routing", "embedder"),
)
FIXED_OF_HOSTED = ("engine", "lora", "base_url", "model")  # an expert that an engine serves, or is to serve


def changes(old: Config, new: Config) -> list[str]:
    """Paths that differ, in the order of the configuration."""
    return [".".join(path) for path in _differing(_plain(old), _plain(new))]


def needs_restart(old: Config, new: Config) -> list[str]:
    """Of those, the ones that take effect only with a restart."""
    found = []
    for path in _differing(_plain(old), _plain(new)):
        if any(path[: len(fixed)] == fixed for fixed in FIXED) or _of_an_engine(path, old, new):
            found.append(".".join(path))
    return found


def _of_an_engine(path: Path, old: Config, new: Config) -> bool:
    """A hosted expert that comes, goes or moves: engines know their adapters from their start."""
    if path[0] != "experts":
        return False
    homes = [config.experts[path[1]].engine for config in (old, new) if path[1] in config.experts]
    return any(homes) and (len(path) == 2 or path[2] in FIXED_OF_HOSTED)


def _plain(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json")


def _differing(old: Any, new: Any, at: Path = ()) -> Iterator[Path]:
    """The deepest paths through mappings at which two values differ; lists are values."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        if old != new:
            yield at
        return
    for key in dict.fromkeys([*old, *new]):
        if key not in old or key not in new:
            yield (*at, str(key))
        else:
            yield from _differing(old[key], new[key], (*at, str(key)))
