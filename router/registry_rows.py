"""How the registry's records are written down, the same in every store: JSON in UTF-8. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from router.config import ApiKey
from router.registry import Asked, Bounds, Key

Headers = tuple[tuple[str, str], ...]


def key_row(key: Key) -> bytes:
    told = {"id": key.id, "digest": key.digest, "made": key.made, "ends": key.ends}
    return orjson.dumps(told | {"grants": key.grants.model_dump(mode="json")})


@lru_cache(maxsize=Bounds().keys)  # every replica reads all of them every second, and hardly one has changed
def key_of(row: bytes) -> Key:
    told: dict[str, Any] = orjson.loads(row)
    return Key(told["id"], told["digest"], ApiKey.model_validate(told["grants"]), told["made"], told["ends"])


def asked_row(request: Asked) -> bytes:
    return orjson.dumps(request)


def asked_of(row: bytes) -> Asked:
    told: dict[str, Any] = orjson.loads(row)
    for name in ("skills", "experts", "versions"):
        told[name] = tuple(told[name])
    return Asked(**told)


def headers_row(headers: Headers) -> bytes:
    return orjson.dumps(headers)


def headers_of(row: bytes) -> Headers:
    return tuple((name, value) for name, value in orjson.loads(row))
