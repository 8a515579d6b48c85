"""Whether a client has had its whole answer: read off the ASGI messages themselves.

That a request ran to its end does not tell: whoever serves it may have seen the client go and have answered nobody,
before anybody cancelled it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Send


class Delivery:
    """One request's `receive` and `send`.

    Attributes:
        gone: the client is known to have left.
        answered: the last byte was sent before that.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.gone = False
        self.answered = False

    async def receive(self) -> Message:
        """The next message to the application. Where nothing can be received any more nobody is there."""
        try:
            message = await self._receive()
        except Exception:  # noqa: BLE001  # Serve tells so of a client that leaves while its request is handed over
            message = {"type": "http.disconnect"}
        if message["type"] == "http.disconnect":
            self.gone = True
        return message

    async def send(self, message: Message) -> None:
        """A message of the application's."""
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body") and not self.gone:
            self.answered = True
