"""What replicas share besides money: keys, requests that must not be paid twice, and what was said of answers.

The contract; who keeps it is elsewhere. Times are unix seconds, of the caller's. `registry_sqlite.py` and
`registry_redis.py` keep to it; `tests/conformance/test_registry.py` runs over both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from router.config import ApiKey


class RegistryFull(Exception):
    """There is no room for more keys."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept. Beyond it, what whoever has most of it has had longest goes first (feedback: a tenth at once).

    `keys`: nothing goes, one more is refused. `kept_bytes`: of answers for retries, each with `CLAIM_BYTES` more.
    `asked`: requests that feedback may be given on. `feedback`: that moves profiles.
    """

    keys: int = 10_000
    kept_bytes: int = 268_435_456
    asked: int = 100_000
    feedback: int = 100_000


CLAIM_BYTES = 512  # what an idempotency key takes besides its answer


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
    """A response that a retry gets again: status, headers as they were sent, the body as it was written down."""

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
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """Feedback on one request. Numbers rise; `void`: a restore took it out of the count."""

    number: int
    asked: Asked
    right: bool
    at: float
    void: bool = False


@dataclass(frozen=True, slots=True)
class FeedbackState:
    """`last`: number of the latest feedback. `frozen`: only feedback up to this number moves profiles; None: all of it.
    `epoch`: rises when anything but more feedback changes what counts: whoever follows begins anew then.
    """

    last: int = 0
    frozen: int | None = None
    epoch: int = 0


class Registry(Protocol):
    """All methods raise LedgerUnavailable. Safe to call from many replicas at once."""

    async def put_key(self, key: Key) -> None:
        """Makes it, or replaces the one of that id. Raises RegistryFull."""

    async def keys(self) -> tuple[Key, ...]:
        """All that are kept, by id."""

    async def claim(self, scope: str, key: str, fingerprint: str, owner: str, now: float, until: float) -> Claim:
        """Takes an idempotency key of a caller (`scope`) for a request (`fingerprint`), unless somebody has it.

        A claim is its owner's until then, and anybody's afterwards. An owner is one run of one request.
        """

    async def keep_claim(self, scope: str, key: str, owner: str, until: float) -> None:
        """The owner is still at it."""

    async def answer(self, scope: str, key: str, owner: str, kept: Kept | None, until: float) -> None:
        """It was answered; retries get that until then. Of an owner that has lost its claim: nothing."""

    async def drop_claim(self, scope: str, key: str, owner: str) -> None:
        """It was not answered: a retry may run. Of an owner that has lost its claim, or has answered: nothing."""

    async def asked(self, requests: Sequence[Asked]) -> None:
        """Keeps them for feedback."""

    async def judge(self, request_id: str, source: str, right: bool, now: float) -> Judged | Literal["unknown", "done"]:
        """Counts feedback of the one who asked, once."""

    async def judged(self, after: int = 0, most: int = 10_000) -> tuple[Judged, ...]:
        """Feedback with numbers above `after`, in their order, void or not."""

    async def feedback_state(self) -> FeedbackState:
        """How it stands. Read after `judged`, it says whether that is whole."""

    async def freeze(self, frozen: bool) -> None:
        """Whether feedback moves profiles; what comes while it is frozen is kept and counts from the thaw on."""

    async def restore(self, number: int) -> bool:
        """What counted when feedback of this number was the latest counts again, and what comes from now on; nothing
        else. Where feedback is frozen it stays so, with that. False: there was none of that number yet.
        """

    async def prune(self, *, claims: float, asked: float, keys: float) -> None:
        """Forgets idempotency keys whose time ended before `claims`, requests asked before `asked`, keys that ended
        before `keys`; but for the one that ended last, where none is left: that there were keys must not be forgotten.
        """

    async def close(self) -> None:
        """What was asked for before is done first."""


def usable(keys: Sequence[Key], now: float) -> dict[str, Key]:
    """Digest -> key, of those that are good now."""
    return {key.digest: key for key in keys if key.made <= now and (key.ends is None or now < key.ends)}


def counting(restores: Sequence[tuple[int, int]]) -> tuple[tuple[int, float], ...]:
    """What feedback counts after restores, as ranges of numbers: above the first, up to the second.

    A version is what counted when feedback of its number came, so restores after that are no part of it, and the latest
    may bring back what an earlier one took away.

    Args:
        restores: (number that was restored, last number there was), in the order in which they happened.
    """
    found: list[tuple[int, float]] = []
    limit = float("inf")
    for number, last in reversed(restores):
        if last < limit:
            found.append((last, limit))
            limit = number
    return (*found, (0, limit))


def counts(number: int, ranges: Sequence[tuple[int, float]]) -> bool:
    return any(after < number <= upto for after, upto in ranges)
