"""The admin side of a whole system: real Ray Serve and HAProxy, two router replicas, the commands an operator uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from loadtest.server import Served
from router.store import FILE
from tests.e2e.test_drain import KEY, KEY_ENV, QUESTION, working
from tests.support import eventually

pytestmark = pytest.mark.engine
ONE = {"experts": ["math"], "max_experts": 1}


@dataclass(frozen=True, slots=True)
class System:
    served: Served
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "symposium.yaml"

    @property
    def door(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / "data" / "admin.json").read_text())
        return found

    def admin(self, path: str) -> Any:
        headers = {"authorization": f"Bearer {self.door['token']}"}
        return httpx.get(f"{self.door['url']}/admin/v1{path}", headers=headers).json()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        symposium = Path(sys.executable).parent / "symposium"
        return subprocess.run(  # our own command, no shell
            [str(symposium), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"COLUMNS": "200", KEY_ENV: KEY},
        )

    def change(self, **policies: Any) -> None:
        known = yaml.safe_load(self.file.read_text())
        self.file.write_text(yaml.safe_dump(known | {"policies": {"auto": {"max_experts": 1}} | policies}))

    def served_versions(self) -> set[str]:
        """Of as many answers as it takes to meet both replicas."""
        return {httpx.get(f"{self.served.url}/version").json()["config"] for _ in range(20)}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("admin")
    with working(folder, 1.0) as (served, _):
        yield System(served, folder)


def test_apply_changes_both_replicas_and_rollback_changes_them_back(system: System) -> None:
    """What every further answer of either replica says; the file that was written changes them by itself."""
    first = system.served_versions()
    assert len(first) == 1
    system.change(fresh=ONE)
    done = system.command("apply", str(system.file), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["replicas"] == 2 or told["version"] == told["previous"]  # the watch on the file may have been first
    second = system.served_versions()
    assert second == {told["config"]}
    body = {"model": "fresh", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 1}
    assert httpx.post(f"{system.served.url}/v1/chat/completions", json=body, timeout=30).status_code == 200
    back = system.command("rollback", str(system.file), "--json")
    assert {json.loads(back.stdout)["config"]} == system.served_versions() == first
    assert "rollback to" in system.command("versions", str(system.file)).stdout


def test_what_needs_a_restart_is_refused_with_the_list(system: System) -> None:
    """The command fails and says what; nothing changes."""
    assert system.command("apply", str(system.file)).returncode == 0  # the file as it is
    before, text = system.served_versions(), system.file.read_text()
    known = yaml.safe_load(text)
    system.file.write_text(yaml.safe_dump(known | {"server": {"router_replicas": 1}}))
    done = system.command("apply", str(system.file))
    system.file.write_text(text)
    assert done.returncode == 1
    assert "server.router_replicas" in done.stderr
    assert system.served_versions() == before


def test_a_replica_that_died_comes_back_on_what_is_in_force(system: System) -> None:
    """Not on what the run began with; it is a target of its own again."""
    system.change(fresh=ONE | {"description": "for the one that comes back"})
    assert system.command("apply", str(system.file)).returncode == 0
    in_force, before = system.admin("/status"), {r["id"] for r in system.admin("/status")["replicas"]}
    replicas = [p for p in system.served.processes("ray::ServeReplica") if ":symposium:" in " ".join(p.cmdline())]
    replicas[0].kill()

    def back() -> bool:
        found = system.admin("/status")["replicas"]
        return len(found) == 2 and {r["id"] for r in found} != before

    eventually(back)
    assert {r["version"] for r in system.admin("/status")["replicas"]} == {in_force["version"]}
    assert len([t for t in system.admin("/targets") if t["labels"]["job"] == "symposium-router"]) == 2


def test_the_public_door_does_not_lead_to_the_admin_side(system: System) -> None:
    """Nor the admin's to anything else, nor without the token."""
    for path in ("/admin/v1/config", "/admin/v1/status", "//admin/v1/status"):
        headers = {"authorization": f"Bearer {system.door['token']}"}
        assert httpx.get(f"{system.served.url}{path}", headers=headers).status_code == 404
    for path in ("/v1/models", "/metrics", "/-/routes"):
        assert httpx.get(f"{system.door['url']}{path}").status_code == 404
    assert httpx.get(f"{system.door['url']}/admin/v1/config").status_code == 401
    assert (system.folder / "data" / "admin.json").stat().st_mode & 0o077 == 0


def test_top_shows_what_happens_now(system: System) -> None:
    """Requests of the last second, in both replicas together."""
    body = {"model": "math", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 1}
    symposium = Path(sys.executable).parent / "symposium"
    with subprocess.Popen(
        [str(symposium), "top", str(system.file), "--json", "--every", "8"], stdout=subprocess.PIPE, text=True
    ) as watching:
        end = time.monotonic() + 6
        while time.monotonic() < end:
            httpx.post(f"{system.served.url}/v1/chat/completions", json=body, timeout=30)
        found = json.loads(watching.communicate()[0])
    assert found["replicas"] == 2
    assert found["requests"] > 0
    assert found["experts"]["math"]["up"]
    assert found["experts"]["math"]["calls"] > 0


def test_one_data_folder_is_one_symposium_s(system: System) -> None:
    """A second one does not start; a backup can be made meanwhile, and not be put back."""
    second = system.command("serve", str(system.file), "--port", "1")
    assert second.returncode == 1
    assert "another symposium runs with this folder" in second.stdout + second.stderr
    copy = system.folder / "copy.sqlite3"
    assert system.command("backup", str(system.file), str(copy)).returncode == 0
    assert copy.stat().st_size > 0
    assert system.command("restore", str(system.file), str(copy)).returncode == 1
    assert (system.folder / "data" / FILE).exists()
