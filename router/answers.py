"""What a reply answers, in a form that can be compared: two replies agree where their forms are equal. Pure.

Of free text it is the marked answer, else all of it; of JSON its value; of tool calls what is called with what.
Experts are untrusted: nothing here raises, whatever they write, and the work grows linearly with the text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

MAX_SHORT_CHARS = 200  # longer texts agree only when they are the same text
MAX_MAGNITUDE = 50  # decimal places that a number is written out to
MAX_TAIL_CHARS, MAX_MARKS = 20_000, 16  # of a longer text only the end is searched, and so many marks are read
_EDGES = "*_`\"'$ \t\n\r"  # emphasis, code, quotes and math around an answer

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
_LETTER = re.compile(r"(?i)(?:(?:option|choice|answer)\s+)?[\[(]*([A-Z])[\])]*[.:)]*")
_LETTERED = re.compile(  # "B) Paris": only behind a mark, where a choice is expected; "(A) and (C)" are two
    r"(?:option\s+|choice\s+)?\(?([A-J])[*_]{0,3}[).:][*_.,;:]*(?=\s|$)(?!\s*(?:and|or|&)?\s*\(?[A-Z][).:,])"
)
_LATEX = (
    (r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox|operatorname)\s*\{([^{}]*)\}", r" \1 "),
    (r"\x0crac|\\[dt]frac", r"\\frac"),  # \x0c: what JSON makes of \f
    (r"\\frac\s*\{\s*([-\w.,]+)\s*\}\s*\{\s*([-\w.,]+)\s*\}|\\frac\s*(\d)\s*(\d)", r" \1\3/\2\4"),
    (r"\^\s*\{?\s*\\circ\s*\}?|\\degree|\\circ", "°"),
    (r"\\(?:(?:left|right|displaystyle)(?![a-z])|[,!;:()\[\]\s])", ""),
    (r"\\([$%#&_{}])|\{(,)\}", r"\1\2"),
    (r"(?:US)?\$(?=\s?[-+]?[\d.])|(?<=\d)\$", ""),
    (r"\\(?:times|cdot)(?![a-z])|×", "*"),
    (r"(?<=\d)\s*[*x]\s*10\^\{?([-+]?\d{1,9})\}?", r"e\1"),
    (r"\*\*([^*]+)\*\*", r"\1"),
    (r"\s+", " "),
)
_OPERATOR = re.compile(r" ?([-+*/^=<>|]) ?")
_PYTHON = re.compile(r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|\b(?:True|False|None)\b""")
_TERM = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_QUANTITY = re.compile(
    rf"(?:[a-z]{{1,2}}=)?(?:[€£¥₹] ?)?(?P<sign>[-+]?)(?:[€£¥₹] ?)?(?:(?P<whole>\d+) (?=\d+/\d))?"
    rf"(?P<over>(?:{_TERM})(?:e[-+]?\d{{1,9}})?)(?:/(?P<under>{_TERM}))? ?(?P<unit>\D*)"
)
_KINDS = {  # base unit: what others are worth in it; percentages and money are plain numbers
    "": "1 dollar usd euro eur € £ ¥ ₹, 1/100 % percent",
    "m": "1/1000 mm millimeter millimetre, 0.01 cm centimeter centimetre, 1 m meter metre, 1000 km kilometre kilometer",
    "g": "1/1000 mg milligram, 1 g gram gramme, 1000 kg kilogram, 1000000 t tonne metricton",
    "s": "1/1000 ms millisecond, 1 s sec second, 60 min minute, 3600 h hr hour, 86400 d day, 604800 week",
    "l": "1/1000 ml milliliter millilitre, 1/100 cl centiliter centilitre, 1 l liter litre",
    "°C": "1 °c celsius degreecelsius degreescelsius",
    "°": "1 ° degree",
}
_UNITS = {"": (Fraction(1), "")} | {
    name: (Fraction(worth), base)
    for base, scales in _KINDS.items()
    for worth, *names in map(str.split, scales.split(","))
    for name in names
}
_TRUTH = {"true": "true", "yes": "true", "false": "false", "no": "false"}
_MONTHS = "january february march april may june july august september october november december".split()
_DAY, _MONTH = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<month>[a-z]{3,9})\.?"
_DATES = (  # 03/05/2024 is May here and March there: it stays text
    re.compile(rf"(?:[a-z]+day,? )?{_DAY}(?: of)? {_MONTH},? (?P<year>\d{{4}})"),
    re.compile(rf"(?:[a-z]+day,? )?{_MONTH} {_DAY},? (?P<year>\d{{4}})"),
    re.compile(r"(?P<year>\d{4})(?P<sep>[-/])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})"),
)
_TIME = re.compile(r"(0?[1-9]|1[0-2])(?::([0-5]\d))? ?([ap])\.? ?m\.?|([01]?\d|2[0-3]):([0-5]\d)")


def extract(text: str) -> str:
    """The comparable core of free text: the last marked answer, else the whole text, normalised.

    Choices compare by letter; numbers, fractions and percentages by value ("1,000.0" = "1e3", "50%" = "1/2" = "0.5");
    quantities in one unit ("5 km" = "5000 m", never a bare number); dates, times of day, yes and no in one spelling;
    JSON and fenced code by content; other short texts without case, leading article, spare blanks and end punctuation.
    """
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
    found = [mark for mark in [*found, *_said(tail)] if mark[2].strip(_EDGES + "(.…")]
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
    bare = core.strip(_EDGES)
    if bare[:1] in ("{", "[") and len(bare) <= MAX_TAIL_CHARS:
        python = _PYTHON.sub(_as_json, bare) if len(bare) <= 4 * MAX_SHORT_CHARS else ""
        if found := canonical_json(bare) or canonical_json(python):
            return found
    if marked and (found := _answered(core)):
        return found
    if len(core) > 4 * MAX_SHORT_CHARS or ("\n" in core and core != text.strip()):
        return core
    tidy = _tidy(core)
    return tidy if len(tidy) > MAX_SHORT_CHARS else _value(tidy) or _words(tidy)


def _answered(said: str) -> str | None:
    """The value that a marked answer is or begins with, before it is explained; None for words."""
    for core in (said, _CLAUSE.split(said, maxsplit=1)[0]):
        tidy = _tidy(core) if len(core) <= 4 * MAX_SHORT_CHARS else ""
        lettered = _LETTERED.match(tidy)
        if found := lettered[1] if lettered else _value(tidy):
            return found
    return None


def _tidy(text: str) -> str:
    """An answer in plain characters, without LaTeX, emphasis and what surrounds it."""
    core = _plain(text).strip(_EDGES)
    for pattern, plain in _LATEX:
        core = re.sub(pattern, plain, core)
    for opening, closing in ("()", "{}"):
        if core.count(closing) > core.count(opening):  # "(answer: 42)"
            core = core.rstrip("." + _EDGES).removesuffix(closing)
    return core.strip(_EDGES).rstrip(".!;,").strip(_EDGES)


def _plain(text: str) -> str:
    """Compatibility characters in their plain form (full-width digits, ligatures); 10² must not become 102."""
    if text.isascii():
        return text
    kept = ("<super>", "<sub>", "<fraction>")
    plain = (c if unicodedata.decomposition(c).startswith(kept) else unicodedata.normalize("NFKC", c) for c in text)
    return unicodedata.normalize("NFC", "".join(plain)).replace("\N{MINUS SIGN}", "-")


def _value(core: str) -> str | None:
    """The one spelling of a tidy answer that is a choice, a truth, a day, a time or a quantity; None for words."""
    if len(core) > MAX_SHORT_CHARS:
        return None
    if letter := _LETTER.fullmatch(core):
        return letter[1].upper()
    low = _OPERATOR.sub(r"\1", core.casefold())
    return _TRUTH.get(low) or _day(low) or _time(low) or _quantity(low)


def _day(low: str) -> str | None:
    """A date as ISO writes it."""
    for match in filter(None, (pattern.fullmatch(low) for pattern in _DATES)):
        named = [n for n, month in enumerate(_MONTHS, 1) if month.startswith(match["month"])]
        try:
            return date(int(match["year"]), named[0] if named else int(match["month"]), int(match["day"])).isoformat()
        except ValueError:  # there is no such month or day
            return None
    return None


def _time(low: str) -> str | None:
    """A time of day as HH:MM."""
    match = _TIME.fullmatch(low)
    if match is None or not match[3]:
        return match and f"{match[4]:0>2}:{match[5]}"
    return f"{int(match[1]) % 12 + 12 * (match[3] == 'p'):02}:{match[2] or '00'}"


def _quantity(low: str) -> str | None:
    """A number, or a measure in the unit of its kind; None also for what is too long to be written out."""
    match = _QUANTITY.fullmatch(low)
    if match is None:
        return None
    name = match["unit"].replace(" ", "")
    unit = _UNITS.get(name) or _UNITS.get(name.removesuffix("s"))
    over, under = (Decimal((match[part] or "1").replace(",", "")) for part in ("over", "under"))
    if unit is None or not under or not -MAX_MAGNITUDE < over.adjusted() < MAX_MAGNITUDE:
        return None
    value = (int(match["whole"] or 0) + Fraction(over) / Fraction(under)) * unit[0]
    return f"{_spelled(-value if match['sign'] == '-' else value)} {unit[1]}".rstrip()


def _spelled(value: Fraction) -> str:
    """The digits of a number; a fraction where they never end (1/3)."""
    scaled = value * 10**MAX_SHORT_CHARS
    written = f"{Decimal(f'{scaled.numerator}e-{MAX_SHORT_CHARS}'):f}".rstrip("0").rstrip(".")
    return written if scaled.denominator == 1 else str(value)


def _words(core: str) -> str:
    """A short text without case, leading articles and blanks that mean nothing."""
    low = _OPERATOR.sub(r"\1", core.casefold())
    low = re.sub(r"^(?:(?:an?|the) (?!and |or ))+(?=[^\W_]{2})", "", low).strip(_EDGES)  # "A and B" has no article
    return re.sub(r" ?([][(){},:]) ?", r"\1", low) if low[:1] in ("[", "(", "{") else low  # a list, a tuple, a set


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
