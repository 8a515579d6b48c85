"""Changes that do not come to their end, and what is left of them: nothing that stands in the way of the next one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import router.admin.service
import router.watch
from router.admin.changes import Changes
from router.admin.service import open_admin
from router.snapshot import Snapshot
from tests.api.reload_world import RUN, Fleet, fleet
from tests.support import Recorded, becomes_true, eventually_equal

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

    async with open_admin(running.store, RUN, time.time, fetch, ()):
        await asyncio.sleep(LOOKS_S)


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
