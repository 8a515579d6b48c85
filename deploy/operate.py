"""The commands that change a running symposium: `apply`, `rollback`, `versions`; and its state: `backup`, `restore`.

They speak to the admin side of the symposium that runs with the configuration's data folder on this machine; decide
nothing.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from deploy.show import AsJson, ConfigFile, err, fail, load_config, out, print_json, table
from deploy.state import AdminDoor, admin_door, locked
from router.config import Config
from router.config_budgets import SQLITE

PATIENCE_S = 90.0  # replicas prepare a version before it comes into force


def apply(
    config: ConfigFile,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a configuration in force in the symposium that runs, in all of its router replicas or in none."""
    side = door(load_config(config))
    if (served := ask_admin(side, "GET", "/status").json()["path"]) != str(config.resolve()):
        fail(f"{served} is served from that data folder, not {config}: paths in it would mean something else")
    text = config.read_text(encoding="utf-8")
    if dry_run:
        answer = ask_admin(side, "PUT", "/config?dry_run=true", content=text)
        found = answer.json()
        print_json(found) if as_json else _print_changes(found["changes"], "would change")
        return
    # Whatever is in force: the watch on the file may have been quicker, and then nothing is left to do.
    _print_applied(ask_admin(side, "PUT", "/config", content=text, headers={"if-match": "*"}).json(), as_json)


def rollback(
    config: ConfigFile,
    version: Annotated[int | None, typer.Option(help="Which one; default: the last one before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put an earlier version of the configuration in force again; its file is left as it is."""
    body = {} if version is None else {"version": version}
    _print_applied(ask_admin(door(load_config(config)), "POST", "/rollback", json=body).json(), as_json)


def versions(config: ConfigFile, as_json: AsJson = False) -> None:
    """The versions of the configuration that are kept, the latest first."""
    found = ask_admin(door(load_config(config)), "GET", "/versions").json()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            f"{v['version']}{' *' if v['version'] == found['in_force'] else ''}",
            v["config"],
            v["origin"],
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(v["made"])),
            v["problem"] or "",
        )
        for v in found["versions"]
    ]
    out.print(table("* in force", ["version", "config", "from", "given", "refused because"], rows))


def backup(config: ConfigFile, file: Annotated[Path, typer.Argument(help="The copy; must not be there yet.")]) -> None:
    """Copy the state into one file, also while the symposium runs: versions, money, keys, feedback."""
    from router.backup import back_up

    loaded = load_config(config)
    try:
        parts = back_up(Path(loaded.data), file)
    except (ValueError, OSError, sqlite3.Error) as error:
        fail(str(error))
    out.print(f"written to {file}: {', '.join(parts)}", markup=False, soft_wrap=True)
    if loaded.ledger.url != SQLITE:
        err.print("money, keys and feedback are in Redis, and no part of it", style="yellow")


def restore(config: ConfigFile, file: Annotated[Path, typer.Argument(help="What `backup` wrote.")]) -> None:
    """Put a backup in the place of the state; the symposium must not be running."""
    from router.backup import restore as put_back

    folder = Path(load_config(config).data)
    try:
        with locked(folder):
            parts = put_back(file, folder)
    except (ValueError, OSError, sqlite3.Error) as error:
        fail(str(error))
    out.print(f"restored into {folder}: {', '.join(parts)}", markup=False, soft_wrap=True)


def ask_admin(door: AdminDoor, method: str, path: str, **sent: Any) -> httpx.Response:
    """The admin side's answer, or the end of the command with everything that it objects to."""
    headers = {"authorization": f"Bearer {door.token}"} | sent.pop("headers", {})
    try:
        answer = httpx.request(method, f"{door.url}/admin/v1{path}", headers=headers, timeout=PATIENCE_S, **sent)
    except httpx.HTTPError as error:
        fail(f"{door.url}: {error}. Is the symposium running?")
    if answer.status_code >= 400:
        try:
            fail(answer.json()["error"]["message"])
        except (ValueError, KeyError):
            fail(f"{door.url}: HTTP {answer.status_code}")
    return answer


def door(config: Config) -> AdminDoor:
    """The admin side of the symposium that runs with the configuration's data folder, or the end of the command."""
    try:
        return admin_door(Path(config.data))
    except ValueError as error:
        fail(str(error))


def _print_applied(done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    if done["version"] == done["previous"]:
        out.print(f"version {done['version']} already is in force: nothing differs")
        return
    _print_changes(done["changes"], "changed")
    out.print(
        f"version {done['version']} ({done['config']}) is in force in {done['replicas']} router replicas, "
        f"{done['swap_s']:.2f} s after it was decided"
    )
    if done["late"]:
        err.print(f"late: {', '.join(done['late'])}; they refuse requests until they serve it", style="yellow")


def _print_changes(paths: list[str], what: str) -> None:
    for path in paths:
        out.print(f"{what}: {path}", markup=False, soft_wrap=True)
    if not paths:
        out.print(f"nothing {what}")
