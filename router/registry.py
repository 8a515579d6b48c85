"""What replicas share besides money: keys, requests that must not be paid twice, and what was said of answers.

The contract; who keeps it is elsewhere. Times are unix seconds, of the caller's. `registry_sqlite.py` and
`registry_redis.py` keep to it; `tests/conformance/test_registry.py` runs over both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from router.config import ApiKey


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was made while the system ran. `id` names it wherever people look; `digest` is SHA-256 of all of it.

    `grants` is what a configuration would say of it. It is good from `made` until `ends`, if that is said.
    """

    id: str
    digest: str
    grants: ApiKey
    made: float
    ends: float | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A response that a retry gets again: status, headers as they were sent, the body's bytes."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """What has become of an idempotency key. `mine`: this caller runs it now. `running`: another one does.
    `done`: it was answered; `kept` is the answer, None where it was too large to be kept. `other`: it was used for
    another request.
    """

    state: Literal["mine", "running", "done", "other"]
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """An answered request, as far as feedback needs it. `experts`: who stood behind the answer; `source`: the key."""

    request_id: str
    source: str
    category: str | None
    skills: tuple[str, ...]
    experts: tuple[str, ...]
    versions: tuple[str, ...]  # of those experts, in their order
    at: float


@dataclass(frozen=True, slots=True)
class Judged:
    """Feedback on one request. Numbers rise; `void`: a restore took it out of the count."""

    number: int
    asked: Asked
    right: bool
    at: float
    void: bool = False


class Registry(Protocol):
    """All methods raise LedgerUnavailable. Safe to call from many replicas at once."""

    async def put_key(self, key: Key) -> None:
        """Makes it, or replaces the one of that id."""

    async def keys(self) -> tuple[Key, ...]:
        """All that are kept, by id."""

    async def claim(self, scope: str, key: str, fingerprint: str, owner: str, now: float, until: float) -> Claim:
        """Takes an idempotency key of a caller (`scope`) for a request (`fingerprint`), unless somebody has it.

        A claim is its owner's until then, and anybody's afterwards.
        """

    async def keep_claim(self, scope: str, key: str, owner: str, until: float) -> None:
        """The owner is still at it."""

    async def answer(self, scope: str, key: str, owner: str, kept: Kept | None, until: float) -> None:
        """It was answered; retries get that until then."""

    async def drop_claim(self, scope: str, key: str, owner: str) -> None:
        """It was not answered: a retry may run."""

    async def asked(self, request: Asked) -> None:
        """Keeps it for feedback."""

    async def judge(self, request_id: str, source: str, right: bool, now: float) -> Judged | Literal["unknown", "done"]:
        """Counts feedback of the one who asked, once."""

    async def judged(self, after: int = 0, most: int = 10_000) -> tuple[Judged, ...]:
        """Feedback with numbers above `after`, in their order, void or not."""

    async def feedback_state(self) -> tuple[bool, int, int]:
        """(frozen, the last number, how often a restore changed what counts: whoever follows begins anew then)."""

    async def freeze(self, frozen: bool) -> None:
        """Whether feedback moves profiles; what comes while it is frozen is kept and counts from the thaw on."""

    async def restore(self, number: int) -> int:
        """Only feedback up to this number, and what comes from now on, counts; how much was voided."""

    async def prune(self, before: float) -> None:
        """Answers kept for retries that ended before, requests that were asked before, keys that ended before."""

    async def close(self) -> None:
        """What was asked for before is done first."""


def usable(keys: Sequence[Key], now: float) -> dict[str, Key]:
    """Digest -> key, of those that are good now."""
    return {key.digest: key for key in keys if key.made <= now and (key.ends is None or now < key.ends)}
