"""Everything a request can be refused with, as one tree. Each error knows its HTTP status, OpenAI's type and
code, the parameter at fault, and whether sending the same request again can help.

    SymposiumError
    ├── BadRequest              400 (or 413): the client's mistake, named by `param`
    ├── Unauthorized            401
    ├── Forbidden               403 the key is not for this
    ├── NotFound                404 unknown model or path
    ├── Overloaded              429 our own bounds; with Retry-After
    ├── RateLimited             429 requests or tokens a minute, or money that others hold now; with Retry-After
    ├── InsufficientQuota       429 the money is spent, or would not do
    ├── NoExpertAvailable       503 no capable expert is up; with Retry-After
    ├── NotCurrent              503 this replica could not follow a change of the configuration; with Retry-After
    ├── ShuttingDown            503 new requests are not taken any more; with Retry-After
    ├── LedgerDown              503 money cannot be accounted for now; with Retry-After
    ├── DeadlineUnreachable     504 refused before anything was spent: no plan would be through in time
    ├── DeadlineExceeded        504 nothing had come by the deadline
    └── ExpertsFailed           502 every expert that was asked failed
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar


class SymposiumError(Exception):
    """Base: an answer to the client, not a crash."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False
    retry_after_s: ClassVar[float | None] = None

    def __init__(
        self,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after_s: float | None = None,
        retryable: bool | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """`details`: what a client may act on besides; the other two say more than the class does."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.details = details or {}
        self.after_s = self.retry_after_s if retry_after_s is None else retry_after_s
        self.again = self.retryable if retryable is None else retryable
        self.more_headers: Mapping[str, str] = {}
        self.why: str | None = None  # a word for metrics and the decision log, where a budget or a rate refuses

    def body(self) -> dict[str, dict[str, Any]]:
        """OpenAI's error object, with the details beside its own fields."""
        told = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": {**self.details, **told}}

    def headers(self) -> dict[str, str]:
        """`x-should-retry` is read by the openai client, which else repeats 408, 409, 429 and >= 500."""
        headers = {"x-should-retry": "true" if self.again else "false", **self.more_headers}
        if self.after_s is not None and self.again:
            headers["retry-after"] = str(max(1, math.ceil(self.after_s)))
        return headers


class BadRequest(SymposiumError):
    status, kind = 400, "invalid_request_error"


class BodyTooLarge(BadRequest):
    status = 413


class Unauthorized(SymposiumError):
    status, kind = 401, "authentication_error"


class Forbidden(SymposiumError):
    status, kind = 403, "permission_error"


class NotFound(SymposiumError):
    status, kind = 404, "invalid_request_error"


class MethodNotAllowed(SymposiumError):
    status, kind = 405, "invalid_request_error"


class Overloaded(SymposiumError):
    status, kind, retryable, retry_after_s = 429, "rate_limit_error", True, 1


class RateLimited(SymposiumError):
    status, kind, retryable, retry_after_s = 429, "rate_limit_error", True, 1


class InsufficientQuota(SymposiumError):
    status, kind = 429, "insufficient_quota"


class NoExpertAvailable(SymposiumError):
    status, retryable, retry_after_s = 503, True, 5


class NotCurrent(SymposiumError):
    status, retryable, retry_after_s = 503, True, 1


class ShuttingDown(SymposiumError):
    status, retryable, retry_after_s = 503, True, 5


class LedgerDown(SymposiumError):
    status, retryable, retry_after_s = 503, True, 5


class DeadlineUnreachable(SymposiumError):
    status = 504


class DeadlineExceeded(SymposiumError):
    status = 504


class ExpertsFailed(SymposiumError):
    status, retryable = 502, True
