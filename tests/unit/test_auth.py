"""Who asks: what of the header is a token."""

from __future__ import annotations

import pytest

from router.api.auth import bearer


@pytest.mark.parametrize("header", ["Bearer sym-2", "bearer sym-2", "BEARER  sym-2 "])
def test_a_bearer_token_is_found(header: str) -> None:
    """The scheme is case-insensitive, blanks around the key do not count."""
    assert bearer(header) == "sym-2"


@pytest.mark.parametrize("header", [None, "", "sym-2", "Bearer", "Bearer ", "Bearer   ", "Basic sym-2"])
def test_everything_else_is_none(header: str | None) -> None:
    """No header, another scheme, nothing behind it."""
    assert bearer(header) is None
