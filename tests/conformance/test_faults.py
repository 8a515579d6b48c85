"""Experts elsewhere that misbehave: each fault is one of our errors, bounded in memory, and frees its leg."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from experts.client import ExpertClient
from experts.errors import ExpertBroken, ExpertRefused, ExpertUnreachable
from tests.conformance.kinds import ASK, Kind, asked, limited, until_error
from tests.support import becomes_true, said

MIB = 2**20
NewLeg = Callable[[], str]


@pytest.mark.parametrize("stream", [False, True])
async def test_50_mb_of_garbage_are_not_read(
    elsewhere: Kind, client: ExpertClient, new_leg: NewLeg, stream: bool
) -> None:
    """Endless garbage is ExpertBroken once it passes the bound: the rest is never read, let alone kept."""
    before = elsewhere.legs()
    tracemalloc.start()
    try:
        with pytest.raises(ExpertBroken):
            await asked(client, elsewhere.faulty("garbling"), ASK, new_leg(), stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * MIB
    await becomes_true(lambda: elsewhere.legs().running == 0)
    assert elsewhere.legs().aborted == before.aborted + 1


@pytest.mark.parametrize("stream", [False, True])
async def test_the_bound_on_bytes_is_the_operator_s(
    elsewhere: Kind, client: ExpertClient, new_leg: NewLeg, stream: bool
) -> None:
    """`max_response_bytes` bounds good answers too: an answer over it is ExpertBroken and says the bound."""
    with pytest.raises(ExpertBroken, match="64 bytes"):
        await asked(client, limited(elsewhere.sage, max_response_bytes=64), ASK, new_leg(), stream)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_dropped_inside_an_answer_is_no_answer(
    elsewhere: Kind, client: ExpertClient, new_leg: NewLeg, stream: bool
) -> None:
    """A server that cuts the connection is ExpertUnreachable: what came is never taken for all of it."""
    with pytest.raises(ExpertUnreachable):
        await asked(client, elsewhere.faulty("dropping"), ASK, new_leg(), stream)
    assert elsewhere.legs().running == 0


async def test_chunks_before_a_drop_come_through(elsewhere: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """Of a stream that breaks off, what was said before reaches the caller, then the error does."""
    chunks, error = await until_error(client, elsewhere.faulty("dropping"), ASK, new_leg())
    assert isinstance(error, ExpertUnreachable)
    assert said(chunks) == "The answ"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_server_is_refused_and_replaceable(
    elsewhere: Kind, client: ExpertClient, new_leg: NewLeg, stream: bool
) -> None:
    """A 5xx is ExpertRefused with its status and message; another expert may be asked instead."""
    with pytest.raises(ExpertRefused) as refused:
        await asked(client, elsewhere.faulty("failing"), ASK, new_leg(), stream)
    assert (refused.value.status, refused.value.replaceable) == (503, True)
    assert refused.value.message == "configured to fail"
