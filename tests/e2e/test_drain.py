"""`symposium serve` that is told to stop while it works, and what it has written about its requests by then.

Real Ray Serve and HAProxy with two router replicas; the experts are recorded, so how long an answer takes is known.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from experts.recorded_book import Behaviour
from loadtest.server import REPOSITORY, Served, serving
from tests.support import Recorded, eventually, recorded, said, sse_events

pytestmark = pytest.mark.engine
QUESTION, ANSWER = "What is 17 plus 25, and who is Mrs. Unmistakable?", "One two three. " * 10
KEY, CLIENT_KEY = "sk-of-the-experts-0123456789", "sk-of-the-client-0123456789"
KEY_ENV = "SYMPOSIUM_TEST_KEY"
TOKENS, TOKENS_PER_S = 40, 8.0  # five seconds
NEVER_S = 120.0


def configuration(folder: Path, url: str, drain_s: float) -> Path:
    about: dict[str, Any] = {
        "base_url": f"{url}/v1",
        "api_key_env": KEY_ENV,
        "context_tokens": 512,
        "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1},
    }
    quickstart = REPOSITORY / "configs" / "quickstart"
    written = {
        "version": 1,
        "data": str(folder / "data"),
        "server": {"router_replicas": 2, "drain_s": drain_s},
        "experts": {name: about | {"model": name} for name in ("math", "general")},
        "routing": {
            "embedder": {"model": "minilm"},
            "fitted": str(quickstart / "fitted.npz"),
            "profiles": str(quickstart / "profiles.json"),
            "general_expert": "general",
        },
    }
    path = folder / "symposium.yaml"
    path.write_text(yaml.safe_dump(written))
    return path


@contextmanager
def working(folder: Path, drain_s: float) -> Iterator[tuple[Served, Recorded]]:
    rows = [(QUESTION, name, ANSWER, TOKENS) for name in ("math", "general")]
    slow = {"*": Behaviour(tokens_per_s=TOKENS_PER_S)}
    with (
        recorded(rows, slow, KEY) as experts,
        serving(configuration(folder, experts.url, drain_s), folder / "serve.log", {KEY_ENV: KEY}) as served,
    ):
        eventually(lambda: "ready on" in (folder / "serve.log").read_text())  # with all replicas
        yield served, experts


class Stream(threading.Thread):
    """One streamed request, read to its end by a thread of its own."""

    def __init__(self, served: Served) -> None:
        super().__init__(daemon=True)
        self._url = served.url
        self.response: httpx.Response | None = None
        self.broken = False
        self.start()

    def run(self) -> None:
        try:
            self.response = ask(self._url, stream=True)
        except httpx.HTTPError:
            self.broken = True


def ask(url: str, **more: object) -> httpx.Response:
    body = {"model": "math", "messages": [{"role": "user", "content": QUESTION}], **more}
    headers = {"authorization": f"Bearer {CLIENT_KEY}"}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=NEVER_S)


def logs_of(served: Served) -> dict[Path, str]:
    """Every file that Ray, Serve, HAProxy and we have written logs to, with what is in it."""
    run_dir = Path(
        served.processes("ray::ServeReplica")[0].environ()["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]
    ).parent.parent
    files = [path for path in run_dir.rglob("*") if path.is_file() and "logs" in path.parts and not path.is_symlink()]
    return {path: path.read_text(errors="replace") for path in files}


def test_what_is_under_way_ends_and_nothing_new_begins(tmp_path: Path) -> None:
    """On SIGTERM no replica is ready, and new requests are refused at once; a running stream gets all of its words."""
    with working(tmp_path, drain_s=60) as (served, experts):
        streams = [Stream(served) for _ in range(4)]  # on both replicas
        eventually(lambda: experts.counts("math")["running"] == len(streams))
        with httpx.Client(base_url=served.url, timeout=NEVER_S) as client:
            assert client.get("/ready").status_code == 200
            served.process.send_signal(signal.SIGTERM)
            eventually(lambda: all(client.get("/ready").status_code == 503 for _ in range(4)))
            assert client.get("/health").status_code == 200
            for refused in [ask(served.url) for _ in range(4)]:
                assert refused.status_code == 503
                assert refused.json()["error"]["code"] == "shutting_down"
                assert int(refused.headers["retry-after"]) >= 1
        assert experts.counts("math")["running"] == len(streams)
        for stream in streams:
            stream.join(NEVER_S)
            assert stream.response is not None
            assert said(sse_events(stream.response)) == ANSWER
        assert served.process.wait(NEVER_S) == 0
    told = [json.loads(line) for line in (tmp_path / "serve.log").read_text().splitlines() if line.startswith("{")]
    assert [line["message"] for line in told] == ["draining", "drained", "stopped"]
    assert told[1]["requests_left"] == 0


def test_a_second_signal_ends_it_at_once_and_logs_keep_secrets(tmp_path: Path) -> None:
    """Who is in a hurry need not wait; no log has a prompt, an answer or a key in it, and the router's is all JSON."""
    with working(tmp_path, drain_s=3600) as (served, experts):
        assert ask(served.url).status_code == 200
        assert ask(served.url, model="nobody").status_code == 404
        with httpx.stream("POST", f"{served.url}/v1/chat/completions", json={"model": "math", "messages": [
            {"role": "user", "content": QUESTION}], "stream": True}, timeout=NEVER_S) as left:  # fmt: skip
            next(left.iter_lines())
        eventually(lambda: experts.counts("math")["aborted"] == 1)
        eventually(lambda: "cancelled by the client" in "".join(logs_of(served).values()))
        logs = logs_of(served)
        for secret in (QUESTION, "Unmistakable", ANSWER, KEY, CLIENT_KEY):
            assert [path for path, text in logs.items() if secret in text] == []
        ours = [text for path, text in logs.items() if path.name.startswith("replica_symposium_")]
        lines = [json.loads(line) for text in ours for line in text.splitlines()]
        (line,) = (line for line in lines if line.get("message") == "cancelled by the client")
        assert line["request_id"].startswith("req_")
        assert line["status"] == 499
        stream, everything = Stream(served), served.processes()
        eventually(lambda: experts.counts("math")["running"] == 1)
        served.process.send_signal(signal.SIGTERM)
        eventually(lambda: "draining" in (tmp_path / "serve.log").read_text())
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(NEVER_S) == 0
        stream.join(NEVER_S)
        gone, alive = psutil.wait_procs(everything, timeout=10)
        assert alive == [], gone
