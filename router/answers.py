"""What a reply answers, in a form that can be compared: two replies agree where their forms are equal. Pure.

Of free text it is the marked answer, else all of it; of JSON its value; of tool calls what is called with what.
Experts are untrusted: nothing here raises, whatever they write, and the work grows linearly with the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from router.values import EDGES, MAX_MAGNITUDE, MAX_SHORT_CHARS, tidy, value_of, words

MAX_TAIL_CHARS, MAX_MARKS = 20_000, 16  # of a longer text only the end is searched, and so many marks are read

# Where an answer stands. Possessive quantifiers (*+): what an expert writes must not choose how long is searched.
_SAID = re.compile(
    r"(?i)(?:\banswer|\b(?:correct|right|best|closest|final)\s+(?:option|choice))[*_\"')\]]{0,3}\s*+"
    r"(?:(?:is|(?:would|should|must)\s+be)(?![a-z])(?:\s+closest\s+to)?|:|=)[\s:*_]*+(?:\.\.\.|…)?\s*+(?=\S)"
)
_BRACED = r"[^{}]*+"
for _ in range(4):  # \boxed{\frac{\sqrt{2}}{x^{2}}} is braces in braces in braces
    _BRACED = rf"(?:[^{{}}]++|\{{{_BRACED}\}})*+"
_BOXED = re.compile(rf"\\(?:boxed|fbox)\s?\{{(?P<core>{_BRACED})\}}")
_HASHED = re.compile(r"(?<!#)####(?!#)[ \t]*+(?P<core>\S[^\n]*+)\s*+\Z")  # GSM8K's last line; elsewhere a heading
_MEMBER = re.compile(r'"(?:final[_ ])?answer"\s*+:\s*+(?P<core>"(?:[^"\\]|\\.){0,800}+"|[^"\n}]{1,800}+)\s*+,?\s*+\}')
_CLAUSE = re.compile(  # where a value ends and its explanation, or a special token that leaked, begins
    r"(?i)(?<!\b(?-i:[A-Z]))[.!?]\s|,?\s(?:because|since|as)\s|(?:(?<=yes)|(?<=no)|(?<=true)|(?<=false)),\s|\s—\s"
    r"|\s\((?=[\d.]*\s?[a-z]{4})|\.?<[/|]?[a-z_]+\|?>"
)
_LETTERED = re.compile(  # "B) Paris": only behind a mark, where a choice is expected; "(A) and (C)" are two
    r"(?:option\s+|choice\s+)?\(?([A-J])[*_]{0,3}[).:][*_.,;:]*(?=\s|$)(?!\s*(?:and|or|&)?\s*\(?[A-Z][).:,])"
)
_PYTHON = re.compile(r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|\b(?:True|False|None)\b""")


def extract(text: str) -> str:
    """The comparable core of free text: the last marked answer, else the whole text, normalised.

    Choices compare by letter; numbers, fractions and percentages by value ("1,000.0" = "1e3", "50%" = "1/2" = "0.5");
    quantities in one unit ("5 km" = "5000 m", never a bare number); dates, times of day, yes and no in one spelling;
    JSON and fenced code by content; other short texts without case, leading article, spare blanks and end punctuation.
    """
    return _of_short(text) if len(text) <= MAX_SHORT_CHARS else _extracted(text)


@lru_cache(maxsize=4096)
def _of_short(text: str) -> str:
    """Letters, numbers and words come again and again."""
    return _extracted(text)


def _extracted(text: str) -> str:
    marked = _marked(text)
    return _form(text, marked=False) if marked is None else _form(marked, marked=True)


def is_open_ended(text: str) -> bool:
    """Whether it makes no sense to wait for a second text like this one: it is long and marks no answer."""
    return len(text.strip()) > MAX_SHORT_CHARS and _marked(text) is None


def canonical_json(text: str) -> str | None:
    """The one spelling of a text that is a JSON value, alone or in a fence; None for what is none.

    Keys are sorted, the last of a repeated one counts, 1.0 is 1. NaN, Infinity and numbers beyond a double are refused.
    """
    try:
        value = json.loads(_unfenced(text.strip()), parse_float=_json_number, parse_constant=Fraction)
        dumped = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (ValueError, ArithmeticError, RecursionError):  # no JSON; no Fraction (NaN), no Decimal; too deep
        return None
    return dumped.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair cannot be sent on


def canonical_calls(message: dict[str, Any]) -> str | None:
    """What an assistant's message calls, in whatever order and under whatever ids; None where it calls nothing."""
    tools, legacy = message.get("tool_calls"), message.get("function_call")
    calls = tools if tools and isinstance(tools, list) else [{"function": legacy}] if legacy else []
    try:
        return json.dumps(sorted(map(_call, calls)), ensure_ascii=False) if calls else None
    except (TypeError, ValueError, RecursionError):  # no JSON, or nested deeper than can be written
        return None


def comparable(choice: dict[str, Any], kind: Literal["text", "json", "tools"]) -> str:
    """What one choice answers, of /v1/chat/completions or /v1/completions; "" where it gives none of that kind."""
    message = found if isinstance(found := choice.get("message"), dict) else {"content": choice.get("text")}
    text = content if isinstance(content := message.get("content"), str) else ""
    if kind == "json":
        return canonical_json(text) or ""
    return canonical_calls(message) or extract(text)


def _marked(text: str) -> str | None:
    """What stands behind the last mark; None without one. A mark with prose behind it counts only if none has more."""
    core = _unfenced(text.strip())
    if core[:1] in ("{", "[") and len(core) <= MAX_TAIL_CHARS and (whole := canonical_json(core)):
        value = json.loads(whole)
        given = value.get("answer", value.get("final_answer")) if isinstance(value, dict) else None
        return None if given is None else _decoded(json.dumps(given))  # of reasoning in JSON only that is compared
    tail = text[-MAX_TAIL_CHARS:]
    found = [(True, match.start(), match["core"]) for mark in (_BOXED, _HASHED) for match in mark.finditer(tail)]
    found += [(True, match.start(), _decoded(match["core"])) for match in _MEMBER.finditer(tail)]
    found = [mark for mark in [*found, *_said(tail)] if mark[2].strip(EDGES + "(.…")]
    return max(found)[2] if found else None


def _said(tail: str) -> Iterator[tuple[bool, int, str]]:
    """Of each "the answer is …": whether it gives a value, where it stands, and what it says."""
    for match in list(_SAID.finditer(tail))[-MAX_MARKS:]:
        start = match.end()
        end = tail.find("```", start + 3) if tail.startswith("```", start) else -1
        said = tail[start : end + 3] if end > 0 else tail[start : start + 4 * MAX_SHORT_CHARS].partition("\n")[0]
        sure = end > 0 or _answered(said) is not None
        if sure or len(tail) - start <= 2 * MAX_SHORT_CHARS:  # words are the answer only where they end the text
            yield sure, match.start(), said


def _decoded(core: str) -> str:
    """A JSON value as text; what is none (broken escapes) without its quotes."""
    try:
        value = json.loads(core, strict=False)
    except (ValueError, RecursionError):
        return core.strip('"')
    return value if isinstance(value, str) else core


def _unfenced(text: str) -> str:
    """The content of a text that is one fenced block, without blanks at the ends of lines; any other text as it is."""
    _, newline, body = text.partition("\n") if text.startswith("```") else ("", "", "")
    if not newline or not body.endswith("```") or "\n```" in body[:-3]:
        return text
    return "\n".join(line.rstrip() for line in body[:-3].split("\n")).strip("\n")


def _form(text: str, *, marked: bool) -> str:
    """The comparable form of an answer."""
    core = _unfenced(text.strip())
    bare = core.strip(EDGES)
    if bare[:1] in ("{", "[") and len(bare) <= MAX_TAIL_CHARS:
        python = _PYTHON.sub(_as_json, bare) if len(bare) <= 4 * MAX_SHORT_CHARS else ""
        if found := canonical_json(bare) or canonical_json(python):
            return found
    if marked and (found := _answered(core)):
        return found
    if len(core) > 4 * MAX_SHORT_CHARS or ("\n" in core and core != text.strip()):
        return core
    bare = tidy(core)
    return bare if len(bare) > MAX_SHORT_CHARS else value_of(bare) or words(bare)


def _answered(said: str) -> str | None:
    """The value that a marked answer is or begins with, before it is explained; None for words."""
    for core in (said, _CLAUSE.split(said, maxsplit=1)[0]):
        bare = tidy(core) if len(core) <= 4 * MAX_SHORT_CHARS else ""
        lettered = _LETTERED.match(bare)
        if found := lettered[1] if lettered else value_of(bare):
            return found
    return None


def _as_json(literal: re.Match[str]) -> str:
    names = {"True": "true", "False": "false", "None": "null"}
    return names.get(literal[0]) or json.dumps(literal[0][1:-1].replace("\\'", "'"))


def _json_number(text: str) -> int | float:
    number = float(text)
    if 2**53 <= abs(number) < 10.0**MAX_MAGNITUDE:
        return int(Decimal(text))  # a double is not exact here
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _call(call: object) -> list[str]:
    """A tool call as [name, arguments]; what has no name counts as all that it is."""
    called = (call.get("function") or call.get("custom")) if isinstance(call, dict) else None
    if not isinstance(called, dict) or not isinstance(called.get("name"), str):
        return ["", json.dumps(call, sort_keys=True, default=str)]
    given = called.get("arguments", called.get("input")) or "{}"  # without arguments: "", "{}" or none at all
    text = given if isinstance(given, str) else json.dumps(given, default=str)
    return [called["name"], canonical_json(text) or text.strip()]
