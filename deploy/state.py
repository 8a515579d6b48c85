"""The data folder of one running symposium: locked against a second one, the store begun, the admin side's door told.

Commands on the same machine read that address (`admin.json`, for its owner only); nothing secret is printed.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from router.snapshot import Snapshot
from router.store import Store

ADMIN_TOKEN_ENV = "SYMPOSIUM_ADMIN_TOKEN"  # the variable's name, not a secret
ADMIN_FILE, LOCK_FILE = "admin.json", "lock"


@dataclass(frozen=True, slots=True)
class AdminDoor:
    """Where the admin side is, and what opens it."""

    url: str
    token: str


@contextmanager
def running(folder: Path, given: Snapshot, version: str, admin_port: int) -> Iterator[tuple[str, str]]:
    """A run with this configuration in force: its name, and the admin side's token.

    Raises:
        OSError: another symposium runs with this folder, or it cannot be written.
        ValueError: the store is damaged, or of a later version.
    """
    with locked(folder):
        run, token = secrets.token_hex(6), os.environ.get(ADMIN_TOKEN_ENV) or secrets.token_urlsafe(32)
        store = Store(folder)
        store.begin(run, _number(store, given, version))
        door = folder / ADMIN_FILE
        door.unlink(missing_ok=True)
        door.touch(mode=0o600)
        door.write_text(json.dumps({"url": f"http://127.0.0.1:{admin_port}", "token": token}))
        try:
            yield run, token
        finally:
            door.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else runs with this data folder meanwhile. Raises OSError when somebody does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"{folder}: another symposium runs with this folder; give each its own `data`") from error
        yield


def _number(store: Store, given: Snapshot, version: str) -> int:
    """Of the latest version where that is this configuration, else of a new one."""
    path, last = str(given.path), next(iter(store.versions()), None)
    if last and (last.config, last.path, last.problem) == (version, path, None):
        return last.number
    return store.add(version, path, given.files, "start", time.time())


def admin_door(folder: Path) -> AdminDoor:
    """Of the symposium that runs with this data folder on this machine.

    Raises:
        ValueError: none does.
    """
    try:
        told = json.loads((folder / ADMIN_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{folder}: no symposium runs with this data folder (`symposium serve`)") from error
    return AdminDoor(told["url"], os.environ.get(ADMIN_TOKEN_ENV) or told["token"])
