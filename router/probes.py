"""Probes: questions with what must become of them, decided by the very pipeline that serves, with every expert up.

Nothing is sent anywhere: only decisions are made. A policy that asks the keyword expert finds skills by embedding here,
as it does in service when that expert does not answer. Must not know HTTP's shape: who builds a `Query` is an argument.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from experts.client import CHAT, Endpoint, ExpertClient, LegTokens
from experts.errors import ExpertUnreachable
from experts.spec import Name, Spec, Wrong
from router.classify import GENERAL
from router.config import AUTO, MAX_EXPERTS, LedgerSettings
from router.config_checks import suggestion
from router.errors import SymposiumError
from router.knowledge import Knowledge
from router.ledger_open import open_ledger
from router.opening import at
from router.records import Decision, JsonObject, Query, Ticket
from router.registry_open import open_registry
from router.service import Service

if TYPE_CHECKING:
    from router.embed import Embedder


class Probe(Spec):
    """A question, and what must become of it.

    `prompt`: what the user says. `policy`: the virtual model that is asked. `category`: what the question must be taken
    for; `general` where it must be taken for none. `skills`: must all be among those found. `experts`: must all be
    among those that may be asked. `only`: nobody else may be. `one_of`: at least one of these must be among them.
    `max_experts`: how many may be asked at most. `max_usd`: what it may be expected to cost when all of them are.
    `max_overhead_ms`: how long the decision may take on this machine.
    """

    prompt: Annotated[str, Field(min_length=1)]
    policy: Name = AUTO
    category: Name | None = None
    skills: tuple[Name, ...] = ()
    experts: tuple[Name, ...] = ()
    only: bool = False
    one_of: tuple[Name, ...] = ()
    max_experts: int | None = Field(default=None, ge=1, le=MAX_EXPERTS)
    max_usd: float | None = Field(default=None, ge=0)
    max_overhead_ms: float | None = Field(default=None, gt=0)

    def contradictions(self) -> Iterator[Wrong]:
        ceilings = (self.max_experts, self.max_usd, self.max_overhead_ms)
        if not (self.category or self.skills or self.experts or self.one_of) and ceilings == (None, None, None):
            yield (), "nothing is expected; give category, skills, experts, one_of, or a ceiling such as max_usd"
        if self.only and not self.experts:
            yield ("only",), "needs experts: nobody else than whom?"


class Probes(Spec):
    """A file of them.

    `probes`: checked one by one, each on its own.
    """

    probes: Annotated[tuple[Probe, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Probed:
    """One probe's decision, or why there is none, and what of it is not as expected."""

    probe: Probe
    decision: Decision | None
    wrong: tuple[Wrong, ...]


Ask = Callable[[str, str], Query]  # (model, prompt) -> as a client's request would be read


def unknown_names(probes: Sequence[Probe], know: Knowledge) -> Iterator[Wrong]:
    """Names in probes that the configuration does not have: such a probe could never pass."""
    categories, skills = (*know.fitted.classifier.labels, GENERAL), know.fitted.vocabulary.names
    known = {
        "policy": tuple(know.config.policies),
        "category": categories,
        "skills": skills,
        "experts": know.config.answering,
        "one_of": know.config.answering,
    }
    for index, probe in enumerate(probes):
        for key, names in known.items():
            for name in _listed(getattr(probe, key)):
                if name not in names:
                    yield ("probes", index, key), f"unknown '{name}'; {suggestion(name, names)}"


def _listed(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()


async def probed(
    probes: Sequence[Probe], know: Knowledge, embed: Embedder, ask: Ask, clock: Callable[[], float]
) -> list[Probed]:
    """Decides them one after another. `clock`: monotonic seconds."""
    with TemporaryDirectory(prefix="symposium-probes-") as folder:
        kept = LedgerSettings(), Path(folder)
        ledger, registry = open_ledger(*kept), open_registry(*kept)
        at_nobody = at("http://nobody.invalid", "")
        service = Service(know, _Nobody(), embed, at_nobody, ledger, registry, clock, time.time)
        service.watch.start()
        try:
            while not all(service.watch.up.values()):  # noqa: ASYNC110  # a few turns of the loop: nothing waits
                await asyncio.sleep(0)
            await _decided(service, ask(AUTO, "warm up"), clock)  # what happens once is not timed
            return [await _probed(service, probe, ask, clock) for probe in probes]
        finally:
            await service.close()
            await ledger.close()
            await registry.close()


async def _probed(service: Service, probe: Probe, ask: Ask, clock: Callable[[], float]) -> Probed:
    found = await _decided(service, ask(probe.policy, probe.prompt), clock)
    if isinstance(found, SymposiumError):
        return Probed(probe, None, ((("prompt",), str(found)),))
    return Probed(probe, found, tuple(differences(probe, found)))


async def _decided(service: Service, query: Query, clock: Callable[[], float]) -> Decision | SymposiumError:
    try:
        return await service.edition.pipeline.decide(query, Ticket("probe", now := clock(), arrived_at=now))
    except SymposiumError as error:
        return error


def differences(probe: Probe, decision: Decision) -> Iterator[Wrong]:
    """What of a decision is not as the probe says."""
    asked = decision.plan.experts
    category = decision.categories.category if decision.categories else None
    skills = tuple(decision.skills.weights) if decision.skills else ()
    if probe.category is not None and category != probe.category:
        yield ("category",), f"it is taken for {category}, not {probe.category}"
    if missing := [name for name in probe.skills if name not in skills]:
        yield ("skills",), f"not found: {', '.join(missing)}; found: {', '.join(skills) or 'none'}"
    if missing := [name for name in probe.experts if name not in asked]:
        yield ("experts",), f"not asked: {', '.join(missing)}; asked: {', '.join(asked)}"
    if probe.only and (more := [name for name in asked if name not in probe.experts]):
        yield ("only",), f"asked as well: {', '.join(more)}"
    if probe.one_of and not set(probe.one_of) & set(asked):
        yield ("one_of",), f"none of them is asked; asked: {', '.join(asked)}"
    if probe.max_experts is not None and len(asked) > probe.max_experts:
        yield ("max_experts",), f"{len(asked)} may be asked: {', '.join(asked)}"
    yield from _costs(probe, decision)


def _costs(probe: Probe, decision: Decision) -> Iterator[Wrong]:
    usd = sum(c.usd_per_query for c in decision.candidates if c.expert in decision.plan.experts)
    if probe.max_usd is not None and usd > probe.max_usd:
        yield ("max_usd",), f"{usd:.3g} USD are expected when all of {', '.join(decision.plan.experts)} are asked"
    if probe.max_overhead_ms is not None and 1000 * decision.overhead_s > probe.max_overhead_ms:
        yield ("max_overhead_ms",), f"it took {1000 * decision.overhead_s:.1f} ms to decide"


class _Nobody(ExpertClient):
    """Whom decisions are made for without anybody being asked: everybody seems to be up, and nobody answers."""

    def __init__(self) -> None:
        pass

    async def alive(self, endpoint: Endpoint, limit_s: float) -> bool:
        return True

    async def stream(
        self, endpoint: Endpoint, body: JsonObject, leg_id: str, path: str = CHAT
    ) -> AsyncGenerator[JsonObject, None]:
        for chunk in list[JsonObject]():
            yield chunk
        raise ExpertUnreachable(endpoint.expert, "probes ask nobody")

    async def complete(self, endpoint: Endpoint, body: JsonObject, leg_id: str) -> JsonObject:
        raise ExpertUnreachable(endpoint.expert, "probes ask nobody")

    async def tokens(self, endpoint: Endpoint, leg_id: str, wait_s: float) -> LegTokens | None:
        return None
