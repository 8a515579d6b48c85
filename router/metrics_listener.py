"""A registry on a port of its own. Must not know what is in it."""

from __future__ import annotations

from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server


class Listener:
    """A registry on a port and in threads of its own: it is read while the event loop is busy, and never published."""

    def __init__(self, server: WSGIServer) -> None:
        self._server = server

    def close(self) -> None:
        """Stops it and frees the port."""
        self._server.shutdown()
        self._server.server_close()


def serve_metrics(registry: CollectorRegistry, host: str, port: int = 0) -> tuple[Listener, int]:
    """Serves the registry in Prometheus' text format and, to who accepts it, as OpenMetrics, with exemplars.

    Args:
        port: 0 takes a free one.

    Returns:
        What stops it, and the port it listens on.

    Raises:
        OSError: the port is taken.
    """
    server, _ = start_http_server(port, host, registry)
    return Listener(server), server.server_port
