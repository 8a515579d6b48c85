"""What the official client sends is understood: its real requests, caught before they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from router.api.schema import parse_chat
from router.config import RequestLimits
from router.records import Needs, Query

Say = Callable[[openai.OpenAI], object]
IMAGE = "data:image/png;base64,AA=="


class Person(BaseModel):
    """A shape for structured output."""

    name: str


def sent(call: Say) -> Query:
    """The query in the one request that `call` makes."""
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(400, json={"error": {"message": "seen", "type": "x", "param": None, "code": None}})

    transport: Any = httpx.Client(transport=httpx.MockTransport(answer))
    client = openai.OpenAI(base_url="http://x.test/v1", api_key="k", max_retries=0, http_client=transport)
    with client, pytest.raises(openai.BadRequestError, match="seen"):
        call(client)
    (body,) = bodies
    return parse_chat(body, "req_1", RequestLimits())


def chat(**fields: Any) -> Say:
    """A call of `chat.completions.create`."""
    known: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    return lambda client: client.chat.completions.create(**(known | fields))


def test_a_plain_question() -> None:
    """Model and messages, nothing else."""
    query = sent(chat())
    assert (query.model, query.text, query.stream, query.needs) == ("auto", "hi", False, Needs())


def test_a_stream_with_usage() -> None:
    """stream=True with stream_options."""
    query = sent(chat(stream=True, stream_options={"include_usage": True}))
    assert (query.stream, query.include_usage) == (True, True)


def test_sampling_parameters_pass_through() -> None:
    """What the client sets for sampling stands in the body that goes to the experts."""
    wanted = {"temperature": 0.2, "top_p": 0.9, "seed": 1, "stop": ["\n"], "presence_penalty": 0.5, "logprobs": True}
    query = sent(chat(**wanted, max_completion_tokens=16))
    assert query.body.items() >= (wanted | {"max_completion_tokens": 16}).items()
    assert query.max_tokens == 16


def test_content_parts() -> None:
    """Text parts are the question, an image part is a need."""
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}}]
    query = sent(chat(messages=[{"role": "user", "content": parts}]))
    assert (query.text, query.needs) == ("what?", Needs(images=True))


def test_a_conversation_with_tools() -> None:
    """An assistant's tool call without content, and the tool's result, are messages like others."""
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    query = sent(
        chat(
            messages=[
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": "2 + 2?"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "4"},
            ],
            tools=[{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
            tool_choice="auto",
            parallel_tool_calls=False,
        )
    )
    assert (query.text, query.needs) == ("2 + 2?", Needs(tools=True))
    assert query.body["tool_choice"] == "auto"


def test_structured_output_from_a_model_class() -> None:
    """`parse` with a pydantic class asks for a JSON schema."""
    query = sent(
        lambda c: c.chat.completions.parse(
            model="auto", messages=[{"role": "user", "content": "who?"}], response_format=Person
        )
    )
    assert query.needs == Needs(json_schema=True)
    assert query.body["response_format"]["json_schema"]["name"] == "Person"


def test_our_own_object_through_extra_body() -> None:
    """extra_body is how the client asks for the explanation."""
    assert sent(chat(extra_body={"symposium": {"explain": True}})).explain
