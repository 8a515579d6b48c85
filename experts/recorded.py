"""Recorded experts: recorded answers of real models behind the HTTP contract that every expert has.

Owns the book of answers, the behaviours laid over it (delays, failures, stalls, cuts, garbage) and the ASGI
application that serves both. Must not know the router, Ray or vLLM: to callers it is an OpenAI endpoint.

* Match: the newest message, not by `assistant` or `tool`, whose whole text is exactly a recorded question.
* `prompt_tokens`: UTF-8 bytes of all messages' text / 4, rounded up. `completion_tokens`: as recorded; where
  a token ends is not, so each is an even share of its answer's characters, and max_tokens cuts there.
* Sampling parameters are accepted and change nothing. Same seed, model and question: same fate.
"""

import argparse
import asyncio
import hmac
import os
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator
from starlette.types import Receive, Scope, Send

JSON, EVENTS = b"application/json", b"text/event-stream; charset=utf-8"
BLOCK_BYTES = 64 * 1024  # about the most handed to the server at once
MAX_BODY_BYTES = 16 * 1024 * 1024
GARBAGE = b"\xff" * BLOCK_BYTES  # never valid UTF-8, and a line without an end
Files = str | Path | Sequence[str | Path]
TEXT = pa.large_string()
Share = Annotated[float, Field(ge=0, le=1)]
AtLeast0 = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
SCHEMA = pa.schema({"question": TEXT, "model": TEXT, "answer": TEXT, "output_tokens": pa.int64()})


class Answer(NamedTuple):
    question: str
    text: str
    tokens: int

    def piece(self, start: int, end: int) -> str:
        """The text of tokens `start` to `end`."""
        return self.text[len(self.text) * start // self.tokens : len(self.text) * end // self.tokens]


class AnswerBook:
    """Answers by model and question; of a repeated pair the first counts. Texts stay in Arrow's buffers."""

    def __init__(self, table: pa.Table) -> None:
        """`table` has the columns of SCHEMA. Raises ValueError for an empty cell or a negative count."""
        tokens = table["output_tokens"].to_pylist()
        if any(column.null_count for column in table.columns) or min(tokens, default=0) < 0:
            raise ValueError("a book has no empty cells and no negative output_tokens")
        self._texts, self._tokens = table["answer"].combine_chunks(), array("q", tokens)
        self._rows: dict[str, dict[str, int]] = {}
        once: dict[str, str] = {}  # one string object per question, however many models answered it
        pairs = zip(table["model"].to_pylist(), table["question"].to_pylist(), strict=True)
        for row, (model, question) in enumerate(pairs):
            self._rows.setdefault(model, {}).setdefault(once.setdefault(question, question), row)

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[str, str, str, int]]) -> Self:
        """`rows`: (question, model, answer, output tokens)."""
        cells = [dict(zip(SCHEMA.names, row, strict=True)) for row in rows]
        return cls(pa.Table.from_pylist(cells, schema=SCHEMA))

    @classmethod
    def from_parquet(cls, paths: Files, columns: Mapping[str, str] | None = None) -> Self:
        """`columns`: name in SCHEMA -> name in the files. Raises KeyError for a column that is not there."""
        names = [(columns or {}).get(name, name) for name in SCHEMA.names]
        files = [paths] if isinstance(paths, str | Path) else paths
        tables = [pq.ParquetFile(file).read(columns=names, use_threads=False).select(names) for file in files]
        return cls(pa.concat_tables([table.rename_columns(SCHEMA.names).cast(SCHEMA) for table in tables]))

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def find(self, model: str, question: str) -> Answer | None:
        """None: not recorded. An answer has at least one token. KeyError: no such model."""
        if (row := self._rows[model].get(question)) is None:
            return None
        return Answer(question, self._texts[row].as_py(), max(self._tokens[row], 1))


class Behaviour(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How one model's endpoint behaves; the default answers at once and never fails.

    Shares of questions are drawn by seed, model and question: a repeat meets the same fate, a replica with
    another seed its own. An answer with fewer tokens than stall or drop wait for stays whole.
    """

    ttft_s: Annotated[float, Field(ge=0)] = 0  # time to the first token, or to the failure
    tokens_per_s: Annotated[float, Field(gt=0)] | None = None  # rate after the first token; None: all at once
    tokens_per_chunk: AtLeast1 = 1  # tokens in one streamed event
    jitter: Share = 0  # all delays of one answer are multiplied by one factor in 1 - jitter .. 1 + jitter
    seed: int = 0
    fail_rate: Share = 0  # of the questions are answered with fail_status
    fail_always: bool = False
    fail_status: Annotated[int, Field(ge=400, le=599)] = 500
    fault_rate: Share = 1  # of the questions meet the fault, which is one of the following
    stall_after_tokens: AtLeast0 | None = None  # silence until the client goes
    drop_after_tokens: AtLeast0 | None = None  # the connection is cut
    garbage_bytes: Annotated[int, Field(ge=0, le=50 * 1024 * 1024)] = 0  # instead of an answer

    @model_validator(mode="after")
    def _one_fault(self) -> Self:
        if [self.stall_after_tokens, self.drop_after_tokens, self.garbage_bytes or None].count(None) < 2:
            raise ValueError("set only one of stall_after_tokens, drop_after_tokens and garbage_bytes")
        return self

    def fate(self, model: str, question: str) -> tuple[float, bool, bool]:
        """(factor on every delay, fails, meets the fault)."""
        if not self.jitter and {self.fail_rate, self.fault_rate} <= {0, 1}:
            return 1, self.fail_always or self.fail_rate == 1, self.fault_rate == 1
        digest = blake2b(orjson.dumps([str(self.seed), model, question]), digest_size=18).digest()
        delay, fail, fault = (int.from_bytes(digest[i : i + 6]) / 2**48 for i in (0, 6, 12))  # even in [0, 1)
        fails = self.fail_always or fail < self.fail_rate
        return 1 + self.jitter * (2 * delay - 1), fails, fault < self.fault_rate

    def due_s(self, tokens: int) -> float:
        """When so many tokens are generated, in seconds after the request, before jitter."""
        return self.ttft_s + (max(tokens - 1, 0) / self.tokens_per_s if self.tokens_per_s else 0)


class Refusal(Exception):
    """Answers the request with an HTTP status and OpenAI's error shape."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.status = status
        self.body = orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


class ConnectionDropped(Exception):
    """Goes through to the server, which then cuts the connection: the behaviour `drop_after_tokens`."""


class Message(BaseModel, strict=True):
    role: str
    content: str | list[dict[str, Any]] | None = None

    def text(self) -> str:
        """Text parts joined by line ends, as in vLLM; of other parts the type, so that none is overlooked."""
        if isinstance(self.content, list):
            return "\n".join(str(part.get("text", f"<{part.get('type')}>")) for part in self.content)
        return self.content or ""


class Chat(BaseModel, strict=True):
    """What a recorded expert obeys of a chat completion request; the rest is accepted unread."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    n: Literal[1] | None = None
    max_tokens: AtLeast1 | None = None
    max_completion_tokens: AtLeast1 | None = None
    stream: bool | None = None
    stream_options: dict[str, bool] | None = None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        try:
            chat = cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = [str(step) for step in first["loc"]]
            reason = f"{'.'.join(path) or 'body'}: {first['msg']}"
            raise Refusal(400, reason, None, path[0] if path else None) from None
        if chat.stream_options and not chat.stream:
            raise Refusal(400, "stream_options needs stream to be true", None, "stream_options")
        return chat

    def option(self, name: str) -> bool:
        return bool(self.stream_options and self.stream_options.get(name))

    def find(self, book: AnswerBook) -> Answer:
        for message in reversed(self.messages):
            answer = book.find(self.model, message.text())
            if answer and message.role not in {"assistant", "tool"}:
                return answer
        reason = f"no message is, as a whole, a question recorded for '{self.model}'"
        raise Refusal(404, reason, "question_not_recorded", "messages")


class _Line:
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

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def close(self) -> None:
        if self._gone:
            self._gone.cancel()


class _Leg:
    """One answer on its way out. `tokens`: generated so far; in a stream exactly these were sent."""

    def __init__(self, chat: Chat, answer: Answer, behaviour: Behaviour, line: _Line, number: int) -> None:
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


class RecordedExperts:
    """The ASGI application. `legs`: per model, counts where started = running + finished + failed + aborted.

    finished: answered whole; failed: ended by its behaviour; aborted: the client, or this server, went first.
    """

    def __init__(self, book: AnswerBook, behaviours: Mapping[str, Behaviour], api_key: str | None) -> None:
        if unknown := set(behaviours) - {*book.models, "*"}:
            raise ValueError(f"behaviours of models that are not in the book: {', '.join(sorted(unknown))}")
        usual = behaviours.get("*", Behaviour())
        self._book, self._behaviours = book, {model: behaviours.get(model, usual) for model in book.models}
        self._key = None if api_key is None else f"Bearer {api_key}".encode()
        self._numbers = count(1)
        counts = ("started", "running", "finished", "failed", "aborted", "output_tokens")
        self.legs = {model: dict.fromkeys(counts, 0) for model in book.models}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # servers take this as "not supported", also for lifespan
            raise NotImplementedError(scope["type"])
        line = _Line(receive, send)
        try:
            await self._serve(scope, line)
        except Refusal as refusal:
            await line.reply(refusal.status, refusal.body)
        except OSError:
            pass  # the client has gone; its leg is counted
        finally:
            line.close()

    async def _serve(self, scope: Scope, line: _Line) -> None:
        method, path = scope["method"], scope["path"].removeprefix(scope.get("root_path", ""))
        if path != "/health":
            self._authorise(scope)
        if (method, path) == ("POST", "/v1/chat/completions"):
            await self._chat(line)
        elif method == "GET" and (page := self._pages().get(path)):
            await line.reply(200, orjson.dumps(page))
        else:
            raise Refusal(404, f"there is no {method} {path}")

    def _pages(self) -> dict[str, object]:
        about = {"object": "model", "created": 0, "owned_by": "recorded"}
        models = {"object": "list", "data": [{"id": model, **about} for model in self.legs]}
        return {"/health": {"status": "ok"}, "/v1/models": models, "/internal/legs": self.legs}

    def _authorise(self, scope: Scope) -> None:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if self._key is not None and not hmac.compare_digest(given, self._key):
            raise Refusal(401, "the API key is missing or wrong", "invalid_api_key")

    async def _chat(self, line: _Line) -> None:
        chat = Chat.parse(await line.body())
        if chat.model not in self.legs:
            raise Refusal(404, f"the model '{chat.model}' does not exist", "model_not_found", "model")
        leg = _Leg(chat, chat.find(self._book), self._behaviours[chat.model], line, next(self._numbers))
        counts, end = self.legs[chat.model], "aborted"
        counts["started"] += 1
        counts["running"] += 1
        try:
            end = await leg.run()
        except ConnectionDropped:
            end = "failed"
            raise
        finally:
            counts["running"] -= 1
            counts[end] += 1
            counts["output_tokens"] += leg.tokens


def build_app(book: AnswerBook, behaviours: Mapping[str, Behaviour], *, api_key: str | None = None) -> RecordedExperts:
    """`behaviours`: by model, "*" for all others. Raises ValueError for a model that is not in the book."""
    return RecordedExperts(book, behaviours, api_key)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experts.recorded", description="Serve recorded answers.")
    add = parser.add_argument
    add("--book", action="append", required=True, metavar="PARQUET", help="recorded answers; may be repeated")
    add("--column", action="append", default=[], metavar="NAME=COLUMN", help="as in answer=answer_text")
    add("--behaviours", type=Path, metavar="YAML", help="by model, or '*' for all others: ttft_s and so on")
    add("--api-key-env", metavar="VARIABLE", help="where the key stands that clients must send")
    add("--host", default="127.0.0.1")
    add("--port", type=int, required=True)
    args = parser.parse_args()
    try:
        book = AnswerBook.from_parquet(args.book, dict(pair.split("=", 1) for pair in args.column))
        written = yaml.safe_load(args.behaviours.read_text()) if args.behaviours else None
        behaviours = TypeAdapter(dict[str, Behaviour]).validate_python(written or {})
        app = build_app(book, behaviours, api_key=os.environ[args.api_key_env] if args.api_key_env else None)
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
        parser.error(f"{type(error).__name__}: {error}")
    lean: dict[str, Any] = {"access_log": False, "proxy_headers": False, "ws": "none", "lifespan": "off"}
    uvicorn.run(app, host=args.host, port=args.port, timeout_keep_alive=75, timeout_graceful_shutdown=5, **lean)


if __name__ == "__main__":
    main()
