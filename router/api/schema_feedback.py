"""`POST /v1/feedback`: what may be said of an answer, as JSON. No policy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.api.schema_shared import json_object, refusal

MAX_BYTES = 4096
MAX_DEPTH = 2
PREFIXES = ("chatcmpl-", "cmpl-")  # of ids of responses


class FeedbackRequest(BaseModel):
    """Whether an answer was right."""

    model_config = ConfigDict(extra="forbid", strict=True)
    request_id: Annotated[
        str, Field(min_length=1, max_length=128, description="`x-symposium-decision-id` of the answer, or its `id`.")
    ]
    right: bool


class Feedback(BaseModel):
    """It was taken. `counted`: it moves profiles now; else it is kept, as they are frozen."""

    object: Literal["feedback"] = "feedback"
    request_id: str
    right: bool
    counted: bool


def parse_feedback(raw: bytes) -> FeedbackRequest:
    """Raises BadRequest, with `param` naming the field."""
    try:
        given = FeedbackRequest.model_validate(json_object(raw, MAX_DEPTH))
    except ValidationError as error:
        raise refusal(error) from error
    for prefix in PREFIXES:
        if given.request_id.startswith(prefix):
            return given.model_copy(update={"request_id": given.request_id.removeprefix(prefix)})
    return given
