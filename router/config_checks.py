"""What a configuration says of itself that cannot be: names that nobody has, wishes that contradict each other. Pure.

Each problem is one line: where, what, and what to write instead where that can be guessed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.config import Config


def reference_problems(config: Config) -> Iterator[str]:
    """All of them."""
    yield from _engine_problems(config)
    yield from _routing_problems(config)
    yield from _policy_problems(config)


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


def _routing_problems(config: Config) -> Iterator[str]:
    yield from _part_problems(config, "routing.general_expert", config.routing.general_expert, "answers")
    yield from _assignment_problems(config)
    if config.routing.keywords is not None:
        yield from _part_problems(config, "routing.keywords.expert", config.routing.keywords.expert, "keywords")


def _assignment_problems(config: Config) -> Iterator[str]:
    where, wanted = "routing.assignment", config.routing.assignment
    for expert in wanted.forced.values():
        yield from _part_problems(config, f"{where}.forced", expert, "answers")
    for expert in (name for names in wanted.forbidden.values() for name in names):
        yield from _part_problems(config, f"{where}.forbidden", expert, "answers")
    if wanted.resident_b is not None and config.sizeless:
        yield f"{where}.resident_b: needs parameters_b of every expert; missing: {', '.join(config.sizeless)}"


def _policy_problems(config: Config) -> Iterator[str]:
    for name, policy in config.policies.items():
        if name in config.experts:
            yield f"policies.{name}: an expert has the same name; models must differ"
        if policy.skills == "keywords" and config.routing.keywords is None:
            yield f"policies.{name}.skills: 'keywords' needs routing.keywords: the expert that names them"
        if policy.target_usd_per_query is not None and policy.recruit != "predicted":
            yield f"policies.{name}.target_usd_per_query: needs recruit 'predicted'; others do not look at prices"
        for expert in policy.experts or ():
            if (policy.experts or ()).count(expert) > 1:
                yield f"policies.{name}.experts: '{expert}' is named twice"
            yield from _part_problems(config, f"policies.{name}.experts", expert, "answers")


def _part_problems(config: Config, where: str, expert: str, part: str) -> Iterator[str]:
    """The expert must be there, and be of that part."""
    if expert not in config.experts:
        yield _unknown(where, expert, config.experts)
    elif (found := config.experts[expert].part) != part:
        yield f"{where}: '{expert}' is of part '{found}', not '{part}'; set experts.{expert}.part or name another one"


def _unknown(where: str, value: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(value, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
    return f"{where}: unknown '{value}'; {hint}"
