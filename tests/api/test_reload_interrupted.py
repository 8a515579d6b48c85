"""Changes that do not come to their end, and what is left of them: nothing that stands in the way of the next one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import router.admin.service
import router.follow
import router.watch
from router.admin.changes import Changes
from router.admin.service import open_admin
from router.config import LedgerSettings
from router.ledger_open import open_ledger
from router.registry_open import open_registry
from router.snapshot import Snapshot
from tests.api.reload_world import RUN, Fleet, fleet, version_of
from tests.api.world import ask
from tests.support import Recorded, becomes_true, eventually, eventually_equal

ONE = {"experts": ["ant"], "max_experts": 1}
LOOKS_S = 0.3  # many looks of what looks every 10 ms


@pytest.fixture
def running(experts: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), experts) as found:
        yield found


def ups(running: Fleet, expert: str) -> list[float]:
    """Whether each replica shows an expert as up."""
    return [world.metric("symposium_expert_up", expert=expert) for world in running.worlds]


async def admin_side_begins_anew(running: Fleet) -> None:
    """Another one on the same run, for as long as it takes to look at the file."""

    async def fetch(_: str) -> None:
        return None

    data = running.store.path.parent
    ledger, registry = open_ledger(LedgerSettings(), data), open_registry(LedgerSettings(), data)
    async with open_admin(running.store, RUN, time.time, fetch, (), registry=registry, ledger=ledger):
        await asyncio.sleep(LOOKS_S)
    await ledger.close()
    await registry.close()


def test_a_change_that_is_given_up_does_not_block_the_next(
    experts: Recorded, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Who asked for it has gone while replicas prepared it: it is withdrawn at once, with the reason."""
    with fleet(tmp_path_factory.mktemp("fleet"), experts, replicas=0) as running:
        store, given = running.store, Snapshot.of(running.file, {str(running.file): running.policies(fresh=ONE)})

        def candidate() -> int | None:
            found = store.in_force(RUN)
            assert found is not None
            return found.candidate

        async def give_up() -> None:
            task = asyncio.create_task(Changes(store, RUN, time.time).apply(given, "admin"))
            await becomes_true(lambda: candidate() is not None)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(give_up())
        assert candidate() is None
        assert store.versions()[0].problem == "it was interrupted"


def test_an_admin_side_that_begins_anew_ends_what_was_left_behind(running: Fleet) -> None:
    """Its own earlier life was killed in the middle of a change, which would keep others from changing anything."""
    left = running.store.add("abc", str(Path("/gone.yaml")), {}, "admin", time.time())
    running.store.propose(RUN, left, time.time(), time.time() + 60)
    asyncio.run(admin_side_begins_anew(running))
    assert running.store.versions()[0].problem is not None
    assert running.put(running.policies(fresh=ONE)).status_code == 200


def test_what_was_put_stays_when_the_admin_side_begins_anew(running: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file still says what it said before: that is nothing new."""
    monkeypatch.setattr(router.admin.service, "FILE_LOOK_S", 0.01)
    put = running.put(running.policies(fresh=ONE)).json()["config"]
    asyncio.run(admin_side_begins_anew(running))
    assert running.versions == [put] * 2
    assert running.store.versions()[0].config == put  # nothing was on its way, either


def test_a_refused_change_leaves_an_expert_where_it_is(running: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was to move to where nobody answers; the replica that could have served it goes on with the old place."""

    async def broken(_: object) -> None:
        raise ValueError("its disk is full")

    monkeypatch.setattr(router.watch, "HOSTED_PERIOD_S", 0.01)
    monkeypatch.setattr(running.services[1], "prepare", broken)
    known = json.loads(running.file.read_text())["experts"]
    moved = known | {"ant": known["ant"] | {"base_url": known["gone"]["base_url"]}}
    assert running.put(running.text(experts=moved)).status_code == 422
    time.sleep(LOOKS_S)
    assert ups(running, "ant") == [1, 1]


def test_an_expert_that_comes_back_shows_as_it_is(running: Fleet) -> None:
    """Its series went with it; its server has answered all the while."""
    eventually_equal(lambda: ups(running, "bee"), [1, 1])
    left = {k: v for k, v in json.loads(running.file.read_text())["experts"].items() if k != "bee"}
    changed = running.put(running.text(experts=left, policies={"auto": ONE}))
    assert changed.status_code == 200, changed.text
    assert running.admin.post("/v1/rollback").status_code == 200
    assert ups(running, "bee") == [1, 1]


def test_a_replica_that_cannot_follow_serves_nothing_old_and_is_replaced(
    running: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault on one replica's own disk, which cannot be had otherwise, while the others have gone on: 503 with a
    retry, not ready, and unhealthy to whoever replaces replicas; once it can follow, it serves again.
    """

    async def broken(_: object) -> None:
        raise ValueError("its disk is full")

    monkeypatch.setattr(running.services[1], "prepare", broken)
    monkeypatch.setattr(router.follow, "RETRY_S", 0.1)
    given = Snapshot.of(running.file, {str(running.file): running.policies(fresh=ONE)})
    number = running.store.add(version_of(given), str(given.path), given.files, "admin", time.time())
    running.store.propose(RUN, number, time.time(), time.time() + 60)
    assert running.store.activate(RUN, number)
    eventually(running.services[1].behind)
    answers = [world.post(ask("fresh")) for world in running.worlds]
    assert [answer.status_code for answer in answers] == [200, 503]
    assert answers[1].json()["error"]["code"] == "not_current"
    assert answers[1].headers["retry-after"] == "1"
    assert [world.http.get("/ready").json()["ready"] for world in running.worlds] == [True, False]
    monkeypatch.undo()
    eventually(lambda: running.worlds[1].post(ask("fresh")).status_code == 200)
    assert not running.services[1].behind()


def test_what_was_fitted_or_profiled_anew_is_taken_over(running: Fleet) -> None:
    """`symposium fit` and `profile` write files that the configuration names: the same text is another version."""
    before = running.versions
    file = running.file.parent / "profiles.json"
    known = json.loads(file.read_text())
    known["experts"]["ant"]["overall"]["right"] -= 1
    file.write_text(json.dumps(known))
    eventually(lambda: set(running.versions).isdisjoint(before) and len(set(running.versions)) == 1)
    assert running.admin.get("/v1/status").json()["origin"] == "fitted or profiled"


def test_an_expert_whose_key_is_not_there_is_refused(running: Fleet) -> None:
    """Calls would go without it: the variable is named, and nothing changes."""
    known = json.loads(running.file.read_text())["experts"]
    refused = running.put(running.text(experts=known | {"new": known["ant"] | {"api_key_env": "NOBODY_SET_THIS"}}))
    assert refused.status_code == 422
    assert refused.json()["error"]["problems"] == ["NOBODY_SET_THIS"]
    assert len(set(running.versions)) == 1


def test_two_changes_at_once_from_two_admin_sides_are_not_both_made(running: Fleet) -> None:
    """The second one is told to try again: it is not wrong."""
    number = running.store.add("abc", "/a.yaml", {}, "admin", time.time())
    running.store.propose(RUN, number, time.time(), time.time() + 60)
    refused = running.put(running.policies(fresh=ONE))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_now")
