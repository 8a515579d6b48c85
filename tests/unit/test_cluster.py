"""Ports of a private cluster."""

from __future__ import annotations

import socket

import pytest

from deploy.cluster import free_ports, require_free


def test_free_ports_are_distinct_and_can_be_listened_on() -> None:
    """All of them at the same time, on loopback."""
    ports = free_ports(8)
    assert len(set(ports)) == 8
    sockets = [socket.create_server(("127.0.0.1", port)) for port in ports]
    for listener in sockets:
        listener.close()


def test_a_port_that_is_taken_is_refused() -> None:
    """At once, by an OSError; afterwards it is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)
