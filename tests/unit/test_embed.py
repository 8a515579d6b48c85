"""Micro-batching: what queued goes together, everybody gets their own vector or the error, and none is made twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from router.embed import MAX_KEY_CHARS, MicroBatcher


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
def batching(
    max_batch: int, sizes: list[int] | None = None, cache: int = 100
) -> Iterator[tuple[MicroBatcher, Lengths]]:
    """A batcher over a held embedder."""
    embed = Lengths()
    batcher = MicroBatcher(embed, max_batch, sizes.append if sizes is not None else None, cache)
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


async def test_a_text_that_was_asked_for_is_not_computed_again() -> None:
    """A conversation's earlier turns come with each of its requests."""
    sizes: list[int] = []
    with batching(8, sizes) as (batcher, embed):
        embed.go.set()
        first = await batcher("a")
        assert await batcher("a") is first
        await asyncio.gather(*map(batcher, ["a", "bb"]))
    assert (embed.batches, sizes) == ([["a"], ["bb"]], [1, 1])


async def test_a_kept_vector_needs_no_batcher_thread() -> None:
    """It is there at once, whatever is being computed."""
    with batching(8) as (batcher, embed):
        embed.go.set()
        kept = await batcher("a")
        embed.go.clear()
        embed.entered.clear()
        held = asyncio.create_task(batcher("bb"))
        await first_batch_is_held(embed)
        assert await batcher("a") is kept
        embed.go.set()
        await held


async def test_nobody_can_change_a_shared_vector() -> None:
    """It is read-only, and holds nothing but itself: not the batch it was computed in."""
    with batching(8) as (batcher, embed):
        embed.go.set()
        vector, _ = await asyncio.gather(batcher("a"), batcher("bb"))
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 2
    assert vector.base is None


@pytest.mark.parametrize(("cache", "computed"), [(2, ["a", "b", "c", "b"]), (0, ["a", "b", "a", "c", "a", "b"])])
async def test_the_vectors_asked_for_last_are_kept(cache: int, computed: list[str]) -> None:
    """Up to `cache` of them; being found again counts as being asked for. None are kept where it is 0."""
    with batching(8, cache=cache) as (batcher, embed):
        embed.go.set()
        for text in ("a", "b", "a", "c", "a", "b"):
            await batcher(text)
    assert [text for batch in embed.batches for text in batch] == computed


async def test_long_texts_are_told_apart_and_found_again() -> None:
    """They are kept by a digest: only what is the same to the end is the same."""
    long = "x" * MAX_KEY_CHARS
    texts = [long, long + "a", long + "b"]
    with batching(8) as (batcher, embed):
        embed.go.set()
        for text in (*texts, *texts):
            await batcher(text)
    assert embed.batches == [[text] for text in texts]


async def test_an_error_is_not_kept() -> None:
    """The same text is computed when it is asked for again."""
    with batching(8) as (batcher, embed):
        embed.go.set()
        embed.error = RuntimeError("out of memory")
        with pytest.raises(RuntimeError):
            await batcher("a")
        embed.error = None
        assert (await batcher("a")).tolist() == [1.0]


@pytest.mark.parametrize("cache", [100, 0])
async def test_who_asks_for_the_same_text_meanwhile_shares_it(cache: int) -> None:
    """One pass for all who wait, whether the text is queued or being computed; also where nothing is kept."""
    with batching(8, cache=cache) as (batcher, embed):
        computing = [asyncio.create_task(batcher("a"))]
        await first_batch_is_held(embed)
        computing.append(asyncio.create_task(batcher("a")))
        queued = [asyncio.create_task(batcher("bb")) for _ in range(3)]
        await asyncio.sleep(0)
        embed.go.set()
        found = await asyncio.gather(*computing, *queued)
    assert embed.batches == [["a"], ["bb"]]
    assert [v.tolist() for v in found] == [[1.0], [1.0], [2.0], [2.0], [2.0]]


@pytest.mark.parametrize("leaves", [0, 1])
@pytest.mark.parametrize("text", ["computing", "queued"])
async def test_one_that_leaves_takes_nobody_along(text: str, leaves: int) -> None:
    """Of two who wait for the same text either may be cancelled; the other gets the vector."""
    with batching(8) as (batcher, embed):
        waiters = [asyncio.create_task(batcher("computing"))]
        await first_batch_is_held(embed)
        waiters += [asyncio.create_task(batcher("queued"))]
        pair = [asyncio.create_task(batcher(text)) for _ in range(2)]
        await asyncio.sleep(0)
        for task in (*waiters, pair[leaves]):
            task.cancel()
        await asyncio.sleep(0)
        embed.go.set()
        assert (await pair[1 - leaves]).tolist() == [float(len(text))]
        assert pair[leaves].cancelled()


async def test_a_text_that_was_skipped_is_computed_for_who_asks_next() -> None:
    """Nobody joins an entry whose only waiter had gone before its turn came, and waits for ever."""
    with batching(8) as (batcher, embed):
        first = asyncio.create_task(batcher("a"))
        await first_batch_is_held(embed)
        gone, stays = asyncio.create_task(batcher("gone")), asyncio.create_task(batcher("stays"))
        await asyncio.sleep(0)
        gone.cancel()
        embed.entered.clear()
        embed.go.set()
        await first
        embed.go.clear()
        await first_batch_is_held(embed)
        again = asyncio.create_task(batcher("gone"))
        await asyncio.sleep(0)
        embed.go.set()
        assert (await asyncio.wait_for(again, 30)).tolist() == [4.0]
        await stays
    assert embed.batches == [["a"], ["stays"], ["gone"]]


async def test_nothing_is_held_of_what_is_over() -> None:
    """Whether it was computed, failed, or was left: the tables of what is wanted are empty again."""
    with batching(2, cache=1) as (batcher, embed):
        embed.go.set()
        await asyncio.gather(*(batcher("x" * n) for n in range(1, 20)))
        embed.error = RuntimeError("out of memory")
        await asyncio.gather(*map(batcher, "abc"), return_exceptions=True)
        left = asyncio.create_task(batcher("left"))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, batcher("d"), return_exceptions=True)
        assert (batcher._wanted, batcher._waiting) == ({}, [])
        assert len(batcher._kept._vectors) == 1


async def test_the_oldest_that_waits_ages_until_it_has_its_vector() -> None:
    """Also while it is computed: an embedder that stands still shows."""
    with batching(8) as (batcher, embed):
        assert batcher.oldest_s() == 0
        first = asyncio.create_task(batcher("a"))
        await first_batch_is_held(embed)
        second = asyncio.create_task(batcher("bb"))
        await asyncio.sleep(0.05)
        assert batcher.oldest_s() >= 0.05
        embed.go.set()
        await asyncio.gather(first, second)
        assert batcher.oldest_s() == 0
