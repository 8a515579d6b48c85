"""Feedback over HTTP: two router replicas, their admin side, real keys, and a tiny world in which a few words turn who
is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

import deploy.feedback
from deploy.cli import app
from experts.version import expert_versions
from router.profiles import Profiles
from tests.api.reload_world import Fleet, fleet
from tests.api.world import SUM, World, ask, config, profiles, routing
from tests.support import CHAT, Recorded, eventually_equal

KEYS = ("ann", "ben", "cyd", "dan", "eli", "fay", "gus", "hal")
PATH = "/v1/feedback"
PER_SOURCE, STRENGTH, CALIBRATED = 2, 8, 100


def secret(name: str) -> str:
    return f"sk-sym-{name}-0123456789"


def configured(name: str, **grants: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(secret(name).encode()).hexdigest()} | grants


SERVER = {"api_keys": [*map(configured, KEYS), configured("mute", scopes=["ask"])]}


@pytest.fixture(scope="module")
def measured(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The world's profiles are of what answers there: feedback on anything else would not count."""
    served = config(tmp_path_factory.mktemp("measured"), experts.url, "http://127.0.0.1:9")
    versions = expert_versions(served.experts, served.engines)
    found = {n: p.model_copy(update={"expert_version": versions[n]}) for n, p in profiles().experts.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.api.world.profiles", lambda: Profiles(experts=found))
        yield


@pytest.fixture(scope="module")
def running(experts: Recorded, measured: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("feedback"), experts, server=SERVER) as found:
        yield found


@pytest.fixture
def pair(running: Fleet) -> Iterator[Fleet]:
    """As its profiles were measured, and not frozen; and so it is left."""
    yield running
    running.admin.post("/v1/feedback/thaw")
    restore(running, 0)


def asked(world: World, name: str = "ann", model: str = "solo", **options: Any) -> httpx.Response:
    return world.http.post(CHAT, json=ask(model, **options), headers={"authorization": f"Bearer {secret(name)}"})


def said(world: World, request_id: str, right: bool, name: str = "ann") -> httpx.Response:
    body = {"request_id": request_id, "right": right}
    return world.http.post(PATH, json=body, headers={"authorization": f"Bearer {secret(name)}"})


def explained(world: World, name: str = "ann") -> dict[str, Any]:
    found: dict[str, Any] = asked(world, name, symposium={"explain": True}).json()["symposium"]
    return found


def judge(world: World, name: str, right: bool, times: int = 1) -> None:
    """What `solo` answers this key, so many times."""
    for _ in range(times):
        request_id = asked(world, name).headers["x-symposium-decision-id"]
        assert said(world, request_id, right, name).status_code == 200


def standing(pair: Fleet) -> dict[str, Any]:
    found: dict[str, Any] = pair.admin.get("/v1/feedback").json()
    return found


def serve(pair: Fleet) -> set[int]:
    """Versions of the profiles that the replicas go by."""
    return {world.http.get("/version").json()["profiles"] for world in pair.worlds}


def restore(pair: Fleet, version: int) -> None:
    assert pair.admin.post("/v1/feedback/restore", json={"version": version}).status_code == 200
    eventually_equal(lambda: serve(pair), {version})


def test_what_clients_say_turns_who_is_asked(pair: Fleet) -> None:
    """Eight keys find the ant's sums wrong: from then on both replicas ask the bee; an explanation says by what."""
    one, other = pair.worlds
    before = explained(one)
    assert (before["plan"]["experts"], before["profile_version"]) == (["ant"], standing(pair)["version"])
    for name in KEYS:
        judge(one, name, right=False, times=2)
    version = standing(pair)["version"]
    eventually_equal(lambda: serve(pair), {version})
    for world in (one, other):
        after = explained(world)
        assert (after["plan"]["experts"], after["profile_version"]) == (["bee"], version)
        assert after["config_version"] == before["config_version"]


def test_replicas_agree_to_the_last_digit(pair: Fleet) -> None:
    """What was said to either of them moves both in the same way."""
    for number, name in enumerate(KEYS[:4]):
        judge(pair.worlds[number % 2], name, right=number < 3)
    eventually_equal(lambda: serve(pair), {standing(pair)["version"]})
    one, other = [explained(world)["candidates"] for world in pair.worlds]
    assert one == other


def test_one_key_that_floods_moves_a_profile_by_its_bound(pair: Fleet) -> None:
    """Fifty times wrong, said by one: no more than two observations at each level, and the ant is asked on."""
    world = pair.worlds[0]
    before = _p(explained(world), "ant")
    judge(world, "ann", right=False, times=50)
    eventually_equal(lambda: serve(pair), {standing(pair)["version"]})
    found = explained(world)
    bound = 0.0
    for _ in ("overall", "category", "skill"):
        bound = (PER_SOURCE + STRENGTH * bound) / (CALIBRATED + STRENGTH + PER_SOURCE)
    assert 0 < before - _p(found, "ant") <= bound
    assert found["plan"]["experts"] == ["ant"]


def _p(found: dict[str, Any], expert: str) -> float:
    return next(float(c["p_correct"]) for c in found["candidates"] if c["expert"] == expert)


def test_feedback_is_taken_once(pair: Fleet) -> None:
    """By either replica, under either name of the request; the second time is refused, and changes nothing."""
    one, other = pair.worlds
    reply = asked(one)
    first = said(one, reply.json()["id"], right=True)
    assert first.json() == {
        "object": "feedback",
        "request_id": reply.headers["x-symposium-decision-id"],
        "right": True,
        "counted": True,
    }
    again = said(other, reply.headers["x-symposium-decision-id"], right=False)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "feedback_given")
    assert again.headers["x-should-retry"] == "false"
    assert (standing(pair)["counted"], standing(pair)["right"]) == (1, 1)


def test_only_the_key_that_asked_may_judge(pair: Fleet) -> None:
    """To another one the request is as unknown as one that never was; and it may be judged afterwards."""
    request_id = asked(pair.worlds[0]).headers["x-symposium-decision-id"]
    for wrong in (said(pair.worlds[0], request_id, True, "ben"), said(pair.worlds[0], "req_nobody", True)):
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "request_not_found")
    assert said(pair.worlds[1], request_id, right=True).status_code == 200


def test_a_request_that_named_its_expert_cannot_be_judged(pair: Fleet) -> None:
    """It was not routed: who asks chooses the questions."""
    reply = asked(pair.worlds[0], model="ant")
    assert said(pair.worlds[0], reply.headers["x-symposium-decision-id"], right=True).status_code == 404


def test_a_stream_can_be_judged(pair: Fleet) -> None:
    """By the id in its chunks."""
    reply = asked(pair.worlds[0], stream=True)
    assert said(pair.worlds[0], reply.headers["x-symposium-decision-id"], right=True).status_code == 200


def test_a_key_needs_the_scope(pair: Fleet) -> None:
    """403, with the scope; and without a key 401."""
    world = pair.worlds[0]
    refused = said(world, "req_1", True, "mute")
    assert (refused.status_code, refused.json()["error"]["scope"]) == (403, "feedback")
    assert world.http.post(PATH, json={"request_id": "req_1", "right": True}).status_code == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"request_id": "r"}, "right"),
        ({"request_id": "r", "right": 1}, "right"),
        ({"request_id": "r", "right": "true"}, "right"),
        ({"request_id": "", "right": True}, "request_id"),
        ({"request_id": "r" * 129, "right": True}, "request_id"),
        ({"request_id": "r", "right": True, "weight": 9}, "weight"),
        ([], None),
    ],
)
def test_what_is_said_is_checked(pair: Fleet, body: object, param: str | None) -> None:
    """400 in OpenAI's shape, with the field."""
    reply = pair.worlds[0].http.post(PATH, json=body, headers={"authorization": f"Bearer {secret('ann')}"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_a_large_body_is_refused(pair: Fleet) -> None:
    """It is not read to its end."""
    headers = {"authorization": f"Bearer {secret('ann')}"}
    assert pair.worlds[0].http.post(PATH, content=b" " * 5000, headers=headers).status_code == 413


def test_a_freeze_holds_profiles_where_they_are(pair: Fleet) -> None:
    """What is said meanwhile is taken, and told to wait; it counts from the thaw on."""
    world = pair.worlds[0]
    judge(world, "ann", right=True)
    version = standing(pair)["version"]
    assert pair.admin.post("/v1/feedback/freeze").json()["frozen"] is True
    eventually_equal(lambda: _counted(world), False)
    for name in KEYS[1:]:
        judge(world, name, right=False, times=2)
    assert standing(pair)["waiting"] >= 14
    eventually_equal(lambda: serve(pair), {version})
    assert explained(world)["plan"]["experts"] == ["ant"]
    assert pair.admin.post("/v1/feedback/thaw").json()["waiting"] == 0
    eventually_equal(lambda: explained(world)["plan"]["experts"], ["bee"])


def _counted(world: World) -> bool:
    """Whether feedback counts, as this replica says; what it says is right."""
    request_id = asked(world).headers["x-symposium-decision-id"]
    return bool(said(world, request_id, right=True).json()["counted"])


def test_an_earlier_version_can_be_had_again(pair: Fleet) -> None:
    """Before the flood, and after it again: each as it was, on both replicas; what comes afterwards counts."""
    world = pair.worlds[0]
    judge(world, "ann", right=True)
    good = standing(pair)["version"]
    eventually_equal(lambda: serve(pair), {good})
    before = explained(world)["candidates"]
    for name in KEYS:
        judge(world, name, right=False, times=2)
    bad = standing(pair)["version"]
    eventually_equal(lambda: serve(pair), {bad})
    restore(pair, good)
    assert explained(world)["candidates"] == before
    shown = pair.admin.get("/v1/feedback/versions", params={"most": 3}).json()["data"]
    assert [(v["version"], v["void"]) for v in shown] == [(bad - n, True) for n in range(3)]
    restore(pair, bad)
    assert explained(pair.worlds[1])["plan"]["experts"] == ["bee"]
    assert standing(pair)["keys"][0]["counted"] >= 2
    judge(world, "ann", right=True)
    eventually_equal(lambda: serve(pair), {bad + 1})


def test_versions_are_shown_page_by_page(pair: Fleet) -> None:
    """The latest first, those before a number on request; what is no number is refused."""
    judge(pair.worlds[0], "ann", right=True, times=3)
    last = standing(pair)["last"]
    shown = pair.admin.get("/v1/feedback/versions", params={"before": last, "most": 2}).json()["data"]
    assert [version["version"] for version in shown] == [last - 1, last - 2]
    assert (shown[0]["key"], shown[0]["policy"], shown[0]["experts"]) == ("ann", "solo", ["ant"])
    assert pair.admin.get("/v1/feedback/versions", params={"most": "all"}).status_code == 400


@pytest.mark.parametrize(("body", "status"), [({"version": 10**9}, 404), ({"version": "1"}, 400), ({}, 400)])
def test_a_version_that_there_never_was_cannot_be_restored(pair: Fleet, body: object, status: int) -> None:
    """Said, and nothing changes."""
    before = standing(pair)
    assert pair.admin.post("/v1/feedback/restore", json=body).status_code == status
    assert standing(pair) == before


def test_operators_have_a_token_of_their_own(pair: Fleet) -> None:
    """No client's key freezes or restores anything."""
    headers = {"authorization": f"Bearer {secret('ann')}"}
    assert pair.admin.post("/v1/feedback/freeze", headers=headers).status_code == 401


def test_another_configuration_keeps_what_was_said(pair: Fleet) -> None:
    """It comes into force with profiles that are moved already; its policies are new, the outcomes are not."""
    for name in KEYS:
        judge(pair.worlds[0], name, right=False, times=2)
    version = standing(pair)["version"]
    eventually_equal(lambda: serve(pair), {version})
    done = pair.put(pair.policies(solo={"experts": ["ant", "bee"], "max_experts": 1, "description": "anew"}))
    assert done.status_code == 200
    assert serve(pair) == {version}
    assert explained(pair.worlds[0])["plan"]["experts"] == ["bee"]


def test_a_replica_that_starts_later_goes_by_the_same(pair: Fleet) -> None:
    """Its first answer already."""
    judge(pair.worlds[0], "ann", right=False)
    eventually_equal(lambda: serve(pair), {standing(pair)["version"]})
    assert explained(pair.replica())["candidates"] == explained(pair.worlds[0])["candidates"]


def test_the_command_shows_and_changes_it(pair: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """`symposium feedback`: status, versions, freeze, thaw, restore, as an operator types them."""

    def of_the_fleet(_: object, method: str, path: str, **sent: Any) -> httpx.Response:
        reply = pair.admin.request(method, f"/v1{path}", **sent)
        if reply.is_error:
            raise typer.Exit(1)
        return reply

    monkeypatch.setattr(deploy.feedback, "ask_admin", of_the_fleet)
    monkeypatch.setattr(deploy.feedback, "door", lambda _: None)
    judge(pair.worlds[0], "ann", right=True)
    version = standing(pair)["version"]

    def typed(*words: str) -> str:
        result = CliRunner().invoke(app, ["feedback", words[0], str(pair.file), *words[1:]], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    assert f"version {version} of the profiles (not frozen): 1 count" in typed("status")
    assert "solo" in typed("versions", "--most", "1")
    assert "(frozen, 0 wait)" in typed("freeze")
    assert "(not frozen)" in typed("thaw")
    assert "version 0 of the profiles" in typed("restore", "0")
    assert '"frozen":' in typed("status", "--json")
    assert CliRunner().invoke(app, ["feedback", "restore", str(pair.file), str(10**9)]).exit_code == 1


@pytest.mark.usefixtures("measured")
def test_without_keys_all_feedback_is_one_voice(experts: Recorded, tmp_path: Path) -> None:
    """Nothing tells one client from another there: together they weigh what one key does."""
    with routing(tmp_path, experts) as world:
        before = world.explained("solo")
        for _ in range(20):
            request_id = world.post(ask("solo", SUM)).headers["x-symposium-decision-id"]
            assert world.http.post(PATH, json={"request_id": request_id, "right": False}).status_code == 200
        eventually_equal(lambda: world.http.get("/version").json()["profiles"], 20)
        after = world.explained("solo")
    assert 0 < _p(before, "ant") - _p(after, "ant") < 0.03
    assert after["plan"]["experts"] == ["ant"]
