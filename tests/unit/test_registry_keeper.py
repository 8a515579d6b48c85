"""Answered requests are written down for feedback: which, with whom behind them, and that nobody waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from router.dispatch import LiveReply
from router.edition import Edition
from router.events import Event, Finished, LedgerLost
from router.ledger import LedgerUnavailable
from router.records import Answer, Ballot, Decision
from router.registry import Asked, Judged
from router.registry_keeper import WAITING, Keeper, asked_of, behind
from router.registry_sqlite import SqliteRegistry
from router.response import Response, unheard
from tests.support import becomes_true
from tests.unit.make import categories, choice, decision, reply
from tests.unit.make_decisions import finished, refused

VERSIONS = {"ada": "v1", "bob": "v2", "cy": "v3"}
BALLOT = Ballot((("13", ("ada", "bob")), ("14", ("cy",))), 0.6, 0.9)


class _Knowledge:
    versions = VERSIONS


class _Edition:
    knowledge = _Knowledge()


EDITION = cast(Edition, _Edition())


def answered(request_id: str = "req_1", about: Decision | None = None) -> Finished:
    return finished(request_id, decision=about or decision())


def test_those_who_agreed_are_behind_a_vote() -> None:
    """The winner's camp, not everybody who was heard."""
    assert behind(Response(decision(), unheard, "vote", answer=Answer("ada", ()), ballot=BALLOT)) == ("ada", "bob")


def test_who_answered_alone_is_behind_it_whole_or_relayed() -> None:
    """One expert's answer, or the words of one as they came."""
    whole = Response(decision(), unheard, answer=Answer("bob", (choice("13"),)))
    live = Response(decision(), unheard, live=cast(LiveReply, type("Live", (), {"expert": "cy"})()))
    assert (behind(whole), behind(live)) == (("bob",), ("cy",))


def test_nobody_is_behind_what_was_written_of_several() -> None:
    """A synthesis may be none of theirs."""
    assert behind(Response(decision(), unheard, "synthesize", answer=Answer("ada", ()), ballot=BALLOT)) == ()


def test_nobody_answers_for_what_we_have_cut_short() -> None:
    """An answer that ended at its deadline says nothing about what its expert knows."""
    made = Response(decision(), unheard, "vote", answer=Answer("ada", ()), ballot=BALLOT)
    made.hear("answer")(replace(reply("ada", "1"), stopped="deadline"))
    made.hear("answer")(reply("bob", "13"))
    assert behind(made) == ("bob",)


def test_what_is_kept_of_an_answer() -> None:
    """Who asked, where it belongs, and which versions of whom gave it."""
    assert asked_of(answered(), VERSIONS, 7.0) == Asked(
        "req_1", "anonymous", "math", ("sums",), ("ada", "bob"), ("v1", "v2"), 7.0, "auto"
    )


def test_a_category_that_was_not_acted_on_is_none() -> None:
    """An unsure question counts overall and for its skills only."""
    unsure = decision(categories=categories({"math": 0.4, "text": 0.3}, confident=False))
    found = asked_of(answered(about=unsure), VERSIONS, 7.0)
    assert found is not None
    assert found.category is None


@pytest.mark.parametrize(
    "event",
    [refused(), replace(answered(), outcome="cancelled"), answered(about=decision(categories=None))],
    ids=["refused", "cancelled", "named"],
)
def test_only_routed_answers_are_kept(event: Finished) -> None:
    """Not what was refused or given up; and who asks an expert by its name has routed by himself."""
    assert asked_of(event, VERSIONS, 7.0) is None


@pytest.mark.anyio
async def test_what_was_answered_can_be_judged_a_moment_later(tmp_path: Path) -> None:
    """Without anybody closing anything; and what was heard last is written at the end."""
    registry, lost = SqliteRegistry(tmp_path, 30.0), list[Event]()
    keeper = Keeper(registry, lambda: 7.0, lost.append)
    keeper.start()
    for number in range(600):
        keeper.heard(answered(f"req_{number}"), EDITION)
    await keeper.written()
    assert isinstance(await registry.judge("req_599", "anonymous", True, 8.0), Judged)
    keeper.heard(answered("last"), EDITION)
    await keeper.stop()
    assert isinstance(await registry.judge("last", "anonymous", True, 8.0), Judged)
    assert lost == []
    await registry.close()


class _Away(SqliteRegistry):
    """A registry that cannot be reached at first."""

    away = True

    async def asked(self, requests: object) -> None:
        if self.away:
            raise LedgerUnavailable("away")
        await super().asked(requests)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_what_cannot_be_written_now_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a bound: then the oldest are given up. It is said each time, and no request hears of it."""
    monkeypatch.setattr("router.registry_keeper.AGAIN_S", 0.01)
    registry, lost = _Away(tmp_path, 30.0), list[Event]()
    keeper = Keeper(registry, lambda: 7.0, lost.append)
    keeper.start()
    for number in range(WAITING + 5):
        keeper.heard(answered(f"req_{number}"), EDITION)
    await becomes_true(lambda: len(lost) > 1)
    assert lost[0] == LedgerLost("asked", open=True)
    registry.away = False
    await keeper.written()
    known = [await registry.judge(name, "anonymous", True, 8.0) for name in ("req_4", "req_5", f"req_{WAITING + 4}")]
    assert [isinstance(found, Judged) for found in known] == [False, True, True]
    await keeper.stop()
    await registry.close()


@pytest.mark.anyio
async def test_what_is_over_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By each thing's own time: requests after a week, keys of retries when theirs is over."""
    monkeypatch.setattr("router.registry_keeper.PRUNE_S", 0.01)
    registry, now = SqliteRegistry(tmp_path, 30.0), 1e9
    await registry.claim("ann", "k", "f", "dead", now - 100, now - 50)
    await registry.asked([Asked("old", "ann", None, (), (), (), now - 8 * 86_400)])
    await registry.asked([Asked("new", "ann", None, (), (), (), now - 6 * 86_400)])
    keeper = Keeper(registry, lambda: now, lambda _: None)
    keeper.start()
    while await registry.judge("old", "ann", True, now) != "unknown":  # noqa: ASYNC110  # another task does it
        await asyncio.sleep(0.01)
    assert isinstance(await registry.judge("new", "ann", True, now), Judged)
    assert (await registry.claim("ann", "k", "g", "next", now - 60, now)).state == "mine"
    await keeper.stop()
    await registry.close()
