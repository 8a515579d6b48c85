"""A completion's JSON -> a `Query`: prompts instead of messages, no tools. HTTP shapes only, no policy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from router.api.schema_shared import WHOLE, Listed, Request, passed_on, read, session_of
from router.config import RequestLimits
from router.errors import BadRequest
from router.records import Needs, Query
from router.structured import compile_format

DEFAULT_MAX_TOKENS: Final = 16  # OpenAI's own, of completions
_FOR_CHATS: Final = "belongs to chats; use POST /v1/chat/completions"
_TEXT_ONLY: Final = "is not accepted, because routing reads text; give 'prompt' as a string"
_MADE_FOR_CHATS: Final = ("messages", "tools", "functions", "tool_choice", "function_call")


def _no_token_ids(prompt: object) -> object:
    if isinstance(prompt, list) and any(type(item) in (int, list) for item in prompt):
        raise PydanticCustomError(
            "token_ids", "token ids are not accepted, because routing reads text; give a string or a list of strings"
        )
    return prompt


class CompletionRequest(Request):
    """The body of `POST /v1/completions`: what is checked; any other field goes to the experts as it is."""

    # `echo` is a completion's own field; what experts would drop without a word is refused.
    REFUSED: ClassVar[dict[str, str]] = {name: why for name, why in Request.REFUSED.items() if name != "echo"} | {
        **dict.fromkeys(_MADE_FOR_CHATS, _FOR_CHATS),
        "max_completion_tokens": "belongs to chats; here it is 'max_tokens'",
        "prompt_embeds": _TEXT_ONLY,
    }
    BOUNDED: ClassVar[dict[str, str]] = Request.BOUNDED | {"prompt": "max_n", "best_of": "max_n"}

    prompt: Annotated[str | Annotated[Listed[str], Field(min_length=1)], BeforeValidator(_no_token_ids)]
    best_of: Annotated[int, Field(ge=1), WHOLE] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5), WHOLE] | None = None
    suffix: str | None = None

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


def parse_completion(raw: bytes, request_id: str, limits: RequestLimits, session: str | None = None) -> Query:
    """Bytes of `POST /v1/completions` -> Query. `session` is the header of that name.

    Raises:
        BadRequest: with `param` naming the field.
    """
    asked, body = read(CompletionRequest, raw, limits)
    samples, prompts = asked.n or 1, asked.prompts
    generated = max(samples, asked.best_of or 1) * len(prompts)
    _check_samples(samples, asked.best_of, len(prompts), limits.max_n)
    return Query(
        request_id=request_id,
        model=asked.model,
        text="\n".join(prompts).strip(),
        body={"max_tokens": DEFAULT_MAX_TOKENS} | passed_on(body),  # said, so that nobody's default is another one
        needs=Needs(json_schema=asked.is_structured, samples=generated),
        texts=(*prompts, *([asked.suffix] if asked.suffix else [])),
        max_tokens=asked.max_tokens or DEFAULT_MAX_TOKENS,
        stream=bool(asked.stream),
        include_usage=asked.include_usage,
        explain=asked.options.explain,
        progress=asked.options.progress,
        kind="completion",
        aggregate=asked.options.aggregate,
        session=session_of(session),
        answer_format=compile_format(body),
        wish=asked.wish,
    )


def _check_samples(samples: int, best_of: int | None, prompts: int, most: int) -> None:
    """A request is as large as all that is generated for it."""
    if best_of is not None and best_of < samples:
        raise BadRequest("'best_of' must be at least 'n'.", code="invalid_value", param="best_of")
    if max(samples, best_of or 1) * prompts > most:
        param = "n" if best_of is None else "best_of"
        raise BadRequest(
            f"'{param}' times the number of prompts must be at most {most}.", code="invalid_value", param=param
        )
