"""What replicas share, over both stores: a file in the data folder, and a real Redis. Every test runs over each."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import ApiKey, LedgerSettings
from router.ledger import LedgerUnavailable
from router.registry import (
    CLAIM_BYTES,
    Asked,
    Bounds,
    Claim,
    FeedbackState,
    Judged,
    Kept,
    Key,
    Registry,
    RegistryFull,
    counting,
    counts,
    usable,
)
from router.registry_open import open_registry
from router.registry_redis import RedisRegistry
from router.registry_sqlite import SqliteRegistry
from tests.redis_server import needs_redis, redis_server

pytestmark = pytest.mark.anyio
Open = Callable[..., Awaitable[Registry]]
PATIENT_S = 30.0
ANSWER = Kept(200, (("content-type", "application/json"), ("x-a", "1"), ("x-a", "2")), b'{"a": "\x00\xff"}')


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sym-") as folder, redis_server(Path(folder)) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens one more replica's registry on the same store, which is empty at first."""
    url: str = request.getfixturevalue("redis_url") if request.param == "redis" else "sqlite"
    async with AsyncExitStack() as stack:

        async def another(bounds: Bounds | None = None) -> Registry:
            found: Registry
            if url == "sqlite":
                found = SqliteRegistry(tmp_path, PATIENT_S, bounds)
            else:
                found = RedisRegistry(url, PATIENT_S, bounds)
            stack.push_async_callback(found.close)
            return found

        if url != "sqlite":
            from redis.asyncio import Redis

            async with Redis.from_url(url) as redis:
                await redis.flushall()
        yield another


@pytest.fixture
async def registry(opened: Open) -> Registry:
    return await opened()


def key(name: str, made: float = 0.0, ends: float | None = None, **grants: object) -> Key:
    return Key(name, f"{name:0>64}", ApiKey.model_validate({"name": name, "sha256": "a" * 64} | grants), made, ends)


def asked(request_id: str, source: str = "ann", at: float = 100.0) -> Asked:
    return Asked(request_id, source, "sums", ("addition", "carrying"), ("ant", "bee"), ("v1", "v2"), at)


async def given_feedback(registry: Registry, *names: str, source: str = "ann") -> list[int]:
    """Their numbers."""
    await registry.asked([asked(name, source) for name in names])
    found = [await registry.judge(name, source, True, 200.0) for name in names]
    return [judged.number for judged in found if isinstance(judged, Judged)]


async def counted(registry: Registry) -> list[int]:
    return [judged.number for judged in await registry.judged() if not judged.void]


async def test_keys_are_found_again_by_every_replica(opened: Open) -> None:
    """What one replica makes another reads, by id, with all that is granted; the same id is replaced."""
    one, other = await opened(), await opened()
    later = key(
        "bob", 5.0, 9.0, tenant="acme", usd_per_day=1.5, experts=["ant"], budget={"default": {"max_experts": 2}}
    )
    await one.put_key(later)
    await one.put_key(key("ann"))
    assert await other.keys() == (key("ann"), later)
    await other.put_key(key("ann", ends=7.0))
    assert await one.keys() == (key("ann", ends=7.0), later)
    assert usable(await one.keys(), 6.0).keys() == {key("ann").digest, later.digest}


async def test_there_is_room_for_so_many_keys(opened: Open) -> None:
    """One more is refused; those that are there can be changed, and what ended makes room once it is forgotten."""
    registry = await opened(Bounds(keys=2))
    await registry.put_key(key("ann"))
    await registry.put_key(key("bob", ends=5.0))
    with pytest.raises(RegistryFull):
        await registry.put_key(key("cyd"))
    await registry.put_key(key("ann", ends=9.0))
    await registry.prune(claims=0, asked=0, keys=6.0)
    await registry.put_key(key("cyd"))
    assert [found.id for found in await registry.keys()] == ["ann", "cyd"]


async def test_that_there_were_keys_is_never_forgotten(registry: Registry) -> None:
    """The one that ended last stays as long as there is no other: no key at all would open the door to everybody."""
    await registry.put_key(key("ann", ends=5.0))
    await registry.put_key(key("bob", ends=9.0))
    await registry.prune(claims=0, asked=0, keys=100.0)
    assert await registry.keys() == (key("bob", ends=9.0),)
    await registry.put_key(key("cyd"))
    await registry.prune(claims=0, asked=0, keys=100.0)
    assert await registry.keys() == (key("cyd"),)


async def test_one_of_all_who_come_with_a_key_runs(opened: Open) -> None:
    """Of many at once over two replicas one has the claim; the others hear that it runs."""
    replicas = [await opened(), await opened()]
    claims = (replicas[n % 2].claim("ann", "k", "f", f"run{n}", 100.0, 115.0) for n in range(20))
    states = [claim.state for claim in await asyncio.gather(*claims)]
    assert sorted(states) == ["mine", *["running"] * 19]


async def test_an_owner_that_asks_again_still_owns(registry: Registry) -> None:
    """After an error nobody knows whether the claim was taken: asking again finds out, and does no harm."""
    for _ in range(2):
        assert await registry.claim("ann", "k", "f", "run1", 100.0, 115.0) == Claim("mine")


async def test_an_answer_is_had_again_as_it_was(opened: Open) -> None:
    """Status, headers in order and twice, every byte; by another replica, too."""
    one, other = await opened(), await opened()
    await one.claim("ann", "k", "f", "run1", 100.0, 115.0)
    await one.answer("ann", "k", "run1", ANSWER, 1000.0)
    for now in (101.0, 999.0):
        assert await other.claim("ann", "k", "f", "run2", now, now + 15) == Claim("done", ANSWER)
    assert await other.claim("ann", "k", "f", "run2", 1000.0, 1015.0) == Claim("mine")


async def test_an_answer_that_was_too_large_is_known_to_have_been(opened: Open) -> None:
    """Whether its caller found it too large or there is no room for it: it is done, without what was said."""
    registry = await opened(Bounds(kept_bytes=CLAIM_BYTES * 2))
    for name, kept in (("k", None), ("l", Kept(200, (), b"x" * CLAIM_BYTES * 2))):
        await registry.claim("ann", name, "f", "run1", 100.0, 115.0)
        await registry.answer("ann", name, "run1", kept, 1000.0)
        assert await registry.claim("ann", name, "f", "run2", 101.0, 116.0) == Claim("done")


async def test_another_request_does_not_get_the_answer(registry: Registry) -> None:
    """While it runs and afterwards, a key that comes with another body is found out."""
    await registry.claim("ann", "k", "f", "run1", 100.0, 115.0)
    assert await registry.claim("ann", "k", "g", "run2", 101.0, 116.0) == Claim("other")
    await registry.answer("ann", "k", "run1", ANSWER, 1000.0)
    assert await registry.claim("ann", "k", "g", "run2", 101.0, 116.0) == Claim("other")


async def test_callers_do_not_share_keys(registry: Registry) -> None:
    """The same key of two callers is two keys."""
    await registry.claim("ann", "k", "f", "run1", 100.0, 115.0)
    assert await registry.claim("bob", "k", "g", "run2", 100.0, 115.0) == Claim("mine")


async def test_a_claim_lapses_with_its_owner(registry: Registry) -> None:
    """Kept, it holds on; else a retry takes it, and the owner that was slow changes nothing any more."""
    await registry.claim("ann", "k", "f", "run1", 100.0, 115.0)
    await registry.keep_claim("ann", "k", "run1", 130.0)
    assert (await registry.claim("ann", "k", "f", "run2", 129.0, 144.0)).state == "running"
    assert (await registry.claim("ann", "k", "f", "run2", 130.0, 145.0)).state == "mine"
    await registry.keep_claim("ann", "k", "run1", 900.0)
    await registry.answer("ann", "k", "run1", ANSWER, 900.0)
    await registry.drop_claim("ann", "k", "run1")
    assert (await registry.claim("ann", "k", "f", "run3", 131.0, 150.0)).state == "running"
    assert (await registry.claim("ann", "k", "f", "run3", 145.0, 160.0)).state == "mine"


async def test_what_was_not_answered_may_be_tried_again(registry: Registry) -> None:
    """A dropped claim is nobody's; an answer cannot be dropped."""
    await registry.claim("ann", "k", "f", "run1", 100.0, 115.0)
    await registry.drop_claim("ann", "k", "run1")
    assert await registry.claim("ann", "k", "g", "run2", 101.0, 116.0) == Claim("mine")
    await registry.answer("ann", "k", "run2", ANSWER, 1000.0)
    await registry.drop_claim("ann", "k", "run2")
    assert (await registry.claim("ann", "k", "g", "run3", 102.0, 117.0)).state == "done"


async def test_who_keeps_most_answers_loses_the_oldest(opened: Open) -> None:
    """Beyond the bound another's flood takes nothing from who keeps little; running claims are never lost."""
    registry = await opened(Bounds(kept_bytes=CLAIM_BYTES * 4 + 100))
    await registry.claim("ann", "running", "f", "run", 100.0, 10_000.0)
    for scope, name, until in (("bob", "b", 500.0), *(("ann", f"a{n}", 1000.0 + n) for n in range(8))):
        await registry.claim(scope, name, "f", "run", 100.0, 115.0)
        await registry.answer(scope, name, "run", Kept(200, (), b""), until)
    left = [n for n in range(8) if (await registry.claim("ann", f"a{n}", "f", "new", 101.0, 116.0)).state == "done"]
    assert left == [5, 6, 7]
    assert (await registry.claim("bob", "b", "f", "new", 101.0, 116.0)).state == "done"
    assert (await registry.claim("ann", "running", "f", "new", 101.0, 116.0)).state == "running"


async def test_feedback_is_taken_once_and_of_who_asked(opened: Open) -> None:
    """Another key, or a request nobody knows, is unknown; the second time it is done; ten at once count once."""
    one, other = await opened(), await opened()
    await one.asked([asked("r1"), asked("r2", "annabel")])
    await one.asked([asked("r1", "bob")])  # an id that is there already stays whose it was
    assert await other.judge("r1", "bob", True, 200.0) == "unknown"
    assert await other.judge("r2", "ann", True, 200.0) == "unknown"
    assert await other.judge("r9", "ann", True, 200.0) == "unknown"
    assert await other.judge("r1", "ann", False, 200.5) == Judged(1, asked("r1"), False, 200.5)
    assert await one.judge("r1", "ann", True, 201.0) == "done"
    tried = await asyncio.gather(*([one, other][n % 2].judge("r2", "annabel", True, 202.0) for n in range(10)))
    assert sorted(map(str, tried)).count("done") == 9
    assert [(j.number, j.right) for j in await one.judged()] == [(1, False), (2, True)]


async def test_feedback_is_read_on_from_a_number(registry: Registry) -> None:
    """In order, so many at most; what was not classified and had no skills comes back as that."""
    plain = Asked("p", "ann", None, (), ("ant",), ("v1",), 1.5)
    await registry.asked([plain])
    await registry.judge("p", "ann", True, 2.5)
    await given_feedback(registry, "q", "r", "s")
    assert (await registry.judged())[0] == Judged(1, plain, True, 2.5)
    assert [judged.number for judged in await registry.judged(1, 2)] == [2, 3]
    assert (await registry.feedback_state()) == FeedbackState(4)


async def test_who_asked_most_loses_the_oldest_requests(opened: Open) -> None:
    """Beyond the bound a flood of one key leaves another's requests known."""
    registry = await opened(Bounds(asked=4))
    await registry.asked([asked("b", "bob", 1.0), *(asked(f"a{n}", "ann", 100.0 + n) for n in range(8))])
    found = [name for name in ("b", *(f"a{n}" for n in range(8))) if await _known(registry, name)]
    assert found == ["b", "a5", "a6", "a7"]


async def _known(registry: Registry, name: str) -> bool:
    return await registry.judge(name, "bob" if name == "b" else "ann", True, 1.0) != "unknown"


async def test_who_said_most_loses_the_oldest_feedback(opened: Open) -> None:
    """Beyond the bound a tenth goes, of who said most; whoever follows is told to begin anew."""
    registry = await opened(Bounds(feedback=10))
    await given_feedback(registry, "b", source="bob")
    await given_feedback(registry, *(f"a{n}" for n in range(9)))
    assert await registry.feedback_state() == FeedbackState(10)
    await given_feedback(registry, "a9")
    assert await registry.feedback_state() == FeedbackState(11, epoch=1)
    assert await counted(registry) == [1, *range(4, 12)]


async def test_a_freeze_says_up_to_where(opened: Open) -> None:
    """It stays where it began however often it is asked for, and what comes meanwhile is kept."""
    one, other = await opened(), await opened()
    await given_feedback(one, "a", "b")
    await one.freeze(True)
    await given_feedback(one, "c")
    await other.freeze(True)
    assert await other.feedback_state() == FeedbackState(3, frozen=2)
    await other.freeze(False)
    assert await one.feedback_state() == FeedbackState(3)
    assert await counted(one) == [1, 2, 3]


async def test_an_earlier_version_counts_again_and_what_comes(registry: Registry) -> None:
    """What was between is void; a version from before a restore is as it was then."""
    await given_feedback(registry, "a", "b", "c", "d")
    assert await registry.restore(2)
    await given_feedback(registry, "e", "f")
    assert await counted(registry) == [1, 2, 5, 6]
    assert await registry.restore(5)
    assert await counted(registry) == [1, 2, 5]
    assert await registry.restore(4)  # as it was before the first restore
    await given_feedback(registry, "g")
    assert await counted(registry) == [1, 2, 3, 4, 7]
    assert await registry.restore(0)
    assert await counted(registry) == []
    assert (await registry.feedback_state()).epoch == 4


async def test_only_versions_that_there_were_can_be_restored(registry: Registry) -> None:
    """Neither one from the future nor one below the first; nothing changes."""
    await given_feedback(registry, "a")
    assert not await registry.restore(2)
    assert not await registry.restore(-1)
    assert await registry.feedback_state() == FeedbackState(1)


async def test_a_restore_while_frozen_stays_frozen_at_that(registry: Registry) -> None:
    """Also with a version from after the freeze; what comes later waits for the thaw."""
    await given_feedback(registry, "a")
    await registry.freeze(True)
    await given_feedback(registry, "b", "c")
    assert await registry.restore(2)
    await given_feedback(registry, "d")
    assert await registry.feedback_state() == FeedbackState(4, frozen=3, epoch=1)
    assert await counted(registry) == [1, 2, 4]


async def test_what_is_over_is_forgotten(registry: Registry) -> None:
    """Keys, claims and requests by their own times; feedback stays; what goes leaves room."""
    await registry.put_key(key("old", ends=5.0))
    await registry.put_key(key("new", ends=15.0))
    await registry.asked([asked("early", at=5.0), asked("late", at=15.0)])
    await registry.judge("early", "ann", True, 16.0)
    for name, until in (("early", 5.0), ("late", 15.0)):
        await registry.claim("ann", name, "f", "run", 1.0, until)
        await registry.answer("ann", name, "run", ANSWER, until)
    await registry.prune(claims=10.0, asked=10.0, keys=10.0)
    assert [found.id for found in await registry.keys()] == ["new"]
    assert await registry.judge("early", "ann", True, 17.0) == "unknown"
    assert await registry.judge("late", "ann", True, 17.0) != "unknown"
    states = [(await registry.claim("ann", name, "f", "new", 4.0, 5.0)).state for name in ("early", "late")]
    assert states == ["mine", "done"]
    assert len(await registry.judged()) == 2


async def test_what_was_kept_is_there_after_a_restart(opened: Open) -> None:
    """Closed by all and opened again: keys, answers, requests, feedback and its state."""
    first = await opened()
    await first.put_key(key("ann"))
    await first.claim("ann", "k", "f", "run1", 100.0, 115.0)
    await first.answer("ann", "k", "run1", ANSWER, 1000.0)
    await given_feedback(first, "a", "b")
    await first.restore(1)
    await first.freeze(True)
    await first.close()
    again = await opened()
    assert await again.keys() == (key("ann"),)
    assert await again.claim("ann", "k", "f", "run2", 101.0, 116.0) == Claim("done", ANSWER)
    assert await again.judge("b", "ann", True, 201.0) == "done"
    assert await again.feedback_state() == FeedbackState(2, frozen=2, epoch=1)
    assert await counted(again) == [1]


async def test_a_store_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """A server nobody runs, and a file whose thread has ended: one error, whatever was asked."""
    file = open_registry(LedgerSettings(), tmp_path)
    await file.close()
    server = open_registry(LedgerSettings(url=f"unix://{tmp_path}/nobody.sock"), tmp_path)
    for registry in (file, server):
        with pytest.raises(LedgerUnavailable):
            await registry.claim("ann", "k", "f", "run1", 100.0, 115.0)
    await server.close()


async def test_a_file_that_is_locked_for_long_is_unavailable(tmp_path: Path) -> None:
    """Another process that holds the write lock keeps nobody waiting for more than the timeout."""
    import sqlite3

    registry = SqliteRegistry(tmp_path, 0.05)
    with sqlite3.connect(tmp_path / "registry.sqlite3") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable):
            await registry.freeze(True)
    await registry.close()


@given(st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=30))
def test_what_counts_is_what_counted_then_and_all_since(steps: list[int | None]) -> None:
    """None: one more feedback; a number: that version is restored. By ranges, as if every version had been kept."""
    last, now, versions = 0, frozenset[int](), {0: frozenset[int]()}
    restores: list[tuple[int, int]] = []
    for step in steps:
        if step is None:
            last += 1
            now = versions[last] = now | {last}
        elif step <= last:
            now = versions[step]
            restores.append((step, last))
    ranges = counting(restores)
    assert {number for number in range(1, last + 1) if counts(number, ranges)} == now
