"""What one router replica holds: how many requests, and whether it takes new ones. Knows nothing of what they are."""

from __future__ import annotations

from collections.abc import Callable

from router.errors import ShuttingDown


class Held:
    """How many requests this replica holds, as a context manager around each."""

    def __init__(self, show: Callable[[int], None]) -> None:
        self.count, self._show, self.closed = 0, show, False

    def drain(self) -> int:
        """Takes no new requests from now on; how many are still under way."""
        self.closed = True
        return self.count

    def check_open(self) -> None:
        """Raises ShuttingDown once `closed` is set: those that are held may finish, new ones go elsewhere."""
        if self.closed:
            raise ShuttingDown("The router is shutting down; try again shortly.", code="shutting_down")

    def __enter__(self) -> None:
        self._change(+1)

    def __exit__(self, *_: object) -> None:
        self._change(-1)

    def _change(self, by: int) -> None:
        self.count += by
        self._show(self.count)
