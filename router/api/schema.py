"""The client's JSON -> a `Query`, or a 400 that names the field and the remedy. HTTP shapes only, no policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.config import RequestLimits
from router.errors import BadRequest
from router.records import JsonObject, Needs, Query

# Fields by which a client could steer an engine past the router: they are ours to set.
CONTROL_FIELDS: Final = frozenset(
    {
        "priority", "cache_salt", "request_id", "kv_transfer_params", "ec_transfer_params", "vllm_xargs",
        "chat_template", "chat_template_kwargs", "mm_processor_kwargs", "documents",
        "data_parallel_rank", "prompt_logprobs", "return_token_ids", "return_tokens_as_token_ids",
        "truncate_prompt_tokens", "add_generation_prompt", "continue_final_message", "add_special_tokens",
        "echo", "use_beam_search", "logits_processors", "session_id", "stream_interval", "media_io_kwargs",
        "truncation_side", "return_prompt_text", "return_token_offsets", "return_assistant_tokens_mask",
        "routed_experts_prompt_start", "logprob_token_ids",
    }
)  # fmt: skip
TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text", "refusal"})
OURS: Final = frozenset({"model", "stream", "stream_options", "symposium"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: str
    text: str | None = None


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if part.text is not None)

    def has_images(self) -> bool:
        return not isinstance(self.content, str) and any(p.type not in TEXT_PARTS for p in self.content or ())


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    include_usage: bool = False


class _Extension(BaseModel):
    """Our own object in the body."""

    model_config = ConfigDict(extra="forbid", strict=True)
    explain: bool = False
    progress: bool = False


class _ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: Literal["text", "json_object", "json_schema", "structural_tag", "grammar"]


class _Chat(BaseModel):
    """What of a chat request is checked here; everything else goes to the experts as it is."""

    model_config = ConfigDict(extra="allow", strict=True)
    model: Annotated[str, Field(min_length=1, max_length=256)]
    messages: Annotated[list[_Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[JsonObject] | None = None
    functions: list[JsonObject] | None = None
    response_format: _ResponseFormat | None = None
    structured_outputs: JsonObject | None = None
    symposium: _Extension | None = None


def parse_chat(raw: bytes, request_id: str, limits: RequestLimits) -> Query:
    """Bytes of `POST /v1/chat/completions` -> Query.

    Raises:
        BadRequest: with `param` naming the field.
    """
    body = _json_object(raw)
    _refuse_control_fields(body)
    try:
        chat = _Chat.model_validate(body)
    except ValidationError as error:
        raise _bad(error) from error
    _check_bounds(chat, limits)
    return Query(
        request_id=request_id,
        model=chat.model,
        text=_question(chat.messages),
        body={key: value for key, value in body.items() if key not in OURS},
        needs=_needs(chat),
        texts=(*(m.text() for m in chat.messages), *_written_into_the_prompt(body)),
        max_tokens=chat.max_completion_tokens or chat.max_tokens,
        stream=bool(chat.stream),
        include_usage=bool(chat.stream_options and chat.stream_options.include_usage),
        explain=bool(chat.symposium and chat.symposium.explain),
        progress=bool(chat.symposium and chat.symposium.progress),
    )


def _json_object(raw: bytes) -> JsonObject:
    try:
        body: Any = orjson.loads(raw)
        orjson.dumps(body)  # what is read deeper or larger than can be written must not fail later
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
    return body


def _refuse_control_fields(body: JsonObject) -> None:
    for name in sorted(CONTROL_FIELDS & body.keys()):
        raise BadRequest(
            f"'{name}' is set by the server and not accepted from clients; leave it out.",
            code="unsupported_parameter",
            param=name,
        )


def _bad(error: ValidationError) -> BadRequest:
    # Of a union every branch complains: the deepest complaint is about the branch that was meant.
    first = max(error.errors(include_url=False, include_input=False), key=lambda e: len(e["loc"]))
    names = [str(part) for part in first["loc"] if not _is_union_branch(part)]
    param = ".".join(names)
    if first["type"] == "missing":
        return BadRequest(f"'{param}' is required.", code="missing_required_parameter", param=param)
    return BadRequest(f"Invalid '{param}': {first['msg']}.", code="invalid_value", param=param)


def _is_union_branch(part: int | str) -> bool:
    """Pydantic puts the branch of a union it tried into the location; clients know only the fields."""
    return isinstance(part, str) and (part == "str" or "[" in part)


def _check_bounds(chat: _Chat, limits: RequestLimits) -> None:
    for param, value, most in (
        ("messages", len(chat.messages), limits.max_messages),
        ("n", chat.n or 1, limits.max_n),
        ("max_tokens", chat.max_tokens or 1, limits.max_tokens),
        ("max_completion_tokens", chat.max_completion_tokens or 1, limits.max_tokens),
    ):
        if value > most:
            raise BadRequest(f"'{param}' must be at most {most}.", code="invalid_value", param=param)
    if chat.symposium and chat.symposium.progress and not chat.stream:
        raise BadRequest(
            "Progress can only be told in a stream: set 'stream' to true, or leave 'symposium.progress' out.",
            code="invalid_value",
            param="symposium.progress",
        )
    for index, message in enumerate(chat.messages):
        if message.role in ("user", "system") and message.content is None:
            param = f"messages.{index}.content"
            raise BadRequest(f"'{param}' is required.", code="missing_required_parameter", param=param)


def _needs(chat: _Chat) -> Needs:
    return Needs(
        tools=bool(chat.tools or chat.functions),
        json_schema=bool(chat.structured_outputs or (chat.response_format and chat.response_format.type != "text")),
        images=any(m.has_images() for m in chat.messages),
        samples=chat.n or 1,
    )


def _written_into_the_prompt(body: JsonObject) -> Iterator[str]:
    """What chat templates render besides the messages' texts, as JSON."""
    calls = [m["tool_calls"] for m in body["messages"] if m.get("tool_calls")]
    for value in (body.get("tools"), body.get("functions"), body.get("response_format"), *calls):
        if value:
            yield orjson.dumps(value).decode()


def _question(messages: list[_Message]) -> str:
    """What is classified: the newest user message, or all text when no user speaks."""
    for message in reversed(messages):
        if message.role == "user" and (text := message.text().strip()):
            return text
    return "\n".join(m.text() for m in messages)
