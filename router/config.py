"""Routing YAML -> one frozen, validated configuration. Knows nothing of what is done with it.

Everything an operator decides is here; a key that is not known, or written twice, is an error with its
path and a suggestion. All errors of a file are reported at once.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from experts.spec import Engine, Expert, Name, Spec

AUTO = "auto"
PATH_ARGS = ("tokenizer", "chat-template")  # engine arguments that may name a file or folder
MERGE_TAG = "tag:yaml.org,2002:merge"  # "<<"


class RequestLimits(Spec):
    """Bounds on one request, and on how many are held at once by one router replica."""

    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    max_messages: int = Field(default=256, ge=1)
    max_n: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=32_768, ge=1)
    max_in_flight: int = Field(default=512, ge=1)


class ApiKey(Spec):
    """A client key, stored as the SHA-256 of all of it (`symposium key` makes one)."""

    name: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Server(Spec):
    """The public side. Without `api_keys` everybody who reaches the port may ask."""

    host: str = "127.0.0.1"
    api_keys: tuple[ApiKey, ...] = ()
    limits: RequestLimits = RequestLimits()
    public_metrics: bool = True
    router_replicas: int = Field(default=1, ge=1)


class Embedder(Spec):
    """`minilm` is all-MiniLM-L6-v2 from an installed package; any other name is for sentence-transformers."""

    model: str = "minilm"
    max_batch: int = Field(default=32, ge=1)
    max_chars: int = Field(default=2000, ge=1)


class Routing(Spec):
    """The two stages. `fitted` and `profiles` are written by `symposium fit` and `symposium profile`."""

    embedder: Embedder = Embedder()
    fitted: str
    profiles: str
    general_expert: Name
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    skill_floor: float = Field(default=0.35, ge=-1, le=1)
    max_skills: int = Field(default=3, ge=1)
    prior_strength: float = Field(default=8.0, gt=0)


class Policy(Spec):
    """A virtual model: how many experts may be convened, and when one is enough.

    `enough`: a candidate whose predicted correctness reaches it answers alone. `min_share`: nobody joins
    whose predicted correctness is below this share of the best one's.
    """

    experts: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    max_experts: int = Field(default=3, ge=1, le=16)
    aggregate: Literal["auto", "single", "vote"] = "auto"
    enough: float = Field(default=0.85, ge=0, le=1)
    min_share: float = Field(default=0.3, ge=0, le=1)
    description: str = ""


class Config(Spec):
    """One version of everything. Paths are absolute after `load`."""

    version: Literal[1]
    server: Server = Server()
    engines: dict[Name, Engine] = Field(default_factory=dict)
    experts: dict[Name, Expert] = Field(min_length=1)
    routing: Routing
    policies: dict[Name, Policy] = Field(default_factory=lambda: {AUTO: Policy()})

    @property
    def hash(self) -> str:
        """Twelve hex digits that change whenever anything in the configuration does."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def loras(self, engine: str) -> dict[str, str]:
        """Expert name -> adapter, for the LoRA experts of one engine."""
        return {n: e.lora for n, e in self.experts.items() if e.engine == engine and e.lora is not None}

    def tokenizer(self, expert: str) -> str | None:
        """Folder or file of an expert's tokenizer: its own, else that of its engine's local model."""
        spec = self.experts[expert]
        if spec.tokenizer is None and spec.engine is not None:
            engine = self.engines[spec.engine]
            return str(engine.args.get("tokenizer") or engine.model)
        return spec.tokenizer

    @model_validator(mode="after")
    def _references(self) -> Self:
        problems = [*_engine_problems(self), *_policy_problems(self)]
        if self.routing.general_expert not in self.experts:
            problems.append(_unknown("routing.general_expert", self.routing.general_expert, self.experts))
        if AUTO not in self.policies:
            problems.append(f"policies: '{AUTO}' is missing; it is what clients ask for by default")
        if problems:
            raise ValueError("\n".join(problems))
        return self


def _engine_problems(config: Config) -> Iterator[str]:
    bases: dict[str, str] = {}
    for name, expert in config.experts.items():
        if expert.engine is None:
            continue
        if expert.engine not in config.engines:
            yield _unknown(f"experts.{name}.engine", expert.engine, config.engines)
        elif expert.lora is None and bases.setdefault(expert.engine, name) != name:
            yield f"experts.{name}: '{bases[expert.engine]}' already is the base model of {expert.engine}"
        elif expert.lora is not None and name == expert.engine:
            yield f"experts.{name}: an adapter must not have its engine's name: the engine serves its base by it"
    for engine in config.engines:
        if not any(e.engine == engine for e in config.experts.values()):
            yield f"engines.{engine}: no expert uses it; remove it or add one"


def _policy_problems(config: Config) -> Iterator[str]:
    for name, policy in config.policies.items():
        if name in config.experts:
            yield f"policies.{name}: an expert has the same name; models must differ"
        for expert in policy.experts or ():
            if (policy.experts or ()).count(expert) > 1:
                yield f"policies.{name}.experts: '{expert}' is named twice"
            if expert not in config.experts:
                yield _unknown(f"policies.{name}.experts", expert, config.experts)


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

    `model`, `lora`, `tokenizer` and the engine arguments that name files may also be hub ids: only what starts with
    "." or "/" is a path there.
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

    mended = dict(raw)
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
    if "routing" in raw:
        mended["routing"] = mend(raw["routing"], ("fitted", "profiles"), always=True)
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


def _unknown(where: str, value: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(value, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
    return f"{where}: unknown '{value}'; {hint}"
