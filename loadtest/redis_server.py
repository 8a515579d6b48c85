"""A Redis of one's own for a benchmark or a test: on a socket in a folder, killed with the block.

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
def redis_server(folder: Path, *, durable: bool = False) -> Iterator[str]:
    """Its URL. `folder`: a short path, as sockets have a bound on theirs. `durable`: what it is told is in the folder
    before it answers, and known to the next block's; else it writes no files.

    Raises:
        RuntimeError: the command is not there, or did not start.
    """
    if BINARY is None:
        raise RuntimeError("redis-server is not installed")
    socket = folder / "redis.sock"
    socket.unlink(missing_ok=True)  # one that was killed leaves it
    files = ["--dir", str(folder), "--save", "", "--appendonly", "yes" if durable else "no", "--appendfsync", "always"]
    server = subprocess.Popen(  # noqa: S603  # our own command, no shell
        [BINARY, "--port", "0", "--unixsocket", str(socket), *files], stdout=subprocess.DEVNULL
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
