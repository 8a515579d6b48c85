"""What the records derive from themselves."""

from __future__ import annotations

import dataclasses

import pytest

from router.records import Needs, Plan, Reply, Usage
from tests.unit.make import choice, query, reply


def test_usage_adds_up_and_is_exact_only_if_all_of_it_is() -> None:
    """Tokens sum; one estimate makes the sum an estimate."""
    total = Usage(10, 5) + Usage(1, 2, exact=False) + Usage(100, 0)
    assert total == Usage(111, 7, exact=False)
    assert total.json() == {"prompt_tokens": 111, "completion_tokens": 7, "total_tokens": 118}


def test_needs_name_what_an_expert_lacks() -> None:
    """Only what is needed and not there."""
    needs = Needs(tools=True, images=True)
    assert needs.missing(tools=False, json_schema=False, images=True) == ("tools",)
    assert needs.missing(tools=True, json_schema=False, images=True) == ()


def test_a_prompts_bytes_are_those_of_its_utf8() -> None:
    """All messages' texts count, in bytes."""
    assert query("abc", "é€😀").prompt_bytes == 3 + 2 + 3 + 4


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"message": {"content": "x"}}, "x"),
        ({"message": {"content": None, "tool_calls": []}}, ""),
        ({"message": {"content": [{"type": "text"}]}}, ""),
        ({"message": None}, ""),
        ({"message": {}}, ""),
        ({"text": "x"}, "x"),
        ({"text": 7}, ""),
        ({"message": {"content": None}, "text": "x"}, ""),
        ({}, ""),
    ],
)
def test_the_text_of_a_reply_is_what_its_choice_says(choice: dict[str, object], text: str) -> None:
    """Of a chat or of a completion; whatever an expert elsewhere put in its choice, reading the text does not fail."""
    assert Reply("ada", "leg", (choice,), Usage(), 0.0).text == text


def test_each_choice_has_a_text() -> None:
    """The first one's is the reply's; a relayed reply has no choices, and no texts."""
    samples = reply("ada", "", choices=(choice("a"), choice(None, index=1), choice("c", index=2)))
    assert (samples.texts, samples.text) == (("a", "", "c"), "a")
    assert reply("ada", "", choices=()).texts == ()


def test_all_who_may_be_convened_are_those_of_all_waves() -> None:
    """In the order they are asked, without the spares."""
    assert Plan((("ada", "bob"), ("cy",)), "vote", ("dan",), "convened").experts == ("ada", "bob", "cy")


def test_records_are_frozen() -> None:
    """No step changes what another step has decided."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        query().model = "other"  # type: ignore[misc]  # frozen is what is tested
