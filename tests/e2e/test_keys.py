"""Keys of a whole system: real Ray Serve and HAProxy, two router replicas in processes of their own, the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from loadtest.server import Served
from router.key_ring import REVOKED_S
from tests.e2e.test_drain import KEY, KEY_ENV, QUESTION, working
from tests.support import eventually, eventually_equal

pytestmark = pytest.mark.engine
ASKED = 20  # times, so that both replicas are met


@dataclass(frozen=True, slots=True)
class System:
    served: Served
    folder: Path

    def command(self, *arguments: str) -> str:
        symposium = Path(sys.executable).parent / "symposium"
        done = subprocess.run(  # our own command, no shell
            [str(symposium), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"COLUMNS": "200", KEY_ENV: KEY},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def file(self) -> str:
        return str(self.folder / "symposium.yaml")

    def statuses(self, secret: str | None) -> set[int]:
        """Of looking for the models, as often as it takes to meet both replicas."""
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        return {httpx.get(f"{self.served.url}/v1/models", headers=headers).status_code for _ in range(ASKED)}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("keys")
    with working(folder, 1.0) as (served, _):
        yield System(served, folder)


def test_the_first_key_shuts_the_door_and_opens_it_for_whoever_has_it(system: System) -> None:
    """In both replicas; a rate is one for both of them; what was used is in the journal."""
    assert system.statuses(None) == {200}
    made = system.command("keys", "make", system.file, "ci", "--requests-per-minute", "2", "--scope", "ask")
    secret = made.strip()
    eventually_equal(lambda: (system.statuses(None), system.statuses(secret)), ({401}, {200}))
    body = {"model": "math", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 1}
    replies = [
        httpx.post(
            f"{system.served.url}/v1/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {secret}"},
            timeout=30,
        )
        for _ in range(5)
    ]
    assert [reply.status_code for reply in replies] == [200] * 2 + [429] * 3
    assert {reply.headers["x-ratelimit-limit-requests"] for reply in replies} == {"2"}
    told = ("usage", system.file, "--by", "key", "--format", "json")
    eventually(lambda: json.loads(system.command(*told))["total"]["requests"] == 2)
    (row,) = json.loads(system.command(*told))["data"]
    assert row["key"].startswith("ci-")


def test_a_revoked_key_opens_no_replica_within_the_stated_time(system: System) -> None:
    """Nor is there a way back to no keys at all: the door stays shut."""
    made = json.loads(system.command("keys", "make", system.file, "brief", "--json"))
    eventually_equal(lambda: system.statuses(made["secret"]), {200})
    system.command("keys", "revoke", system.file, made["id"])
    time.sleep(REVOKED_S)
    assert system.statuses(made["secret"]) == {401}
    assert system.statuses(None) == {401}


def test_a_backup_holds_money_and_keys(system: System) -> None:
    """Made while both replicas write."""
    system.command("backup", system.file, str(system.folder / "copy"))
    with tarfile.open(system.folder / "copy") as tar:
        assert set(tar.getnames()) == {"symposium.sqlite3", "ledger.sqlite3", "registry.sqlite3"}


def test_no_secret_is_in_the_logs(system: System) -> None:
    """Nor in any file of the data folder, whatever was made, used and revoked."""
    made = json.loads(system.command("keys", "make", system.file, "quiet", "--json"))
    eventually_equal(lambda: system.statuses(made["secret"]), {200})
    secret = made["secret"].encode()
    for path in system.folder.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path
