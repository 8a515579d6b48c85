"""What a client is told when it is refused: one table."""

from __future__ import annotations

import pytest

from router import errors
from router.errors import SymposiumError

TABLE: list[tuple[type[SymposiumError], int, str, str, str | None]] = [
    # error, status, OpenAI's type, x-should-retry, retry-after
    (errors.BadRequest, 400, "invalid_request_error", "false", None),
    (errors.BodyTooLarge, 413, "invalid_request_error", "false", None),
    (errors.Unauthorized, 401, "authentication_error", "false", None),
    (errors.Forbidden, 403, "permission_error", "false", None),
    (errors.NotFound, 404, "invalid_request_error", "false", None),
    (errors.MethodNotAllowed, 405, "invalid_request_error", "false", None),
    (errors.Overloaded, 429, "rate_limit_error", "true", "1"),
    (errors.RateLimited, 429, "rate_limit_error", "true", "1"),
    (errors.InsufficientQuota, 429, "insufficient_quota", "false", None),
    (errors.NoExpertAvailable, 503, "server_error", "true", "5"),
    (errors.NotCurrent, 503, "server_error", "true", "1"),
    (errors.ShuttingDown, 503, "server_error", "true", "5"),
    (errors.LedgerDown, 503, "server_error", "true", "5"),
    (errors.DeadlineUnreachable, 504, "server_error", "false", None),
    (errors.DeadlineExceeded, 504, "server_error", "false", None),
    (errors.ExpertsFailed, 502, "server_error", "true", None),
]


@pytest.mark.parametrize(("kind", "status", "openai_type", "retry", "after"), TABLE)
def test_each_error_knows_its_answer(
    kind: type[SymposiumError], status: int, openai_type: str, retry: str, after: str | None
) -> None:
    """Status, OpenAI's error object, and whether the openai client may send the same request again."""
    error = kind("No.", code="some_code", param="n")
    assert error.status == status
    assert error.body() == {"error": {"message": "No.", "type": openai_type, "param": "n", "code": "some_code"}}
    headers = {"x-should-retry": retry} | ({} if after is None else {"retry-after": after})
    assert error.headers() == headers


def test_one_error_may_say_more_than_its_kind() -> None:
    """Whether, and when, this very request may be sent again; and what the client may act on."""
    error = errors.InsufficientQuota("No.", code="c", retryable=True, retry_after_s=1.2, details={"cheapest": 3})
    assert error.headers() == {"x-should-retry": "true", "retry-after": "2"}
    assert error.body()["error"] == {"message": "No.", "type": error.kind, "param": None, "code": "c", "cheapest": 3}
    never = errors.RateLimited("No.", code="c", retryable=False)
    assert never.headers() == {"x-should-retry": "false"}


def test_the_table_is_complete() -> None:
    """A new error of `router.errors` has to enter the table."""

    def below(kind: type[SymposiumError]) -> set[type[SymposiumError]]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    known = {kind for kind in below(SymposiumError) if kind.__module__ == errors.__name__}
    assert known - {SymposiumError} == {row[0] for row in TABLE}
