"""Text -> unit vectors, micro-batched across queries and off the event loop.

A batch is whatever queued up while the previous one was being computed: nothing waits for company, yet at
load one forward pass serves many queries. The latest vectors are kept: a conversation's earlier turns come again with
each of its requests. The models themselves are in `router/embedders.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


Key = str | bytes  # a text, or the SHA-256 of a long one
MAX_KEY_CHARS = 2000


class Embedder(Protocol):
    """Texts [N] -> float32 [N, D], each row of length 1. Blocking; called from one thread.

    `name` is the model's name in the configuration: vectors of two models have nothing to do with each other.
    A text without a single token may give a row of zeros: as far from everything as can be.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """A text to be computed, with everybody who waits for it: each by an own future, so that one may leave."""

    text: str
    key: Key
    waiters: list[asyncio.Future[NDArray[np.float32]]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    @property
    def abandoned(self) -> bool:
        return all(waiter.done() for waiter in self.waiters)


class MicroBatcher:
    """Awaits vectors one text at a time; computes them in batches on one worker thread. Of one event loop."""

    def __init__(
        self, embed: Embedder, max_batch: int, on_batch: Callable[[int], None] | None = None, cache: int = 4096
    ) -> None:
        """`cache`: so many vectors are kept, those asked for last; 0 keeps none. 4096 of MiniLM's are 6 MB."""
        self._embed = embed
        self._max_batch = max_batch
        self._on_batch = on_batch or (lambda size: None)
        self._kept = _Kept(cache)
        self._wanted: dict[Key, _Wanted] = {}  # waiting, or being computed
        self._waiting: list[_Wanted] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")

    async def __call__(self, text: str) -> NDArray[np.float32]:
        """Float32 [D], of length 1, read-only: whoever asks for the same text gets the same array.

        Bounded by admission: a query waits here with its turns, and with few keywords.
        """
        key = _key(text)
        if (vector := self._kept.get(key)) is not None:
            return vector
        future: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        if (wanted := self._wanted.get(key)) is None:
            wanted = self._wanted[key] = _Wanted(text, key)
            self._waiting.append(wanted)
        wanted.waiters.append(future)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._drain())
        return await future

    def oldest_s(self) -> float:
        """How long the oldest text has waited that has no vector yet; 0 without any. From any thread."""
        pending = tuple(self._wanted.values())  # in the order in which they came
        return time.monotonic() - pending[0].since if pending else 0.0

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _drain(self) -> None:
        while self._waiting:
            if not (batch := self._next_batch()):
                continue
            self._on_batch(len(batch))
            try:
                await self._compute(batch)
            finally:
                for wanted in batch:
                    del self._wanted[wanted.key]

    def _next_batch(self) -> list[_Wanted]:
        queued, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
        for wanted in queued:
            if wanted.abandoned:
                del self._wanted[wanted.key]  # nobody may join what will not be computed
        return [wanted for wanted in queued if not wanted.abandoned]

    async def _compute(self, batch: Sequence[_Wanted]) -> None:
        loop = asyncio.get_running_loop()
        try:
            vectors = await loop.run_in_executor(self._thread, self._embed, [wanted.text for wanted in batch])
            if len(vectors) != len(batch):
                raise ValueError(f"the embedder made {len(vectors)} vectors of {len(batch)} texts")
        except Exception as error:  # noqa: BLE001  # whatever the model raises belongs to each query that asked
            for wanted in batch:
                _resolve(wanted, error)
            return
        for wanted, row in zip(batch, vectors, strict=True):
            vector = row.copy()  # a view would keep the whole batch alive
            vector.flags.writeable = False
            self._kept.put(wanted.key, vector)
            _resolve(wanted, vector)


class _Kept:
    """The vectors that were asked for last."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._vectors: OrderedDict[Key, NDArray[np.float32]] = OrderedDict()

    def get(self, key: Key) -> NDArray[np.float32] | None:
        if (found := self._vectors.get(key)) is not None:
            self._vectors.move_to_end(key)
        return found

    def put(self, key: Key, vector: NDArray[np.float32]) -> None:
        self._vectors[key] = vector
        if len(self._vectors) > self._capacity:
            self._vectors.popitem(last=False)


def _key(text: str) -> Key:
    return text if len(text) <= MAX_KEY_CHARS else hashlib.sha256(text.encode()).digest()


def _resolve(wanted: _Wanted, outcome: NDArray[np.float32] | Exception) -> None:
    for waiter in wanted.waiters:
        if waiter.done():
            continue
        if isinstance(outcome, Exception):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)
