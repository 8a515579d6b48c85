"""Whether a client has had its whole answer: read off the ASGI messages themselves.

That a request ran to its end does not tell: whoever serves it may have seen the client go and have stopped, before
anybody cancelled it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Send


class Line:
    """One request's `receive` and `send`. `answered`: the last byte was sent before the client was seen to go."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._gone = False
        self.answered = False

    async def receive(self) -> Message:
        """The next message to the application."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def send(self, message: Message) -> None:
        """A message of the application's."""
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body") and not self._gone:
            self.answered = True
