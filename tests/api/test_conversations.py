"""A conversation stays with its experts: by what it says, or by the name that the client gives it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.world import ODD, SUM, WHO, World

AFTER = {"role": "assistant", "content": "Goethe did."}


def talk(world: World, *texts: str, session: str | None = None, model: str = "auto") -> dict[str, Any]:
    """The reasons of the answer to the last of a user's turns."""
    messages: list[dict[str, str]] = []
    for text in texts:
        messages += [*([AFTER] if messages else []), {"role": "user", "content": text}]
    headers = {"x-session-id": session} if session else {}
    reply = world.post({"model": model, "messages": messages, "symposium": {"explain": True}}, **headers)
    found: dict[str, Any] = reply.json()["symposium"]
    return found


def test_a_turn_that_says_nothing_stays_with_its_conversation(world: World) -> None:
    """A question unlike any known follows one about people: it goes where that one went, by the same evidence."""
    first, then = talk(world, WHO), talk(world, WHO, ODD)
    assert (then["category"], then["anchor"], then["turns"]) == ("people", 0, 2)
    assert then["plan"]["experts"] == first["plan"]["experts"]
    scores = [[(c["expert"], c["p_correct"], c["evidence"]) for c in told["candidates"]] for told in (first, then)]
    assert scores[0] == scores[1]


def test_a_surely_different_topic_moves_the_conversation(world: World) -> None:
    """From people to a sum; what says nothing stays with the sum then."""
    assert (talk(world, WHO, SUM)["category"], talk(world, WHO, SUM)["anchor"]) == ("sums", 1)
    assert talk(world, WHO, SUM, ODD)["category"] == "sums"


def test_a_session_is_remembered_by_its_name(world: World) -> None:
    """A client that sends its last turn only is still in its conversation; another session is not."""
    talk(world, WHO, session="s-1")
    assert talk(world, ODD, session="s-1")["category"] == "people"
    assert talk(world, ODD, session="s-2")["category"] == "general"
    assert talk(world, ODD)["category"] == "general"


def test_a_session_is_one_policy_s(world: World) -> None:
    """The same name under another policy is another conversation."""
    talk(world, WHO, session="s-3")
    assert talk(world, ODD, session="s-3", model="hurt")["category"] == "general"


def test_what_chance_has_drawn_stays_drawn(world: World) -> None:
    """A baseline that draws experts by chance draws once per conversation, not per turn."""
    drawn = {talk(world, SUM, SUM, model="drawn")["plan"]["experts"][0] for _ in range(12)}
    assert len(drawn) == 1


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_a_session_s_name_is_bounded(world: World, name: str) -> None:
    """400 names the header."""
    body = {"model": "auto", "messages": [{"role": "user", "content": SUM}]}
    reply = world.post(body, **{"x-session-id": name})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "x-session-id")
