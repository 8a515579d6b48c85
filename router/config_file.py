"""A routing YAML file, with what it includes -> `Config`, or everything that is wrong with it at once.

Owns which values are paths: they start at the folder of the file that they are written in, and what they name must be
there. `router/yaml_files.py` reads, `router/config_problems.py` checks; here both are put together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experts.spec import Wrong
from router.config import Config
from router.config_problems import checked
from router.yaml_env import hidden
from router.yaml_files import Tree, read_text, read_tree
from router.yaml_tree import Items, Node, Place, Problem, Table, YamlPath, place_of

__all__ = ["ConfigError", "Inspected", "Problem", "inspect_config", "load", "read_text"]

MAX_PROBLEMS = 200
# What may be a path, or the name of something on a hub: a path begins with a dot or a slash. It must be there.
MODELS: tuple[YamlPath, ...] = (
    ("engines", "*", "model"),
    ("experts", "*", "lora"),
    ("experts", "*", "tokenizer"),
    ("routing", "embedder", "model"),
)
ARGUMENTS: tuple[YamlPath, ...] = (("engines", "*", "args", "tokenizer"), ("engines", "*", "args", "chat-template"))
# What always is one, and may be made later.
WRITTEN: tuple[YamlPath, ...] = (("data",), *(("routing", name) for name in ("fitted", "profiles", "learned")))


class ConfigError(ValueError):
    """All that is wrong with a configuration: `found`, and the same as `problems`, one line each."""

    def __init__(self, path: Path, found: list[Problem]) -> None:
        super().__init__(f"{path}:\n" + "\n".join(f"  {problem}" for problem in found))
        self.path, self.found = path, found
        self.problems = [str(problem) for problem in found]


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file says. `config` is None where anything is wrong."""

    config: Config | None
    problems: list[Problem]
    tree: Tree

    def place(self, path: YamlPath) -> Place:
        """Where something is written, or the nearest that there is above it."""
        return place_of(self.tree.root, path)


def load(path: Path, read: Callable[[Path], str] = read_text) -> Config:
    """Reads and validates a YAML file.

    Args:
        read: an absolute path -> a file's text; raises OSError or ValueError.

    Raises:
        ConfigError: unreadable, not YAML, unknown or duplicate keys, wrong values, missing files.
    """
    found = inspect_config(path, read)
    if found.config is None:
        raise ConfigError(path, found.problems)
    return found.config


def inspect_config(
    path: Path, read: Callable[[Path], str] = read_text, environ: Mapping[str, str] = os.environ
) -> Inspected:
    """As `load`, but what is wrong is returned, in the order in which it is written. Messages show no value that came
    from the environment.
    """
    tree = read_tree(path, environ, read)
    config, problems = None, list(tree.problems)
    if tree.whole:
        values = _Values(tree)
        raw = values.of(tree.root, ())
        raw.setdefault("data", str(Path(os.path.realpath(path)).parent / "data"))
        config, wrong = checked(Config, raw)
        known = [problem.path for problem in problems if problem.path] + [at for at, _ in values.wrong]
        wrong = [(at, why) for at, why in wrong if not any(at[: len(above)] == above for above in known)]  # said once
        problems += [Problem(place_of(tree.root, at), at, why) for at, why in (*values.wrong, *wrong)]
    told = [Problem(p.place, p.path, hidden(p.message, tree.variables)) for p in problems]
    told.sort(key=lambda p: (p.place.source.shown, p.place.line, p.place.column))
    return Inspected(None if told else config, _bounded(told), tree)


def _bounded(problems: list[Problem]) -> list[Problem]:
    if (more := len(problems) - MAX_PROBLEMS) <= 0:
        return problems
    return [*problems[:MAX_PROBLEMS], Problem(problems[MAX_PROBLEMS].place, (), f"and {more} problems more")]


class _Values:
    """A tree's plain values, with absolute paths; notes the files that are not there."""

    def __init__(self, tree: Tree) -> None:
        self.wrong: list[Wrong] = []
        self._wrong = {problem.path for problem in tree.problems}

    def of(self, node: Node, at: YamlPath) -> Any:
        if isinstance(node, Table):
            return {key: self.of(inner, (*at, key)) for key, inner in node.items.items()}
        if isinstance(node, Items):
            return [self.of(inner, (*at, index)) for index, inner in enumerate(node.items)]
        if not isinstance(node.value, str) or at in self._wrong:
            return node.value
        always, model = _is_one_of(at, WRITTEN), _is_one_of(at, MODELS)
        if always or ((model or _is_one_of(at, ARGUMENTS)) and node.value.startswith((".", "/"))):
            return self._absolute(node.value, node.place.source.folder, at, must_be_there=model)
        return node.value

    def _absolute(self, value: str, folder: Path, at: YamlPath, *, must_be_there: bool) -> str:
        try:
            path = Path(os.path.realpath(folder / value))  # `resolve` raises where links go in a circle
            if must_be_there and not path.exists():
                self.wrong.append((at, f"no such file: {path}"))
        except (OSError, ValueError) as error:  # a NUL, or a name that is too long
            self.wrong.append((at, f"a path cannot be one: {_reason(error)}"))
            return value
        return str(path)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _is_one_of(at: YamlPath, patterns: tuple[YamlPath, ...]) -> bool:
    return any(len(at) == len(p) and all(w in ("*", step) for w, step in zip(p, at, strict=True)) for p in patterns)
