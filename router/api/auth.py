"""Who asks, by the `authorization` header. What keys there are is in `router/key_ring.py`."""

from __future__ import annotations

from router.caller import Caller
from router.config import Config
from router.key_ring import KeyRing


async def authenticate(authorization: str | None, ring: KeyRing, config: Config) -> Caller:
    """Whoever shows this header, by the keys of this configuration and those made since.

    Raises:
        Unauthorized: no bearer token, or one that is not known.
        Forbidden: its tenant is not configured.
        LedgerDown: keys cannot be checked now.
    """
    await ring.up_to_date()
    return ring.caller(bearer(authorization), config)


def bearer(authorization: str | None) -> str | None:
    """The token of a header `Bearer <token>`; None where there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
