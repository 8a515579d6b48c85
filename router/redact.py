"""What in a text may tell who somebody is, or open a door: found by its form and replaced by its kind. Pure.

A help, no guarantee: names, addresses of streets and whatever has no form of its own stay, and a number that only looks
like one goes. Where in doubt, it goes. Every pattern is linear in the text: runs are taken from their first character
on and never given back.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

Replace = Callable[[re.Match[str]], str]
Steps = tuple[tuple[re.Pattern[str], str | Replace], ...]

MARGIN = 256  # characters
MIN_DIGITS = 9  # of a number without a sign of being dialled
MIN_DIALLED = 7
_OPAQUE = r"A-Za-z0-9_+/=-"
_LOCAL = r"\w.!#$%&'*+/=?^`{|}~-"
_LABELS = "api[_-]?key|access[_-]?key|secret[_-]?key|client[_-]?secret|password|passwd|passphrase|pwd|secret|token"
_PRIVATE = r"[A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PREFIXES = r"(?:sk|pk|rk|sym|xox[a-z]|glpat|hf|npm|pypi|gh[a-z]|github_pat|dop_v1|key)[-_]"


def redact(text: str) -> str:
    """The text with `[email]`, `[ip]`, `[iban]`, `[phone]`, `[number]` and `[secret]` for what has their form."""
    return _replaced(without_secrets(text), _PERSONAL)


def without_secrets(text: str) -> str:
    """The text with `[secret]` for what has the form of a key, a password or a token."""
    return _replaced(text, _SECRETS)


def redacted_start(text: str, max_chars: int) -> str:
    """The redacted text's beginning, at most `max_chars` of it, and "…" where there is more.

    Never a part of something up to MARGIN long that would have been found had it been read on: so much more is read.
    """
    if len(text) <= max_chars:
        return redact(text)
    found = redact(text[: max_chars + MARGIN])
    return found[: max(0, min(max_chars, len(found) - MARGIN))] + "…"


def _replaced(text: str, steps: Steps) -> str:
    for pattern, replace in steps:
        text = pattern.sub(replace, text)
    return text


def _number(match: re.Match[str]) -> str:
    said = match[0]
    digits, start = sum(map(str.isdigit, said)), said.lstrip("(")[0]
    if digits >= MIN_DIGITS:
        return "[phone]" if start in "+0" else "[number]"
    dialled = start in "+0" or not said.isdigit()
    return "[phone]" if dialled and digits >= MIN_DIALLED and not _DATE.fullmatch(said) else said


def _iban(match: re.Match[str]) -> str:
    return "[iban]" if sum(map(str.isdigit, match[0])) >= MIN_DIGITS else match[0]


def _ip(match: re.Match[str]) -> str:
    said = match[0].rstrip(".:")
    try:
        ipaddress.ip_address(said)
    except ValueError:
        return match[0]
    return "[ip]" + match[0][len(said) :]


def _opaque(match: re.Match[str]) -> str:
    mixed = any(map(str.isdigit, match[0])) and any(map(str.isalpha, match[0]))
    return "[secret]" if mixed else match[0]


_DATE = re.compile(r"\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{4}")
_SECRETS: Steps = (
    (
        re.compile(rf"-----BEGIN {_PRIVATE}.*?(?:-----END {_PRIVATE}|\Z)", re.S),
        "[secret]",
    ),
    (re.compile(r"(?<=://)[^\s/]+@"), "[secret]@"),
    (re.compile(r"\b(bearer\s++)[A-Za-z0-9._~+/=-]{8,}+", re.I), r"\1[secret]"),
    (re.compile(r"(authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?basic\s++)[A-Za-z0-9+/=]++", re.I), r"\1[secret]"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){1,2}"), "[secret]"),
    (re.compile(rf"(?<![A-Za-z0-9]){_PREFIXES}[A-Za-z0-9_-]{{8,}}+", re.I), "[secret]"),
    (re.compile(r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{12,}+|AIza[A-Za-z0-9_-]{20,}+)"), "[secret]"),
    (re.compile(rf"((?:{_LABELS})[\"']?\s{{0,4}}[:=]\s{{0,4}}\")(?:[^\"\\\n]|\\.)++(?=\")", re.I), r"\1[secret]"),
    (re.compile(rf"((?:{_LABELS})[\"']?\s{{0,4}}[:=]\s{{0,4}}')(?:[^'\\\n]|\\.)++(?=')", re.I), r"\1[secret]"),
    (re.compile(rf"((?:{_LABELS})[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?)[^\s\"',;}}\[\]]++", re.I), r"\1[secret]"),
)
_PERSONAL: Steps = (
    (re.compile(rf"(?<![{_LOCAL}])[{_LOCAL}]++@[\w-]++(?:\.[\w-]++)++"), "[email]"),
    (re.compile(r"(?<![\w.:])(?:[0-9a-f]{0,4}:){2,8}[0-9a-f.]{0,15}", re.I), _ip),
    (re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]?\d)"), _ip),
    (re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}+(?:[ -]?[A-Z0-9]{1,4}+)?+", re.I), _iban),
    (re.compile(rf"(?<![{_OPAQUE}])[{_OPAQUE}]{{24,}}+"), _opaque),
    (re.compile(r"(?<!\d)(?:\(?\+)?\(?\d(?:[ ().\-/\u00a0\u2007\u2009\u202f\u2010-\u2013]{0,2}\d)*+"), _number),
)
