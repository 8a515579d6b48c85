"""What a configuration says of itself that cannot be: names that nobody has, wishes that contradict each other. Pure.

Each problem has a path, and says what is wrong and what to write instead where that can be guessed.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from experts.spec import Wrong
from router.config_budgets import DEFAULT_TENANT, ApiKey, Grants

if TYPE_CHECKING:
    from router.config import Config

Path = tuple[str | int, ...]


def reference_problems(config: Config) -> Iterator[Wrong]:
    """All of them."""
    yield from _engine_problems(config)
    yield from _routing_problems(config)
    yield from _policy_problems(config)
    yield from _tenant_problems(config)


def _engine_problems(config: Config) -> Iterator[Wrong]:
    bases: dict[str, str] = {}
    for name, expert in config.experts.items():
        if expert.engine is None:
            continue
        if expert.engine not in config.engines:
            yield _unknown(("experts", name, "engine"), expert.engine, config.engines)
        elif expert.lora is None and bases.setdefault(expert.engine, name) != name:
            yield (
                ("experts", name),
                f"'{bases[expert.engine]}' already is the base model of {expert.engine}; give it a lora",
            )
        elif expert.lora is not None and name == expert.engine:
            yield ("experts", name), "an adapter must not have its engine's name: the engine serves its base by it"
    for engine in config.engines:
        if not any(e.engine == engine for e in config.experts.values()):
            yield ("engines", engine), "no expert uses it; remove it or add one"


def _routing_problems(config: Config) -> Iterator[Wrong]:
    yield from _part_problems(config, ("routing", "general_expert"), config.routing.general_expert, "answers")
    yield from _assignment_problems(config)
    if config.routing.keywords is not None:
        yield from _part_problems(config, ("routing", "keywords", "expert"), config.routing.keywords.expert, "keywords")


def _assignment_problems(config: Config) -> Iterator[Wrong]:
    where, wanted = ("routing", "assignment"), config.routing.assignment
    for category, expert in wanted.forced.items():
        yield from _part_problems(config, (*where, "forced", category), expert, "answers")
    for category, names in wanted.forbidden.items():
        for at, expert in enumerate(names):
            yield from _part_problems(config, (*where, "forbidden", category, at), expert, "answers")
    if wanted.resident_b is not None and config.sizeless:
        missing = ", ".join(config.sizeless)
        yield (*where, "resident_b"), f"needs parameters_b of every expert; missing: {missing}"


def _policy_problems(config: Config) -> Iterator[Wrong]:
    for name, policy in config.policies.items():
        where = ("policies", name)
        if name in config.experts:
            yield where, "an expert has the same name; models must differ"
        if policy.skills == "keywords" and config.routing.keywords is None:
            yield (*where, "skills"), "'keywords' needs routing.keywords: the expert that names them"
        if policy.target_usd_per_query is not None and policy.recruit != "predicted":
            yield (*where, "target_usd_per_query"), "needs recruit 'predicted'; others do not look at prices"
        for at, expert in enumerate(policy.experts or ()):
            if expert in (policy.experts or ())[:at]:
                yield (*where, "experts", at), f"'{expert}' is named twice"
            yield from _part_problems(config, (*where, "experts", at), expert, "answers")


def _tenant_problems(config: Config) -> Iterator[Wrong]:
    for at, key in enumerate(config.server.api_keys):
        where: Path = ("server", "api_keys", at)
        if key.name in [other.name for other in config.server.api_keys[:at]]:
            yield (*where, "name"), f"'{key.name}' is there twice"
        yield from key_problems(config, key, where)
    for name, tenant in config.tenants.items():
        yield from _grant_problems(config, ("tenants", name), tenant)


def key_problems(config: Config, key: ApiKey, where: Path = ()) -> Iterator[Wrong]:
    """Names that a key gives and nobody has: of a key in the configuration, or one that is made beside it."""
    if key.tenant not in (*config.tenants, DEFAULT_TENANT):
        yield _unknown((*where, "tenant"), key.tenant, config.tenants)
    yield from _grant_problems(config, where, key)


def _grant_problems(config: Config, where: Path, grants: Grants) -> Iterator[Wrong]:
    for at, policy in enumerate(grants.policies or ()):
        if policy not in config.policies:
            yield _unknown((*where, "policies", at), policy, config.policies)
    for at, expert in enumerate(grants.experts or ()):
        if expert not in config.experts:
            yield _unknown((*where, "experts", at), expert, config.experts)


def _part_problems(config: Config, where: Path, expert: str, part: str) -> Iterator[Wrong]:
    """The expert must be there, and be of that part."""
    if expert not in config.experts:
        yield _unknown(where, expert, config.experts)
    elif (found := config.experts[expert].part) != part:
        yield where, f"'{expert}' is of part '{found}', not '{part}'; set experts.{expert}.part or name another one"


def _unknown(where: Path, value: str, known: Mapping[str, object]) -> Wrong:
    return where, f"unknown '{value}'; {suggestion(value, known)}"


def suggestion(value: str, known: Collection[str]) -> str:
    """What may have been meant, or all that is known."""
    if close := difflib.get_close_matches(value, known, n=1):
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(sorted(known)) or 'none'}"
