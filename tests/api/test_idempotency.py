"""Requests that come again with their idempotency key: over real HTTP, with the official client where a client acts."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import openai
import pytest

from experts.recorded_book import Behaviour
from router.registry_sqlite import SqliteRegistry
from tests.api.world import BEHAVIOURS, KEY, KEY_ENV, ROWS, World, ask, routing
from tests.redis_server import needs_redis, redis_server
from tests.support import CHAT, Recorded, eventually, openai_client, raw_post, recorded

PACED = Behaviour(tokens_per_s=12)  # its answers have six tokens
REPLAYED = "idempotency-replayed"
HASHES = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("sk-ann", "sk-bob")}


@pytest.fixture(scope="module")
def paced() -> Iterator[Recorded]:
    """Recorded experts; the ant takes its time, and the torn one breaks off in the middle."""
    with pytest.MonkeyPatch.context() as patch, recorded(ROWS, BEHAVIOURS | {"ant": PACED}, KEY) as server:
        patch.setenv(KEY_ENV, KEY)
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idempotency")


@pytest.fixture(scope="module")
def running(folder: Path, paced: Recorded) -> Iterator[World]:
    with routing(folder, paced) as found:
        yield found


@dataclass(frozen=True, slots=True)
class Client:
    """Sends everything with one idempotency key, which is one test's own; counts what has happened since it began."""

    world: World
    key: str
    before: dict[str, dict[str, int]]

    @classmethod
    def of(cls, world: World, key: str = "order 66") -> Client:
        return cls(world, key, world.experts.http.get("/internal/legs").json())

    def sees(self, name: str, **labels: str) -> float:
        return self.world.metric(f"symposium_{name}", **labels)

    @property
    def headers(self) -> dict[str, str]:
        return {"idempotency-key": self.key}

    def post(self, body: object, path: str = CHAT, **headers: str) -> httpx.Response:
        return self.world.http.post(path, content=json.dumps(body), headers=self.headers | headers)

    def legs(self, count: str, expert: str = "ant") -> int:
        return self.world.legs(count, expert) - self.before[expert][count]


@pytest.fixture
def router(running: World, request: pytest.FixtureRequest) -> Client:
    return Client.of(running, request.node.name)


def test_a_retry_after_the_clients_own_timeout_does_not_pay_twice(router: Client) -> None:
    """The official client gives up and comes again by itself: one call of the expert, and its answer."""
    with openai_client(router.world.url) as client:
        patient = client.with_options(timeout=0.2, max_retries=20)
        found = patient.chat.completions.with_raw_response.create(**ask("ant"), extra_headers=router.headers)
    assert found.parse().choices[0].message.content == "The answer is 13."
    assert found.headers[REPLAYED] == "true"
    assert router.legs("started") == router.legs("finished") == 1


def test_a_retry_finds_the_first_one_running_and_waits_for_it(router: Client) -> None:
    """The first client gives up; the second one asks while the work goes on, and gets what that comes to."""
    with openai_client(router.world.url) as client:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.1).chat.completions.create(**ask("ant"), extra_headers=router.headers)
        assert router.legs("running") == 1
        assert client.chat.completions.create(**ask("ant"), extra_headers=router.headers).choices[0].message.content
    assert router.legs("started") == 1


def test_duplicates_at_once_run_once(router: Client) -> None:
    """Of eight at once one runs; all get the same bytes, and only that one was not sent again."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: router.post(ask("ant")), range(8)))
    assert {(reply.status_code, reply.content) for reply in found} == {(200, found[0].content)}
    assert sorted(REPLAYED in reply.headers for reply in found) == [False, *[True] * 7]
    assert router.legs("started") == 1


def test_a_response_is_sent_again_as_it_was(router: Client) -> None:
    """Status, headers and body, as the first time, however often; with another key it is another answer."""
    first, *again = [router.post(ask("auto", symposium={"explain": True})) for _ in range(3)]
    for reply in again:
        told = {name: value for name, value in reply.headers.items() if name not in (REPLAYED, "date")}
        assert told == {name: value for name, value in first.headers.items() if name != "date"}
        assert reply.content == first.content
    other = router.post(ask("auto", symposium={"explain": True}), **{"idempotency-key": "another one"})
    assert other.json()["id"] != first.json()["id"]


def test_a_stream_is_sent_again_byte_for_byte(router: Client) -> None:
    """A client that leaves in the middle of its stream cuts nothing short: coming again it gets all of it."""
    with raw_post(router.world.url, ask("ant", stream=True), router.headers) as line:
        begun = b""
        while b"data: " not in begun:
            begun += line.recv(65_536)
    assert router.sees("in_flight") == 1
    replies = [router.post(ask("ant", stream=True)) for _ in range(2)]
    assert replies[0].content == replies[1].content
    assert replies[0].content.endswith(b"data: [DONE]\n\n")
    assert begun.partition(b"data: ")[2].partition(b"\n")[0] in replies[0].content
    assert [reply.headers["content-type"] for reply in replies] == ["text/event-stream; charset=utf-8"] * 2
    assert (router.legs("started"), router.legs("aborted")) == (1, 0)


def test_a_request_whose_client_has_left_is_still_counted(router: Client) -> None:
    """It is held until it has come to its end, and that end is an answer."""
    answered, cancelled = (router.sees("requests_total", outcome=how) for how in ("answered", "cancelled"))
    with raw_post(router.world.url, ask("ant"), router.headers):
        eventually(lambda: router.legs("running") == 1)
    assert router.sees("in_flight") == 1
    eventually(lambda: router.sees("in_flight") == 0)
    assert router.sees("requests_total", outcome="answered") == answered + 1
    assert router.sees("requests_total", outcome="cancelled") == cancelled


def test_a_key_is_of_one_request(router: Client) -> None:
    """Another body, or the same one on another path, is refused while it runs and afterwards; not to be tried again."""
    text = {"model": "ant", "prompt": "Sing a song."}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(router.post, ask("ant"))
        eventually(lambda: router.legs("running") == 1)
        refused = [router.post(ask("ant", max_tokens=9))]
        assert first.result().status_code == 200
    refused += [router.post(ask("ant", max_tokens=9)), router.post(text, "/v1/completions")]
    for reply in refused:
        assert (reply.status_code, reply.json()["error"]["code"]) == (422, "idempotency_key_reused")
        assert reply.headers["x-should-retry"] == "false"
    assert router.legs("started") == 1


@pytest.mark.parametrize(
    ("body", "status"), [(ask("dead"), 502), (ask("nobody"), 404), (ask("ant", max_tokens=-1), 400)]
)
def test_errors_are_not_kept(router: Client, body: object, status: int) -> None:
    """What was refused or failed leaves the key free: it may be tried again, with another body, too."""
    for _ in range(2):
        reply = router.post(body)
        assert (reply.status_code, REPLAYED in reply.headers) == (status, False)
    assert router.post(ask("ant")).status_code == 200


def test_a_stream_that_ended_in_an_error_is_not_kept(router: Client) -> None:
    """It began with 200; it is run again all the same."""
    for started in (1, 2):
        reply = router.post(ask("torn", stream=True))
        assert '"stream_broken"' in reply.text
        assert (reply.status_code, REPLAYED in reply.headers) == (200, False)
        assert router.legs("started", "torn") == started


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def pair(request: pytest.FixtureRequest, paced: Recorded, tmp_path: Path) -> Iterator[list[World]]:
    """Two applications that share a registry: in one data folder, or on two nodes with one Redis."""
    with ExitStack() as stack:
        if request.param == "redis":
            socket = stack.enter_context(tempfile.TemporaryDirectory(prefix="sym-"))
            ledger, folders = stack.enter_context(redis_server(Path(socket))), (tmp_path / "one", tmp_path / "two")
        else:
            ledger, folders = "sqlite", (tmp_path, tmp_path)
        for folder in folders:
            folder.mkdir(exist_ok=True)
        yield [stack.enter_context(routing(folder, paced, ledger=ledger)) for folder in folders]


def test_another_replica_gives_the_same_answer(pair: list[World]) -> None:
    """What began on one is waited for, and had, on the other."""
    one, other = map(Client.of, pair)
    with raw_post(one.world.url, ask("ant"), one.headers):
        eventually(lambda: one.legs("running") == 1)
        found = other.post(ask("ant"))
    assert (found.status_code, found.headers[REPLAYED]) == (200, "true")
    assert one.post(ask("ant")).content == found.content
    assert one.legs("started") == 1


def test_a_claim_lapses_with_its_owner(router: Client, folder: Path) -> None:
    """A replica that died while it ran the request is waited for until its lease is over; then it is run again."""
    anyio.run(_claimed_by_another, folder / "data", router.key)
    reply = router.post(ask("ant"))
    assert (reply.status_code, REPLAYED in reply.headers) == (200, False)
    assert router.legs("started") == 1


async def _claimed_by_another(data: Path, key: str) -> str:
    """For a second, for the request that the tests make most often."""
    registry, now = SqliteRegistry(data), time.time()
    fingerprint = hashlib.sha256(CHAT.encode() + b"\0" + json.dumps(ask("ant")).encode()).hexdigest()
    claim = await registry.claim("anonymous", key, fingerprint, "another", now, now + 1.0)
    await registry.close()
    return claim.state


def test_callers_do_not_share_keys(paced: Recorded, tmp_path: Path) -> None:
    """The same key and body of two API keys are two requests; without a valid one nothing is had again."""
    keys = [{"name": name.removeprefix("sk-"), "sha256": digest} for name, digest in HASHES.items()]
    with routing(tmp_path, paced, server={"api_keys": keys}) as world:
        router = Client.of(world)
        ann, bob = [router.post(ask("ant"), authorization=f"Bearer {key}") for key in HASHES]
        assert (ann.status_code, bob.status_code) == (200, 200)
        assert ann.json()["id"] != bob.json()["id"]
        assert router.post(ask("ant"), authorization="Bearer sk-eve").status_code == 401
        assert router.legs("started") == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9"])
def test_a_key_is_printable_ascii(router: Client, key: str) -> None:
    """Anything else is refused before anything is run, with the header's name."""
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    reply = router.world.http.post(CHAT, json=ask("ant"), headers=headers)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "idempotency-key")
    assert router.legs("started") == 0


def test_two_keys_are_none(router: Client) -> None:
    """Which of them was meant cannot be known."""
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    assert router.world.http.post(CHAT, json=ask("ant"), headers=headers).status_code == 400


def test_a_response_that_is_too_large_is_not_run_again(router: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be had again, and trying would not help: said, and paid for once."""
    monkeypatch.setattr("router.api.idempotency.MOST_BYTES", 16)
    assert router.post(ask("ant")).status_code == 200
    again = router.post(ask("ant"))
    assert (again.status_code, again.json()["error"]["code"]) == (409, "response_not_kept")
    assert again.headers["x-should-retry"] == "false"
    assert router.legs("started") == 1


@pytest.mark.parametrize(("on_failure", "status"), [("closed", 503), ("open", 200)])
def test_without_the_registry_it_is_as_the_operator_says(
    paced: Recorded, tmp_path: Path, on_failure: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed: refused, to be tried again. Open: served, run once for each time it comes, and said so."""
    monkeypatch.setattr("router.service.DRAIN_S", 0.1)  # for money that nobody can be told of
    nobody = {"url": f"unix://{tmp_path}/nobody.sock", "on_failure": on_failure}
    keys = [{"name": "ann", "sha256": HASHES["sk-ann"]}]
    with routing(tmp_path, paced, ledger=nobody, server={"api_keys": keys}) as world:
        router = Client.of(world)
        for _ in range(2):
            reply = router.post(ask("ant"), authorization="Bearer sk-ann")
            assert reply.status_code == status
            assert reply.headers.get("x-symposium-idempotency") == ("off" if status == 200 else None)
            assert reply.headers.get("x-should-retry") == ("true" if status == 503 else None)
        assert router.legs("started") == (2 if status == 200 else 0)


def test_what_is_cut_by_the_end_of_a_replica_may_run_again(
    paced: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that ends waits for what runs apart, for so long; then it is ended, and its key is free."""
    monkeypatch.setattr("router.api.app.DRAIN_S", 0.1)
    key = "order 67"
    with routing(tmp_path, paced) as world, raw_post(world.url, ask("slow1"), {"idempotency-key": key}):
        eventually(lambda: paced.counts("slow1")["running"] == 1)
    assert paced.counts("slow1")["running"] == 0
    assert anyio.run(_claimed_by_another, tmp_path / "data", key) == "mine"
