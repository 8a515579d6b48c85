"""A symposium of one's own for a benchmark or a test: `symposium serve` as a child process, and its processes.

Speaks to it only as an operator could: the command, HTTP, the process table.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

START_LIMIT_S = 600.0
STOP_LIMIT_S = 30.0
TOKEN_HEADER = "x-symposium-internal"
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Served:
    """A running symposium. `url` is public; `internal_url` and `token` lead to the engines; `data` is the folder that
    it writes to, where its configuration takes that from the environment.
    """

    url: str
    internal_url: str
    token: str
    process: psutil.Process
    seconds_to_ready: float
    data: Path

    @property
    def internal_headers(self) -> dict[str, str]:
        return {TOKEN_HEADER: self.token}

    def processes(self, name: str = "") -> list[psutil.Process]:
        """Living descendants (and the command itself) whose title or command line holds `name`."""
        everyone = [self.process, *self.process.children(recursive=True)]
        return [p for p in everyone if name in _title(p)]

    def engine_core(self) -> psutil.Process:
        """The one EngineCore process. Raises LookupError where there are none or several."""
        found = self.processes("VLLM::EngineCor")
        if len(found) != 1:
            raise LookupError(f"{len(found)} engine processes")
        return found[0]

    def replica(self, app: str) -> psutil.Process:
        """The one replica process of a Serve application."""
        found = [p for p in self.processes("ray::ServeReplica") if f":{app}:" in _title(p)]
        if len(found) != 1:
            raise LookupError(f"{len(found)} replicas of {app}: {[_title(p) for p in self.processes('ray::')]}")
        return found[0]

    def pss_bytes(self) -> int:
        """Proportional set size of all processes together: shared pages are counted once."""
        total = 0
        for process in self.processes():
            try:
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return total


@contextmanager
def serving(config: Path, log: Path, env: dict[str, str] | None = None) -> Iterator[Served]:
    """`symposium serve CONFIG` on a free port until the block ends.

    Raises:
        RuntimeError: it ended, or was not ready within `START_LIMIT_S`; the message holds its log.
    """
    port, admin_port = free_port(), free_port()
    ports = ["--port", str(port), "--admin-port", str(admin_port)]
    command = [str(Path(sys.executable).parent / "symposium"), "serve", str(config), *ports]
    started = time.monotonic()
    with TemporaryDirectory(prefix="loadtest-data-") as folder:
        data = Path(folder)  # of its own: several may run at once
        with log.open("wb") as output:
            environ = os.environ | {"SYMPOSIUM_DATA": folder} | (env or {})
            child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environ, cwd=REPOSITORY)  # noqa: S603  # our own command, no shell
        try:
            wait_until_answering(child, f"http://127.0.0.1:{port}/ready", log, START_LIMIT_S)
            yield _served(child, port, time.monotonic() - started, data)
        finally:
            stop(child)


def cpu_s_of(process: psutil.Process) -> float:
    """CPU seconds that it has taken so far."""
    times = process.cpu_times()
    return times.user + times.system


def stop(child: subprocess.Popen[bytes]) -> float:
    """SIGTERM, then waits; seconds it took. Kills after `STOP_LIMIT_S`."""
    began = time.monotonic()
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return time.monotonic() - began


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_until_answering(child: subprocess.Popen[bytes], url: str, log: Path, limit_s: float) -> None:
    """Until a GET of `url` gives 200.

    Raises:
        RuntimeError: the process has ended, or `limit_s` seconds have passed; the message holds its log.
    """
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if child.poll() is not None:
            raise RuntimeError(f"{child.args!r} ended with {child.returncode}:\n{log.read_text()}")
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url}: not there within {limit_s:g} s:\n{log.read_text()}")


def end_on_sigterm() -> None:
    """SIGTERM ends this process as Ctrl-C does: what it started ends first, and temporary files go."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _served(child: subprocess.Popen[bytes], port: int, seconds: float, data: Path) -> Served:
    process = psutil.Process(child.pid)
    end = time.monotonic() + STOP_LIMIT_S
    while not (replicas := [p for p in process.children(recursive=True) if "ray::ServeReplica" in _title(p)]):
        # A look at the process table sees neither titles that are being changed nor whom it meets too early.
        if time.monotonic() > end:
            raise RuntimeError(f"process {child.pid} has no replicas")
        time.sleep(0.1)
    environ = replicas[0].environ()
    return Served(
        url=f"http://127.0.0.1:{port}",
        internal_url=environ["SYMPOSIUM_INTERNAL_URL"],
        token=environ["SYMPOSIUM_INTERNAL_TOKEN"],
        process=process,
        seconds_to_ready=seconds,
        data=data,
    )


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
