"""Text -> unit vectors, micro-batched across queries and off the event loop.

A batch is whatever queued up while the previous one was being computed: nothing waits for company, yet at
load one forward pass serves many queries. The models themselves are in `router/embedders.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Embedder(Protocol):
    """Texts [N] -> float32 [N, D], each row of length 1. Blocking; called from one thread.

    `name` is the model's name in the configuration: vectors of two models have nothing to do with each other.
    A text without a single token may give a row of zeros: as far from everything as can be.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class MicroBatcher:
    """Awaits vectors one text at a time; computes them in batches on one worker thread."""

    def __init__(self, embed: Embedder, max_batch: int, on_batch: Callable[[int], None] | None = None) -> None:
        self._embed = embed
        self._max_batch = max_batch
        self._on_batch = on_batch or (lambda size: None)
        self._waiting: list[tuple[str, asyncio.Future[NDArray[np.float32]]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")

    async def __call__(self, text: str) -> NDArray[np.float32]:
        """Float32 [D], of length 1. Bounded by admission: a query waits here with its text, and with few keywords."""
        future: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._drain())
        return await future

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            batch = [(text, future) for text, future in batch if not future.done()]
            if not batch:
                continue
            self._on_batch(len(batch))
            try:
                vectors = await loop.run_in_executor(self._thread, self._embed, [text for text, _ in batch])
                if len(vectors) != len(batch):
                    raise ValueError(f"the embedder made {len(vectors)} vectors of {len(batch)} texts")
            except Exception as error:  # noqa: BLE001  # whatever the model raises belongs to each query that asked
                _resolve(batch, error=error)
            else:
                _resolve(batch, vectors=vectors)


def _resolve(
    batch: Sequence[tuple[str, asyncio.Future[NDArray[np.float32]]]],
    vectors: NDArray[np.float32] | None = None,
    error: Exception | None = None,
) -> None:
    for row, (_, future) in enumerate(batch):
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        elif vectors is not None:
            future.set_result(vectors[row])
