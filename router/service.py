"""Building the router of one replica: the only place where its parts are put together.

Knows every step's constructor and nothing of HTTP's shape, Ray or vLLM.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakSet

from experts.client import Endpoint, ExpertClient, LegTokens
from router.bank import Bank
from router.classify import GENERAL
from router.config import Config
from router.dispatch import Dispatcher
from router.edition import Edition
from router.embed import Embedder, MicroBatcher
from router.events import Event
from router.feedback_follow import FeedbackFollower
from router.forecast import Forecast
from router.health import Health
from router.key_ring import KeyRing
from router.knowledge import Knowledge
from router.lanes import Lanes
from router.ledger import Ledger
from router.legs import Legs
from router.outlooks import Outlooks
from router.pace import Paces
from router.pipeline import Pipeline
from router.registry import Registry
from router.registry_keeper import Keeper
from router.sessions import Sessions
from router.standings import Standings
from router.telemetry import Telemetry
from router.throttle import Throttle
from router.watch import Watch

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)
At = Callable[[Config], Mapping[str, Endpoint]]
Sink = Callable[[Event, Edition], None]
DRAIN_S = 5.0
COUNT_WAIT_S = 1.0  # for what a host has counted of a leg that a dead replica had begun
FIRST_LOOK_S = 2.0  # at an expert that a configuration adds, before it can come into force
MAX_SESSIONS, SESSION_TTL_S = 10_000, 3600.0


class Service:
    """One running router: what the HTTP side needs, and nothing else.

    Its parts live as long as it does: connections, breakers, sessions, what is known of experts' servers. What a
    configuration decides is in `edition`, which may be another one between two requests.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        client: ExpertClient,
        embed: Embedder,
        at: At,
        ledger: Ledger,
        registry: Registry,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        config = knowledge.config
        self.clock, self.now, self.ledger, self.registry = clock, now, ledger, registry
        self.telemetry = Telemetry(*_names(knowledge))
        self.sinks: list[Sink] = [lambda event, _: self.telemetry.emit(event)]
        self._client, self._at = client, at
        settings = config.routing.embedder
        self._batcher = MicroBatcher(embed, settings.max_batch, self.telemetry.embed_batch.observe)
        self.telemetry.queued("embed", self._batcher.oldest_s)
        up = self.telemetry.expert_up
        self.watch = Watch(client, at(config), lambda name, alive: up.labels(name).set(alive))
        self._health = Health(config.experts, config.convening, clock, self.telemetry.breaker_changed)
        worth = self.telemetry.worth
        self._paces = Paces(config.policies, lambda name, usd: worth.labels(name).set(usd))
        self._sessions = Sessions(MAX_SESSIONS, SESSION_TTL_S)
        self.ring = KeyRing(registry, clock=clock, now=now, emit=self._emit_now)
        self.throttle = Throttle(ledger, config.ledger, clock=clock, now=now, emit=self._emit_now)
        self.sinks.append(lambda event, _: self.throttle.emit(event))
        self.keeper = Keeper(registry, now, self._emit_now)
        self.sinks.append(self.keeper.heard)
        self.feedback = FeedbackFollower(
            registry,
            self.ring.ids,
            current=lambda: self.edition.knowledge,
            move=self._move,
            clock=clock,
            emit=self._emit_now,
        )
        concurrency = config.convening.concurrency
        self.lanes = Lanes(config.experts, concurrency, clock, self._emit_now)
        self.telemetry.lanes(self.lanes.queued, self.lanes.load, self.lanes.limit)
        self._standings = Standings(
            ledger, lambda: self.edition.config, now, self.telemetry.money.stand, self._emit_now
        )
        self._forecast = Forecast()
        self.bank = Bank(
            ledger,
            config.ledger,
            uuid.uuid4().hex,
            clock=clock,
            now=now,
            count=self._count,
            price=self._price,
            emit=self._emit_now,
        )
        self._legs: WeakSet[Legs] = WeakSet()  # requests under way hold on to theirs, and so does what settles them
        self.edition = self._edition(knowledge)
        self.up_to_date: Callable[[], Awaitable[None]] = _always
        self.behind: Callable[[], bool] = lambda: False

    async def admitted(self) -> Edition:
        """The edition that a request begins with."""
        await self.up_to_date()
        return self.edition

    @property
    def ready(self) -> bool:
        """Once every hosted expert that answers questions has answered a probe, and as long as any of them is up.

        Experts elsewhere do not hold the start back; one dead engine does not take the others off the network; without
        the keyword expert skills are found by embedding.
        """
        config = self.edition.config
        hosted = {name for name in config.answering if config.experts[name].engine is not None}
        return not self.behind() and hosted <= self.watch.seen and any(self.watch.up[name] for name in config.answering)

    def emit(self, event: Event, edition: Edition) -> None:
        """Tells all sinks, of which edition's request it is. None of them can fail a request, or keep the others from
        hearing of it.
        """
        for sink in self.sinks:
            try:
                sink(event, edition)
            except Exception:  # a sink's bug
                log.exception("a sink failed")

    def _emit_now(self, event: Event) -> None:
        """What is no single request's."""
        self.emit(event, self.edition)

    def _price(self, expert: str, prompt_tokens: int, output_tokens: int) -> int:
        return self.edition.knowledge.nanos(expert, prompt_tokens, output_tokens)

    async def _count(self, expert: str, leg_id: str) -> LegTokens | None:
        """What a host of ours has counted for a leg of another replica."""
        endpoint = self._at(self.edition.config).get(expert)
        hosted = endpoint is not None and endpoint.hosted
        return await self._client.tokens(endpoint, leg_id, COUNT_WAIT_S) if endpoint and hosted else None

    async def prepare(self, config: Config) -> Edition:
        """What can take the place of the edition in force: everything is read, and new experts are looked at already.

        Raises:
            ValueError: fitted files, profiles or the embedder are missing or do not fit; says what to run.
        """
        knowledge = await asyncio.to_thread(lambda: self.feedback.moved(Knowledge.load(config)))
        check_dimensions(knowledge, len(await self._batcher("warm up")))  # where others wait, too: one thread embeds
        self._health.configured(config.experts, self.edition.config.convening)
        self.lanes.configured(config.experts, self.edition.config.convening.concurrency)
        # An expert that moves is looked at where it is now, until it has moved.
        self.watch.follow({**self._at(config), **self._at(self.edition.config)})
        await self.watch.looked_at(config.experts, FIRST_LOOK_S)
        return self._edition(knowledge)

    def keep(self) -> None:
        """What was prepared does not take the place of the edition in force."""
        self.watch.follow(self._at(self.edition.config))

    def swap(self, edition: Edition) -> None:
        """The next request begins with this edition; those under way end with theirs."""
        config, self.edition = edition.config, edition
        self.watch.follow(self._at(config))
        self._health.configured(config.experts, config.convening)
        self.lanes.configured(config.experts, config.convening.concurrency)
        self._paces.configured(config.policies)
        self.telemetry.configured(*_names(edition.knowledge))
        for name in config.experts:  # one that comes back has new series, and is as it was known
            self.telemetry.expert_up.labels(name).set(self.watch.up[name])
            self.telemetry.breaker_is(name, self._health.state(name))
        self.telemetry.config_applied(edition.version)

    def _move(self, knowledge: Knowledge) -> None:
        """Feedback has moved profiles: nothing that follows the configuration changes."""
        self.edition = self._edition(knowledge)

    async def start(self) -> None:
        """Begins to look at experts, to read keys, and to keep books."""
        self.watch.start()
        await self.bank.start()
        await self.ring.start()
        await self._standings.start()
        self.keeper.start()
        await self.feedback.start()

    async def close(self) -> None:
        """Settles what is under way."""
        await asyncio.gather(*(legs.drain(DRAIN_S) for legs in list(self._legs)))
        await self.bank.stop(DRAIN_S)
        await self.feedback.stop()
        await self.keeper.stop()
        await self._standings.stop()
        await self.ring.stop()
        await self.throttle.stop(DRAIN_S)
        await self.watch.stop()
        self._batcher.close()

    def _edition(self, knowledge: Knowledge) -> Edition:
        experts_at = self._at(knowledge.config)

        def emit(event: Event) -> None:
            self._paces.emit(event, knowledge.usd)
            self.emit(event, edition)

        legs = Legs(self._client, experts_at, self.watch, self._health, self.lanes, self._forecast, emit)
        servers = {name: endpoint.base_url for name, endpoint in experts_at.items()}
        self._legs.add(legs)
        dispatcher = Dispatcher(legs, self._health, servers, emit)
        pipeline = Pipeline(
            knowledge=knowledge,
            embed=self._batcher,
            dispatcher=dispatcher,
            outlooks=Outlooks(knowledge, self.watch, self._health, self.lanes, self._forecast),
            bank=self.bank,
            sessions=self._sessions,
            paces=self._paces,
            emit=emit,
            clock=self.clock,
        )
        edition = Edition(knowledge, pipeline)
        return edition


def _names(
    knowledge: Knowledge,
) -> tuple[str, tuple[str, ...], tuple[str, ...], frozenset[str], tuple[str, ...], int, tuple[str, ...]]:
    """What metrics have series for, in the order in which `Telemetry` takes it."""
    config, categories = knowledge.config, (*knowledge.fitted.classifier.labels, GENERAL)
    limit, tenants = config.server.limits.max_in_flight, tuple(config.tenants)
    return knowledge.version, tuple(config.experts), tuple(config.policies), knowledge.stale, categories, limit, tenants


async def _always() -> None:
    """Nobody changes the configuration of a router on its own."""


def check_dimensions(knowledge: Knowledge, made: int) -> None:
    """Raises ValueError where what was fitted is of other vectors than the embedder makes: `made` numbers each."""
    routing, wanted = knowledge.config.routing, knowledge.fitted.vocabulary.centroids.shape[1]
    if made != wanted:
        raise ValueError(
            f"{routing.fitted}: fitted for vectors of {wanted} numbers, embedder '{routing.embedder.model}' makes "
            f"{made}; run `symposium fit` again"
        )
