"""What stands before every HTTP server that Serve opens on a node (proxies and replicas' own ports).

Named in `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`. Without the internal token only the health probe of
Serve's HAProxy is answered: a client that finds a replica's own port learns nothing and gets nothing.
"""

from __future__ import annotations

from starlette.middleware import Middleware

from experts.guard import Guard, internal_token

HEALTH_PROBE = "/-/healthz"


def middlewares() -> list[Middleware]:
    """Called by Serve once per HTTP server."""
    return [Middleware(Guard, token=internal_token(), open_paths=(HEALTH_PROBE,))]
