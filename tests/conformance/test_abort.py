"""A leg that the router gives up stops at the expert's server, and no leg outlasts its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

import pytest

from experts.client import ExpertClient
from experts.errors import ExpertTimeout
from tests.conformance.kinds import ASK_LONG, Kind, Legs, limited, until_error
from tests.support import becomes_equal, becomes_true

NewLeg = Callable[[], str]


async def let_go(kind: Kind, before: Legs) -> None:
    """The server has noticed: nothing runs any more, and one more leg counts as aborted."""
    await becomes_equal(kind.legs, replace(before, aborted=before.aborted + 1))


async def cut_by_limit(kind: Kind, before: Legs) -> None:
    """Nothing runs any more, nothing ran to its end: on a busy machine the limit may pass before a leg begins."""
    await becomes_true(lambda: kind.legs().running == 0)
    assert kind.legs().ended == before.ended


async def cut_short(kind: Kind, work: asyncio.Task[object]) -> None:
    """Cancels as soon as the leg runs at the server."""
    await becomes_true(lambda: kind.legs().running == 1)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_closing_a_stream_early_frees_the_leg(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """Leaving a stream after some chunks closes the socket: the server stops generating."""
    before = kind.legs()
    async with aclosing(client.stream(kind.slow, ASK_LONG, new_leg())) as chunks:
        async for chunk in chunks:
            if chunk["choices"][0]["delta"].get("content"):
                break
        assert kind.legs().running == 1
    await let_go(kind, before)


async def test_cancelling_a_whole_answer_frees_the_leg(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """Cancelling complete() does the same, although nothing of the answer has come."""
    before = kind.legs()
    await cut_short(kind, asyncio.create_task(client.complete(kind.slow, ASK_LONG, new_leg())))
    await let_go(kind, before)


async def test_cancelling_before_the_first_byte_frees_the_leg(
    elsewhere: Kind, client: ExpertClient, new_leg: NewLeg
) -> None:
    """A stream that has not begun is cancelled like any other."""
    before = elsewhere.legs()

    async def first() -> object:
        return await anext(client.stream(elsewhere.silent, ASK_LONG, new_leg()))

    await cut_short(elsewhere, asyncio.create_task(first()))
    await let_go(elsewhere, before)


async def test_an_aborted_leg_s_tokens_are_counted(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """Our own host counts what it generated for a leg that was cut; elsewhere nobody can say."""
    leg = new_leg()
    async with aclosing(client.stream(kind.slow, ASK_LONG, leg)) as chunks:
        while True:
            chunk = await anext(chunks)
            if chunk["choices"][0]["delta"].get("content"):
                break
    counted = await client.tokens(kind.slow, leg, 10)
    await becomes_true(lambda: kind.legs().running == 0)
    if kind.slow.hosted:
        assert counted is not None
        assert counted.exact
        assert counted.prompt_tokens == chunk["usage"]["prompt_tokens"]
        assert chunk["usage"]["completion_tokens"] <= counted.output_tokens < ASK_LONG["max_tokens"]
    else:
        assert counted is None


async def test_the_first_byte_has_a_limit(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """A stream whose first byte is late ends as ExpertTimeout that names the phase, and is cut at the server."""
    before = kind.legs()
    hurried = limited(kind.silent, first_byte_s=kind.hurry_s)
    with pytest.raises(ExpertTimeout) as error:
        await anext(client.stream(hurried, ASK_LONG, new_leg()))
    assert (error.value.phase, error.value.replaceable) == ("first token", True)
    await cut_by_limit(kind, before)


async def test_a_whole_answer_has_a_limit(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """complete() ends as ExpertTimeout when `total_s` passes, and the leg is cut at the server."""
    before = kind.legs()
    with pytest.raises(ExpertTimeout) as error:
        await client.complete(limited(kind.slow, total_s=0.1, first_byte_s=0.1), ASK_LONG, new_leg())
    assert error.value.phase == "answer"
    await cut_by_limit(kind, before)


async def test_a_stream_has_a_limit_as_a_whole(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """A stream that goes on past `total_s` ends as ExpertTimeout after the chunks that came in time."""
    before, endpoint = kind.legs(), limited(kind.slow, total_s=0.25, first_byte_s=0.25)
    chunks, error = await until_error(client, endpoint, ASK_LONG, new_leg())
    assert isinstance(error, ExpertTimeout)
    assert error.phase == ("end" if chunks else "first token")
    await cut_by_limit(kind, before)
