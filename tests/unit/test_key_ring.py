"""Which keys are known: the configuration's and those made since, read from a real registry; and when none can be."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from router.caller import ANONYMOUS
from router.config import ApiKey, Config
from router.config_file import load
from router.errors import Forbidden, LedgerDown, Unauthorized
from router.events import Event, LedgerLost
from router.key_ring import FRESH_S, POLL_S, REVOKED_S, TRUSTED_S, KeyRing
from router.registry import Key
from router.registry_sqlite import FILE, SqliteRegistry
from tests.support import becomes_true
from tests.unit.make import YAML, yaml_file

START = 1_000_000.0


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def made(key_id: str, secret: str, made: float = START, ends: float | None = None, **fields: Any) -> Key:
    grants = ApiKey.model_validate({"name": "ci", "sha256": digest(secret)} | fields)
    return Key(key_id, grants.sha256, grants, made, ends)


@dataclass
class Scene:
    """A ring over a real registry, at times of its own."""

    registry: SqliteRegistry
    folder: Path
    seconds: float = START
    events: list[Event] = field(default_factory=list)

    def ring(self) -> KeyRing:
        return KeyRing(self.registry, clock=lambda: self.seconds, now=lambda: self.seconds, emit=self.events.append)

    def away(self) -> None:
        """Nothing of the registry is where it was: no look finds anything."""
        for suffix in ("", "-wal", "-shm"):
            (self.folder / f"{FILE}{suffix}").rename(self.folder / f"away{suffix}")

    def back(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            (self.folder / f"away{suffix}").rename(self.folder / f"{FILE}{suffix}")

    def config(self, text: str = "") -> Config:
        return load(yaml_file(self.folder, YAML + text))

    def configured(self, *secrets: str) -> Config:
        keys = ", ".join(f"{{name: k{n}, sha256: {digest(secret)}}}" for n, secret in enumerate(secrets))
        return self.config(f"server: {{api_keys: [{keys}]}}\ntenants: {{acme: {{weight: 2}}}}\n")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    registry = SqliteRegistry(tmp_path)
    yield Scene(registry, tmp_path)
    await registry.close()


async def read(scene: Scene) -> KeyRing:
    """A ring that has read what there is, and does not follow it."""
    ring = scene.ring()
    await ring.up_to_date()
    return ring


async def test_without_keys_everybody_may_ask(scene: Scene) -> None:
    """None configured, none made: anonymous, whatever is shown."""
    ring = await read(scene)
    assert ring.caller(None, scene.config()).key == ANONYMOUS
    assert ring.caller("nonsense", scene.config()).key == ANONYMOUS


async def test_a_configured_key_says_who_asks(scene: Scene) -> None:
    """By its name; of two with one digest the first."""
    ring, config = await read(scene), scene.configured("sym-1", "sym-2", "sym-2")
    assert [ring.caller(secret, config).key for secret in ("sym-1", "sym-2")] == ["k0", "k1"]


@pytest.mark.parametrize(
    "token", [None, "sym-", "sym-11", "SYM-1", "sym-1,sym-2", "sym-1 sym-2", "\xff", digest("sym-1")]
)
async def test_everything_else_is_refused(scene: Scene, token: str | None) -> None:
    """No key, part of one, more than one, the hash itself: 401, which does not repeat what was sent."""
    ring = await read(scene)
    with pytest.raises(Unauthorized) as caught:
        ring.caller(token, scene.configured("sym-1", "sym-2"))
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert "sym-" not in caught.value.message


async def test_a_key_made_while_it_runs_is_taken(scene: Scene) -> None:
    """Under its id, with what it was granted, by the tenant that the configuration in force describes."""
    await scene.registry.put_key(made("ci-1", "sk-1", tenant="acme", scopes=("ask", "usage"), usd_per_day=1))
    ring = await read(scene)
    caller = ring.caller("sk-1", scene.configured())
    assert (caller.key, caller.tenant, caller.weight) == ("ci-1", "acme", 2)
    assert [account.id for account in caller.accounts] == ["tenant/acme", "key/ci-1"]
    assert caller.scopes == {"ask", "usage"}


async def test_the_tenants_limits_are_those_in_force(scene: Scene) -> None:
    """Another configuration changes what a key may, at once."""
    await scene.registry.put_key(made("ci-1", "sk-1", tenant="acme"))
    ring = await read(scene)
    assert ring.caller("sk-1", scene.config("tenants: {acme: {usd_per_day: 1}}\n")).accounts[0].per_day == 10**9
    assert ring.caller("sk-1", scene.config("tenants: {acme: {usd_per_day: 2}}\n")).accounts[0].per_day == 2 * 10**9
    with pytest.raises(Forbidden, match="'acme', is not configured") as caught:
        ring.caller("sk-1", scene.config())
    assert caught.value.code == "unknown_tenant"


async def test_a_secret_that_was_rotated_out_is_the_same_key(scene: Scene) -> None:
    """As long as it is good: one id, so one budget."""
    await scene.registry.put_key(made("ci-1", "sk-new", usd_per_day=1))
    await scene.registry.put_key(made("ci-1~1", "sk-old", ends=START + 60, usd_per_day=1))
    ring, config = await read(scene), scene.config()
    assert ring.caller("sk-old", config) == ring.caller("sk-new", config)
    scene.seconds += 60
    await ring.up_to_date()
    assert ring.caller("sk-new", config).key == "ci-1"
    with pytest.raises(Unauthorized):
        ring.caller("sk-old", config)


async def test_a_revoked_key_stops_working_at_the_next_look(scene: Scene) -> None:
    """Before a request is taken, keys were read at most FRESH_S ago; and the door stays shut to those without one."""
    await scene.registry.put_key(made("ci-1", "sk-1"))
    ring, config = await read(scene), scene.config()
    ring.caller("sk-1", config)
    await scene.registry.put_key(made("ci-1", "sk-1", ends=scene.seconds))
    scene.seconds += FRESH_S + 0.01
    await ring.up_to_date()
    for token in ("sk-1", None):
        with pytest.raises(Unauthorized):
            ring.caller(token, config)


async def test_what_was_read_lately_is_not_read_again(scene: Scene) -> None:
    """Requests wait for the registry only where nobody has looked for long."""
    ring = await read(scene)
    await scene.registry.put_key(made("ci-1", "sk-1"))
    scene.seconds += FRESH_S - 0.01
    await ring.up_to_date()
    assert ring.caller("sk-1", scene.config()).key == ANONYMOUS


async def test_keys_are_followed_by_themselves(scene: Scene) -> None:
    """Without any request; about every second, so that a revoked key is refused well within REVOKED_S."""
    assert POLL_S < FRESH_S
    assert REVOKED_S <= 2
    ring, config = scene.ring(), scene.config()
    await ring.start()
    assert ring.caller("sk-1", config).key == ANONYMOUS
    await scene.registry.put_key(made("ci-1", "sk-1"))
    await becomes_true(lambda: ring.caller("sk-1", config).key == "ci-1")
    await ring.stop()


async def test_a_registry_that_lost_everything_opens_no_door(scene: Scene, tmp_path: Path) -> None:
    """Who has known of a key never takes requests without one again."""
    await scene.registry.put_key(made("ci-1", "sk-1", ends=START))
    ring = await read(scene)
    await scene.registry.prune(claims=0, asked=0, keys=START + 1)
    scene.seconds += 2
    await ring.up_to_date()
    with pytest.raises(Unauthorized):
        ring.caller(None, scene.config())


async def test_keys_known_so_far_work_for_a_while_where_the_registry_is_away(scene: Scene) -> None:
    """Visibly, for TRUSTED_S; then the configuration's only, and others are told to come again."""
    await scene.registry.put_key(made("ci-1", "sk-1"))
    ring, config = await read(scene), scene.configured("sym-1")
    scene.away()
    scene.seconds += TRUSTED_S
    await ring.up_to_date()
    assert scene.events == [LedgerLost("keys", open=True)]
    assert ring.caller("sk-1", config).key == "ci-1"
    scene.seconds += 1
    for token in ("sk-1", "sk-unknown"):
        with pytest.raises(LedgerDown) as caught:
            ring.caller(token, config)
        assert (caught.value.status, caught.value.code, caught.value.again) == (503, "keys_unavailable", True)
    assert ring.caller("sym-1", config).key == "k0"
    with pytest.raises(Unauthorized):
        ring.caller(None, config)


async def test_nobody_is_let_in_before_it_is_known_whether_there_are_keys(scene: Scene) -> None:
    """A registry that is away from the start: 503, never anonymous; configured keys work."""
    scene.away()
    ring = await read(scene)
    assert scene.events == [LedgerLost("keys", open=False)]
    for token in (None, "sk-1"):
        with pytest.raises(LedgerDown):
            ring.caller(token, scene.config())
    assert ring.caller("sym-1", scene.configured("sym-1")).key == "k0"


async def test_requests_do_not_wait_for_a_registry_that_is_away(scene: Scene) -> None:
    """Once a look has failed only the next one that is due looks again."""
    scene.away()
    ring = await read(scene)
    scene.seconds += 100
    await ring.up_to_date()
    assert len(scene.events) == 1


async def test_it_finds_back_when_the_registry_does(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """An outage and its end are said once each."""
    caplog.set_level("INFO", "router.key_ring")
    ring = await read(scene)
    scene.away()
    for _ in range(2):
        await ring._look()
    scene.back()
    await ring._look()
    assert caplog.messages == ["keys cannot be read; those known so far work for 300 s", "keys are read again"]
