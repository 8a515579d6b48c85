"""The small book that the tests of recorded experts serve over real HTTP, and ways to ask it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from experts.recorded_book import Behaviour
from tests.support import CHAT, Recorded, eventually, openai_client, raw_post, recorded

QUESTION = "What is 6 × 7?\nAnswer with a number."
ANSWER = "Six times seven — as everyone knows — is 42. ✓"
ROWS = [
    (QUESTION, "sage", ANSWER, 12),
    ("Who wrote Faust?", "sage", "Goethe did.", 4),
    (QUESTION, "fool", "41, surely.", 5),
]


@dataclass(frozen=True, slots=True)
class Running:
    """A served book: its address, and ways to ask it."""

    server: Recorded

    @property
    def http(self) -> httpx.Client:
        return self.server.http

    def openai(self, key: str = "none") -> openai.OpenAI:
        return openai_client(self.server.url, key)

    def post(self, body: object) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(CHAT, content=content)

    def counts(self, model: str = "sage") -> dict[str, int]:
        return self.server.counts(model)

    def hang_up_on(self, body: object) -> None:
        """Asks, and closes the connection as soon as the leg runs."""
        with raw_post(self.server.url, body):
            eventually(lambda: self.counts()["running"] == 1)


@contextmanager
def serving(behaviours: Mapping[str, Behaviour], api_key: str | None = None) -> Iterator[Running]:
    with recorded(ROWS, behaviours, api_key) as server:
        yield Running(server)


def ask(question: Any = QUESTION, model: Any = "sage", **options: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": question}], **options}
