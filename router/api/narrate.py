"""What a streaming client is sent while experts still work: comments, or typed progress events where it asked for
them. HTTP's shape only.

An SSE comment is a line that clients read past; it keeps proxies and people from giving up. The stream is opened for it
after `quiet_s` seconds in which nothing could be sent, and from then on errors are events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from router.api.sse import Head, comment, event, told
from router.explain import leg_json, outcome_of
from router.records import EndedLeg, JsonObject, Role

Say = Callable[[bytes], Awaitable[None]]  # opens the stream where it is not open yet


class Narrator:
    """Tells one request's client of its legs, for as long as the block of `telling` runs."""

    def __init__(self, head: Head, say: Say, planned: int, quiet_s: float, *, progress: bool) -> None:
        """`planned`: the number of experts that may be convened."""
        self._head, self._say, self._planned, self._quiet_s, self._progress = head, say, planned, quiet_s, progress
        self._news: asyncio.Queue[tuple[Role, EndedLeg] | None] = asyncio.Queue()  # bounded by the legs of a request
        self._answered = 0
        self._talking = progress

    def heard(self, role: Role, leg: EndedLeg) -> None:
        self._news.put_nowait((role, leg))

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """All that was heard is sent before the block is left, also when it is left by an error of ours."""
        teller = asyncio.ensure_future(self._tell())
        try:
            yield
        except asyncio.CancelledError:
            teller.cancel()
            raise
        finally:
            self._news.put_nowait(None)
            await asyncio.gather(teller, return_exceptions=True)  # a client that is gone shows at the next send

    async def _tell(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._quiet_s):
                    news = await self._news.get()
            except TimeoutError:
                self._talking = True
                await self._say(self._comment())
                continue
            if news is None:
                return
            role, leg = news
            self._answered += role == "answer" and outcome_of(leg) == "answered"
            if self._progress:
                await self._say(event(told(self._head, *progress(role, leg))))
            elif self._talking:
                await self._say(self._comment())

    def _comment(self) -> bytes:
        return comment(f"{self._answered}/{self._planned} experts answered")


def progress(role: Role, leg: EndedLeg) -> tuple[str, JsonObject]:
    """The name and the content of the event for a leg that has ended."""
    outcome = outcome_of(leg)
    return outcome if outcome in ("answered", "cut") else "failed", leg_json(leg, role)
