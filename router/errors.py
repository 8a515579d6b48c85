"""Everything a request can be refused with, as one tree. Each error knows its HTTP status, OpenAI's type and
code, the parameter at fault, and whether sending the same request again can help.

    SymposiumError
    ├── BadRequest              400 (or 413): the client's mistake, named by `param`
    ├── Unauthorized            401
    ├── NotFound                404 unknown model or path
    ├── Overloaded              429 our own bounds; with Retry-After
    ├── NoExpertAvailable       503 no capable expert is up; with Retry-After
    ├── NotCurrent              503 this replica could not follow a change of the configuration; with Retry-After
    ├── ShuttingDown            503 the router is on its way down; with Retry-After
    ├── NotCurrent              503 this replica could not follow a change of the configuration; with Retry-After
    ├── ShuttingDown            503 new requests are not taken any more; with Retry-After
    └── ExpertsFailed           502 every expert that was asked failed
"""

from __future__ import annotations

from typing import ClassVar


class SymposiumError(Exception):
    """Base: an answer to the client, not a crash."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param

    def body(self) -> dict[str, dict[str, str | None]]:
        """OpenAI's error object."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """`x-should-retry` is read by the openai client, which else repeats 408, 409, 429 and >= 500."""
        headers = {"x-should-retry": "true" if self.retryable else "false"}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        return headers


class BadRequest(SymposiumError):
    status, kind = 400, "invalid_request_error"


class BodyTooLarge(BadRequest):
    status = 413


class Unauthorized(SymposiumError):
    status, kind = 401, "authentication_error"


class NotFound(SymposiumError):
    status, kind = 404, "invalid_request_error"


class MethodNotAllowed(SymposiumError):
    status, kind = 405, "invalid_request_error"


class Overloaded(SymposiumError):
    status, kind, retryable, retry_after_s = 429, "rate_limit_error", True, 1


class NoExpertAvailable(SymposiumError):
    status, retryable, retry_after_s = 503, True, 5


class NotCurrent(SymposiumError):
    status, retryable, retry_after_s = 503, True, 1


class ShuttingDown(SymposiumError):
    status, retryable, retry_after_s = 503, True, 5


class ExpertsFailed(SymposiumError):
    status, retryable = 502, True
