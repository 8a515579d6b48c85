"""Micro-batching: what queued goes together, and everybody gets their own vector or the error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from router.embed import MicroBatcher


class Lengths:
    """An embedder that gives each text its length, and waits in the first batch until it is let go."""

    name = "lengths"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go, self.entered = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(list(texts))
        self.entered.set()
        assert self.go.wait(30)
        if self.error is not None:
            raise self.error
        return np.array([[len(text)] for text in texts], dtype=np.float32)


@contextmanager
def batching(max_batch: int, sizes: list[int] | None = None) -> Iterator[tuple[MicroBatcher, Lengths]]:
    """A batcher over a held embedder."""
    embed = Lengths()
    batcher = MicroBatcher(embed, max_batch, sizes.append if sizes is not None else None)
    try:
        yield batcher, embed
    finally:
        embed.go.set()
        batcher.close()


async def first_batch_is_held(embed: Lengths) -> None:
    """Returns once the embedder computes, off the event loop."""
    assert await asyncio.to_thread(embed.entered.wait, 30)


async def test_a_text_gets_its_own_vector() -> None:
    """Whatever it was batched with."""
    with batching(8) as (batcher, embed):
        embed.go.set()
        texts = ["a", "bbb", "cc"]
        found = await asyncio.gather(*map(batcher, texts))
    assert [v.tolist() for v in found] == [[1.0], [3.0], [2.0]]


async def test_a_lone_text_does_not_wait_for_company() -> None:
    """It is computed at once, in a batch of one."""
    sizes: list[int] = []
    with batching(8, sizes) as (batcher, embed):
        embed.go.set()
        await batcher("a")
        await batcher("b")
    assert (embed.batches, sizes) == ([["a"], ["b"]], [1, 1])


async def test_what_queued_meanwhile_goes_together() -> None:
    """While one batch is computed the rest waits; then up to `max_batch` texts go in one pass, in order."""
    sizes: list[int] = []
    with batching(2, sizes) as (batcher, embed):
        first = asyncio.create_task(batcher("a"))
        await first_batch_is_held(embed)
        rest = [asyncio.create_task(batcher(text)) for text in ("b", "cc", "ddd")]
        await asyncio.sleep(0)
        assert embed.batches == [["a"]]
        embed.go.set()
        await asyncio.gather(first, *rest)
    assert embed.batches == [["a"], ["b", "cc"], ["ddd"]]
    assert sizes == [1, 2, 1]


async def test_an_error_reaches_each_waiter_and_nobody_after() -> None:
    """All of the failed batch get the model's error; the next text is computed as if nothing had been."""
    with batching(8) as (batcher, embed):
        embed.error = RuntimeError("out of memory")
        embed.go.set()
        found = await asyncio.gather(*map(batcher, ["a", "b"]), return_exceptions=True)
        assert [str(e) for e in found] == ["out of memory", "out of memory"]
        embed.error = None
        assert (await batcher("cc")).tolist() == [2.0]


async def test_a_cancelled_waiter_is_skipped() -> None:
    """Nobody computes for a client that has gone; the others of its batch are not disturbed."""
    with batching(8) as (batcher, embed):
        first = asyncio.create_task(batcher("a"))
        await first_batch_is_held(embed)
        gone, stays = asyncio.create_task(batcher("gone")), asyncio.create_task(batcher("stays"))
        await asyncio.sleep(0)
        gone.cancel()
        embed.go.set()
        assert (await stays).tolist() == [5.0]
        await first
    assert embed.batches == [["a"], ["stays"]]
    assert gone.cancelled()


async def test_one_that_leaves_while_it_is_computed_harms_nobody() -> None:
    """Its batch goes on, the others get their vectors."""
    with batching(8) as (batcher, embed):
        gone, stays = asyncio.create_task(batcher("gone")), asyncio.create_task(batcher("stays"))
        await first_batch_is_held(embed)
        gone.cancel()
        embed.go.set()
        assert (await stays).tolist() == [5.0]


async def test_an_embedder_that_loses_a_row_is_an_error_not_a_hang() -> None:
    """Fewer vectors than texts: whoever got none is told."""

    class Loses(Lengths):
        def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return super().__call__(texts)[:1]

    embed = Loses()
    embed.go.set()
    batcher = MicroBatcher(embed, 8)
    waiters = [asyncio.create_task(batcher(text)) for text in "ab"]
    done, hanging = await asyncio.wait(waiters, timeout=3)  # a moment, unless they hang
    for task in hanging:
        task.cancel()
    batcher.close()
    assert (len(done), len(hanging)) == (2, 0)
    assert all(isinstance(task.exception(), ValueError) for task in done)


async def test_after_closing_a_text_is_refused() -> None:
    """No query hangs on a batcher that has ended."""
    batcher = MicroBatcher(Lengths(), 8)
    batcher.close()
    with pytest.raises(RuntimeError):
        await batcher("a")
