"""Another configuration while requests are served: in all router replicas or in none, and nothing is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.api.reload_world import Fleet, fleet
from tests.api.world import SUM, ask
from tests.support import Recorded, eventually, eventually_equal, http_client

ONE = {"experts": ["ant"], "max_experts": 1}
TWO = {"experts": ["bee"], "max_experts": 1}


@pytest.fixture
def running(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), experts) as found:
        yield found


def rejected(running: Fleet) -> list[float]:
    """How many changes each replica knows to have been refused."""
    return [world.metric("symposium_config_rejected_total") for world in running.worlds]


def test_a_change_is_in_force_in_every_replica_when_the_answer_comes(running: Fleet) -> None:
    """What was asked for, what differs, how many serve it and how soon; requests go by it."""
    old = running.versions[0]
    done = running.put(running.policies(fresh=ONE))
    assert done.status_code == 200, done.text
    told = done.json()
    assert running.versions == [told["config"]] * 2
    assert told["config"] != old
    assert (told["replicas"], told["late"], told["changes"]) == (2, [], ["policies.fresh"])
    assert told["swap_s"] < 2
    for world in running.worlds:
        answer = world.post(ask("fresh"))
        assert (answer.status_code, answer.headers["x-symposium-config"]) == (200, told["config"])
        assert world.metric("symposium_config_info", version=told["config"]) == 1


def test_a_request_ends_with_the_configuration_that_it_began_with(running: Fleet) -> None:
    """A stream goes on to its end although its policy, its expert and its prices are gone meanwhile."""
    world = running.worlds[0]
    body = ask("slow1", SUM, stream=True, stream_options={"include_usage": True}, max_tokens=8)
    with world.http.stream("POST", "/v1/chat/completions", json=body) as stream:
        lines = stream.iter_lines()
        next(lines)
        left = {k: v for k, v in json.loads(running.file.read_text())["experts"].items() if k != "slow1"}
        changed = running.put(running.text(experts=left, policies={"auto": ONE}))
        assert changed.status_code == 200, changed.text
        assert world.post(ask("slow1")).status_code == 404
        rest = list(lines)
    assert "data: [DONE]" in rest
    assert '"cost_usd":' in "".join(rest)


def test_what_is_not_valid_changes_nothing_and_is_counted(running: Fleet) -> None:
    """All that is wrong at once; every replica shows that something was refused."""
    old = running.versions
    refused = running.put(running.policies(wrong={"experts": ["nobody"]}, other={"max_expert": 1}))
    assert refused.status_code == 422
    problems = " ".join(refused.json()["error"]["problems"])
    assert "nobody" in problems
    assert "max_expert" in problems
    assert running.versions == old
    eventually_equal(lambda: rejected(running), [1, 1])
    assert [world.metric("symposium_config_applied_total") for world in running.worlds] == [0, 0]


def test_what_needs_a_restart_is_said_before_anything_changes(running: Fleet) -> None:
    """409 with the list; also when only asked what would change."""
    text = running.text(server={"router_replicas": 3})
    for params in ({}, {"dry_run": "true"}):
        refused = running.put(text, **params)
        assert refused.status_code == 409
        assert "server.router_replicas" in refused.json()["error"]["restart"]
    assert len(set(running.versions)) == 1


def test_what_would_change_can_be_asked_without_changing_it(running: Fleet) -> None:
    """The paths that differ."""
    old = running.versions
    found = running.put(running.policies(fresh=ONE), dry_run="true")
    assert found.json() == {"changes": ["policies.fresh"]}
    assert running.put(running.policies(fresh=ONE), dry_run="1").status_code == 400  # never taken for a change
    assert running.versions == old


def test_a_change_must_know_what_it_takes_the_place_of(running: Fleet) -> None:
    """Without If-Match 428; made of another version 412; of two at once one wins."""
    etag = running.admin.get("/v1/config").headers["etag"]
    assert running.admin.put("/v1/config", content=running.policies(fresh=ONE)).status_code == 428
    assert running.put(running.policies(fresh=ONE), '"0-abc"').status_code == 412
    found: list[int] = []

    def change(name: str) -> None:
        found.append(running.put(running.policies(**{name: ONE}), etag).status_code)

    threads = [threading.Thread(target=change, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, 412]
    assert len(set(running.versions)) == 1


def test_without_the_token_there_is_nothing(running: Fleet) -> None:
    """Neither to read nor to write, whichever path."""
    url = str(running.admin.base_url)
    with http_client(url) as stranger:
        for method, path in (
            ("GET", "/v1/config"),
            ("PUT", "/v1/config"),
            ("POST", "/v1/rollback"),
            ("GET", "/v1/targets"),
            ("GET", "/v1/status"),
            ("GET", "/v1/versions"),
            ("GET", "/v1/versions/1"),
            ("GET", "/v1/engines/old/metrics"),
        ):
            assert stranger.request(method, path).status_code == 401
            assert stranger.request(method, path, headers={"authorization": "Bearer no"}).status_code == 401


def test_the_file_is_taken_when_it_changes_and_a_bad_one_is_not(running: Fleet) -> None:
    """A good text comes into force by itself; a bad one is counted; the next good one is taken again."""
    first = running.versions[0]
    good = running.policies(fresh=ONE)
    running.file.write_text(good)
    eventually(lambda: set(running.versions) != {first} and len(set(running.versions)) == 1)
    second = running.versions[0]
    running.file.write_text("version: 1\npolicies: [")
    eventually_equal(lambda: rejected(running), [1, 1])
    assert running.versions == [second] * 2
    running.file.write_text(good.replace('"fresh"', '"fresher"'))
    eventually(lambda: set(running.versions) != {second} and len(set(running.versions)) == 1)
    assert running.worlds[1].post(ask("fresher")).status_code == 200


def test_an_earlier_version_comes_back(running: Fleet) -> None:
    """The last one before, or one by its number; under a new number; one that is not kept is refused."""
    first = running.versions[0]
    second = running.put(running.policies(fresh=ONE)).json()["config"]
    assert running.admin.post("/v1/rollback").json()["config"] == first
    assert running.versions == [first] * 2
    numbers = {v["config"]: v["version"] for v in running.admin.get("/v1/versions").json()["versions"]}
    assert running.admin.post("/v1/rollback", json={"version": numbers[second]}).json()["config"] == second
    assert running.admin.post("/v1/rollback", json={"version": 999}).status_code == 422
    assert running.admin.post("/v1/rollback", json={"version": "last"}).status_code == 400
    assert running.versions == [second] * 2


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_when_one_replica_cannot_prepare_it_nobody_serves_it(
    running: Fleet, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """A fault on one replica's own disk, which cannot be had otherwise: the others keep the old version too."""

    async def broken(_: object) -> None:
        raise kind("its disk is full")

    old = running.versions
    monkeypatch.setattr(running.services[1], "prepare", broken)
    refused = running.put(running.policies(fresh=ONE))
    assert refused.status_code == 422
    assert "its disk is full" in refused.json()["error"]["message"]
    assert running.versions == old
    monkeypatch.undo()
    assert running.put(running.policies(fresh=TWO)).status_code == 200
    assert len(set(running.versions)) == 1


def test_a_replica_that_starts_later_begins_with_what_is_in_force(running: Fleet) -> None:
    """Not with the version that the run began with."""
    done = running.put(running.policies(fresh=ONE)).json()
    assert running.replica().http.get("/version").json()["config"] == done["config"]
    assert running.put(running.policies(fresh=TWO)).json()["replicas"] == 3


def test_breakers_stay_as_they_are(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An expert that was left out before a change is left out after it."""
    strict = {"failures_in_a_row": 1, "open_s": 60, "max_open_s": 60}
    convening = {"retry_share": 1, "hedge_quantile": None, "breakers": strict}
    with fleet(tmp_path_factory.mktemp("fleet"), experts, replicas=1, convening=convening) as running:
        (world,) = running.worlds
        world.post(ask("hurt"))
        assert world.metric("symposium_breaker_state", expert="mute", state="open") == 1
        assert running.put(running.policies(fresh=ONE)).status_code == 200
        assert world.metric("symposium_breaker_state", expert="mute", state="open") == 1
        assert {c["expert"]: c["why"] for c in world.explained("hurt")["candidates"]}["mute"] == "resting"


def test_no_request_is_lost_or_served_by_an_old_version_through_many_changes(running: Fleet) -> None:
    """Requests all the while, on both replicas; once a change was answered, no later one goes by what was before."""
    stop, problems = threading.Event(), []
    in_force: list[tuple[float, str]] = [(0.0, running.versions[0])]
    seen: list[tuple[float, str]] = []

    def keep_asking(url: str) -> None:
        with http_client(url) as client:
            while not stop.is_set():
                began = time.monotonic()
                answer = client.post("/v1/chat/completions", json=ask("solo"))
                if answer.status_code != 200:
                    problems.append(answer.text)
                else:
                    seen.append((began, answer.headers["x-symposium-config"]))

    threads = [threading.Thread(target=keep_asking, args=(world.url,)) for world in running.worlds]
    for thread in threads:
        thread.start()
    for count in range(6):
        config = running.put(running.policies(fresh=ONE | {"description": str(count)})).json()["config"]
        in_force.append((time.monotonic(), config))
        time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len({config for _, config in seen}) == 7
    order = [config for _, config in in_force]
    for began, config in seen:
        latest = max(place for place, (since, _) in enumerate(in_force) if since <= began)
        assert order.index(config) >= latest


def test_prometheus_finds_replicas_and_engines(running: Fleet) -> None:
    """Each replica at its own address; each engine behind this side; one that does not answer is down."""
    found = running.admin.get("/v1/targets").json()
    routers = [t for t in found if t["labels"]["job"] == "symposium-router"]
    pages = [httpx.get(f"http://{t['targets'][0]}/metrics").text for t in routers]
    assert len({t["labels"]["replica"] for t in routers}) == 2
    assert all(f'symposium_config_info{{version="{running.versions[0]}"}} 1.0' in page for page in pages)
    engine = next(t for t in found if t["labels"].get("engine") == "old")
    path = engine["labels"]["__metrics_path__"]
    assert engine["targets"] == [running.admin.base_url.netloc.decode()]
    assert running.admin.get(path.removeprefix("/admin")).text == "symposium_engine_of_old 1\n"
    assert running.admin.get("/v1/engines/dead/metrics").status_code == 404
    assert running.admin.get("/v1/engines/none/metrics").status_code == 404


def test_the_status_says_what_is_served_and_what_was_refused(running: Fleet) -> None:
    """The version, each replica with its own, and the last refusal."""
    running.put("version: 2")
    status = running.admin.get("/v1/status").json()
    assert status["config"] == running.versions[0]
    assert [replica["version"] for replica in status["replicas"]] == [status["version"]] * 2
    assert (status["rejections"], status["rejection"]) == (1, "the configuration is not valid")
