"""OpenAI's response objects, whole and as server-sent events. Pure: records in, bytes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from router.records import Answer, JsonObject, Usage

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Head:
    """What every object of one response shares."""

    id: str
    created: int
    model: str

    def chunk(self, choices: list[JsonObject], **more: object) -> JsonObject:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        } | more


def event(payload: JsonObject) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def completion(head: Head, answer: Answer, usage: Usage, explanation: JsonObject | None) -> JsonObject:
    """The whole response object."""
    body: JsonObject = {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": list(answer.choices),
        "usage": usage.json(),
        **answer.extra,
    }
    return body if explanation is None else body | {"symposium": explanation}


def told(head: Head, what: str, about: JsonObject) -> JsonObject:
    """A chunk without choices that tells what has just happened: any OpenAI client reads past it."""
    return head.chunk([], symposium={"event": what} | about)


def whole_as_chunks(head: Head, answer: Answer) -> Iterator[JsonObject]:
    """A finished answer for a client that streams: role, one delta with everything, finish. No fake pacing."""
    for choice in answer.choices:
        index, message = choice.get("index", 0), dict(choice.get("message", {}))
        yield head.chunk([{"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        delta = {k: v for k, v in message.items() if k != "role" and v is not None}
        whole = {"index": index, "delta": delta, "finish_reason": None}
        if choice.get("logprobs") is not None:
            whole["logprobs"] = choice["logprobs"]
        yield head.chunk([whole])
        yield head.chunk([{"index": index, "delta": {}, "finish_reason": choice.get("finish_reason", "stop")}])


def last_chunk(head: Head, usage: Usage, include_usage: bool, explanation: JsonObject | None) -> JsonObject | None:
    """The chunk without choices that carries usage and explanation, when either was asked for."""
    more: JsonObject = {}
    if include_usage:
        more["usage"] = usage.json()
    if explanation is not None:
        more["symposium"] = explanation
    return head.chunk([], **more) if more else None
