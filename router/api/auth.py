"""Who asks: API keys as full-length SHA-256 hashes, compared in constant time. No cache, no prefixes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from router.config import ApiKey
from router.errors import Unauthorized

ANONYMOUS = "anonymous"


def authenticate(authorization: str | None, keys: Sequence[ApiKey]) -> str:
    """The key's name; ANONYMOUS where no keys are configured.

    Raises:
        Unauthorized: no bearer token, or one that is not known.
    """
    if not keys:
        return ANONYMOUS
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("Give your API key as 'Authorization: Bearer <key>'.", code="invalid_api_key")
    digest = hashlib.sha256(token.strip().encode()).hexdigest()
    # Every key is compared, found or not: the time tells nothing about which one it was.
    matches = [key.name for key in keys if hmac.compare_digest(digest, key.sha256)]
    if not matches:
        raise Unauthorized("The API key is not known.", code="invalid_api_key")
    return matches[0]
