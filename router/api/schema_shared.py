"""What chat and completions have in common: reading JSON, shared fields, bounds, and refusals that name the field.

Knows neither messages nor prompts, and no policy.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from router.budget import NO_WISH, Wish
from router.config import RequestLimits
from router.errors import BadRequest
from router.records import Aggregate, JsonObject

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
CONTROLLED: Final = "is set by the server and not accepted from clients; leave it out"
OURS: Final = frozenset({"model", "stream", "stream_options", "symposium"})
SESSION_HEADER: Final = "x-session-id"
SESSION: Final = r"^[ -~]{1,256}$"
KEY_HEADER: Final = "idempotency-key"
KEY_PATTERN: Final = r"^[ -~]{1,255}$"
NO_OBJECT: Final = {"model_type", "dict_type"}  # pydantic's names; its words would be Python's


def _integral(value: object) -> object:
    """JSON has one kind of number: 1.0 is the integer 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE: Final = BeforeValidator(_integral)  # after the bounds, or JSON Schema would not know of them


class StreamOptions(BaseModel):
    """How a stream ends."""

    model_config = ConfigDict(extra="allow", strict=True)
    include_usage: Annotated[bool, Field(description="One last chunk carries the usage of all experts.")] = False


class BudgetOptions(BaseModel):
    """What a request may spend; each bound that its policy, key or tenant has holds, too."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    deadline_ms: Annotated[float, Field(gt=0, description="From its arrival to the end of the answer.")] | None = None
    max_cost_usd: Annotated[float, Field(gt=0, description="Of all experts' calls together.")] | None = None
    max_tokens: Annotated[int, Field(ge=1, description="That all experts together may generate."), WHOLE] | None = None
    max_experts: Annotated[int, Field(ge=1, description="That may be convened."), WHOLE] | None = None
    min_confidence: (
        Annotated[float, Field(gt=0, lt=1, description="P(right) from which no more is spent on being surer.")] | None
    ) = None


class SymposiumOptions(BaseModel):
    """Symposium's own object in a request: how the router is to go about it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    explain: Annotated[bool, Field(description="The response says how it came about.")] = False
    progress: Annotated[bool, Field(description="The stream tells the route as it happens; needs `stream`.")] = False
    aggregate: Annotated[
        Aggregate | None, Field(description="How several answers become one, instead of as the policy says.")
    ] = None
    budget: Annotated[BudgetOptions | None, Field(description="What this request may spend at most.")] = None


class ResponseFormat(BaseModel):
    """What the answer must keep to."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: Literal["text", "json_object", "json_schema", "structural_tag", "grammar"]


def _without_refused(schema: JsonObject, model: type[Request]) -> None:
    """Writes into a model's JSON Schema what it refuses by name."""
    schema["propertyNames"] = {"not": {"enum": sorted(model.REFUSED)}}


class Request(BaseModel):
    """The fields of both endpoints that are checked here; any other goes to the experts as it is."""

    model_config = ConfigDict(extra="allow", strict=True, json_schema_extra=_without_refused)
    REFUSED: ClassVar[dict[str, str]] = dict.fromkeys(CONTROL_FIELDS, CONTROLLED)  # field -> why, and what instead
    BOUNDED: ClassVar[dict[str, str]] = {"n": "max_n", "max_tokens": "max_tokens"}  # field -> name of its limit

    model: Annotated[str, Field(min_length=1, max_length=256, description="A policy or an expert, see /v1/models.")]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1), WHOLE] | None = None
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: JsonObject | None = None
    symposium: SymposiumOptions | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def options(self) -> SymposiumOptions:
        return self.symposium or SymposiumOptions()

    @property
    def wish(self) -> Wish:
        """What it says of its own budget."""
        said = self.options.budget
        return Wish(**said.model_dump()) if said is not None else NO_WISH

    @property
    def is_structured(self) -> bool:
        return bool(self.structured_outputs or (self.response_format and self.response_format.type != "text"))


AnyRequest = TypeVar("AnyRequest", bound=Request)
Item = TypeVar("Item")
# A list of which only the first wrong item is found: all of a full body's would take seconds.
Listed = Annotated[list[Item], Field(fail_fast=True)]


def read(model: type[AnyRequest], raw: bytes, limits: RequestLimits) -> tuple[AnyRequest, JsonObject]:
    """The checked request, and the JSON that it was, with integers where they are meant.

    Raises:
        BadRequest: with `param` naming the field.
    """
    body = json_object(raw, limits.max_depth)
    for name in sorted(model.REFUSED.keys() & body.keys()):
        raise BadRequest(f"'{name}' {model.REFUSED[name]}.", code="unsupported_parameter", param=name)
    try:
        request = model.model_validate(body)
    except ValidationError as error:
        raise refusal(error) from error
    _check_bounds(request, limits)
    for name in body.keys() & model.model_fields.keys():
        if isinstance(body[name], float) and isinstance(whole := getattr(request, name), int):
            body[name] = whole
    return request, body


def passed_on(body: JsonObject) -> JsonObject:
    """The client's JSON without what is the router's."""
    return {key: value for key, value in body.items() if key not in OURS}


def session_of(raw: str | None) -> str | None:
    """The client's own name for the conversation. Raises BadRequest."""
    if raw is not None and not re.fullmatch(SESSION, raw):
        raise BadRequest(
            f"'{SESSION_HEADER}' must be 1 to 256 printable ASCII characters.",
            code="invalid_value",
            param=SESSION_HEADER,
        )
    return raw


def json_object(raw: bytes, max_depth: int) -> JsonObject:
    """Raises BadRequest for what is no JSON object, or has objects and lists inside each other deeper than that."""
    try:
        body: Any = orjson.loads(raw)
        if raw.count(b"{") + raw.count(b"[") > max_depth and _deeper(body, max_depth):
            raise BadRequest(f"Objects and lists must be nested at most {max_depth} deep.", code="body_too_deep")
        orjson.dumps(body)  # what is read deeper or larger than can be written must not fail later
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
    return body


def _deeper(body: Any, levels: int) -> bool:
    """Level by level, each container once."""
    inside = [body] if isinstance(body, dict | list) else []
    for _ in range(levels):
        items = (item for each in inside for item in (each.values() if isinstance(each, dict) else each))
        inside = [item for item in items if isinstance(item, dict | list)]
        if not inside:
            return False
    return True


def refusal(error: ValidationError) -> BadRequest:
    """What is told of a body that is not as it should be: the first thing that is wrong."""
    # Of a union every branch complains: the deepest complaint is about the branch that was meant, or else the one
    # to which the value's type was right.
    errors = error.errors(include_url=False, include_input=False)
    first = max(errors, key=lambda e: (len(e["loc"]), not e["type"].endswith("_type")))
    names = [str(part) for part in first["loc"] if not _is_union_branch(part)]
    param = ".".join(names)
    if first["type"] == "missing":
        return BadRequest(f"'{param}' is required.", code="missing_required_parameter", param=param)
    why = "Input should be an object" if first["type"] in NO_OBJECT else first["msg"]
    return BadRequest(f"Invalid '{param}': {why}.", code="invalid_value", param=param)


def _is_union_branch(part: int | str) -> bool:
    """Pydantic puts the branch of a union it tried into the location; clients know only the fields."""
    return isinstance(part, str) and (part == "str" or "[" in part)


def _check_bounds(request: Request, limits: RequestLimits) -> None:
    for param, limit in request.BOUNDED.items():
        value, most = getattr(request, param), getattr(limits, limit)
        if isinstance(value, str) or value is None:
            continue
        if (len(value) if isinstance(value, Sized) else value) > most:
            items = " items" if isinstance(value, Sized) else ""
            raise BadRequest(f"'{param}' must be at most {most}{items}.", code="invalid_value", param=param)
    if request.options.progress and not request.stream:
        raise BadRequest(
            "Progress can only be told in a stream: set 'stream' to true, or leave 'symposium.progress' out.",
            code="invalid_value",
            param="symposium.progress",
        )
