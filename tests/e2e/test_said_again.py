"""What is shared by replicas under real Serve: a request that comes again, and what was said of an answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from loadtest.server import Served
from tests.support import CHAT, eventually

pytestmark = pytest.mark.engine
BODY: dict[str, Any] = {
    "model": "panel",
    "messages": [{"role": "user", "content": "What is 17 plus 25?"}],
    "max_tokens": 64,
}


def counted(served: Served, name: str) -> float:
    """A counter of the router, over all its labels."""
    lines = httpx.get(f"{served.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


def test_work_outlives_its_connection(served: Served) -> None:
    """Serve cancels the handler of a client that leaves; with a key the engines work on, and it finds the answer."""
    headers, before = {"idempotency-key": "again"}, counted(served, "symposium_legs_total")
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{served.url}{CHAT}", json=BODY, headers=headers, timeout=0.02)
    found = httpx.post(f"{served.url}{CHAT}", json=BODY, headers=headers, timeout=60)
    assert (found.status_code, found.headers["idempotency-replayed"]) == (200, "true")
    legs = found.json()["symposium"]["legs"]
    assert counted(served, "symposium_legs_total") - before == len(legs)


def test_feedback_is_followed(served: Served) -> None:
    """Taken once, and from then on part of what routing goes by."""
    before = httpx.get(f"{served.url}/version").json()["profiles"]
    reply = httpx.post(f"{served.url}{CHAT}", json=BODY, timeout=60)
    said = {"request_id": reply.headers["x-symposium-decision-id"], "right": True}
    taken = httpx.post(f"{served.url}/v1/feedback", json=said)
    assert (taken.status_code, taken.json()["counted"]) == (200, True)
    assert httpx.post(f"{served.url}/v1/feedback", json=said).status_code == 409
    eventually(lambda: httpx.get(f"{served.url}/version").json()["profiles"] > before)
