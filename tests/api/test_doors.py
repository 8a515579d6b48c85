"""The endpoints beside the chat, and who may enter: models, health, readiness, metrics, version, keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import openai
import pytest

from tests.api.world import POLICIES, ROWS, World, ask, routing
from tests.support import CHAT, Recorded, eventually, eventually_equal, openai_client

KEYS = {"alice": "sk-alice-0123456789", "bob": "sk-bob-0123456789"}


def test_models_are_policies_and_experts(world: World, client: openai.OpenAI) -> None:
    """GET /v1/models lists every policy and every expert, each with what there is to know about it."""
    assert {model.id for model in client.models.list()} == {*POLICIES, *(row[1] for row in ROWS), "gone"}
    found = {m["id"]: m["symposium"] for m in world.http.get("/v1/models").json()["data"]}
    assert found["auto"] == {
        "kind": "policy",
        "description": "three of five",
        "experts": ["ant", "bee", "cat", "dog", "gone"],
    }
    assert (found["ant"]["kind"], found["ant"]["up"], found["gone"]["up"]) == ("expert", True, False)
    assert found["tooled"]["capabilities"]["tools"]
    assert "url" not in world.http.get("/v1/models").text


def test_one_model_can_be_looked_up(client: openai.OpenAI) -> None:
    """GET /v1/models/NAME is that model; an unknown name is 404 model_not_found."""
    assert client.models.retrieve("auto").object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-17")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_health_calls_no_model(world: World) -> None:
    """/health is the process's own word: however often it is asked, no expert hears of it."""
    before = world.experts.http.get("/internal/legs").json()
    for _ in range(5):
        assert world.http.get("/health").json() == {"status": "ok"}
    assert world.experts.http.get("/internal/legs").json() == before


def test_version_names_package_and_configuration(world: World) -> None:
    """/version says which release runs which configuration."""
    found = world.http.get("/version").json()
    assert set(found) == {"version", "config", "profiles"}
    assert len(found["config"]) == 12
    assert world.metric("symposium_config_info", version=found["config"]) == 1


def test_metrics_count_what_happened(world: World) -> None:
    """One vote is one answered request, three legs, their exact tokens and one decision; a refusal its own."""
    growth: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("symposium_requests_total", (("policy", "auto"), ("outcome", "answered"), ("status", "200"))): 1,
        ("symposium_requests_total", (("outcome", "refused"), ("status", "404"))): 1,
        ("symposium_legs_total", (("outcome", "answered"),)): 3,
        ("symposium_tokens_total", (("kind", "output"), ("exact", "true"))): 10,
        ("symposium_tokens_total", (("kind", "prompt"), ("exact", "true"))): 3 * 4,
        ("symposium_decisions_total", (("policy", "auto"), ("reason", "convened"))): 1,
        ("symposium_categories_total", (("policy", "auto"), ("category", "sums"))): 1,
        ("symposium_request_seconds_count", (("policy", "auto"),)): 1,
        ("symposium_overhead_seconds_count", (("policy", "auto"),)): 1,
        ("symposium_conclusions_total", (("policy", "auto"), ("how", "vote"), ("why", "vote"))): 1,
        ("symposium_in_flight", ()): 0,
    }

    def read() -> dict[object, float]:
        return {key: world.metric(key[0], **dict(key[1])) for key in growth}

    eventually(lambda: world.metric("symposium_in_flight") == 0)
    before = read()
    assert world.post(ask("auto")).status_code == 200
    assert world.post(ask("a-name-made-up-by-a-client")).status_code == 404
    eventually_equal(read, {key: before[key] + more for key, more in growth.items()})
    assert "made-up" not in world.http.get("/metrics").text


def test_metrics_are_in_prometheus_s_format(world: World) -> None:
    """/metrics is the text exposition format, by its content type too."""
    reply = world.http.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE symposium_requests_total counter" in reply.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/completions", 405),
        ("GET", "/v1/nowhere", 404),
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
    ],
)
def test_other_paths_and_methods_are_refused_in_the_same_shape(
    world: World, method: str, path: str, status: int
) -> None:
    """What is not there is a 404 or 405 in OpenAI's shape, never a bare page."""
    reply = world.http.request(method, path)
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


@pytest.fixture(scope="module")
def locked(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A router with two client keys."""
    hashes = [{"name": n, "sha256": hashlib.sha256(key.encode()).hexdigest()} for n, key in KEYS.items()]
    with routing(tmp_path_factory.mktemp("locked"), experts, server={"api_keys": hashes}) as running:
        yield running


def test_every_key_that_is_known_opens(locked: World) -> None:
    """Each configured key is accepted by the official client, for chats and for the list of models."""
    for key in KEYS.values():
        with openai_client(locked.url, key) as client:
            assert client.chat.completions.create(**ask("ant")).choices
            assert client.models.list().data


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        f"Basic {KEYS['alice']}",
        KEYS["alice"],
        f"Bearer {KEYS['alice'][:-1]}",
        f"Bearer {KEYS['alice']}x",
        f"Bearer {KEYS['alice']} {KEYS['bob']}",
        f"Bearer {hashlib.sha256(KEYS['alice'].encode()).hexdigest()}",
        "Bearer \xe4\xff",
    ],
)
def test_anything_else_is_a_401(locked: World, given: str | None) -> None:
    """No key, a part of one, two, or its hash: the same 401 for a chat and the models, before the body is read."""
    headers = {} if given is None else {b"authorization": given.encode("latin-1")}
    before = locked.legs("started")
    for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/auto")):
        reply = locked.http.request(method, path, headers=headers, content=b"no JSON")
        assert reply.status_code == 401
        error = reply.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["type"], error["code"], error["param"]) == ("authentication_error", "invalid_api_key", None)
        assert "alice" not in reply.text
    assert locked.legs("started") == before


def test_the_official_client_sees_an_authentication_error(locked: World) -> None:
    """A wrong key is openai.AuthenticationError, which the client does not repeat."""
    with openai_client(locked.url, "sk-wrong") as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(**ask("ant"))


def test_probes_need_no_key(locked: World) -> None:
    """Load balancers ask without a key: /health, /ready and /version stay open, and tell no names."""
    for path in ("/health", "/ready", "/version"):
        reply = locked.http.get(path)
        assert reply.status_code == 200
        assert "ant" not in reply.text
