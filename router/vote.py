"""Majority vote over free text: what was answered, who agrees, who wins. Pure.

The winner's own text is returned unchanged. Ties go to the answer whose supporters' predicted
correctness sums to more.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal

from router.records import Answer, Ballot, Reply

MAX_SHORT_CHARS = 200  # longer texts agree only when they are the same text
MAX_MAGNITUDE = 50  # decimal places that a number is written out to
_MARKS = (
    re.compile(r"(?:final\s+)?answer[*_]{0,3}\s*(?:is|:|=)[\s:*_]*(?P<core>\S[^\n]*)", re.IGNORECASE),
    re.compile(r"\\boxed\{(?P<core>[^{}]*)\}"),
    re.compile(r"####\s*(?P<core>\S[^\n]*)"),
)
_LETTER = re.compile(r"\(?([A-J])\)?[.:)]?")
_LETTERED = re.compile(r"\(?([A-J])[).:]\s")  # "B) Paris": only behind a mark, where a choice is expected
_NUMBER = re.compile(r"([-+]?)[$€£]?((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)([eE][-+]?\d{1,9})?(%?)")


def extract(text: str) -> str:
    """The comparable core of an answer: the last marked answer, else the whole text, normalised.

    Numbers compare by value ("1,000.0" = "1000"; a percentage only with a percentage), choices by letter, short
    texts without case, surrounding punctuation and spare blanks.
    """
    marked = [match for mark in _MARKS for match in mark.finditer(text)]
    core = max(marked, key=lambda match: match.start())["core"] if marked else text
    if len(core) > 4 * MAX_SHORT_CHARS:
        return core.strip()
    core = _plain(core).strip().strip("*`_\"'$").strip()
    if len(core) > MAX_SHORT_CHARS:
        return core
    letter = _LETTER.fullmatch(core) or (_LETTERED.match(core) if marked else None)
    if letter:
        return letter[1]
    bare = core.rstrip(".!;,").strip()
    return _number(bare) or " ".join(bare.casefold().split())


def _plain(text: str) -> str:
    """Compatibility characters in their plain form (full-width digits, ligatures); 10² must not become 102."""
    kept = ("<super>", "<sub>", "<fraction>")
    plain = (
        c if unicodedata.decomposition(c).startswith(kept) else unicodedata.normalize("NFKC", c)
        for c in text.replace("\N{MINUS SIGN}", "-")
    )
    return unicodedata.normalize("NFC", "".join(plain))


def _number(text: str) -> str | None:
    """A number's one spelling; None for what is none, or is too long to be written out."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, digits, exponent, percent = match.groups()
    value = Decimal(sign + digits.replace(",", "") + (exponent or ""))
    if not -MAX_MAGNITUDE < value.adjusted() < MAX_MAGNITUDE:
        return None
    written = format(value, "f") if value else "0"
    return (written.rstrip("0").rstrip(".") if "." in written else written) + percent


def majority(replies: Sequence[Reply], p_correct: Mapping[str, float]) -> Answer:
    """The answer most replies agree on, in the words of its most trusted supporter.

    Args:
        replies: at least one.
        p_correct: expert -> predicted correctness; breaks ties, missing counts as 0.
    """
    camps: dict[str, list[Reply]] = {}
    for reply in replies:
        camps.setdefault(extract(reply.text), []).append(reply)

    def trust(reply: Reply) -> float:
        return p_correct.get(reply.expert, 0.0)

    def order(item: tuple[str, list[Reply]]) -> tuple[bool, int, float, str]:
        # No answer never beats an answer. The text breaks the last tie: who answered first decides nothing.
        text, camp = item
        return not text, -len(camp), -math.fsum(map(trust, camp)), text

    ranked = sorted(camps.items(), key=order)
    winner = min(ranked[0][1], key=lambda r: (-trust(r), r.expert))
    ballot = Ballot(
        answers=tuple((text[:MAX_SHORT_CHARS], tuple(r.expert for r in camp)) for text, camp in ranked),
        share=len(ranked[0][1]) / len(replies),
    )
    return Answer(expert=winner.expert, choices=winner.choices, ballot=ballot, extra=winner.extra)
