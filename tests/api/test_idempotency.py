"""Requests that come again with their idempotency key: over real HTTP, with the official client where a client acts."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import openai
import pytest

from experts.recorded_book import Behaviour
from router.registry_sqlite import SqliteRegistry
from tests.api.world import BEHAVIOURS, KEY, KEY_ENV, ROWS, World, ask, routing
from tests.support import CHAT, Recorded, eventually, openai_client, raw_post, recorded

SAME = {"idempotency-key": "order 66"}
REPLAYED = "idempotency-replayed"
HASHES = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("sk-ann", "sk-bob")}


@pytest.fixture
def paced() -> Iterator[Recorded]:
    """Recorded experts; the ant takes its time, and the torn one breaks off in the middle."""
    with pytest.MonkeyPatch.context() as patch, recorded(ROWS, BEHAVIOURS | {"ant": PACED}, KEY) as server:
        patch.setenv(KEY_ENV, KEY)
        yield server


PACED = Behaviour(tokens_per_s=12)  # six tokens


@pytest.fixture
def router(paced: Recorded, tmp_path: Path) -> Iterator[World]:
    with routing(tmp_path, paced) as running:
        yield running


def post(router: World, body: object, path: str = CHAT, **headers: str) -> httpx.Response:
    return router.http.post(path, content=json.dumps(body), headers=SAME | headers)


def test_a_retry_after_the_clients_own_timeout_does_not_pay_twice(router: World) -> None:
    """The official client gives up and comes again by itself: one call of the expert, and its answer."""
    with openai_client(router.url) as client:
        patient = client.with_options(timeout=0.2, max_retries=20)
        found = patient.chat.completions.with_raw_response.create(**ask("ant"), extra_headers=SAME)
    assert found.parse().choices[0].message.content == "The answer is 13."
    assert found.headers[REPLAYED] == "true"
    assert router.legs("started", "ant") == router.legs("finished", "ant") == 1


def test_a_retry_finds_the_first_one_running_and_waits_for_it(router: World) -> None:
    """The first client gives up; the second one asks while the work goes on, and gets what that comes to."""
    with openai_client(router.url) as client:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.1).chat.completions.create(**ask("ant"), extra_headers=SAME)
        assert router.legs("running", "ant") == 1
        assert client.chat.completions.create(**ask("ant"), extra_headers=SAME).choices[0].message.content
    assert router.legs("started", "ant") == 1


def test_duplicates_at_once_run_once(router: World) -> None:
    """Of eight at once one runs; all get the same bytes, and only that one was not sent again."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: post(router, ask("ant")), range(8)))
    assert {(reply.status_code, reply.content) for reply in found} == {(200, found[0].content)}
    assert sorted(REPLAYED in reply.headers for reply in found) == [False, *[True] * 7]
    assert router.legs("started", "ant") == 1


def test_a_response_is_sent_again_as_it_was(router: World) -> None:
    """Status, headers and body, as the first time, however often; with another key it is another answer."""
    first, *again = [post(router, ask("auto", symposium={"explain": True})) for _ in range(3)]
    for reply in again:
        told = {name: value for name, value in reply.headers.items() if name not in (REPLAYED, "date")}
        assert told == {name: value for name, value in first.headers.items() if name != "date"}
        assert reply.content == first.content
    other = post(router, ask("auto", symposium={"explain": True}), **{"idempotency-key": "another"})
    assert other.json()["id"] != first.json()["id"]


def test_a_stream_is_sent_again_byte_for_byte(router: World) -> None:
    """A client that leaves in the middle of its stream cuts nothing short: coming again it gets all of it."""
    with raw_post(router.url, ask("ant", stream=True), SAME) as line:
        begun = b""
        while b"data: " not in begun:
            begun += line.recv(65_536)
    eventually(lambda: router.metric("symposium_in_flight") == 1)
    replies = [post(router, ask("ant", stream=True)) for _ in range(2)]
    assert replies[0].content == replies[1].content
    assert replies[0].content.endswith(b"data: [DONE]\n\n")
    assert begun.partition(b"data: ")[2].partition(b"\n")[0] in replies[0].content
    assert [reply.headers["content-type"] for reply in replies] == ["text/event-stream; charset=utf-8"] * 2
    assert (router.legs("started", "ant"), router.legs("aborted", "ant")) == (1, 0)


def test_a_request_whose_client_has_left_is_still_counted(router: World) -> None:
    """It is held until it has come to its end, and that end is an answer."""
    with raw_post(router.url, ask("ant"), SAME):
        eventually(lambda: router.legs("running", "ant") == 1)
    assert router.metric("symposium_in_flight") == 1
    eventually(lambda: router.metric("symposium_in_flight") == 0)
    assert router.metric("symposium_requests_total", outcome="answered") == 1
    assert router.metric("symposium_requests_total", outcome="cancelled") == 0


def test_a_key_is_of_one_request(router: World) -> None:
    """Another body, or the same one on another path, is refused while it runs and afterwards; not to be tried again."""
    text = {"model": "ant", "prompt": "Sing a song."}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, router, ask("ant"))
        eventually(lambda: router.legs("running", "ant") == 1)
        refused = [post(router, ask("ant", max_tokens=9))]
        assert first.result().status_code == 200
    refused += [post(router, ask("ant", max_tokens=9)), post(router, text, "/v1/completions")]
    for reply in refused:
        assert (reply.status_code, reply.json()["error"]["code"]) == (422, "idempotency_key_reused")
        assert reply.headers["x-should-retry"] == "false"
    assert router.legs("started", "ant") == 1


@pytest.mark.parametrize(
    ("body", "status"), [(ask("dead"), 502), (ask("nobody"), 404), (ask("ant", max_tokens=-1), 400)]
)
def test_errors_are_not_kept(router: World, body: object, status: int) -> None:
    """What was refused or failed leaves the key free: it may be tried again, with another body, too."""
    for _ in range(2):
        reply = post(router, body)
        assert (reply.status_code, REPLAYED in reply.headers) == (status, False)
    assert post(router, ask("ant")).status_code == 200


def test_a_stream_that_ended_in_an_error_is_not_kept(router: World) -> None:
    """It began with 200; it is run again all the same."""
    for started in (1, 2):
        reply = post(router, ask("torn", stream=True))
        assert '"stream_broken"' in reply.text
        assert (reply.status_code, REPLAYED in reply.headers) == (200, False)
        assert router.legs("started", "torn") == started


def test_another_replica_gives_the_same_answer(router: World, paced: Recorded, tmp_path: Path) -> None:
    """Two applications share a registry: what began on one is waited for, and had, on the other."""
    with routing(tmp_path, paced) as other:
        with raw_post(router.url, ask("ant"), SAME):
            eventually(lambda: router.legs("running", "ant") == 1)
            found = post(other, ask("ant"))
        assert (found.status_code, found.headers[REPLAYED]) == (200, "true")
        assert post(router, ask("ant")).content == found.content
    assert router.legs("started", "ant") == 1


def test_a_claim_lapses_with_its_owner(router: World, tmp_path: Path) -> None:
    """A replica that died while it ran the request is waited for until its lease is over; then it is run again."""
    body = json.dumps(ask("ant")).encode()
    anyio.run(_claim_as_another, tmp_path / "data", body, 1.0)
    reply = router.http.post(CHAT, content=body, headers=SAME)
    assert (reply.status_code, REPLAYED in reply.headers) == (200, False)
    assert router.legs("started", "ant") == 1


async def _claim_as_another(data: Path, body: bytes, lease_s: float) -> str:
    registry = SqliteRegistry(data)
    print_ = hashlib.sha256(CHAT.encode() + b"\0" + body).hexdigest()
    now = time.time()
    claim = await registry.claim("anonymous", SAME["idempotency-key"], print_, "another", now, now + lease_s)
    await registry.close()
    return claim.state


def test_callers_do_not_share_keys(paced: Recorded, tmp_path: Path) -> None:
    """The same key and body of two API keys are two requests; without a valid one nothing is had again."""
    keys = [{"name": name.removeprefix("sk-"), "sha256": digest} for name, digest in HASHES.items()]
    with routing(tmp_path, paced, server={"api_keys": keys}) as router:
        ann, bob = [post(router, ask("ant"), authorization=f"Bearer {key}") for key in HASHES]
        assert (ann.status_code, bob.status_code) == (200, 200)
        assert ann.json()["id"] != bob.json()["id"]
        assert post(router, ask("ant"), authorization="Bearer sk-eve").status_code == 401
        assert router.legs("started", "ant") == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9"])
def test_a_key_is_printable_ascii(router: World, key: str) -> None:
    """Anything else is refused before anything is run, with the header's name."""
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    reply = router.http.post(CHAT, json=ask("ant"), headers=headers)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "idempotency-key")
    assert router.legs("started", "ant") == 0


def test_two_keys_are_none(router: World) -> None:
    """Which of them was meant cannot be known."""
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    assert router.http.post(CHAT, json=ask("ant"), headers=headers).status_code == 400


def test_a_response_that_is_too_large_is_not_run_again(router: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be had again, and trying would not help: said, and paid for once."""
    monkeypatch.setattr("router.api.idempotency.MOST_BYTES", 16)
    assert post(router, ask("ant")).status_code == 200
    again = post(router, ask("ant"))
    assert (again.status_code, again.json()["error"]["code"]) == (409, "response_not_kept")
    assert again.headers["x-should-retry"] == "false"
    assert router.legs("started", "ant") == 1


@pytest.mark.parametrize(("on_failure", "status"), [("closed", 503), ("open", 200)])
def test_without_the_registry_it_is_as_the_operator_says(
    paced: Recorded, tmp_path: Path, on_failure: str, status: int
) -> None:
    """Closed: refused, to be tried again. Open: served, run once for each time it comes, and said so."""
    nobody = {"url": f"unix://{tmp_path}/nobody.sock", "on_failure": on_failure}
    keys = [{"name": "ann", "sha256": HASHES["sk-ann"]}]
    with routing(tmp_path, paced, ledger=nobody, server={"api_keys": keys}) as router:
        for _ in range(2):
            reply = post(router, ask("ant"), authorization="Bearer sk-ann")
            assert reply.status_code == status
            assert reply.headers.get("x-symposium-idempotency") == ("off" if status == 200 else None)
            assert reply.headers.get("x-should-retry") == ("true" if status == 503 else None)
        assert router.legs("started", "ant") == (2 if status == 200 else 0)


def test_what_is_cut_by_the_end_of_a_replica_may_run_again(
    paced: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that ends waits for what runs apart, for so long; then it is ended, and its key is free."""
    monkeypatch.setattr("router.api.app.DRAIN_S", 0.1)
    with routing(tmp_path, paced) as router, raw_post(router.url, ask("slow1"), SAME):
        eventually(lambda: router.legs("running", "slow1") == 1)
    assert paced.counts("slow1")["running"] == 0
    assert anyio.run(_claim_as_another, tmp_path / "data", b"?", 1.0) == "mine"
