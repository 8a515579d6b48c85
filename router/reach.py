"""What a configuration knows and cannot reach: categories and skills that nobody it convenes was measured on. Pure.

A skill decides anything only through experts that were measured on it: their rates there are what tells them apart.
One that only others were measured on, or nobody, is a label without effect, and most often a mistake: an expert was
taken out of a policy, or questions of that skill out of the calibration set. That is certain, and an error, once all
who may be convened are measured. Before that the missing measurement may still come, so it is a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from experts.spec import Wrong
from router.classify import GENERAL
from router.config import Config
from router.config_checks import suggestion
from router.fitted import Fitted
from router.profiles import Profiles

FITTED = ("routing", "fitted")
PROFILES = ("routing", "profiles")


@dataclass(frozen=True, slots=True)
class Reached:
    """`errors` are certain; `warnings` may come right by themselves, or be meant."""

    errors: tuple[Wrong, ...]
    warnings: tuple[Wrong, ...]


def reached(config: Config, fitted: Fitted, profiles: Profiles) -> Reached:
    """What is unreachable, and categories that are named but unknown."""
    errors, unsure = list(_unknown_categories(config, fitted)), list[Wrong]()
    convened = convenable(config)
    unmeasured = tuple(sorted(convened - profiles.experts.keys()))
    if not profiles.experts:
        why = "no expert is measured yet, so they are told apart by nothing; run `symposium profile`"
        return Reached(tuple(errors), ((PROFILES, why),))
    into = unsure if unmeasured else errors
    for kind in ("categories", "skills"):
        into += _unserved(config, fitted, profiles, kind, unmeasured)
    for name, policy in config.policies.items():
        allowed = frozenset(policy.experts or config.answering)
        into = unsure if allowed - profiles.experts.keys() else errors
        for category in policy.categories:
            if category in fitted.classifier.labels and not _measured(profiles, "categories", category) & allowed:
                into.append(
                    (("policies", name, "categories", category), "none of the policy's experts was measured on it")
                )
    if unmeasured:
        unsure.append((PROFILES, f"not measured yet: {', '.join(unmeasured)}; run `symposium profile`"))
    return Reached(tuple(errors), tuple(unsure))


def convenable(config: Config) -> frozenset[str]:
    """The experts that at least one policy may convene."""
    return frozenset(name for policy in config.policies.values() for name in policy.experts or config.answering)


def _unserved(
    config: Config, fitted: Fitted, profiles: Profiles, kind: str, unmeasured: Collection[str]
) -> Iterator[Wrong]:
    """Grouped by who else was measured on them: one mistake, one line."""
    convened = convenable(config)
    known = fitted.vocabulary.names if kind == "skills" else fitted.classifier.labels
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in known:
        who = _measured(profiles, kind, name)
        if not who & convened:
            groups.setdefault(tuple(sorted(who & set(config.answering))), []).append(name)
    for others, names in groups.items():
        what = f"{kind} that nobody a policy may convene was measured on: {', '.join(names)}; "
        if others:
            yield FITTED, f"{what}{', '.join(others)} was, so name it in a policy's `experts`"
        else:
            yield FITTED, f"{what}run `symposium profile` with questions of them, or `symposium fit` without"


def _measured(profiles: Profiles, kind: str, name: str) -> frozenset[str]:
    found = ((e, p.skills if kind == "skills" else p.categories) for e, p in profiles.experts.items())
    return frozenset(expert for expert, counts in found if name in counts and counts[name].asked)


def _unknown_categories(config: Config, fitted: Fitted) -> Iterator[Wrong]:
    """A category that no question can have: what is said of it never counts."""
    known, wanted = (*fitted.classifier.labels, GENERAL), config.routing.assignment
    named = [("policies", name, "categories", c) for name, policy in config.policies.items() for c in policy.categories]
    named += [("routing", "assignment", "forced", c) for c in wanted.forced]
    named += [("routing", "assignment", "forbidden", c) for c in wanted.forbidden]
    for path in named:
        if path[-1] not in known:
            yield path, f"unknown category '{path[-1]}'; {suggestion(path[-1], known)}"
