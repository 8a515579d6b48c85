"""Requests and tokens a minute over HTTP: headers of every response, refusals, what the official client does then."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import openai
import pytest

from tests.api.world import World, ask, routing
from tests.support import CHAT, Recorded, eventually, openai_client

# Each test has a tenant of its own: what one draws another does not miss.
RATES: dict[str, dict[str, Any]] = {
    "told": {"requests_per_minute": 60, "tokens_per_minute": 6000},
    "few": {"requests_per_minute": 2},
    "tokens": {"tokens_per_minute": 1000},
    "wrong": {"requests_per_minute": 3},
    "large": {"tokens_per_minute": 100},
    "true": {"requests_per_minute": 60, "tokens_per_minute": 6000},
    "shared": {"requests_per_minute": 3},
    "patient": {"requests_per_minute": 120},
    "free": {},
}
NAMES = [f"x-ratelimit-{what}-{unit}" for unit in ("requests", "tokens") for what in ("limit", "remaining", "reset")]


def secret(name: str) -> str:
    return f"sk-sym-{name}-0123456789"


@pytest.fixture(scope="module")
def door(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    def key(name: str, **grants: object) -> dict[str, object]:
        return {"name": name, "sha256": hashlib.sha256(secret(name).encode()).hexdigest(), **grants}

    keys = [key(name, tenant=name) for name in RATES]
    keys.append(key("shared-too", tenant="shared", requests_per_minute=2))
    server = {"api_keys": keys, "limits": {"max_body_bytes": 2000}}
    with routing(tmp_path_factory.mktemp("door"), experts, server=server, tenants=RATES) as running:
        yield running


def headers(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret(name)}"}


def told(found: Mapping[str, str]) -> dict[str, str]:
    return {name: found[name] for name in NAMES if name in found}


def test_every_response_tells_how_the_buckets_stand(door: World) -> None:
    """Whole, streamed, wrong, unknown and refused by every expert: all six headers, as OpenAI sends them."""
    bodies = [
        (ask("ant", max_tokens=100), 200),
        (ask("ant", stream=True, max_tokens=100), 200),
        (ask("ant", n=0), 400),
        (ask("no-such-model"), 404),
        (ask("dead"), 502),
        ("x" * 3000, 413),
    ]
    left = 60
    for body, status in bodies:
        reply = door.post(body, **headers("told"))
        found, left = told(reply.headers), left - 1
        assert (reply.status_code, list(found)) == (status, NAMES), reply.text
        assert (found[NAMES[0]], found[NAMES[3]]) == ("60", "6000")
        assert left <= int(found["x-ratelimit-remaining-requests"]) < 60  # one comes back each second
        assert int(found["x-ratelimit-remaining-tokens"]) <= 6000
        for unit in ("requests", "tokens"):
            assert re.fullmatch(r"(\d+m)?\d+(\.\d+)?s|\d+ms", found[f"x-ratelimit-reset-{unit}"])


def test_who_has_no_rates_is_told_none(door: World) -> None:
    """No header of the kind, of any response."""
    for body in (ask("ant"), ask("ant", stream=True), ask("ant", n=0)):
        assert told(door.post(body, **headers("free")).headers) == {}
    assert told(door.http.post(CHAT, json=ask("ant")).headers) == {}


def test_the_official_client_sees_a_rate_limit_error(door: World) -> None:
    """429 with OpenAI's code, when to come again, and what is left; no expert is asked."""
    with openai_client(door.url, secret("few")) as client:
        for _ in range(2):
            client.chat.completions.create(**ask("ant"))
        before = door.legs("started")
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**ask("ant"))
        with pytest.raises(openai.RateLimitError), client.chat.completions.create(**ask("ant", stream=True)):
            pass
    error, found = caught.value, caught.value.response.headers
    assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert "tenant 'few': 2 requests per minute, 0 left" in error.message
    assert 1 <= int(found["retry-after"]) <= 30
    assert (found["x-should-retry"], found["x-ratelimit-remaining-requests"]) == ("true", "0")
    assert door.legs("started") == before


def test_the_official_client_waits_and_gets_its_answer(door: World) -> None:
    """It repeats by itself what may be repeated, no sooner than it was told."""
    with openai_client(door.url, secret("patient")) as client:
        for _ in range(120):
            door.post({}, **headers("patient"))
        patient = client.with_options(max_retries=3)
        assert patient.chat.completions.create(**ask("ant")).choices


def test_a_refusal_comes_before_the_body_is_read(door: World) -> None:
    """What is known to be refused costs nothing: a body that would be wrong is not looked at."""
    for _ in range(3):
        assert door.post({}, **headers("wrong")).status_code == 400
    reply = door.post({}, **headers("wrong"))
    assert reply.status_code == 429
    reply = door.post("x" * 3000, **headers("wrong"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_tokens_are_drawn_by_what_may_be_used(door: World) -> None:
    """Prompt and bound: while an answer of up to 900 tokens is under way a long one must wait, a short one need not."""
    body = ask("slow1", stream=True, max_tokens=900)
    with door.http.stream("POST", CHAT, json=body, headers=headers("tokens")) as stream:
        assert int(stream.headers["x-ratelimit-remaining-tokens"]) <= 100
        refused = door.post(ask("ant", max_tokens=600), **headers("tokens"))
        assert refused.status_code == 429
        assert "1000 tokens per minute" in refused.json()["error"]["message"]
        assert door.post(ask("ant", max_tokens=20), **headers("tokens")).status_code == 200


def test_what_can_never_be_had_is_not_to_be_repeated(door: World) -> None:
    """More than a full bucket: the official client does not come again."""
    with openai_client(door.url, secret("large")) as client, pytest.raises(openai.RateLimitError) as caught:
        client.with_options(max_retries=5).chat.completions.create(**ask("ant", max_tokens=101))
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in caught.value.response.headers
    assert "lower max_tokens" in caught.value.message
    assert caught.value.response.headers["x-ratelimit-remaining-tokens"] == "100"


def test_what_was_used_in_truth_is_what_counts(door: World) -> None:
    """Of all experts together: what was drawn for the answer's bound comes back once it is known."""
    first = door.post(ask("auto", max_tokens=4000), **headers("true"))
    assert int(first.headers["x-ratelimit-remaining-tokens"]) <= 2000
    used = first.json()["usage"]["total_tokens"]
    assert used < 100

    def left() -> int:
        return int(door.post(ask("ant", n=0), **headers("true")).headers["x-ratelimit-remaining-tokens"])

    eventually(lambda: left() >= 6000 - used)


def test_a_keys_own_rate_and_its_tenants_both_hold(door: World) -> None:
    """The tightest is told; what one key draws is missing to the tenant's others."""
    found = told(door.post(ask("ant"), **headers("shared-too")).headers)
    assert (found["x-ratelimit-limit-requests"], found["x-ratelimit-remaining-requests"]) == ("2", "1")
    found = told(door.post(ask("ant"), **headers("shared")).headers)
    assert (found["x-ratelimit-limit-requests"], found["x-ratelimit-remaining-requests"]) == ("3", "1")
    assert door.post(ask("ant"), **headers("shared-too")).status_code == 200
    refused = door.post(ask("ant"), **headers("shared-too"))
    assert refused.status_code == 429
