"""Following feedback: profiles move where something changes, hold where it is frozen, and stay while nobody answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from router.config import Config
from router.events import Event, LedgerLost
from router.feedback_follow import FeedbackFollower
from router.knowledge import Knowledge
from router.ledger import LedgerUnavailable
from router.profiles import Count
from router.registry import Asked, Bounds, FeedbackState
from router.registry_sqlite import SqliteRegistry
from tests.api.world import config
from tests.support import becomes_equal

pytestmark = pytest.mark.anyio
KNOWN = frozenset({"ann", "ben"})


class _Registry(SqliteRegistry):
    """One that can be away."""

    away = False

    async def feedback_state(self) -> FeedbackState:
        if self.away:
            raise LedgerUnavailable("away")
        return await super().feedback_state()


@dataclass
class Replica:
    """What a service is to the one who follows."""

    registry: _Registry
    knowledge: Knowledge
    moves: int = 0
    known: frozenset[str] = KNOWN
    events: list[Event] = field(default_factory=list)
    follower: FeedbackFollower = field(init=False)

    def __post_init__(self) -> None:
        self.follower = FeedbackFollower(
            self.registry,
            lambda _: self.known,
            current=lambda: self.knowledge,
            move=self.move,
            clock=lambda: 0.0,
            emit=self.events.append,
        )

    def move(self, knowledge: Knowledge) -> None:
        self.knowledge, self.moves = knowledge, self.moves + 1

    @property
    def ant(self) -> tuple[int, int]:
        overall: Count = self.knowledge.profiles.experts["ant"].overall
        return overall.right, overall.asked

    async def looks(self) -> tuple[int, int]:
        await self.follower.look()
        return self.ant


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return config(tmp_path_factory.mktemp("known"), "http://127.0.0.1:1", "http://127.0.0.1:2")


@pytest.fixture
async def replica(configured: Config, tmp_path: Path) -> AsyncIterator[Replica]:
    registry = _Registry(tmp_path, 30.0, Bounds(feedback=20))
    yield Replica(registry, Knowledge.load(configured))
    await registry.close()


async def say(replica: Replica, *names: str, source: str = "ann", right: bool = False) -> None:
    """Of answers of the ant, in the version that was measured."""
    version = replica.knowledge.measured.experts["ant"].expert_version
    await replica.registry.asked([Asked(n, source, "sums", ("addition",), ("ant",), (version,), 1.0) for n in names])
    for name in names:
        await replica.registry.judge(name, source, right, 2.0)


MEASURED = (157, 200)


async def test_profiles_move_by_what_counts(replica: Replica) -> None:
    """At most two observations of a source; the knowledge says by which version; nothing new moves nothing."""
    assert await replica.looks() == MEASURED
    assert replica.moves == 0
    await say(replica, "a")
    assert await replica.looks() == (157, 201)
    await say(replica, "b", "c", "d")
    assert await replica.looks() == (157, 202)
    assert (replica.knowledge.feedback, replica.moves) == (4, 2)
    await replica.follower.look()
    assert replica.moves == 2


async def test_predictions_follow_and_what_was_measured_stays(replica: Replica) -> None:
    """The rates that questions are decided by are those of the moved profiles."""
    before = replica.knowledge
    await say(replica, "a", "b")
    await replica.looks()
    after = replica.knowledge
    assert after.correctness.rates.rate("ant", "sums") < before.correctness.rates.rate("ant", "sums")
    assert after.measured is before.measured is before.profiles
    assert after.version == before.version


async def test_a_freeze_and_a_thaw_and_a_restore(replica: Replica) -> None:
    """Held where it was, then with what came meanwhile; then as it was measured."""
    await say(replica, "a")
    await replica.registry.freeze(True)
    await say(replica, "b")
    assert (await replica.looks(), replica.follower.frozen) == ((157, 201), True)
    await replica.registry.freeze(False)
    assert (await replica.looks(), replica.follower.frozen) == ((157, 202), False)
    await replica.registry.restore(0)
    assert await replica.looks() == MEASURED
    assert replica.knowledge.feedback == 0


async def test_another_source_that_is_known_or_not(replica: Replica) -> None:
    """A key that is revoked counts with all strangers as one."""
    await say(replica, "a", "b", source="ann")
    await say(replica, "c", "d", source="ben")
    assert await replica.looks() == (157, 204)
    replica.known = frozenset()
    assert await replica.looks() == (157, 202)


async def test_another_configuration_is_moved_before_it_comes_into_force(replica: Replica, configured: Config) -> None:
    """And once more looked at when it has, without anything new."""
    await say(replica, "a", "b")
    await replica.looks()
    replica.knowledge = replica.follower.moved(Knowledge.load(configured))
    assert replica.ant == (157, 202)
    assert await replica.looks() == (157, 202)


async def test_what_was_said_of_another_version_does_not_count(replica: Replica) -> None:
    """Its numbers are read all the same."""
    await replica.registry.asked([Asked("a", "ann", "sums", (), ("ant",), ("2",), 1.0)])
    await replica.registry.judge("a", "ann", False, 2.0)
    assert await replica.looks() == MEASURED
    assert replica.knowledge.feedback == 1


async def test_what_is_forgotten_does_not_count_any_more(replica: Replica) -> None:
    """Beyond the bound of what is kept: a replica that has read it, and one that starts later, agree."""
    await say(replica, *(f"a{n}" for n in range(20)))
    await say(replica, "b", source="ben")
    await replica.looks()
    later = Replica(replica.registry, replica.knowledge)
    assert await later.looks() == replica.ant


async def test_while_nobody_answers_profiles_stay(replica: Replica) -> None:
    """It is said; and made up for afterwards."""
    await say(replica, "a")
    await replica.looks()
    await say(replica, "b")
    replica.registry.away = True
    assert await replica.looks() == (157, 201)
    assert replica.events == [LedgerLost("feedback", open=True)]
    replica.registry.away = False
    assert await replica.looks() == (157, 202)


async def test_it_is_followed_without_being_asked(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the start on, with what there was by then."""
    monkeypatch.setattr("router.feedback_follow.POLL_S", 0.01)
    await say(replica, "a")
    await replica.follower.start()
    assert replica.ant == (157, 201)
    await say(replica, "b")
    await becomes_equal(lambda: replica.ant, (157, 202))
    await replica.follower.stop()
