"""A routing YAML file -> `Config`, or everything that is wrong with it at once.

A key that is not known, or written twice, is an error with its path and a suggestion; relative paths start at the
file's own folder, and what they name must be there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from router.config import Config

PATH_ARGS = ("tokenizer", "chat-template")  # engine arguments that may name a file or folder
MERGE_TAG = "tag:yaml.org,2002:merge"  # "<<"


class ConfigError(ValueError):
    """All that is wrong with a file; `problems` has one line each."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path}:\n" + "\n".join(f"  {p}" for p in problems))
        self.path = path
        self.problems = problems


def load(path: Path) -> Config:
    """Reads and validates a YAML file.

    Raises:
        ConfigError: unreadable, not YAML, unknown or duplicate keys, wrong values, missing files.
    """
    path = path.resolve()
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}"]) from error
    except (
        yaml.YAMLError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:  # PyYAML lets bad scalars' own errors through
        raise ConfigError(path, [str(error)]) from error
    if not isinstance(raw, dict):
        raise ConfigError(path, ["the file must hold a mapping; start with `version: 1`"])
    try:
        config = Config.model_validate(_absolute(raw, path.parent))
        missing = [f"{where}: no such file: {p}" for where, p in _files(config) if not Path(p).exists()]
    except ValidationError as error:
        raise ConfigError(path, _problems(error)) from error
    except (OSError, ValueError) as error:
        raise ConfigError(path, [f"a path cannot be one: {error}"]) from error
    if missing:
        raise ConfigError(path, missing)
    return config


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys (YAML 1.2 does; PyYAML keeps the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE_TAG:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"keys must be text, not {key!r}", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is written twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _absolute(raw: dict[str, Any], base: Path) -> dict[str, Any]:
    """Relative paths start at the file's own folder.

    `model` of an engine and of the embedder, `lora`, `tokenizer` and the engine arguments that name files may also be
    hub ids: only what starts with "." or "/" is a path there.
    """

    def mend(section: Any, keys: tuple[str, ...], always: bool = False) -> Any:
        if not isinstance(section, dict):
            return section
        return {
            key: str((base / value).resolve())
            if key in keys and isinstance(value, str) and (always or value.startswith((".", "/")))
            else value
            for key, value in section.items()
        }

    mended = dict(raw) | {"data": str((base / str(raw.get("data", "data"))).resolve())}
    for name, keys in (("engines", ("model",)), ("experts", ("lora", "tokenizer"))):
        if isinstance(section := raw.get(name), dict):
            mended[name] = {key: mend(value, keys) for key, value in section.items()}
    if isinstance(mended.get("engines"), dict):
        mended["engines"] = {
            name: engine | {"args": mend(engine["args"], PATH_ARGS)}
            if isinstance(engine, dict) and "args" in engine
            else engine
            for name, engine in mended["engines"].items()
        }
    if isinstance(routing := mend(raw.get("routing"), ("fitted", "profiles", "learned"), always=True), dict):
        mended["routing"] = routing
        if "embedder" in routing:
            routing["embedder"] = mend(routing["embedder"], ("model",))
    return mended


def _files(config: Config) -> Iterator[tuple[str, str]]:
    """(path in the YAML, file) of everything local that must be there. Fitted files are made later."""
    for name, engine in config.engines.items():
        if engine.model.startswith("/"):
            yield f"engines.{name}.model", engine.model
    for name, expert in config.experts.items():
        for key in ("lora", "tokenizer"):
            value: str | None = getattr(expert, key)
            if value is not None and value.startswith("/"):
                yield f"experts.{name}.{key}", value
    if config.routing.embedder.model.startswith("/"):
        yield "routing.embedder.model", config.routing.embedder.model


def _problems(error: ValidationError) -> list[str]:
    lines: list[str] = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = _unknown_key(item["loc"])
        lines += [f"{where}: {line}" if where else line for line in message.splitlines()]
    return lines


def _unknown_key(location: tuple[int | str, ...]) -> str:
    close = difflib.get_close_matches(str(location[-1]), sorted(_known_keys()), n=1)
    return "unknown key" + (f"; did you mean '{close[0]}'?" if close else "")


def _known_keys() -> set[str]:
    keys: set[str] = set()
    pending: list[type[BaseModel]] = [Config]
    while pending:
        for name, field in pending.pop().model_fields.items():
            keys.add(name)
            pending += _models_in(field.annotation)
    return keys


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)
