"""Which expert serves which category, as a configuration wants it: its budgets, its pairs, what was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from router.assign import assign
from router.assignment import Base, Problem, problem_of
from router.config import Config
from router.profiles import Profiles


def problem_for(config: Config, profiles: Profiles) -> Problem:
    """The experts that answer, at their own prices; an expert of no known size weighs nothing.

    Raises:
        ValueError: nobody was measured in any category; or pairs contradict each other, or name no category.
    """
    wanted, costs = config.routing.assignment, {}
    for name in config.answering:
        price = config.experts[name].price
        costs[name] = price.usd(wanted.prompt_tokens, 0) + profiles.output_tokens(name) * price.usd(0, 1)
    return problem_of(
        profiles,
        config.answering,
        {name: config.experts[name].parameters_b or 0.0 for name in config.answering},
        costs,
        config.routing.prior_strength,
        bases=tuple(_bases(config)),
        forced=tuple(wanted.forced.items()),
        forbidden=tuple((category, name) for category, names in wanted.forbidden.items() for name in names),
    )


def _bases(config: Config) -> Iterator[Base]:
    for name, engine in config.engines.items():
        on_it = frozenset(expert for expert in config.answering if config.experts[expert].engine == name)
        if on_it and engine.parameters_b is not None:
            yield Base(on_it, engine.parameters_b)


def assigned(config: Config, profiles: Profiles) -> Mapping[str, str]:
    """Category -> expert, for the policies that recruit by it; nobody where none does, or none was measured yet.

    Raises:
        ValueError: no assignment keeps the budgets; and as for `problem_for`.
    """
    used = any(policy.recruit == "assigned" for policy in config.policies.values())
    if not used or not any(profiles.experts[name].categories for name in config.answering if name in profiles.experts):
        return {}
    wanted = config.routing.assignment
    try:
        found = assign(problem_for(config, profiles), max_size=wanted.resident_b, max_cost=wanted.usd_per_query)
    except ValueError as error:
        raise ValueError(f"routing.assignment: {error}") from error
    return found.experts
