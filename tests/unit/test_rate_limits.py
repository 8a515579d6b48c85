"""Requests and tokens a minute: what is drawn from which bucket, and what clients are told."""

from __future__ import annotations

import pytest

from router.caller import Account, Caller
from router.errors import RateLimited
from router.ledger import Level, Rate
from router.rate_limits import (
    ANSWER_TOKENS,
    Refusal,
    buckets,
    duration,
    expected_tokens,
    headers,
    refused,
    units,
)
from router.records import Needs, Query

REQUESTS, TOKENS = Rate("tenant/acme", "requests", 60), Rate("tenant/acme", "tokens", 6000)
OF_KEY = Rate("key/ci", "requests", 10)


def query(text: str = "x" * 300, max_tokens: int | None = None, samples: int = 1) -> Query:
    return Query("req_1", "auto", text, {}, Needs(samples=samples), (text,), max_tokens)


def test_each_account_has_a_bucket_for_each_rate_that_it_has() -> None:
    """The tenant's and the key's; none where nothing is said."""
    accounts = (Account("tenant/acme", 1, None, 60, 6000), Account("key/ci", None, None, 10))
    assert buckets(Caller(accounts=accounts)) == (REQUESTS, TOKENS, OF_KEY)
    assert buckets(Caller()) == ()


def test_a_request_draws_one_request_and_its_tokens() -> None:
    """In the order of the buckets."""
    assert units((REQUESTS, TOKENS, OF_KEY), 355) == (1, 355, 1)


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        (query(), 100 + ANSWER_TOKENS),
        (query("äöü"), 2 + ANSWER_TOKENS),  # six bytes
        (query(max_tokens=7), 107),
        (query(max_tokens=7, samples=3), 121),
        (query(samples=2), 100 + 2 * ANSWER_TOKENS),
        (query("x" * 17_990), 6000),  # an answer without a bound takes what is left of a full bucket
    ],
)
def test_tokens_are_the_prompt_and_what_the_answer_may_take(asked: Query, tokens: int) -> None:
    """A third of the prompt's bytes, rounded up, and the answer's bound times the samples."""
    assert expected_tokens(asked, (REQUESTS, TOKENS)) == tokens


@pytest.mark.parametrize("asked", [query(max_tokens=5901), query("x" * 18_000)])
def test_what_a_full_bucket_does_not_hold_is_refused_for_good(asked: Query) -> None:
    """Sending it again cannot help, so clients are told not to."""
    with pytest.raises(RateLimited, match=r"too large for tenant 'acme'.*6001 tokens, and 6000 a minute") as caught:
        expected_tokens(asked, (REQUESTS, TOKENS))
    assert caught.value.headers() == {"x-should-retry": "false"}
    assert caught.value.code == "rate_limit_exceeded"


def test_headers_are_openais() -> None:
    """Limit, what is left, until when it is full: of the bucket with the least left; never below zero."""
    levels = (Level(REQUESTS, 20, 40.0), Level(TOKENS, -5, 60.05), Level(OF_KEY, 9, 6.0))
    assert headers(levels) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "6s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1m1s",
    }
    assert headers(()) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (0.9991, "1s"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (432.1, "7m13s"),
        (3600, "1h0m0s"),
        (90_061, "25h1m1s"),
    ],
)
def test_durations_read_as_openais(seconds: float, text: str) -> None:
    """Never less than it is."""
    assert duration(seconds) == text


def test_a_refusal_says_which_bucket_is_short_and_when_to_come_again() -> None:
    """429, with Retry-After in whole seconds, rounded up, and the levels' headers."""
    error = refused(OF_KEY, 1.2, (Level(REQUESTS, 20, 40.0), Level(OF_KEY, 0, 60.0)))
    assert (error.status, error.code, error.headers()["retry-after"]) == (429, "rate_limit_exceeded", "2")
    assert error.message == "Rate limit reached for key 'ci': 10 requests per minute, 0 left. Try again in 1.2s."
    assert error.headers()["x-ratelimit-remaining-requests"] == "0"


def test_a_bucket_that_was_short_is_known_until_it_can_have_filled() -> None:
    """So many units not before then; fewer sooner, more later; what it holds meanwhile is told."""
    known = Refusal(TOKENS, 500, until=102.0, levels=(Level(TOKENS, 300, 57.0),), at=100.0)
    assert known.wait_s(500, 100.0) == 2.0
    assert known.wait_s(300, 100.0) == 0.0
    assert known.wait_s(600, 101.0) == pytest.approx(2.0)
    assert known.wait_s(500, 102.5) < 0
    assert known.levels_at(101.0) == (Level(TOKENS, 400, 56.0),)
    assert known.levels_at(1000.0) == (Level(TOKENS, 6000, 0.0),)
