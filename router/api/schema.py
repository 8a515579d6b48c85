"""The client's JSON -> a `Query`, or a 400 that names the field and the remedy. HTTP shapes only, no policy.

This file: chats. `schema_completion.py` has bare completions, `schema_shared.py` what both have in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from router.api.schema_shared import WHOLE, Listed, Request, passed_on, read, session_of
from router.config import RequestLimits
from router.errors import BadRequest
from router.records import JsonObject, Needs, Query
from router.structured import compile_format

TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text", "refusal"})
WITH_CONTENT: Final = ("system", "user")  # roles of which a message without content says nothing


class ContentPart(BaseModel):
    """One part of a message: text, or what only some experts can read."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: str
    text: str | None = None


class Message(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        json_schema_extra={
            "if": {"properties": {"role": {"enum": [*WITH_CONTENT]}}},
            "then": {"required": ["content"], "properties": {"content": {"type": ["string", "array"]}}},
        },
    )
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Listed[ContentPart] | None = None

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if part.text is not None)

    def has_images(self) -> bool:
        return not isinstance(self.content, str) and any(p.type not in TEXT_PARTS for p in self.content or ())


class ChatRequest(Request):
    """The body of `POST /v1/chat/completions`: what is checked; any other field goes to the experts as it is."""

    BOUNDED: ClassVar[dict[str, str]] = Request.BOUNDED | {
        "messages": "max_messages",
        "max_completion_tokens": "max_tokens",
    }

    messages: Annotated[Listed[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = None
    tools: Listed[JsonObject] | None = None
    functions: Listed[JsonObject] | None = None


def parse_chat(raw: bytes, request_id: str, limits: RequestLimits, session: str | None = None) -> Query:
    """Bytes of `POST /v1/chat/completions` -> Query. `session` is the header of that name.

    Raises:
        BadRequest: with `param` naming the field.
    """
    chat, body = read(ChatRequest, raw, limits)
    _check_contents(chat.messages)
    said = [text for m in chat.messages if m.role == "user" and (text := m.text().strip())]
    return Query(
        request_id=request_id,
        model=chat.model,
        text=said[-1] if said else "\n".join(m.text() for m in chat.messages),
        body=passed_on(body),
        needs=_needs(chat),
        texts=(*(m.text() for m in chat.messages), *_written_into_the_prompt(body)),
        max_tokens=chat.max_completion_tokens or chat.max_tokens,
        stream=bool(chat.stream),
        include_usage=chat.include_usage,
        explain=chat.options.explain,
        progress=chat.options.progress,
        aggregate=chat.options.aggregate,
        earlier=tuple(said[:-1]),
        session=session_of(session),
        answer_format=compile_format(body),
        wish=chat.wish,
    )


def _check_contents(messages: list[Message]) -> None:
    for index, message in enumerate(messages):
        if message.role in WITH_CONTENT and message.content is None:
            param = f"messages.{index}.content"
            raise BadRequest(f"'{param}' is required.", code="missing_required_parameter", param=param)


def _needs(chat: ChatRequest) -> Needs:
    return Needs(
        tools=bool(chat.tools or chat.functions),
        json_schema=chat.is_structured,
        images=any(m.has_images() for m in chat.messages),
        samples=chat.n or 1,
    )


def _written_into_the_prompt(body: JsonObject) -> Iterator[str]:
    """What chat templates render besides the messages' texts, as JSON."""
    calls = [m["tool_calls"] for m in body["messages"] if m.get("tool_calls")]
    for value in (body.get("tools"), body.get("functions"), body.get("response_format"), *calls):
        if value:
            yield orjson.dumps(value).decode()
