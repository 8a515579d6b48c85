"""The outermost door of everything that is not meant for clients: a path allowlist and the internal token.

Plain ASGI without dependencies, so that it can stand before any application. What it refuses looks
like nothing is there: 404, no body, whichever reason. It authorises on `scope["path"]` alone, never on a
URL rebuilt from the Host header.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN_HEADER: Final = "x-symposium-internal"  # the header's name, not a secret
TOKEN_ENV: Final = "SYMPOSIUM_INTERNAL_TOKEN"  # the variable's name, not a secret
# Headers by which a client could steer Ray Serve: no cancelling on disconnect, a timeout of its own.
STEERING_HEADERS: Final = frozenset({b"x-request-disconnect-disabled", b"x-request-timeout-seconds"})


def internal_token() -> str:
    """The token shared by router, experts and edge, from the environment.

    Raises:
        RuntimeError: it is not set; an engine without it would be open.
    """
    token = os.environ.get(TOKEN_ENV, "")
    if len(token) < 32:
        raise RuntimeError(f"{TOKEN_ENV} must hold at least 32 characters (`symposium serve` makes one)")
    return token


class Guard:
    """Lets through what carries the token (and, with `paths`, goes to one of them); 404 for the rest.

    Args:
        app: what stands behind.
        token: the expected value of `x-symposium-internal`.
        paths: allowed paths below the mount point; an entry ending in "/" allows what is below it.
            None allows every path.
        open_paths: exact paths that need no token (load balancers' probes).
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        paths: Iterable[str] | None = None,
        open_paths: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._exact = None if paths is None else frozenset(p for p in paths if not p.endswith("/"))
        self._below = () if paths is None else tuple(p for p in paths if p.endswith("/"))
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and self._allowed(scope):
            scope["headers"] = [h for h in scope["headers"] if h[0].lower() not in STEERING_HEADERS]
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    def _allowed(self, scope: Scope) -> bool:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in self._open:
            return True
        if self._exact is not None and path not in self._exact and not path.startswith(self._below):
            return False
        given = [v for k, v in scope["headers"] if k.lower() == TOKEN_HEADER.encode()]
        return len(given) == 1 and hmac.compare_digest(given[0], self._token)
