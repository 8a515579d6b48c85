"""Recorded experts: recorded answers of real models behind the HTTP contract that every expert has.

The door: the ASGI application over a book of answers and the behaviours laid over it, and its command
(`python -m experts.recorded`). Must not know the router, Ray or vLLM: to callers it is an OpenAI endpoint.

    recorded_book   answers by model and question; delays, failures, stalls, cuts, garbage
    recorded_chat   the request -> which answer is meant, or a refusal
    recorded_leg    the answer on its way out
"""

from __future__ import annotations

import argparse
import hmac
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import uvicorn
import yaml
from pydantic import TypeAdapter
from starlette.types import Receive, Scope, Send

from experts.recorded_book import AnswerBook, Behaviour
from experts.recorded_chat import Chat, Refusal
from experts.recorded_leg import ConnectionDropped, Leg, Line, Places

BEHAVIOURS = TypeAdapter(dict[str, Behaviour])  # by model; "*" for all others


class RecordedExperts:
    """The ASGI application. `legs`: per model, counts where started = running + finished + failed + aborted.

    finished: answered whole; failed: ended by its behaviour; aborted: the client, or this server, went first.
    PUT /internal/behaviours takes JSON of the same form as the file, so that a fault can begin and end at run time.
    """

    def __init__(self, book: AnswerBook, behaviours: Mapping[str, Behaviour], api_key: str | None) -> None:
        self._book = book
        self._behaviours = self._of_each(behaviours)
        self._key = None if api_key is None else f"Bearer {api_key}".encode()
        self._numbers = count(1)
        self._places: dict[str, Places] = {}
        counts = ("started", "running", "finished", "failed", "aborted", "output_tokens")
        self.legs = {model: dict.fromkeys(counts, 0) for model in book.models}

    def _of_each(self, behaviours: Mapping[str, Behaviour]) -> dict[str, Behaviour]:
        """Raises ValueError for a model that is not in the book."""
        if unknown := set(behaviours) - {*self._book.models, "*"}:
            raise ValueError(f"behaviours of models that are not in the book: {', '.join(sorted(unknown))}")
        usual = behaviours.get("*", Behaviour())
        return {model: behaviours.get(model, usual) for model in self._book.models}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])  # servers take it as "not supported"
        line = Line(receive, send)
        try:
            await self._serve(scope, line)
        except Refusal as refusal:
            await line.reply(refusal.status, refusal.body)
        except OSError:
            pass  # the client has gone; its leg is counted
        finally:
            line.close()

    async def _serve(self, scope: Scope, line: Line) -> None:
        method, path = scope["method"], scope["path"].removeprefix(scope.get("root_path", ""))
        if path != "/health":
            self._authorise(scope)
        if (method, path) == ("POST", "/v1/chat/completions"):
            await self._chat(line)
        elif (method, path) == ("PUT", "/internal/behaviours"):
            await self._behave(line)
        elif method == "GET" and (page := self._pages().get(path)):
            await line.reply(200, orjson.dumps(page))
        else:
            raise Refusal(404, f"there is no {method} {path}")

    async def _behave(self, line: Line) -> None:
        """All behaviours anew, as at the start: a model that is not named gets that of "*", else none. Legs that
        run keep theirs.
        """
        try:
            self._behaviours = self._of_each(BEHAVIOURS.validate_json(await line.body()))
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        await line.reply(200, b"{}")

    def _pages(self) -> dict[str, object]:
        about = {"object": "model", "created": 0, "owned_by": "recorded"}
        models = {"object": "list", "data": [{"id": model, **about} for model in self.legs]}
        return {"/health": {"status": "ok"}, "/v1/models": models, "/internal/legs": self.legs}

    def _authorise(self, scope: Scope) -> None:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if self._key is not None and not hmac.compare_digest(given, self._key):
            raise Refusal(401, "the API key is missing or wrong", "invalid_api_key")

    async def _chat(self, line: Line) -> None:
        chat = Chat.parse(await line.body())
        if chat.model not in self.legs:
            raise Refusal(404, f"the model '{chat.model}' does not exist", "model_not_found", "model")
        answer, behaviour = chat.find(self._book), self._behaviours[chat.model]
        counts, end, leg = self.legs[chat.model], "aborted", None
        counts["started"] += 1
        counts["running"] += 1
        try:
            async with self._place(chat.model, behaviour, line):
                leg = Leg(chat, answer, behaviour, line, next(self._numbers))
                end = await leg.run()
        except ConnectionDropped:
            end = "failed"
            raise
        finally:
            counts["running"] -= 1
            counts[end] += 1
            counts["output_tokens"] += leg.tokens if leg is not None else 0

    @asynccontextmanager
    async def _place(self, model: str, behaviour: Behaviour, line: Line) -> AsyncIterator[None]:
        """One of the model's slots, where it has a number of them. Raises OSError once the client goes."""
        if behaviour.slots is None:
            yield
            return
        places = self._places.setdefault(model, Places())
        await places.enter(behaviour.slots, line)
        try:
            yield
        finally:
            places.leave()


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
        behaviours = BEHAVIOURS.validate_python(written or {})
        app = build_app(book, behaviours, api_key=os.environ[args.api_key_env] if args.api_key_env else None)
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
        parser.error(f"{type(error).__name__}: {error}")
    lean: dict[str, Any] = {"access_log": False, "proxy_headers": False, "ws": "none", "lifespan": "off"}
    uvicorn.run(app, host=args.host, port=args.port, timeout_keep_alive=75, timeout_graceful_shutdown=5, **lean)


if __name__ == "__main__":
    main()
