"""A client that leaves: every leg is aborted, and every token that was generated is accounted for."""

from __future__ import annotations

import asyncio
from io import StringIO

import pytest
from rich.console import Console

from loadtest.liveness import disconnects
from loadtest.server import REPOSITORY, serving

pytestmark = pytest.mark.engine
CASES = 24  # four shapes, two moments, three kinds of headers: each once


def test_every_way_of_leaving_ends_every_leg(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All legs end, aborted ones too; our counts equal vLLM's own counter to the token, as does what was settled."""
    log = tmp_path_factory.mktemp("liveness") / "serve.log"
    with serving(REPOSITORY / "loadtest" / "liveness.yaml", log) as served:
        report = asyncio.run(disconnects(served, CASES, Console(file=StringIO())))
    assert report["disconnects"] == CASES
    assert report["with_a_leg_under_way"] > CASES / 2
    tokens = report["tokens"]
    assert tokens["host_ledger"] == tokens["vllm_counter"] == tokens["router_settled"] > 0
