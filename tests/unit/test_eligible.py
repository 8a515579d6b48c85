"""Hard filters: who cannot take a query, and the error when nobody can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from experts.spec import Capabilities
from router.eligible import BYTES_PER_MESSAGE_MARKERS, RESTING, exclusions, nobody, to_count
from router.errors import BadRequest, NoExpertAvailable
from router.records import Needs, Query
from tests.unit.make import expert, query

NEVER: dict[str, int] = {}  # bytes must have been enough to tell: looking a count up fails


def excluded(
    asked: Query,
    *,
    up: bool = True,
    allowed: tuple[str, ...] = ("ada",),
    tokens: Mapping[str, int] = NEVER,
    **fields: Any,
) -> str | None:
    """Why `ada`, with these fields, must not be asked."""
    return exclusions(asked, {"ada": expert(**fields)}, allowed, {"ada": up}, tokens).get("ada")


def test_whoever_fits_is_not_in_it() -> None:
    """An expert that is up, allowed and able is not excluded."""
    assert exclusions(query(), {"ada": expert()}, ["ada"], {"ada": True}, NEVER) == {}


def test_only_the_policys_experts_are_asked() -> None:
    """Others are out by policy, before anything else is looked at."""
    assert excluded(query(), allowed=("bob",), up=False) == "policy"


def test_an_expert_whose_server_does_not_answer_is_down() -> None:
    """Not up, or never heard of: down."""
    assert excluded(query(), up=False) == "down"
    assert exclusions(query(), {"ada": expert()}, ["ada"], {}, NEVER) == {"ada": "down"}


@pytest.mark.parametrize("need", ["tools", "json_schema", "images"])
def test_a_missing_capability_is_named(need: str) -> None:
    """What the query needs and the expert lacks is the reason; one that has it is fine."""
    asked = query(needs=Needs(**{need: True}))
    assert excluded(asked) == need
    assert excluded(asked, capabilities=Capabilities(**{need: True})) is None


def test_a_capability_counts_before_the_context_and_that_before_being_down() -> None:
    """The reason is the one that waiting cannot mend."""
    long = query("x" * 5000, needs=Needs(tools=True))
    assert excluded(long, up=False, tokens={"ada": 5000}) == "tools"
    assert excluded(query("x" * 5000), up=False, tokens={"ada": 5000}) == "context"


def test_bytes_tell_for_most_prompts() -> None:
    """A prompt whose bytes, markers and answer fit is not counted: no tokenizer makes more tokens than bytes."""
    size = 1000 - BYTES_PER_MESSAGE_MARKERS - 100
    assert excluded(query("x" * size, max_tokens=100)) is None


@pytest.mark.parametrize(("tokens", "reason"), [(900, None), (901, "context")])
def test_where_bytes_cannot_tell_tokens_are_counted(tokens: int, reason: str | None) -> None:
    """Prompt and answer together fill the context exactly, or do not fit."""
    assert excluded(query("x" * 1000, max_tokens=100), tokens={"ada": tokens}) == reason


def test_a_hopelessly_long_prompt_is_not_counted() -> None:
    """A megabyte takes a tokenizer over a second on the event loop, per expert; a thousand tokens never hold it."""
    asked = query("x" * 1_000_000)
    assert excluded(asked) == "context"
    assert to_count(asked, {"ada": expert()}, ["ada"]) == []


def test_bytes_are_utf8_bytes_of_all_messages() -> None:
    """Two messages of 250 two-byte letters are 1000 bytes: too close to the context not to count."""
    asked = query("é" * 250, "é" * 250)
    assert excluded(asked, tokens={"ada": 1000}) == "context"
    assert excluded(asked, context_tokens=1000 + 2 * BYTES_PER_MESSAGE_MARKERS + 1) is None


@pytest.mark.parametrize("trouble", ["down", RESTING])
def test_nobody_up_is_our_trouble_and_can_be_retried(trouble: str) -> None:
    """If one capable expert is only down, or left out by its breaker, the client is told to try again."""
    error = nobody(query(), {"ada": "tools", "bob": trouble, "cy": "context", "dan": "policy"})
    assert isinstance(error, NoExpertAvailable)
    assert (error.status, error.retryable) == (503, True)


def test_a_prompt_that_is_too_long_names_messages() -> None:
    """The client can shorten it: 400 in OpenAI's words."""
    error = nobody(query(), {"ada": "tools", "bob": "context", "cy": "policy"})
    assert isinstance(error, BadRequest)
    assert (error.code, error.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("capability", "param"), [("tools", "tools"), ("json_schema", "response_format"), ("images", "messages")]
)
def test_a_capability_that_nobody_has_names_its_field(capability: str, param: str) -> None:
    """The field of the request that asks for it is named, with what to do."""
    error = nobody(query(), {"ada": capability, "bob": "policy"})
    assert isinstance(error, BadRequest)
    assert (error.code, error.param) == ("capability_not_available", param)
    assert capability in error.message
