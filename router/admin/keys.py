"""Keys that are made, rotated and revoked while the system runs. A thin shell around the registry.

A secret is told once, to whoever makes it; kept is its digest. A key goes by one id for good: a secret that was rotated
out, and is good for a while longer, is kept beside it under `<id>~<number>`. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from router.admin.errors import Conflict
from router.config import ApiKey, Config
from router.config_checks import key_problems
from router.errors import BadRequest, NotFound
from router.key_ring import OLD, public_id
from router.registry import Key, Registry, RegistryFull

log = logging.getLogger(__name__)
PREFIX = "sk-sym-"
SECRET_BYTES = 32
OVERLAP_S = 86_400.0
MAX_OVERLAP_S = 90 * 86_400.0


@dataclass(frozen=True, slots=True)
class Listed:
    """A key as it stands. `made` is None of one in the configuration; `old_end`: when secrets that were rotated out do.

    `ends`: from then on its own secret is not good; None: not said.
    """

    id: str
    grants: ApiKey
    made: float | None = None
    ends: float | None = None
    old_end: tuple[float, ...] = ()

    def json(self) -> dict[str, Any]:
        """Everything but the digest, which is nobody's business either."""
        return {
            "object": "key",
            "id": self.id,
            **self.grants.model_dump(mode="json", exclude={"sha256"}),
            "source": "configuration" if self.made is None else "made",
            "made": self.made,
            "ends": self.ends,
            "old_secrets_end": list(self.old_end),
        }


class Keys:
    """`config`: what is in force. `now`: unix seconds."""

    def __init__(self, registry: Registry, config: Callable[[], Awaitable[Config]], now: Callable[[], float]) -> None:
        self._registry, self._config, self._now = registry, config, now
        self._turn = asyncio.Lock()

    async def make(self, wanted: Mapping[str, Any]) -> tuple[Listed, str]:
        """A key as a configuration would describe it, without `sha256`; and its secret, which is told only now.

        Raises:
            BadRequest: with the field that is wrong.
            Conflict: no more keys can be kept.
        """
        if "sha256" in wanted:
            raise BadRequest("A key that is made here gets a digest of its own.", code="invalid_value", param="sha256")
        secret = new_secret()
        grants = _grants(wanted, digest(secret))
        for where, why in key_problems(await self._config(), grants):
            param = ".".join(map(str, where))
            raise BadRequest(f"Invalid '{param}': {why}.", code="invalid_value", param=param)
        key = Key(f"{grants.name}-{secrets.token_hex(4)}", grants.sha256, grants, self._now())
        await self._put(key)
        _audit("key made", key)
        return _listed([key]), secret

    async def listed(self) -> list[Listed]:
        """The configuration's, then all that were made; those that have ended, too, until they are forgotten."""
        configured = [Listed(key.name, key) for key in (await self._config()).server.api_keys]
        found: dict[str, list[Key]] = {}
        for key in await self._registry.keys():
            found.setdefault(public_id(key.id), []).append(key)
        return configured + [_listed(keys) for keys in found.values()]

    async def revoke(self, key_id: str) -> Listed:
        """Ends it, and old secrets of it, now. Raises NotFound, or Conflict for one in the configuration."""
        async with self._turn:
            now = self._now()
            ended = [key if _over(key, now) else replace(key, ends=now) for key in await self._secrets_of(key_id)]
            for key in ended:
                await self._put(key)
        _audit("key revoked", ended[0])
        return _listed(ended)

    async def rotate(self, key_id: str, overlap_s: float) -> tuple[Listed, str]:
        """A new secret for it; the one that it had is good for so long.

        Raises:
            NotFound: there is no such key.
            Conflict: it is in the configuration, or has ended.
        """
        async with self._turn:
            now, found = self._now(), await self._secrets_of(key_id)
            own = next((key for key in found if key.id == key_id), None)
            if own is None or _over(own, now):
                raise Conflict(f"The key '{key_id}' has ended; make another one.", code="key_ended")
            number = 1 + max((int(key.id.partition(OLD)[2] or 0) for key in found), default=0)
            old = replace(own, id=f"{key_id}{OLD}{number}", ends=now + overlap_s)
            secret = new_secret()
            of_new = own.grants.model_copy(update={"sha256": digest(secret)})
            new = Key(key_id, of_new.sha256, of_new, now, own.ends)
            await self._put(old)  # first: a secret that is in use must not be lost
            await self._put(new)
        _audit("key rotated", new)
        return _listed([new, *(key for key in found if key is not own), old]), secret

    async def _secrets_of(self, key_id: str) -> list[Key]:
        """The key's own first."""
        found = [key for key in await self._registry.keys() if OLD not in key_id and public_id(key.id) == key_id]
        if found:
            return found
        if any(key.name == key_id for key in (await self._config()).server.api_keys):
            raise Conflict(f"The key '{key_id}' is in the configuration; change it there.", code="key_in_configuration")
        raise NotFound(f"There is no key '{key_id}'.", code="key_not_found")

    async def _put(self, key: Key) -> None:
        try:
            await self._registry.put_key(key)
        except RegistryFull as error:
            raise Conflict(f"{error}.", code="too_many_keys") from error


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _grants(wanted: Mapping[str, Any], sha256: str) -> ApiKey:
    try:
        return ApiKey.model_validate({**wanted, "sha256": sha256})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        raise BadRequest(f"Invalid '{param}': {first['msg']}.", code="invalid_value", param=param) from error


def _listed(secrets_of_one: list[Key]) -> Listed:
    own, *old = sorted(secrets_of_one, key=lambda key: (OLD in key.id, key.ends or 0.0))
    return Listed(public_id(own.id), own.grants, own.made, own.ends, tuple(key.ends for key in old if key.ends))


def _over(key: Key, now: float) -> bool:
    return key.ends is not None and key.ends <= now


def _audit(what: str, key: Key) -> None:
    """A line for whoever has to know who could ask, and since when."""
    log.info(what, extra={"key": public_id(key.id), "tenant": key.grants.tenant, "scopes": list(key.grants.scopes)})
