"""What a key may: scopes, models and experts of its own and its tenant's; what its tenant has used."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from tests.api.world import JUDGE, NAMER, SUM, World, ask, routing
from tests.support import Recorded, eventually_equal, http_client, openai_client

TENANTS: dict[str, dict[str, Any]] = {
    "acme": {"policies": ["auto", "solo", "slowly"], "experts": ["ant", "bee", "cat", "dog"]},
    "blue": {},
    "far": {"experts": ["elk"]},
    "two": {"experts": ["ant", "bee"]},
}
GRANTS: dict[str, dict[str, Any]] = {
    "web": {"tenant": "acme"},
    "narrow": {"tenant": "acme", "policies": ["solo", "handy"], "experts": ["bee", "elk"]},
    "books": {"tenant": "acme", "scopes": ["usage"]},
    "other": {"tenant": "blue", "scopes": ["ask", "usage"]},
    "plain": {},
    "far": {"tenant": "far"},
    "two": {"tenant": "two"},
}


def secret(name: str) -> str:
    return f"sk-sym-{name}-0123456789"


@pytest.fixture(scope="module")
def shop(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A router with two tenants, and one key that belongs to none of them."""
    keys = [
        {"name": name, "sha256": hashlib.sha256(secret(name).encode()).hexdigest(), **grants}
        for name, grants in GRANTS.items()
    ]
    with routing(tmp_path_factory.mktemp("shop"), experts, server={"api_keys": keys}, tenants=TENANTS) as running:
        yield running


def headers(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret(name)}"}


def models(shop: World, name: str) -> dict[str, dict[str, object]]:
    found = shop.http.get("/v1/models", headers=headers(name)).json()["data"]
    return {model["id"]: model["symposium"] for model in found}


def test_a_key_without_the_scope_is_told_which_one_it_lacks(shop: World) -> None:
    """403 permission_error, for asking and for usage; the official client knows it by its type."""
    with openai_client(shop.url, secret("books")) as client, pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(**ask("solo"))
    assert (caught.value.code, caught.value.type) == ("missing_scope", "permission_error")
    reply = shop.http.get("/v1/usage", headers=headers("web"))
    assert (reply.status_code, reply.json()["error"]["scope"]) == (403, "usage")
    assert reply.headers["x-should-retry"] == "false"


def test_models_are_what_the_caller_may_ask(shop: World) -> None:
    """Of its tenant's and its own lists what both have; a policy tells only of experts that may be convened for it."""
    assert set(models(shop, "web")) == {"auto", "solo", "slowly", "ant", "bee", "cat", "dog"}
    assert set(models(shop, "narrow")) == {"solo", "bee"}
    assert models(shop, "narrow")["solo"]["experts"] == ["bee"]
    assert {"auto", "elk", "slow1"} <= set(models(shop, "plain"))


@pytest.mark.parametrize("model", ["handy", "auto", "ant", "elk", "no-such-model"])
def test_what_may_not_be_asked_does_not_exist(shop: World, model: str) -> None:
    """The same 404 as for a name that nobody has, for asking and for looking up, and no expert is asked."""
    before = shop.legs("started")
    with openai_client(shop.url, secret("narrow")) as client:
        with pytest.raises(openai.NotFoundError) as asked:
            client.chat.completions.create(**ask(model))
        with pytest.raises(openai.NotFoundError) as looked_up:
            client.models.retrieve(model)
    for caught in (asked, looked_up):
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert f"The model '{model}' does not exist. GET /v1/models lists them." in caught.value.message
    assert shop.legs("started") == before


def test_experts_that_may_not_be_used_are_not_convened(shop: World) -> None:
    """And the explanation does not tell that there are any."""
    body = ask("solo", symposium={"explain": True})
    told = shop.post(body, **headers("narrow")).json()["symposium"]
    assert told["plan"]["experts"] == ["bee"]
    assert [c["expert"] for c in told["candidates"]] == ["bee"]


@pytest.mark.parametrize("stream", [False, True])
def test_of_a_model_with_no_expert_for_the_caller_nothing_can_be_had(shop: World, stream: bool) -> None:
    """403 that says so, and not that the request was wrong."""
    reply = shop.post(ask("handy", stream=stream), **headers("far"))
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (403, "experts_not_allowed", "model")
    assert reply.headers["x-should-retry"] == "false"


def test_who_helps_to_decide_or_to_write_must_be_allowed_too(shop: World) -> None:
    """The keyword expert is not asked, and no answer is written by somebody who may not be used, or planned so."""
    before = shop.legs("started", NAMER, JUDGE)
    options = {"symposium": {"explain": True, "aggregate": "synthesize"}}
    told = shop.post(ask("named", **options), **headers("two")).json()["symposium"]
    assert {leg["expert"] for leg in told["legs"]} <= {"ant", "bee"}
    assert (told["skills_from"], told["asides"]) == ("embedding", [])
    assert (told["plan"]["aggregator"], told["plan"]["reason"]) == ("vote", "no_aggregator")
    assert shop.legs("started", NAMER, JUDGE) == before


def usage(shop: World, name: str, **asked: str) -> dict[str, Any]:
    found: dict[str, Any] = shop.http.get("/v1/usage", headers=headers(name), params=asked).json()
    return found


def test_a_tenant_sees_what_it_has_used_and_nobody_else_does(shop: World) -> None:
    """Requests, calls, tokens and money of all its keys; exact, equal to what the responses said."""
    before = usage(shop, "books")["total"]
    costs = [shop.post(ask("solo"), **headers(name)).json()["symposium"]["cost_usd"] for name in ("web", "narrow")]
    shop.post(ask("ant"), **headers("other"))

    def more() -> tuple[object, ...]:
        total = usage(shop, "books")["total"]
        return total["requests"] - before["requests"], Decimal(total["usd"]) - Decimal(before["usd"])

    eventually_equal(more, (2, sum(Decimal(str(cost)) for cost in costs)))
    by_key = usage(shop, "books", by="key")
    assert (by_key["tenant"], by_key["by"]) == ("acme", "key")
    rows = by_key["data"]
    assert {row["key"] for row in rows} <= {"web", "narrow"}
    assert [row["key"] for row in usage(shop, "other", by="key")["data"]] == ["other"]


def test_usage_can_be_had_as_csv(shop: World) -> None:
    """The same rows; what is asked wrongly is named."""
    shop.post(ask("bee"), **headers("other"))
    reply = shop.http.get("/v1/usage", headers=headers("other"), params={"by": "expert", "format": "csv"})
    assert reply.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(reply.text.splitlines()))
    assert {row["expert"] for row in rows} <= {"ant", "bee"}
    for asked in ({"by": "hour"}, {"tenant": "acme"}, {"from": "x"}):
        refused = shop.http.get("/v1/usage", headers=headers("other"), params=asked)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(asked)))


def test_usage_needs_a_key(shop: World) -> None:
    """401 without one, as everywhere."""
    with http_client(shop.url) as stranger:
        assert stranger.get("/v1/usage").status_code == 401


def test_the_key_that_belongs_to_no_tenant_is_the_default_tenants(shop: World) -> None:
    """It may all that is not said otherwise."""
    assert shop.post(ask("elk", SUM), **headers("plain")).status_code == 200
