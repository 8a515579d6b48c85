"""How an application of ours answers with an error, Starlette's own ones too: in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.errors import LedgerDown, MethodNotAllowed, NotFound, SymposiumError
from router.ledger import LedgerUnavailable

Handler = Callable[[Request, Exception], Awaitable[Response]]


async def symposium_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SymposiumError)
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers())


async def http_error(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405."""
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowed.status:
        shaped: SymposiumError = MethodNotAllowed(f"{request.method} is not allowed here.", code="method_not_allowed")
    else:
        shaped = NotFound("No such path.", code="not_found")
    headers = dict(error.headers or {}) | shaped.headers()
    return JSONResponse(shaped.body(), status_code=shaped.status, headers=headers)


async def unavailable(_: Request, error: Exception) -> Response:
    """What replicas share does not answer; its own words may say where it is, and stay here."""
    assert isinstance(error, LedgerUnavailable)
    shaped = LedgerDown("What is kept for all replicas cannot be reached now; try again shortly.", code="ledger_down")
    return JSONResponse(shaped.body(), status_code=shaped.status, headers=shaped.headers())


HANDLERS: Mapping[type[Exception], Handler] = {
    HTTPException: http_error,
    SymposiumError: symposium_error,
    LedgerUnavailable: unavailable,
}
