"""A real Redis, from Debian's package: of its own, on a socket in a folder of its own, without files on disk."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARY = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(BINARY is None, reason="redis-server is not installed")


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its URL; ended with the block. `folder`: a short path, as sockets have a bound on theirs."""
    assert BINARY is not None, "needs_redis"
    socket = folder / "redis.sock"
    server = subprocess.Popen(
        [BINARY, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        ends = time.monotonic() + 10
        while not socket.exists():
            assert time.monotonic() < ends and server.poll() is None, "redis-server did not start"
            time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        server.kill()
        server.wait()
