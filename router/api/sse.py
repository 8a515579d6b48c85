"""OpenAI's response objects, whole and as server-sent events. Pure: records in, bytes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from router.records import Answer, JsonObject, Kind, Usage

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Head:
    """What every object of one response shares."""

    request_id: str
    created: int
    model: str
    kind: Kind = "chat"

    @property
    def id(self) -> str:
        return ("chatcmpl-" if self.kind == "chat" else "cmpl-") + self.request_id

    def json(self, of: str) -> JsonObject:
        """`of`: the kind of chat object; completions have one for both."""
        name = of if self.kind == "chat" else "text_completion"
        return {"id": self.id, "object": name, "created": self.created, "model": self.model}

    def chunk(self, choices: list[JsonObject], **more: object) -> JsonObject:
        return self.json("chat.completion.chunk") | {"choices": choices} | more


def event(payload: JsonObject) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def is_error(tail: bytes) -> bool:
    """Whether a stream's end, with its last event at least, says that it failed."""
    events = [part for part in tail.split(b"\n\n") if part and part != DONE.strip()]
    return bool(events) and events[-1].startswith(b'data: {"error":')


def comment(text: str) -> bytes:
    """A line that clients read past."""
    return f": {text}\n\n".encode()


def completion(head: Head, answer: Answer, usage: Usage, symposium: JsonObject) -> JsonObject:
    """The whole response object."""
    body = head.json("chat.completion") | {"choices": list(answer.choices), "usage": usage.json()}
    return body | dict(answer.extra) | {"symposium": symposium}


def told(head: Head, what: str, about: JsonObject) -> JsonObject:
    """A chunk without choices that tells what has just happened: any OpenAI client reads past it."""
    return head.chunk([], symposium={"event": what} | about)


def relayed(head: Head, chunk: JsonObject) -> JsonObject:
    """An expert's chunk as ours."""
    return chunk | head.json("chat.completion.chunk")


def whole_as_chunks(head: Head, answer: Answer) -> Iterator[JsonObject]:
    """A finished answer for a client that streams: everything in one delta, then the finish. No fake pacing."""
    for choice in answer.choices:
        index, finish = choice.get("index", 0), choice.get("finish_reason") or "stop"
        logprobs = {"logprobs": choice["logprobs"]} if choice.get("logprobs") is not None else {}
        if head.kind == "completion":
            yield head.chunk([{"index": index, "text": choice.get("text") or "", "finish_reason": None} | logprobs])
            yield head.chunk([{"index": index, "text": "", "finish_reason": finish}])
            continue
        yield head.chunk([{"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        delta = {k: v for k, v in choice.get("message", {}).items() if k != "role" and v is not None}
        if isinstance(calls := delta.get("tool_calls"), list):
            delta["tool_calls"] = [{"index": i} | call for i, call in enumerate(calls) if isinstance(call, dict)]
        yield head.chunk([{"index": index, "delta": delta, "finish_reason": None} | logprobs])
        yield head.chunk([{"index": index, "delta": {}, "finish_reason": finish}])


def last_chunk(head: Head, usage: Usage | None, symposium: JsonObject) -> JsonObject:
    """The chunk without choices that says what happened; with `usage` where it was asked for."""
    more = {} if usage is None else {"usage": usage.json()}
    return head.chunk([], **more, symposium=symposium)
