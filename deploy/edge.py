"""The public door and the admin side's, inside Ray Serve's own HAProxy process: no extra process, no extra hop.

Serve generates its HAProxy configuration and reloads it as replicas come and go. HAProxy accepts several
configuration files, so a wrapper around the binary adds one of ours: a public frontend that leads to the
router application only, takes slow and steering clients' means away, and marks what it forwards with the
internal token. The wrapper also closes what Serve leaves open in its own file and has no setting for: the
statistics and metrics listeners on all interfaces, and the list of applications under `/-/routes`.

Pure: text in, text out. Checked against ray[serve] 2.60; `tests/e2e` holds what clients may see.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from experts.guard import STEERING_HEADERS, TOKEN_HEADER

REQUEST_LIMIT_S = 10  # headers, and the body as far as it is buffered, must be there by then (slowloris)


@dataclass(frozen=True, slots=True)
class Edge:
    """The public listener, plain HTTP: TLS is for a terminator in front."""

    host: str
    port: int
    router_app: str
    token: str
    max_body_bytes: int
    admin_app: str
    admin_port: int


def edge_config(edge: Edge) -> str:
    """HAProxy configuration of the public frontend, to be loaded after Serve's own file."""
    strip = "\n".join(f"    http-request del-header {h.decode()}" for h in sorted(STEERING_HEADERS))
    return f"""\
frontend symposium_public
    bind {edge.host}:{edge.port}
    mode http
    timeout http-request {REQUEST_LIMIT_S}s
    option http-buffer-request
    option http-ignore-probes
    http-request return status 404 {_body(_NOT_FOUND)} if {{ path,url_dec -m beg /-/ /admin /experts }}
    http-request return status 413 {_body(_TOO_LARGE)} if {{ req.body_size gt {edge.max_body_bytes} }}
{strip}
    http-request del-header serve_multiplexed_model_id
    http-request set-header {TOKEN_HEADER} {edge.token}
    use_backend %[str(http-{edge.router_app})]
    default_backend symposium_starting
frontend symposium_admin
    bind 127.0.0.1:{edge.admin_port}
    mode http
    timeout http-request {REQUEST_LIMIT_S}s
    option http-ignore-probes
    http-request return status 404 {_body(_NOT_FOUND)} if !{{ path,url_dec -m beg /admin/ }}
{strip}
    http-request set-header {TOKEN_HEADER} {edge.token}
    use_backend %[str(http-{edge.admin_app})]
    default_backend symposium_starting
backend symposium_starting
    mode http
    http-request return status 503 {_body(_STARTING)} hdr retry-after 5
"""


def wrapper_script(haproxy: str, edge_file: str) -> str:
    """A shell script to be named in `RAY_SERVE_HAPROXY_BINARY_PATH`. `exec` keeps the process id Serve watches."""
    return f"""\
#!/bin/sh
previous=
for argument; do
    [ "$previous" = -f ] && serve_file=$argument
    previous=$argument
done
sed -i \\
    -e 's/^\\( *bind \\)[*]\\{{0,1\\}}:\\([0-9]*\\)$/\\1127.0.0.1:\\2/' \\
    -e 's/^\\( *acl routes \\).*$/\\1always_false/' \\
    -e 's/ Ping http[^ ]* for available routes[.]//' \\
    "$serve_file"
exec {shlex.quote(haproxy)} "$@" -f {shlex.quote(edge_file)}
"""


def _error(message: str, kind: str, code: str) -> str:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _body(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'content-type application/json string "{quoted}"'


_NOT_FOUND = _error("No such path.", "invalid_request_error", "not_found")
_TOO_LARGE = _error("The request body is too large.", "invalid_request_error", "body_too_large")
_STARTING = _error("The router is starting; try again shortly.", "server_error", "starting")
