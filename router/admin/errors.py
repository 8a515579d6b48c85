"""What only the admin side refuses with, beside the errors of `router/errors.py`."""

from __future__ import annotations

from router.errors import SymposiumError


class Conflict(SymposiumError):
    status, kind = 409, "invalid_request_error"


class PreconditionFailed(SymposiumError):
    status, kind = 412, "invalid_request_error"


class NotValid(SymposiumError):
    status, kind = 422, "invalid_request_error"


class PreconditionRequired(SymposiumError):
    status, kind = 428, "invalid_request_error"


class NotNow(SymposiumError):
    status, retryable, retry_after_s = 503, True, 5
