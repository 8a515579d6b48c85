"""What is not for clients: engines, Serve's control paths, replicas' own ports, Serve's steering headers."""

from __future__ import annotations

import json

import httpx
import psutil
import pytest

from loadtest.server import Served

pytestmark = pytest.mark.engine
BODY = {"model": "math", "messages": [{"role": "user", "content": "What is 17 plus 25?"}], "max_tokens": 4}
SECRETS = ("specialists", "expert-", "experts/", "generalist")


def bound(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    """Addresses and ports that they listen on."""
    found: set[tuple[str, int]] = set()
    for process in processes:
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        found |= {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    return found


def listening(processes: list[psutil.Process]) -> set[int]:
    return {port for _, port in bound(processes)}


def metrics_ports(served: Served) -> set[int]:
    """Where each router replica shows its own metrics, as the admin side says."""
    door = json.loads((served.data / "admin.json").read_text())
    headers = {"authorization": f"Bearer {door['token']}"}
    replicas = httpx.get(f"{door['url']}/admin/v1/status", headers=headers).json()["replicas"]
    return {int(replica["metrics"].rpartition(":")[2]) for replica in replicas}


@pytest.mark.parametrize(
    "path",
    [
        "/experts/specialists/v1/models",
        "/experts/specialists/v1/chat/completions",
        "/experts/specialists/metrics",
        "/experts/specialists/internal/legs/",
        "/experts/",
        "/-/routes",
        "/%2d/routes",
        "/-/healthz",
        "//-/routes",
        "/v1/../experts/specialists/v1/models",
        "/v1/%2e%2e/experts/specialists/v1/models",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_public_port_leads_to_no_engine(served: Served, method: str, path: str) -> None:
    """Engine and control paths do not exist on the public port, however they are spelled."""
    url = httpx.URL(served.url).copy_with(raw_path=path.encode())
    response = httpx.request(method, url, json=BODY if method == "POST" else None)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
    assert not any(secret in response.text for secret in SECRETS)


def test_a_client_cannot_bring_the_internal_token_mark(served: Served) -> None:
    """The public door overwrites the internal header: sending it opens nothing and breaks nothing."""
    headers = {"x-symposium-internal": "guess"}
    assert httpx.get(f"{served.url}/health", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/experts/specialists/v1/models", "/experts/specialists/metrics", "/-/routes", "/"])
def test_the_internal_listener_asks_for_the_token(served: Served, path: str) -> None:
    """Without the token, or with a wrong one, the internal listener shows no application and lists none."""
    for headers in ({}, {"x-symposium-internal": "x" * 43}):
        response = httpx.get(served.internal_url + path, headers=headers)
        assert response.status_code == 404
        assert not any(secret in response.text.replace(path, "") for secret in SECRETS)


@pytest.mark.parametrize("path", ["/invocations", "/tokenize", "/v1/embeddings", "/sleep", "/collective_rpc", "/docs"])
def test_an_engine_offers_only_what_the_router_needs(served: Served, path: str) -> None:
    """Even with the token, vLLM's other routes are closed."""
    url = f"{served.internal_url}/experts/specialists{path}"
    response = httpx.post(url, json=BODY, headers=served.internal_headers)
    assert (response.status_code, response.content) == (404, b"")


def test_replicas_own_ports_tell_nothing(served: Served) -> None:
    """Whoever finds a port of ours and speaks HTTP to it gets no answer, no name and no list of routes.

    But for the routers' own metrics, which are on loopback and nothing else.
    """
    replicas = served.processes("ray::ServeReplica") + served.processes("ray::Proxy")
    ports, metrics = listening(replicas), metrics_ports(served)
    assert metrics < ports
    assert {address for address, port in bound(replicas) if port in metrics} == {"127.0.0.1"}
    ports -= metrics
    assert ports
    answered = 0
    for port in ports:
        for path in ("/-/routes", "/experts/specialists/v1/models", "/v1/models", "/health", "/metrics"):
            try:
                response = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=2)
            except httpx.HTTPError:
                continue  # not HTTP: Ray's own protocol, which asks for its own token
            answered += 1
            assert (response.status_code, response.content) == (404, b""), (port, path)
    assert answered, "the replicas' HTTP ports were found"


def test_everything_of_haproxy_is_on_loopback(served: Served) -> None:
    """No listener of HAProxy, statistics and metrics included, is reachable from another machine."""
    haproxies = served.processes("haproxy")
    assert haproxies
    for process in haproxies:
        for connection in process.net_connections(kind="tcp"):
            assert connection.laddr.ip == "127.0.0.1"


def test_clients_cannot_steer_serve(served: Served) -> None:
    """A client's timeout header has no effect: the request is answered, not cut off with Serve's plain-text 408."""
    body = BODY | {"max_tokens": 64, "ignore_eos": True}
    headers = {"x-request-timeout-seconds": "0.001", "x-request-disconnect-disabled": "?1"}
    response = httpx.post(f"{served.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert response.status_code == 200
    assert response.json()["usage"]["completion_tokens"] == 64


def test_a_body_over_the_limit_is_refused(served: Served) -> None:
    """More bytes than `max_body_bytes` get a 413 in OpenAI's shape, with and without a declared length."""
    big = json.dumps(BODY | {"user": "x" * 1_100_000}).encode()

    def pieces() -> object:
        for start in range(0, len(big), 65536):
            yield big[start : start + 65536]

    for content in (big, pieces()):
        response = httpx.post(f"{served.url}/v1/chat/completions", content=content, timeout=30)  # type: ignore[arg-type]  # or a generator
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "body_too_large"
