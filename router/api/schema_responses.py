"""What responses look like, for the OpenAPI document: nothing is checked with these, experts' fields pass through."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.records import JsonObject
from router.usage import By

DECIMAL = r"^-?\d+\.\d{2,9}$"


class _Object(BaseModel):
    model_config = ConfigDict(extra="allow")


class Usage(_Object):
    """Tokens of all experts that worked on the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class _Choice(_Object):
    index: int
    finish_reason: str | None = None


class AssistantMessage(_Object):
    """What one choice says; tool calls and other fields as the expert wrote them."""

    role: Literal["assistant"]
    content: str | None = None


class ChatChoice(_Choice):
    """One answer."""

    message: AssistantMessage


class ChatDelta(_Choice):
    """A piece of one answer."""

    delta: JsonObject


class TextChoice(_Choice):
    """One continuation of a prompt, or a piece of one."""

    text: str


class _Response(_Object):
    id: str
    created: int
    model: str


class _Whole(_Response):
    usage: Usage
    symposium: JsonObject


class _Piece(_Response):
    usage: Usage | None = None
    symposium: JsonObject | None = None


class ChatCompletion(_Whole):
    """A whole answer. `symposium` says what it cost and, where that was asked for, how it came about."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class ChatCompletionChunk(_Piece):
    """What one event of a stream has in `data`. Those without choices tell of progress, usage and reasons."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChatDelta]


class TextCompletion(_Whole):
    """Whole continuations; `symposium` as for chats."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


class TextCompletionChunk(_Piece):
    """The same in a stream, as for chats."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


class Model(_Object):
    """A policy or an expert; `symposium` says what is known of it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    symposium: JsonObject


class ModelList(_Object):
    """Every policy, then every expert."""

    object: Literal["list"]
    data: list[Model]


class UsageSum(BaseModel):
    """What was used, and what it cost: US dollars as decimals. `overrun_usd`: used beyond what limits allowed, and not
    charged. `estimated_share`: the part of the charge whose tokens nobody counted exactly. A row says what it is of.
    """

    model_config = ConfigDict(extra="allow")
    requests: int
    calls: int
    prompt_tokens: int
    output_tokens: int
    usd: Annotated[str, Field(pattern=DECIMAL)]
    overrun_usd: Annotated[str, Field(pattern=DECIMAL)]
    estimated_share: float


class UsageReport(BaseModel):
    """What a tenant has used in some days (UTC, the last one included)."""

    model_config = ConfigDict(extra="forbid")
    object: Literal["usage"]
    tenant: str | None
    first: Annotated[str, Field(alias="from")]
    until: str
    by: By
    data: list[UsageSum]
    total: UsageSum


class ErrorDetails(BaseModel):
    """Why, in words and as a code; `param` is the way to the field at fault. Some codes say more, to be acted upon."""

    model_config = ConfigDict(extra="allow")
    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """Every refusal and failure has this shape; in a stream that has begun it is one more event."""

    model_config = ConfigDict(extra="forbid")
    error: ErrorDetails


class Health(BaseModel):
    """The process is up."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Whether questions can be answered now."""

    ready: bool


class Version(BaseModel):
    """Which release runs which configuration; `profiles`: number of the last feedback that moved them, or 0."""

    version: str
    config: str
    profiles: int
