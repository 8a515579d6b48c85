"""A streamed answer put together again: chunks of `/v1/chat/completions` or `/v1/completions` -> whole choices. Pure.

Experts are asked to stream even where the client wants a whole answer: only a stream has a first token to wait for,
and says what a leg that was cut had used. What a chunk holds is the expert's word: odd shapes are passed over.
"""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
NAMING = frozenset({"id", "name", "type"})  # said once; some servers repeat them blank
ADDED_UP = frozenset({"content", "reasoning", "reasoning_content", "refusal", "arguments", "text"})  # texts in pieces


class Assembly:
    """Grows by chunks; bounded by the bytes that a leg may send."""

    def __init__(self) -> None:
        self._choices: dict[int, JsonObject] = {}
        self._calls: dict[int, dict[int, JsonObject]] = {}

    def add(self, chunk: JsonObject) -> None:
        for part in chunk.get("choices") or ():
            index = _index(part)
            whole = self._choices.setdefault(index, {"index": index, "finish_reason": None, "logprobs": None})
            delta = part.get("delta")
            if isinstance(delta, dict):
                self._say(index, whole.setdefault("message", {"role": "assistant", "content": None}), delta)
            _merge(whole, {k: v for k, v in part.items() if k not in ("index", "delta", "message", "logprobs")})
            if isinstance(part.get("logprobs"), dict):
                whole["logprobs"] = _extended(whole["logprobs"] or {}, part["logprobs"])

    def choices(self) -> tuple[JsonObject, ...]:
        """In the order of their index."""
        for index, calls in self._calls.items():
            self._choices[index]["message"]["tool_calls"] = [calls[key] for key in sorted(calls)]
        return tuple(self._choices[index] for index in sorted(self._choices))

    def _say(self, index: int, message: JsonObject, delta: JsonObject) -> None:
        calls = delta.get("tool_calls")
        for place, part in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(part, dict):
                call = self._calls.setdefault(index, {}).setdefault(_index(part, place), {})
                _merge(call, {k: v for k, v in part.items() if k != "index"})
        _merge(message, {k: v for k, v in delta.items() if k != "tool_calls"})


def _merge(whole: JsonObject, part: JsonObject) -> None:
    """Pieces of text are added up, objects merged, of anything else the last one that is not null stays."""
    for key, value in part.items():
        before = whole.get(key)
        if value is None or (value == "" and key in NAMING and before):
            whole.setdefault(key, None)  # no news
        elif key in ADDED_UP and isinstance(before, str) and isinstance(value, str):
            whole[key] = before + value
        elif isinstance(value, dict):
            inner = dict(before) if isinstance(before, dict) else {}
            _merge(inner, value)
            whole[key] = inner
        else:
            whole[key] = value


def _extended(whole: JsonObject, part: JsonObject) -> JsonObject:
    """Log-probabilities are lists of tokens that grow."""
    return whole | {
        key: [*before, *value] if isinstance(value, list) and isinstance(before := whole.get(key), list) else value
        for key, value in part.items()
    }


def _index(part: JsonObject, default: int = 0) -> int:
    index = part.get("index")
    return index if isinstance(index, int) else default
