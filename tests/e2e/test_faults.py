"""Engines and replicas that die under load, and a server that is told to stop."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from loadtest.server import REPOSITORY, Served, serving

pytestmark = pytest.mark.engine
BODY = {
    "model": "auto",
    "messages": [{"role": "user", "content": "What is 17 plus 25?"}],
    "max_tokens": 400,
    "ignore_eos": True,
}
RECOVERY_LIMIT_S = 300
APP = "expert-specialists"


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A quickstart of our own, to be harmed."""
    log = tmp_path_factory.mktemp("fragile") / "serve.log"
    with serving(REPOSITORY / "configs" / "quickstart.yaml", log) as running:
        yield running


def post(served: Served, **change: object) -> httpx.Response:
    return httpx.post(f"{served.url}/v1/chat/completions", json=BODY | change, timeout=120)


def wait_until_back(served: Served, victim: psutil.Process) -> None:
    """Until the specialists answer again, by another process."""
    end = time.monotonic() + RECOVERY_LIMIT_S
    while victim.is_running() or post(served, model="math", max_tokens=1).status_code != 200:
        assert time.monotonic() < end, "the engine was not replaced"
        time.sleep(0.5)


@pytest.mark.parametrize("kind", ["engine core", "replica"])
def test_a_dead_engine_is_replaced_and_others_answer_meanwhile(fragile: Served, kind: str) -> None:
    """After the kill, requests are answered by an expert on another engine, and Serve brings the dead one back."""
    if kind == "engine core":
        children = fragile.replica(APP).children(recursive=True)
        victim = next(p for p in children if "VLLM::EngineCor" in " ".join(p.cmdline()))
    else:
        victim = fragile.replica(APP)
    victim.send_signal(signal.SIGKILL)
    meanwhile = post(fragile, max_tokens=8)
    assert meanwhile.status_code == 200, meanwhile.text
    assert meanwhile.headers["x-symposium-experts"] == "general"
    wait_until_back(fragile, victim)


def test_an_engine_that_dies_in_the_middle_of_a_stream_ends_it_with_an_error_event(fragile: Served) -> None:
    """After the first byte nothing is switched: the stream says that it broke, then ends."""
    children = fragile.replica(APP).children(recursive=True)
    victim = next(p for p in children if "VLLM::EngineCor" in " ".join(p.cmdline()))
    body = BODY | {"model": "math", "stream": True}
    events: list[str] = []
    with httpx.stream("POST", f"{fragile.url}/v1/chat/completions", json=body, timeout=120) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("data: "):
                events.append(line.removeprefix("data: "))
            if len(events) == 3:
                victim.send_signal(signal.SIGKILL)
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["error"]["code"] == "stream_broken"
    wait_until_back(fragile, victim)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """On SIGTERM and Ctrl-C the command ends with 0, and so does every process, port, folder and socket it made."""
    folders, sockets = set(Path("/tmp").glob("symposium-*")), _sockets()
    with serving(REPOSITORY / "loadtest" / "liveness.yaml", tmp_path / "serve.log") as running:
        everyone = running.processes()
        made = set(Path("/tmp").glob("symposium-*")) - folders
        port = httpx.URL(running.url).port
        assert made
        assert len(everyone) > 5
        assert port is not None
        running.process.send_signal(number)
        running.process.wait(timeout=30)
        assert not [p for p in everyone if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        assert not any(folder.exists() for folder in made)
        assert _sockets() == sockets
        with socket.create_server(("127.0.0.1", port)):
            pass
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def _sockets() -> set[Path]:
    return {path for path in Path("/tmp").iterdir() if path.is_socket()}
