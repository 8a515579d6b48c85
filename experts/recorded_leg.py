"""One recorded answer on its way out: OpenAI's objects and events, at the pace and with the faults of a behaviour.

Owns the client's end of one request, and what is written to it. Chooses nothing: which answer, with which
behaviour, comes from outside.

* `prompt_tokens`: UTF-8 bytes of all messages' text / 4, rounded up. `completion_tokens`: as recorded; where
  a token ends is not, so each is an even share of its answer's characters, and max_tokens cuts there.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

import orjson
from starlette.types import Receive, Send

from experts.recorded_book import Answer, Behaviour
from experts.recorded_chat import Chat, Refusal

JSON, EVENTS = b"application/json", b"text/event-stream; charset=utf-8"
BLOCK_BYTES = 64 * 1024  # about the most handed to the server at once
MAX_BODY_BYTES = 16 * 1024 * 1024
GARBAGE = b"\xff" * BLOCK_BYTES  # never valid UTF-8, and a line without an end


class ConnectionDropped(Exception):
    """Goes through to the server, which then cuts the connection: the behaviour `drop_after_tokens`."""


class Line:
    """The client's end of one request. Raises OSError once the client has gone, as servers of ASGI 2.4 do."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._gone: asyncio.Task[None] | None = None

    async def body(self) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                raise Refusal(413, f"the request is longer than {MAX_BODY_BYTES} bytes")
        return bytes(body)

    async def start(self, status: int, kind: bytes, length: int | None = None) -> None:
        headers = [(b"content-type", kind)]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def reply(self, status: int, body: bytes) -> None:
        await self.start(status, JSON, len(body))
        await self.send(body, more=False)

    async def wait(self, seconds: float | None) -> None:
        """Returns after so long (None: never), unless the client goes first."""
        self._gone = self._gone or asyncio.ensure_future(self._watch())
        if (await asyncio.wait({self._gone}, timeout=seconds))[0]:
            raise ConnectionResetError

    async def until(self, happens: asyncio.Future[None]) -> None:
        """Returns once it has happened, unless the client goes first."""
        self._gone = self._gone or asyncio.ensure_future(self._watch())
        await asyncio.wait({self._gone, happens}, return_when=asyncio.FIRST_COMPLETED)
        if not happens.done():
            raise ConnectionResetError

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def close(self) -> None:
        if self._gone:
            self._gone.cancel()


class Places:
    """How many answers of one model are being given, and who waits for one of them to end."""

    def __init__(self) -> None:
        self._taken = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    async def enter(self, most: int, line: Line) -> None:
        """Returns when there is a place among `most`: first come, first served. Raises OSError once the client goes."""
        if self._taken < most and not self._waiting:
            self._taken += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append((place, most))
        try:
            await line.until(place)
        except BaseException:
            if place.done():  # at the same moment
                self.leave()
            place.cancel()
            raise

    def leave(self) -> None:
        """One answer has ended."""
        self._taken -= 1
        while self._waiting and (self._waiting[0][0].done() or self._taken < self._waiting[0][1]):
            place, _ = self._waiting.popleft()
            if not place.done():
                self._taken += 1
                place.set_result(None)


class Leg:
    """One answer on its way out. `tokens`: generated so far; in a stream exactly these were sent."""

    def __init__(self, chat: Chat, answer: Answer, behaviour: Behaviour, line: Line, number: int) -> None:
        self.chat, self.answer, self.behaviour, self.line = chat, answer, behaviour, line
        self.begun_s, self.tokens, self.out = time.monotonic(), 0, bytearray()
        self.stretch, self.fails, self.faulty = behaviour.fate(chat.model, answer.question)
        self.total = min(answer.tokens, chat.max_completion_tokens or chat.max_tokens or answer.tokens)
        stall, drop = behaviour.stall_after_tokens, behaviour.drop_after_tokens
        cut = drop if stall is None else stall
        self.cut = cut if cut is not None and cut <= self.total and self.faulty else None
        self.running_usage = chat.option("include_usage") and chat.option("continuous_usage_stats")
        self.prompt_tokens = -(-sum(len(message.text().encode()) for message in chat.messages) // 4)
        self.head = {"id": f"chatcmpl-recorded-{number}", "created": int(time.time()), "model": chat.model}

    async def run(self) -> str:
        """Returns "finished", or "failed" by its behaviour. Raises OSError once the client goes."""
        if self.fails:
            await self._until(1)
            refusal = Refusal(self.behaviour.fail_status, "configured to fail", "configured_failure")
            await self.line.reply(refusal.status, refusal.body)
        elif self.faulty and self.behaviour.garbage_bytes:
            await self._garbage()
        else:
            await (self._stream() if self.chat.stream else self._whole())
            return "finished"
        return "failed"

    async def _garbage(self) -> None:
        await self._until(1)
        await self.line.start(200, EVENTS if self.chat.stream else JSON)
        for sent in range(0, self.behaviour.garbage_bytes, BLOCK_BYTES):
            await self.line.send(GARBAGE[: self.behaviour.garbage_bytes - sent], more=True)
            await self.line.wait(0)
        await self.line.send(b"", more=False)

    async def _whole(self) -> None:
        await self._generate()
        message = {"role": "assistant", "content": self.answer.piece(0, self.total)}
        body = self._json("chat.completion", "message", message, last=True, usage=True)
        if self.cut is None:
            await self.line.reply(200, body)
        else:
            await self.line.start(200, JSON, len(body))
            self.out += body[: len(body) * self.cut // (self.total + 1)]
            await self._break_off()

    async def _stream(self) -> None:
        await self.line.start(200, EVENTS)
        await self._until(1)
        self._event({"role": "assistant", "content": ""})
        await self._generate()
        if self.cut is not None:
            await self._break_off()
        self._event({}, last=True)
        if self.chat.option("include_usage"):
            self._event(None)
        await self.line.send(bytes(self.out) + b"data: [DONE]\n\n", more=False)

    async def _generate(self) -> None:
        """Up to the cut or the end: waits for each chunk of tokens and, in a stream, writes it."""
        last = self.total if self.cut is None else self.cut
        chunk = self.behaviour.tokens_per_chunk if self.chat.stream or self.behaviour.tokens_per_s else last
        await self._until(1)
        while self.tokens < last:
            begin, end = self.tokens, min(self.tokens + chunk, last)
            if self.behaviour.tokens_per_s or len(self.out) > BLOCK_BYTES:
                await self._until(end)
            self.tokens = end
            if self.chat.stream:
                self._event({"content": self.answer.piece(begin, end)})

    async def _until(self, tokens: int) -> None:
        """Waits until so many tokens are due; before a wait, or when it is much, what is written goes out."""
        left_s = self.begun_s + self.stretch * self.behaviour.due_s(tokens) - time.monotonic()
        if left_s > 0 or len(self.out) > BLOCK_BYTES:
            await self._flush()
            await self.line.wait(max(left_s, 0))

    async def _flush(self) -> None:
        if self.out:
            await self.line.send(bytes(self.out), more=True)
            self.out.clear()

    async def _break_off(self) -> None:
        await self._flush()
        if self.behaviour.stall_after_tokens is not None:
            await self.line.wait(None)
        raise ConnectionDropped("drop_after_tokens")

    def _event(self, delta: dict[str, str] | None, *, last: bool = False) -> None:
        """Writes one server-sent event; `delta` None: the closing one, with usage and without a choice."""
        usage = delta is None or self.running_usage
        body = self._json("chat.completion.chunk", "delta", delta, last=last, usage=usage)
        self.out += b"data: " + body + b"\n\n"

    def _json(self, kind: str, key: str, said: dict[str, str] | None, *, last: bool, usage: bool) -> bytes:
        reason = ("stop" if self.total == self.answer.tokens else "length") if last else None
        choice = {"index": 0, key: said, "logprobs": None, "finish_reason": reason}
        body = {**self.head, "object": kind, "choices": [] if said is None else [choice]}
        if usage:
            sums = self.prompt_tokens, self.tokens, self.prompt_tokens + self.tokens
            body["usage"] = dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), sums, strict=True))
        return orjson.dumps(body)
