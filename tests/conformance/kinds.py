"""The kinds of experts that share one contract, and what stands behind each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx

from experts.client import Endpoint, ExpertClient
from experts.errors import ExpertError
from experts.recorded_book import Behaviour
from experts.spec import Limits
from loadtest.server import Served
from tests.support import NO_TLS, Recorded

QUESTION = "What is 6 + 7?"
LEG_IDS = "conformance-"  # how the ids of these tests' legs begin
# One body for every kind: recorded experts take no notice of `ignore_eos`, engines need it to go on for long.
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 32}
ASK_LONG: dict[str, Any] = ASK | {"max_tokens": 400, "ignore_eos": True}

ANSWER = "The answer is 13."
ROWS = [
    (QUESTION, "sage", ANSWER, 6),
    (QUESTION, "slow", "Well, " * 100, 400),
    (QUESTION, "silent", ANSWER, 6),
    (QUESTION, "dropping", ANSWER, 6),
    (QUESTION, "garbling", ANSWER, 6),
    (QUESTION, "failing", ANSWER, 6),
]
BEHAVIOURS = {
    "slow": Behaviour(tokens_per_s=20),
    "silent": Behaviour(ttft_s=3600),
    "dropping": Behaviour(drop_after_tokens=3),
    "garbling": Behaviour(garbage_bytes=50_000_000),
    "failing": Behaviour(fail_always=True, fail_status=503),
}


@dataclass(frozen=True, slots=True)
class Legs:
    """What an expert's server counts: legs under way, legs that came to their own end, legs whose client went first."""

    running: int
    ended: int
    aborted: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of expert under the contract.

    Attributes:
        sage: answers at once.
        slow: answers for so long that a leg can be cut in its middle.
        silent: says nothing for longer than `hurry_s`.
        strangers: the same expert for callers without its key; empty where there is none.
        legs: reads the counts at the server.
    """

    sage: Endpoint
    slow: Endpoint
    silent: Endpoint
    hurry_s: float
    strangers: tuple[Endpoint, ...]
    legs: Callable[[], Legs]

    def faulty(self, model: str) -> Endpoint:
        """An expert on the same server that misbehaves: only recorded answers can be told to."""
        assert not self.sage.hosted
        return replace(self.sage, model=model)


def recorded_kind(server: Recorded, api_key: str | None) -> Kind:
    """A recorded server, called as it is or, with a key, as anybody's OpenAI-compatible server."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    sage = Endpoint("expert", f"{server.url}/v1", "sage", headers)
    others: tuple[dict[str, str], ...] = (
        {},
        {"authorization": "Bearer somebody-elses"},
        {"authorization": str(api_key)},
    )

    def legs() -> Legs:
        counts = [server.counts(model) for _, model, _, _ in ROWS]
        return Legs(
            running=sum(c["running"] for c in counts),
            ended=sum(c["finished"] + c["failed"] for c in counts),
            aborted=sum(c["aborted"] for c in counts),
        )

    return Kind(
        sage=sage,
        slow=replace(sage, model="slow"),
        silent=replace(sage, model="silent"),
        hurry_s=0.1,
        strangers=tuple(replace(sage, headers=h) for h in others) if api_key else (),
        legs=legs,
    )


def hosted_kind(endpoint: Endpoint, served: Served) -> Kind:
    """A vLLM engine of ours behind Ray Serve: it answers in milliseconds, so its limits are shorter still."""
    root = endpoint.base_url.removesuffix("/v1")
    token = {name: value[:-1] for name, value in served.internal_headers.items()}

    def legs() -> Legs:
        url = f"{root}/internal/legs/?count=1000"
        found = httpx.get(url, headers=served.internal_headers, timeout=10, verify=NO_TLS).raise_for_status().json()
        ours = [leg for leg_id, leg in found.items() if leg_id.startswith(LEG_IDS)]
        running = sum(leg["http_open"] or leg["engine_running"] > 0 for leg in ours)
        aborted = sum(leg["aborted"] for leg in ours)
        return Legs(running, len(ours) - running - aborted, aborted)

    return Kind(
        sage=endpoint,
        slow=endpoint,
        silent=endpoint,
        hurry_s=0.001,
        strangers=(replace(endpoint, headers={}), replace(endpoint, headers=token)),
        legs=legs,
    )


def limited(endpoint: Endpoint, **limits: Any) -> Endpoint:
    return replace(endpoint, limits=Limits(**limits))


async def collected(client: ExpertClient, endpoint: Endpoint, body: dict[str, Any], leg_id: str) -> list[Any]:
    """All chunks of a stream."""
    return [chunk async for chunk in client.stream(endpoint, body, leg_id)]


async def asked(client: ExpertClient, endpoint: Endpoint, body: dict[str, Any], leg_id: str, stream: bool) -> None:
    """Asks to the end, either way: for what goes wrong either way."""
    if stream:
        await collected(client, endpoint, body, leg_id)
    else:
        await client.complete(endpoint, body, leg_id)


async def until_error(
    client: ExpertClient, endpoint: Endpoint, body: dict[str, Any], leg_id: str
) -> tuple[list[Any], ExpertError | None]:
    """The chunks of a stream before its error, and the error."""
    chunks = []
    try:
        async for chunk in client.stream(endpoint, body, leg_id):
            chunks.append(chunk)
    except ExpertError as error:
        return chunks, error
    return chunks, None
