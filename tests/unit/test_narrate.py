"""What a streaming client is sent while experts still work: when, how often, and that nothing is left untold."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from experts.errors import ExpertTimeout
from router.api.narrate import Narrator, progress
from router.api.sse import Head
from router.explain import leg_json
from router.records import Cut, EndedLeg, Failure, JsonObject, Role, Usage
from tests.unit.make import reply

HEAD = Head("req_1", 1_700_000_000, "auto")
NEVER_S, SOON_S = 3600.0, 0.001
FAILED = Failure("bob", "leg", ExpertTimeout("bob", "answer", 5), seconds=5.0)
CUT = Cut("cy", "leg", Usage(10, 1, exact=False), 0.25)


class Client:
    """A client of a stream, and the narrator that speaks to it of three planned experts."""

    def __init__(self, quiet_s: float = NEVER_S, *, progress: bool = False, takes: int = 1000) -> None:
        """`takes`: so many it reads, and no more."""
        self.got: list[str] = []
        self.more, self.stalled = asyncio.Event(), asyncio.Event()
        self._takes = takes
        self.narrator = Narrator(HEAD, self._say, 3, quiet_s, progress=progress)

    async def _say(self, data: bytes) -> None:
        if len(self.got) == self._takes:
            self.stalled.set()
            await asyncio.Event().wait()
        self.got.append(data.decode())
        self.more.set()

    async def next(self) -> str:
        """What it is sent from now on, in its turn."""
        self.more.clear()
        await self.more.wait()
        return self.got[-1]

    def hears(self, *legs: EndedLeg, role: Role = "answer") -> None:
        for leg in legs:
            self.narrator.heard(role, leg)


def events(client: Client) -> list[JsonObject]:
    """What was told in events, each of which is a chunk without choices."""
    chunks = [orjson.loads(got.removeprefix("data: ")) for got in client.got]
    assert all(chunk["choices"] == [] and chunk["id"] == HEAD.id for chunk in chunks)
    return [chunk["symposium"] for chunk in chunks]


def comment(answered: int) -> str:
    return f": {answered}/3 experts answered\n\n"


async def test_a_quick_answer_needs_no_words() -> None:
    """Before the quiet time has passed nothing is said, however many experts were heard: errors can be plain HTTP."""
    client = Client()
    async with client.narrator.telling():
        client.hears(reply("ada", "42"), FAILED)
    assert client.got == []


async def test_after_a_quiet_time_the_client_is_told_that_we_are_at_work() -> None:
    """By a comment, again and again while nothing can be sent."""
    client = Client(SOON_S)
    async with client.narrator.telling():
        assert [await client.next() for _ in range(3)] == [comment(0)] * 3


async def test_once_it_speaks_it_says_who_was_heard() -> None:
    """Each expert that answers counts at once; none that failed, was cut, or was asked for something else does."""
    client = Client(SOON_S)
    async with client.narrator.telling():
        await client.next()
        client.hears(reply("ada", "42"))
        while client.got[-1] != comment(1):
            await client.next()
        client.hears(FAILED, CUT)
        client.hears(reply("eve", "42"), role="aggregator")
        client.hears(reply("kim", "sums"), role="keywords")
        before = len(client.got)
    assert set(client.got[before:]) == {comment(1)}
    assert len(client.got) >= before + 4


async def test_progress_is_told_from_the_start() -> None:
    """An event for each leg the moment it ends, with what it was for and what is known of it."""
    client = Client(progress=True)
    async with client.narrator.telling():
        client.hears(reply("ada", "42"))
        await client.next()
        assert events(client) == [{"event": "answered"} | leg_json(reply("ada", "42"))]
        client.hears(FAILED, CUT)
        client.hears(reply("eve", "42"), role="aggregator")
    told = [(event["event"], event["expert"], event["role"], event["outcome"]) for event in events(client)]
    assert told == [
        ("answered", "ada", "answer", "answered"),
        ("failed", "bob", "answer", "timeout"),
        ("cut", "cy", "answer", "cut"),
        ("answered", "eve", "aggregator", "answered"),
    ]


async def test_whoever_asked_for_progress_is_kept_awake_by_comments_too() -> None:
    """Between events a proxy sees nothing either."""
    client = Client(SOON_S, progress=True)
    async with client.narrator.telling():
        assert await client.next() == comment(0)


@pytest.mark.parametrize("fails", [False, True])
async def test_all_that_was_heard_is_sent_before_the_block_is_left(fails: bool) -> None:
    """In its order, also where the block ends by an error of ours: that comes after it. Then nothing more is said."""
    client = Client(progress=True)
    try:
        async with client.narrator.telling():
            client.hears(*(reply(name, "42") for name in ("ada", "bob", "cy")))
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    assert [event["expert"] for event in events(client)] == ["ada", "bob", "cy"]
    client.hears(reply("dan", "42"))
    await asyncio.sleep(0)
    assert len(client.got) == 3


async def test_a_cancellation_is_not_held_up_by_what_there_is_to_tell() -> None:
    """A client that has stopped reading and then goes away takes its request with it."""
    client = Client(progress=True, takes=1)

    async def request() -> None:
        async with client.narrator.telling():
            client.hears(reply("ada", "42"), FAILED, CUT)
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await client.stalled.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(client.got) == 1


async def test_a_client_that_cannot_be_told_does_not_end_the_work() -> None:
    """That it is gone shows at the next send, which is not the narrator's."""
    tried = asyncio.Event()

    async def say(data: bytes) -> None:
        tried.set()
        raise ConnectionError

    narrator = Narrator(HEAD, say, 3, NEVER_S, progress=True)
    async with narrator.telling():
        narrator.heard("answer", FAILED)
        await tried.wait()
        narrator.heard("answer", CUT)


def test_the_kinds_of_progress_are_three() -> None:
    """Answered, cut, or failed for whatever reason, which is told beside it."""
    kinds = [progress("answer", leg)[0] for leg in (reply("ada", "42"), CUT, FAILED)]
    assert kinds == ["answered", "cut", "failed"]
    assert progress("answer", FAILED)[1] == leg_json(FAILED)
