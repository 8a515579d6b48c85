"""A Redis of one's own for a benchmark or a test: on a socket in a folder, without files on disk, gone with the block.

The command comes from Debian's package `redis-server`.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARY = shutil.which("redis-server")
START_LIMIT_S = 10.0


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its URL. `folder`: a short path, as sockets have a bound on theirs.

    Raises:
        RuntimeError: the command is not there, or did not start.
    """
    if BINARY is None:
        raise RuntimeError("redis-server is not installed")
    socket = folder / "redis.sock"
    server = subprocess.Popen(  # noqa: S603  # our own command, no shell
        [BINARY, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        ends = time.monotonic() + START_LIMIT_S
        while not socket.exists():
            if time.monotonic() > ends or server.poll() is not None:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        server.kill()
        server.wait()
