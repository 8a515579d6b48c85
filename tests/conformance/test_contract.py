"""What the router may expect of any expert, through the client that it calls them with: answers and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from experts.client import Endpoint, ExpertClient
from experts.errors import ExpertRefused, ExpertUnreachable
from tests.conformance.kinds import ANSWER, ASK, QUESTION, Kind, asked, collected
from tests.support import becomes_true, bound, said

NewLeg = Callable[[], str]


def nowhere(endpoint: Endpoint) -> Endpoint:
    """The expert at a port where nobody listens."""
    with bound() as closed:
        return replace(endpoint, base_url=f"http://127.0.0.1:{closed.getsockname()[1]}/v1")


async def test_a_whole_answer_has_text_and_usage(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """complete() gives choices with the assistant's text and why it ended, and the tokens it took."""
    answer = await client.complete(kind.sage, ASK, new_leg())
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] in ("stop", "length")
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_stream_says_what_the_whole_answer_says(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """At temperature 0 the deltas of stream() join to complete()'s text, with the same reason to end."""
    whole = (await client.complete(kind.sage, ASK, new_leg()))["choices"][0]
    chunks = await collected(client, kind.sage, ASK, new_leg())
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert choices[0]["delta"]["role"] == "assistant"
    assert said(chunks) == whole["message"]["content"]
    assert [c["finish_reason"] for c in choices if c.get("finish_reason")] == [whole["finish_reason"]]


async def test_a_stream_carries_its_usage_unasked(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """stream() always asks for usage: the last one in the chunks is the whole answer's."""
    usage = (await client.complete(kind.sage, ASK, new_leg()))["usage"]
    seen = [chunk["usage"] for chunk in await collected(client, kind.sage, ASK, new_leg()) if chunk.get("usage")]
    for part in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert seen[-1][part] == usage[part]


async def test_a_stream_read_to_its_end_is_no_abort(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """Reading up to [DONE] lets the server end the leg by itself: nothing runs on, nothing counts as aborted."""
    before = kind.legs()
    for _ in range(5):
        await collected(client, kind.sage, ASK, new_leg())
    await becomes_true(lambda: kind.legs().running == 0)
    assert kind.legs().aborted == before.aborted


async def test_max_tokens_bounds_the_answer(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """Sampling parameters reach the expert: with max_tokens 2 it says 2 tokens and that the length ended it."""
    answer = await client.complete(kind.slow, ASK | {"max_tokens": 2}, new_leg())
    assert answer["usage"]["completion_tokens"] == 2
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_refused(kind: Kind, client: ExpertClient, new_leg: NewLeg, stream: bool) -> None:
    """A model that the server does not know is a 404, and another expert may be asked instead."""
    nobody = replace(kind.sage, model="nobody")
    with pytest.raises(ExpertRefused) as refused:
        await asked(client, nobody, ASK, new_leg(), stream)
    assert refused.value.status == 404
    assert refused.value.replaceable


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"max_tokens": "many"},
        {"messages": QUESTION},
        {"messages": [{"role": "user", "content": 7}]},
        {"messages": None},
    ],
)
async def test_a_bad_parameter_is_the_request_s_own_fault(
    kind: Kind, client: ExpertClient, new_leg: NewLeg, wrong: dict[str, Any], stream: bool
) -> None:
    """What no expert could take is refused with a 4xx that says so: nobody else is asked."""
    with pytest.raises(ExpertRefused) as refused:
        await asked(client, kind.sage, ASK | wrong, new_leg(), stream)
    assert 400 <= refused.value.status < 500
    assert not refused.value.replaceable
    assert refused.value.message
    assert kind.legs().running == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_without_its_key_an_expert_tells_nothing(
    kept: Kind, client: ExpertClient, new_leg: NewLeg, stream: bool
) -> None:
    """A wrong key or token, a part of it, or none is refused; neither key nor answer is in what comes back."""
    secrets = [value.removeprefix("Bearer ") for value in kept.sage.headers.values()]
    for stranger in kept.strangers:
        with pytest.raises(ExpertRefused) as refused:
            await asked(client, stranger, ASK, new_leg(), stream)
        assert refused.value.status in (401, 404)
        for secret in (*secrets, ANSWER, "13"):
            assert secret not in str(refused.value)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_is_not_there_is_unreachable(
    kind: Kind, client: ExpertClient, new_leg: NewLeg, stream: bool
) -> None:
    """A refused connection is ExpertUnreachable: another expert may be asked."""
    with pytest.raises(ExpertUnreachable) as error:
        await asked(client, nowhere(kind.sage), ASK, new_leg(), stream)
    assert error.value.replaceable


async def test_a_probe_says_whether_the_server_answers(kind: Kind, client: ExpertClient) -> None:
    """alive() is true for a server that answers, false where nobody listens; it calls no model."""
    before = kind.legs()
    assert await client.alive(kind.sage, 10)
    assert not await client.alive(nowhere(kind.sage), 10)
    assert kind.legs() == before


async def test_a_host_that_does_not_know_us_is_not_alive(kept: Kind, client: ExpertClient) -> None:
    """Behind our own hosts' guard a probe without the token sees nothing; elsewhere an answer is an answer."""
    for stranger in kept.strangers:
        assert await client.alive(stranger, 10) is not stranger.hosted


async def test_only_our_own_host_knows_a_leg_s_tokens(kind: Kind, client: ExpertClient, new_leg: NewLeg) -> None:
    """tokens() of a finished leg is exactly its usage where we host, and nothing elsewhere."""
    leg = new_leg()
    usage = (await client.complete(kind.sage, ASK, leg))["usage"]
    counted = await client.tokens(kind.sage, leg, 5)
    if kind.sage.hosted:
        assert counted is not None
        assert counted.exact
        assert (counted.prompt_tokens, counted.output_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    else:
        assert counted is None
    assert await client.tokens(kind.sage, "never-sent", 0) is None
