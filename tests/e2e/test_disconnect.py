"""A client that leaves: every leg is aborted, and every token that was generated is accounted for."""

from __future__ import annotations

import asyncio
from io import StringIO
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from loadtest.liveness import disconnects
from loadtest.server import REPOSITORY, Served, serving

pytestmark = pytest.mark.engine
CASES = 24  # four shapes, two moments, three kinds of headers: each once


def router_log(served: Served) -> str:
    """All that the router's replica has logged."""
    (raylet,) = served.processes("raylet --")
    folder = next(arg.removeprefix("--log_dir=") for arg in raylet.cmdline() if arg.startswith("--log_dir="))
    return "".join(file.read_text() for file in Path(folder, "serve").glob("replica_symposium_*.log"))


def cancelled(metrics: str) -> float:
    """Requests that ended so."""
    lines = [line for line in metrics.splitlines() if line.startswith('symposium_requests_total{outcome="cancelled"')]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_every_way_of_leaving_ends_every_leg(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All legs end, aborted ones too; our counts equal vLLM's own counter to the token, as does what was settled.

    Each request is counted as cancelled, and has a line in the router's log.
    """
    log = tmp_path_factory.mktemp("liveness") / "serve.log"
    with serving(REPOSITORY / "loadtest" / "liveness.yaml", log) as served:
        report = asyncio.run(disconnects(served, CASES, Console(file=StringIO())))
        metrics = httpx.get(f"{served.url}/metrics").text
        logged = router_log(served).count('"message": "cancelled by the client"')
    assert report["disconnects"] == CASES
    assert report["with_a_leg_under_way"] > CASES / 2
    tokens = report["tokens"]
    assert logged == cancelled(metrics) > CASES / 2
    assert tokens["host_ledger"] == tokens["vllm_counter"] == tokens["router_settled"] > 0
