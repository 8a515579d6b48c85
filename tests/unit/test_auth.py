"""Who asks: keys against their hashes."""

from __future__ import annotations

import hashlib

import pytest

from router.api.auth import ANONYMOUS, authenticate
from router.config import ApiKey
from router.errors import Unauthorized


def key(name: str, secret: str) -> ApiKey:
    """A configured key."""
    return ApiKey(name=name, sha256=hashlib.sha256(secret.encode()).hexdigest())


KEYS = (key("ada", "sym-1"), key("bob", "sym-2"))


def test_without_keys_everybody_may_ask() -> None:
    """No keys configured: anonymous, whatever is sent."""
    assert authenticate(None, ()) == ANONYMOUS
    assert authenticate("Bearer nonsense", ()) == ANONYMOUS


@pytest.mark.parametrize("header", ["Bearer sym-2", "bearer sym-2", "BEARER  sym-2 "])
def test_a_known_key_says_who_asks(header: str) -> None:
    """The scheme is case-insensitive, blanks around the key do not count."""
    assert authenticate(header, KEYS) == "bob"


@pytest.mark.parametrize(
    "header",
    [
        None, "", "sym-2", "Bearer", "Bearer ", "Basic sym-2", "Bearer sym-", "Bearer sym-22", "Bearer SYM-2",
        "Bearer sym-1,sym-2", "Bearer \xff", f"Bearer {KEYS[0].sha256}",
    ],
)  # fmt: skip
def test_everything_else_is_refused(header: str | None) -> None:
    """No key, another scheme, part of a key, the hash itself: 401."""
    with pytest.raises(Unauthorized) as caught:
        authenticate(header, KEYS)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    """A mistyped key must not land in logs by way of the error."""
    with pytest.raises(Unauthorized) as caught:
        authenticate("Bearer sym-almost", KEYS)
    assert "almost" not in caught.value.message
