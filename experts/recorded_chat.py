"""What a client of recorded experts asks: OpenAI's chat request, as far as they obey it, or a refusal. Pure.

* Match: the newest message, not by `assistant` or `tool`, whose whole text is exactly a recorded question.
* Sampling parameters are accepted and change nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, Field, ValidationError

from experts.recorded_book import Answer, AnswerBook, AtLeast1


class Refusal(Exception):
    """Answers the request with an HTTP status and OpenAI's error shape."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.status = status
        self.body = orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


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
