"""What one configuration version knows, read once at a replica's start: fitted parts, profiles, tokenizers, prices."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from experts.tokens import TokenCounter
from experts.version import expert_versions
from router.aggregators import aggregator_rate, best_aggregators
from router.assigned import assigned
from router.classify import GENERAL
from router.config import Config
from router.correctness import Correctness
from router.fitted import Fitted
from router.learned import Learned
from router.money import cost, usd
from router.panels import CHANCE
from router.profiles import Profiles, stale, stale_aggregators
from router.rates import Rates
from router.records import Usage


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """All that decisions are made from, besides the query and who is up.

    `correctness` predicts P(right) from profiles and, where a file of it is there, from what was `learned`; what was
    learned of other profiles than those there now is not used (`learned_is_stale`).
    `profiles` are what was `measured`, moved by feedback up to number `feedback`; 0: by none.
    `versions` says what answers under each expert's name; `stale` are those of which something else was measured.
    `synthesizers`: category -> who may write one answer of several responses, the best first, with the measured rate of
    right ones: those that were measured to do it better than chance; where nobody was measured, those whose part it
    is and the general expert, with None.
    `assigned`: category -> the expert that serves it, for policies that recruit by that.
    """

    config: Config
    version: str
    fitted: Fitted
    profiles: Profiles
    measured: Profiles
    correctness: Correctness
    learned: Learned | None
    learned_is_stale: bool
    counters: dict[str, TokenCounter]
    usd_per_token: dict[str, tuple[float, float]]
    versions: dict[str, str]
    stale: frozenset[str]
    synthesizers: dict[str, dict[str, float | None]]
    assigned: Mapping[str, str]
    feedback: int = 0

    @classmethod
    def load(cls, config: Config) -> Knowledge:
        """Raises ValueError with the remedy when a fitted file is missing or does not fit."""
        experts, routing = config.experts, config.routing
        counter = cache(TokenCounter)
        profiles, versions = Profiles.load(Path(routing.profiles)), expert_versions(experts, config.engines)
        fitted = Fitted.load(Path(routing.fitted), routing.embedder.model)
        categories = (*fitted.classifier.labels, GENERAL)
        _check_categories(config, categories)
        rates = Rates.of(profiles.experts, routing.prior_strength)
        learned = Learned.load(Path(routing.learned), routing.embedder.model) if routing.learned else None
        usable = learned if learned and _of_these_profiles(learned, profiles) else None
        return cls(
            config=config,
            version=_version(config),
            fitted=fitted,
            profiles=profiles,
            measured=profiles,
            correctness=Correctness(rates, usable.blend if usable else None),
            learned=usable,
            learned_is_stale=learned is not None and usable is None,
            counters={name: counter(config.tokenizer(name), e.bytes_per_token) for name, e in experts.items()},
            usd_per_token={name: (e.price.usd(1, 0), e.price.usd(0, 1)) for name, e in experts.items()},
            versions=versions,
            stale=frozenset(stale(profiles, versions)),
            synthesizers={category: _synthesizers(config, profiles, category) for category in categories},
            assigned=assigned(config, profiles),
        )

    def moved(self, profiles: Profiles, number: int) -> Knowledge:
        """With profiles that feedback up to this number has moved. What was learned, and who is assigned where, stay as
        they were made: of what was measured.
        """
        rates = Rates.of(profiles.experts, self.config.routing.prior_strength)
        correctness = Correctness(rates, self.correctness.blend)
        return replace(self, profiles=profiles, correctness=correctness, feedback=number)

    @property
    def stale_aggregators(self) -> tuple[str, ...]:
        """Experts of which another version was measured as aggregator than the one that answers now."""
        return stale_aggregators(self.profiles, self.versions)

    def nanos(self, expert: str, prompt_tokens: int, output_tokens: int) -> int:
        """What an expert's tokens cost, nanodollars, rounded up: what is charged for them."""
        return cost(self.config.experts[expert].price, prompt_tokens, output_tokens)

    def usd(self, expert: str, usage: Usage) -> float:
        """The same in US dollars."""
        return usd(self.nanos(expert, usage.prompt_tokens, usage.completion_tokens))


def _synthesizers(config: Config, profiles: Profiles, category: str) -> dict[str, float | None]:
    strength = config.routing.prior_strength
    measured = [name for name in profiles.aggregators if name in config.experts]
    if not measured:
        parts = [name for name, expert in config.experts.items() if expert.part == "aggregator"]
        return dict.fromkeys([*parts, config.routing.general_expert])
    rates = {name: aggregator_rate(profiles, name, category, strength) for name in measured}
    best = best_aggregators(profiles, measured, category, strength)
    return {name: rate for name in best if (rate := rates[name]) is not None and rate > CHANCE}


def _of_these_profiles(learned: Learned, profiles: Profiles) -> bool:
    """Whether every expert still has the version that was learned of: one in another makes all of it stale."""
    now = {name: profile.expert_version for name, profile in profiles.experts.items()}
    return all(now.get(name) == version for name, version in learned.versions.items())


def _check_categories(config: Config, known: Sequence[str]) -> None:
    for name, policy in config.policies.items():
        if unknown := sorted(policy.categories.keys() - set(known)):
            raise ValueError(
                f"policies.{name}.categories: unknown '{unknown[0]}'; {config.routing.fitted} knows {', '.join(known)}"
            )


def _version(config: Config) -> str:
    """Twelve hex digits that change with the configuration and with what was learned for it."""
    digest = hashlib.sha256(config.hash.encode())
    routing = config.routing
    for file in (Path(name) for name in (routing.fitted, routing.profiles, routing.learned) if name):
        digest.update(file.read_bytes() if file.exists() else b"")
    return digest.hexdigest()[:12]
