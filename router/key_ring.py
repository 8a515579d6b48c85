"""Whose key a token is: keys of the configuration in force, and those made while the system runs. Async shell.

Every replica reads the registry once a second, off requests' way; one whose event loop stood still reads before it
takes another request. So a key that was revoked is refused by every replica within REVOKED_S. Where the registry cannot
be reached, keys known so far go on working for TRUSTED_S, and each look that failed is an event.

Keys are known by the SHA-256 of all of them, which is looked up in a dictionary. How long that takes may depend on the
digest, and tells nothing of a key: whoever could steer the digest of a guess towards a known one could invert SHA-256.
No part of a key is kept, compared or logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress

from router.caller import Caller
from router.callers import anonymous, caller_of
from router.config import ApiKey, Config
from router.config_budgets import DEFAULT_TENANT
from router.errors import Forbidden, LedgerDown, Unauthorized
from router.events import Emit, LedgerLost
from router.ledger import LedgerUnavailable
from router.registry import Key, Registry, usable

log = logging.getLogger(__name__)
POLL_S = 1.0
FRESH_S = 1.5  # what was read longer ago is read again before a request is taken
CATCH_UP_S = 0.5  # so long a request waits for that
REVOKED_S = FRESH_S + CATCH_UP_S
TRUSTED_S = 300.0
OLD = "~"  # what follows it in a key's id tells secrets of one key apart: those that were rotated out


class KeyRing:
    """Of one router replica. `clock`: monotonic seconds; `now`: unix seconds.

    Once the registry held any key, used up or not, asking without one is refused for as long as the ring lives: a
    registry that lost what it held does not open the door.
    """

    def __init__(self, registry: Registry, *, clock: Callable[[], float], now: Callable[[], float], emit: Emit) -> None:
        self._registry, self._clock, self._now, self._emit = registry, clock, now, emit
        self._read_at: float | None = None
        self._looked_at = float("-inf")
        self._failing = False
        self._locked = False
        self._all: tuple[Key, ...] = ()
        self._made: dict[str, Key] = {}
        self._config: Config | None = None
        self._configured: dict[str, ApiKey] = {}
        self._callers: dict[str, Caller] = {}
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Reads once, and goes on reading; what cannot be reached now is tried again."""
        await self._look()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def up_to_date(self) -> None:
        """Before a request is taken: reads again where that was too long ago, unless nobody answers there anyway."""
        if not self._failing and self._clock() - self._looked_at > FRESH_S:
            with suppress(TimeoutError):
                async with asyncio.timeout(CATCH_UP_S):
                    await self._look(FRESH_S)

    def caller(self, token: str | None, config: Config) -> Caller:
        """Whose token it is; where there are no keys at all, anonymous, whatever is shown.

        Raises:
            Unauthorized: no token, or one that is not known.
            Forbidden: its tenant is not configured any more.
            LedgerDown: keys cannot be read, and it is none of the configuration's.
        """
        if not self.locked(config):
            self._check_read()
            return anonymous(config)
        if token is None:
            raise Unauthorized("Give your API key as 'Authorization: Bearer <key>'.", code="invalid_api_key")
        digest = hashlib.sha256(token.encode()).hexdigest()
        if digest not in self._configured:
            self._check_read()
        found = self._callers.get(digest) or self._first_met(digest, config)
        if found is None:
            raise Unauthorized("The API key is not known.", code="invalid_api_key")
        return found

    def locked(self, config: Config) -> bool:
        """Whether a key is needed at all."""
        self._follow_config(config)
        return bool(self._configured) or self._locked

    def ids(self, config: Config) -> frozenset[str]:
        """What every key goes by that is good now."""
        configured = (key.name for key in config.server.api_keys)
        return frozenset([*configured, *(public_id(key.id) for key in self._made.values())])

    @property
    def _trusted(self) -> bool:
        """Whether what was read of the registry still counts."""
        return self._read_at is not None and self._clock() - self._read_at <= TRUSTED_S

    def _check_read(self) -> None:
        if not self._trusted:
            raise LedgerDown("API keys cannot be checked now; try again shortly.", code="keys_unavailable")

    def _first_met(self, digest: str, config: Config) -> Caller | None:
        made = self._made.get(digest)
        key = self._configured.get(digest) or (made.grants if made else None)
        if key is None:
            return None
        if key.tenant != DEFAULT_TENANT and key.tenant not in config.tenants:
            raise Forbidden(f"The tenant of this API key, '{key.tenant}', is not configured.", code="unknown_tenant")
        key_id = key.name if digest in self._configured or made is None else public_id(made.id)
        found = self._callers[digest] = caller_of(key, key_id, key.tenant, config.tenant(key.tenant))
        return found

    def _follow_config(self, config: Config) -> None:
        if config is not self._config:
            self._config, self._callers = config, {}
            self._configured = {key.sha256: key for key in reversed(config.server.api_keys)}

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self._look()

    async def _look(self, fresh_s: float = -1.0) -> None:
        """Unless somebody has looked that lately."""
        async with self._turn:
            if self._clock() - self._looked_at <= fresh_s:
                return
            began = self._clock()
            try:
                self._all = await self._registry.keys()
                self._read_at, self._locked = began, self._locked or bool(self._all)
                self._heard(failing=False)
            except LedgerUnavailable:
                self._emit(LedgerLost("keys", self._trusted))
                self._heard(failing=True)
            except Exception:  # the outer shell of this task: without it a revoked key would work for good
                log.exception("keys could not be read")
                self._heard(failing=True)
            self._looked_at = began
            if (made := usable(self._all, self._now())) != self._made:  # also where one has come to its end
                self._made, self._callers = made, {}

    def _heard(self, *, failing: bool) -> None:
        if failing and not self._failing:
            log.warning("keys cannot be read; those known so far work for %g s", TRUSTED_S)
        if self._failing and not failing:
            log.info("keys are read again")
        self._failing = failing


def public_id(key_id: str) -> str:
    """What a key goes by wherever people look: the same for all secrets that it has had."""
    return key_id.partition(OLD)[0]
