"""Requests and tokens a minute: which buckets a request draws from and how much, what clients are told of them. Pure.

A request draws one request, and the tokens that it may use: its prompt and the bound of its answer. What it has used in
truth corrects that afterwards. Must not know who keeps the buckets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from router.caller import Caller
from router.errors import RateLimited
from router.ledger import Level, Rate
from router.records import Query

ANSWER_TOKENS = 256  # that an answer is expected to have where nothing bounds it
BYTES_PER_TOKEN = 3  # of prompts; rather too many tokens than too few
CODE = "rate_limit_exceeded"


def buckets(caller: Caller) -> tuple[Rate, ...]:
    """All that the caller's requests draw from: the tenant's and the key's."""
    found = []
    for account in caller.accounts:
        if account.requests_per_minute is not None:
            found.append(Rate(account.id, "requests", account.requests_per_minute))
        if account.tokens_per_minute is not None:
            found.append(Rate(account.id, "tokens", account.tokens_per_minute))
    return tuple(found)


def expected_tokens(query: Query, rates: Iterable[Rate]) -> int:
    """Tokens that the query may use: its prompt, and the bound of its answer, or what answers are like.

    Raises:
        RateLimited: a full bucket does not hold so many; sending it again does not help.
    """
    prompt = -(-query.prompt_bytes // BYTES_PER_TOKEN)
    bound = None if query.max_tokens is None else query.max_tokens * query.needs.samples
    wanted = prompt + (1 if bound is None else bound)
    tightest = min((r for r in rates if r.unit == "tokens"), key=lambda r: r.per_minute, default=None)
    if tightest is not None and wanted > tightest.per_minute:
        raise RateLimited(
            f"The request is too large for {_whose(tightest)}: it may use {wanted} tokens, and {tightest.per_minute} a "
            "minute are allowed. Shorten the prompt or lower max_tokens.",
            code=CODE,
            retryable=False,
        )
    if bound is not None:
        return wanted
    usual = prompt + ANSWER_TOKENS * query.needs.samples
    return usual if tightest is None else min(usual, tightest.per_minute)


def units(rates: Sequence[Rate], tokens: int) -> tuple[int, ...]:
    """What one request of so many tokens draws of each."""
    return tuple(1 if rate.unit == "requests" else tokens for rate in rates)


def headers(levels: Sequence[Level]) -> dict[str, str]:
    """As OpenAI sends them; of several buckets of one unit the one with the least left speaks."""
    found: dict[str, str] = {}
    for unit in ("requests", "tokens"):
        of_unit = [level for level in levels if level.rate.unit == unit]
        if of_unit:
            least = min(of_unit, key=lambda level: (level.remaining, level.rate.per_minute))
            found[f"x-ratelimit-limit-{unit}"] = str(least.rate.per_minute)
            found[f"x-ratelimit-remaining-{unit}"] = str(max(0, least.remaining))
            found[f"x-ratelimit-reset-{unit}"] = duration(least.reset_s)
    return found


def duration(seconds: float) -> str:
    """`120ms`, `1s`, `6m0s`, `1h0m0s`; rounded up to a millisecond below a minute, to a second above it."""
    ms = max(0, math.ceil(seconds * 1000 - 1e-6))
    if 0 < ms < 1000:
        return f"{ms}ms"
    if ms < 60_000:
        return f"{ms / 1000:g}s"
    minutes, rest = divmod(-(-ms // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was heard when a bucket was short: so many `units` of it can be had `until` then, not before.

    `levels`: of all buckets of that request, `at` that time. Seconds on the monotonic clock.
    """

    short: Rate
    units: int
    until: float
    levels: tuple[Level, ...]
    at: float

    def wait_s(self, wanted: int, now: float) -> float:
        """How long so many units must be waited for, at least; not above zero: the ledger has to be asked."""
        return self.until - now + (wanted - self.units) * 60 / self.short.per_minute

    def levels_at(self, now: float) -> tuple[Level, ...]:
        """What they are by now, if nobody has drawn from them."""
        return tuple(_later(level, now - self.at) for level in self.levels)


def refused(short: Rate, wait_s: float, levels: Sequence[Level]) -> RateLimited:
    """The error that says which bucket is short, and when to come again."""
    left = next((max(0, level.remaining) for level in levels if level.rate == short), 0)
    error = RateLimited(
        f"Rate limit reached for {_whose(short)}: {short.per_minute} {short.unit} per minute, {left} left. "
        f"Try again in {duration(wait_s)}.",
        code=CODE,
        retry_after_s=wait_s,
    )
    error.more_headers = headers(levels)
    return error


def _later(level: Level, seconds: float) -> Level:
    gained = math.floor(level.rate.per_minute * seconds / 60)
    remaining = min(level.rate.per_minute, level.remaining + gained)
    return replace(level, remaining=remaining, reset_s=max(0.0, level.reset_s - seconds))


def _whose(rate: Rate) -> str:
    level, _, name = rate.account.partition("/")
    return f"{level} '{name}'"
