"""Keys that are made while two replicas run: by the admin side and by command, known and refused by both."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from router import key_ring
from tests.api.reload_world import TOKEN, Fleet, fleet
from tests.api.world import ask
from tests.support import Recorded, eventually_equal

TENANTS = {"acme": {"usd_per_day": 5}, "blue": {}}


@pytest.fixture(scope="module")
def running(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    keys = [{"name": "fixed", "tenant": "blue", "sha256": "0" * 64}]
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(key_ring, "POLL_S", 0.05)  # no test here is about how often it is looked, but for one
        found = stack.enter_context(
            fleet(tmp_path_factory.mktemp("keys"), experts, tenants=TENANTS, server={"api_keys": keys})
        )
        url = str(found.admin.base_url).removesuffix("/admin/").removesuffix("/admin")
        (found.file.parent / "data" / "admin.json").write_text(json.dumps({"url": url, "token": TOKEN}))
        yield found


def make(running: Fleet, **grants: Any) -> dict[str, Any]:
    reply = running.admin.post("/v1/keys", json={"name": "ci", "tenant": "acme"} | grants)
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.json()
    return found


def listed(running: Fleet, key_id: str) -> dict[str, Any]:
    found = running.admin.get("/v1/keys").json()["data"]
    return next(key for key in found if key["id"] == key_id)


def statuses(running: Fleet, secret: str) -> list[int]:
    """Of asking each replica with that key."""
    headers = {"authorization": f"Bearer {secret}"}
    return [world.http.get("/v1/models", headers=headers).status_code for world in running.worlds]


def command(running: Fleet, name: str, *arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "250"}).invoke(app, ["keys", name, str(running.file), *arguments])


def test_a_key_that_is_made_opens_every_replica(running: Fleet) -> None:
    """Its secret is told once; what is listed has neither that nor its digest."""
    made = make(running, usd_per_day=1.5, scopes=["ask"], policies=["solo"])
    secret = made.pop("secret")
    assert secret.startswith("sk-sym-")
    assert len(secret) == len("sk-sym-") + 43  # 32 random bytes
    eventually_equal(lambda: statuses(running, secret), [200, 200])
    assert listed(running, made["id"]) == made
    assert (made["tenant"], made["usd_per_day"], made["scopes"], made["ends"]) == ("acme", 1.5, ["ask"], None)
    text = running.admin.get("/v1/keys").text
    assert secret not in text
    assert "sha256" not in text
    headers = {"authorization": f"Bearer {secret}"}
    assert running.worlds[0].post(ask("solo"), **headers).status_code == 200
    assert running.worlds[0].post(ask("auto"), **headers).status_code == 404


def test_a_revoked_key_is_refused_by_every_replica_within_the_stated_time(
    running: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was used for until then, and although nobody looks more often than in service."""
    monkeypatch.setattr(key_ring, "POLL_S", 1.0)
    made = make(running)
    eventually_equal(lambda: statuses(running, made["secret"]), [200, 200])
    ended = running.admin.delete(f"/v1/keys/{made['id']}").json()
    time.sleep(key_ring.REVOKED_S)
    assert statuses(running, made["secret"]) == [401, 401]
    assert ended["ends"] <= time.time()
    assert listed(running, made["id"])["ends"] == ended["ends"]
    assert running.admin.post(f"/v1/keys/{made['id']}/rotate").json()["error"]["code"] == "key_ended"


def test_a_rotated_key_has_two_secrets_for_a_while(running: Fleet) -> None:
    """Both are the same key; without overlap the old one ends at once; revoking ends all of them."""
    made = make(running)
    first, path = made["secret"], f"/v1/keys/{made['id']}"
    eventually_equal(lambda: statuses(running, first), [200, 200])
    rotated = running.admin.post(f"{path}/rotate").json()
    second = rotated["secret"]
    assert rotated["id"] == made["id"]
    assert [round(end - rotated["made"]) for end in rotated["old_secrets_end"]] == [86_400]
    eventually_equal(lambda: statuses(running, second), [200, 200])
    assert statuses(running, first) == [200, 200]
    third = running.admin.post(f"{path}/rotate", json={"overlap_s": 0}).json()["secret"]
    eventually_equal(lambda: [statuses(running, s) for s in (first, second, third)], [[200] * 2, [401] * 2, [200] * 2])
    running.admin.delete(path)
    eventually_equal(lambda: [statuses(running, s) for s in (first, second, third)], [[401] * 2] * 3)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "x"} | {"tenant": "nobody"}, "tenant"),
        ({"name": "x", "policies": ["solo", "slo"]}, "policies.1"),
        ({"name": "x", "experts": ["aunt"]}, "experts.0"),
        ({"name": "x", "scopes": ["fly"]}, "scopes.0"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "usd_per_day": -1}, "usd_per_day"),
        ({"name": "x", "usd_per_dya": 1}, "usd_per_dya"),
        ({"name": "x", "budget": {"ceiling": {"max_tokens": 0}}}, "budget.ceiling.max_tokens"),
        ({"name": "a~1"}, "name"),
        ({"name": "x", "sha256": "0" * 64}, "sha256"),
        ({}, "name"),
    ],
)
def test_what_cannot_be_granted_is_named(running: Fleet, body: dict[str, Any], param: str) -> None:
    """By the configuration in force; nothing is made."""
    before = running.admin.get("/v1/keys").json()
    reply = running.admin.post("/v1/keys", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert "secret" not in reply.json()
    assert running.admin.get("/v1/keys").json() == before


def test_names_are_those_of_the_configuration_in_force(running: Fleet) -> None:
    """A tenant that was added since the start can have keys; a mistyped one is told what may be meant."""
    assert "did you mean 'acme'" in running.admin.post("/v1/keys", json={"name": "x", "tenant": "acne"}).text
    changed = running.put(running.text(tenants=TENANTS | {"new": {}}))
    assert changed.status_code == 200, changed.text
    assert make(running, tenant="new")["tenant"] == "new"


def test_keys_of_the_configuration_are_changed_there(running: Fleet) -> None:
    """They are listed; revoking and rotating says where; a key that nobody has is 404."""
    assert listed(running, "fixed") | {"source": "configuration", "made": None} == listed(running, "fixed")
    for method, path in (("DELETE", "/v1/keys/fixed"), ("POST", "/v1/keys/fixed/rotate")):
        reply = running.admin.request(method, path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "key_in_configuration")
    for key_id in ("nobody", f"{make(running)['id']}~1"):
        assert running.admin.delete(f"/v1/keys/{key_id}").status_code == 404


@pytest.mark.parametrize("body", [{"overlap_s": -1}, {"overlap_s": "1"}, {"overlap_s": True}, {"overlap": 1}, [1]])
def test_an_overlap_is_a_number_of_seconds(running: Fleet, body: object) -> None:
    """400 for anything else; the secret stays."""
    made = make(running)
    assert running.admin.post(f"/v1/keys/{made['id']}/rotate", json=body).status_code == 400
    assert listed(running, made["id"])["old_secrets_end"] == []


def test_only_the_admin_sides_token_opens_it(running: Fleet) -> None:
    """Neither a client's key nor nothing."""
    secret = make(running)["secret"]
    for headers in ({"authorization": ""}, {"authorization": f"Bearer {secret}"}):
        for method, path in (
            ("GET", "keys"), ("POST", "keys"), ("DELETE", "keys/x"), ("POST", "keys/x/rotate"), ("GET", "usage"),
        ):  # fmt: skip
            assert running.admin.request(method, f"/v1/{path}", headers=headers).status_code == 401


def test_who_could_ask_is_in_the_log_and_no_secret_is(running: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    """A line for each key that is made, rotated or revoked."""
    caplog.set_level(logging.INFO, "router.admin.keys")
    made = make(running)
    rotated = running.admin.post(f"/v1/keys/{made['id']}/rotate").json()
    running.admin.delete(f"/v1/keys/{made['id']}")
    lines = [record for record in caplog.records if record.name == "router.admin.keys"]
    assert [line.getMessage() for line in lines] == ["key made", "key rotated", "key revoked"]
    assert all(vars(line)["key"] == made["id"] and vars(line)["tenant"] == "acme" for line in lines)
    for secret in (made["secret"], rotated["secret"]):
        assert secret not in str([vars(line) for line in lines])


def test_the_commands_do_what_the_admin_side_does(running: Fleet) -> None:
    """Made, listed, rotated, revoked; the secret alone is on stdout, so that a script can take it."""
    done = command(
        running, "make", "robot", "--tenant", "acme", "--scope", "ask", "--scope", "usage", "--policy", "solo",
        "--usd-per-day", "0", "--requests-per-minute", "9",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    secret = done.stdout.strip()
    assert secret.startswith("sk-sym-")
    assert "shown only now" in done.stderr
    found = json.loads(command(running, "list", "--json").stdout)
    key = next(key for key in found if key["name"] == "robot")
    assert (key["scopes"], key["policies"], key["usd_per_day"]) == (["ask", "usage"], ["solo"], 0)
    assert key["requests_per_minute"] == 9
    rotated = json.loads(command(running, "rotate", key["id"], "--overlap-s", "60", "--json").stdout)
    assert rotated["secret"] != secret
    table = command(running, "list").stdout
    assert key["id"] in table
    assert "an old secret until" in table
    assert "is revoked" in command(running, "revoke", key["id"]).stdout
    assert "ended" in command(running, "list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("make", "x", "--tenant", "nobody"), "Invalid 'tenant': unknown 'nobody'"),
        (("revoke", "nobody"), "There is no key 'nobody'."),
        (("rotate", "../config"), "No such path."),
    ],
)
def test_a_command_that_fails_says_why(running: Fleet, arguments: tuple[str, ...], said: str) -> None:
    """Exit code 1, and nothing on stdout."""
    done = command(running, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


def test_usage_is_had_by_command(running: Fleet) -> None:
    """As a table, CSV or JSON; of one tenant or of all."""
    secret = make(running, tenant="blue")["secret"]
    eventually_equal(lambda: statuses(running, secret), [200, 200])
    assert running.worlds[0].post(ask("ant"), authorization=f"Bearer {secret}").status_code == 200

    def used(*options: str) -> str:
        done = CliRunner(env={"COLUMNS": "250"}).invoke(app, ["usage", str(running.file), *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    def requests() -> int:
        found: int = json.loads(used("--tenant", "blue", "--by", "expert", "--format", "json"))["total"]["requests"]
        return found

    eventually_equal(requests, 1)
    assert used("--tenant", "blue", "--by", "expert", "--format", "csv").splitlines()[1].startswith("ant,1,1,")
    assert "tenant blue" in used("--tenant", "blue")
    assert "all tenants" in used("--by", "tenant")
    refused = CliRunner().invoke(app, ["usage", str(running.file), "--from", "yesterday"])
    assert (refused.exit_code, "'from' must be a day" in refused.stderr) == (1, True)


def test_a_digest_for_the_file_needs_nothing_that_runs() -> None:
    """The key and the lines that hold its digest."""
    done = CliRunner().invoke(app, ["keys", "digest", "ada"])
    secret = done.stdout.splitlines()[0].rpartition(" ")[2]
    assert f"{{name: ada, sha256: {hashlib.sha256(secret.encode()).hexdigest()}}}" in done.stdout
