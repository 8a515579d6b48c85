"""Majority vote over free text: what was answered, who agrees, who wins. Pure.

The winner's own text is returned unchanged. Ties go to the answer whose supporters' predicted
correctness sums to more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from router.records import Answer, Ballot, Reply

MAX_SHORT_CHARS = 200  # longer texts agree only when they are the same text
_MARKED = re.compile(
    r"(?:final answer|answer)\s*(?:is|:|=)\s*(?P<rest>[^\n]+)|\\boxed\{(?P<box>[^{}]*)\}|####\s*(?P<hash>[^\n]+)",
    re.IGNORECASE,
)
_LETTER = re.compile(r"^\(?([A-J])\)?[.:)]?(?:\s|$)")
_NUMBER = re.compile(r"^[-+]?[$€£]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?%?$")


def extract(text: str) -> str:
    """The comparable core of an answer: the last marked answer, else the whole text, normalised.

    Numbers compare by value ("1,000.0" = "1000"), choices by letter, short texts without case, surrounding
    punctuation and spare blanks.
    """
    marked = list(_MARKED.finditer(text))
    core = next(g for g in marked[-1].groups() if g is not None) if marked else text
    core = unicodedata.normalize("NFKC", core).strip().strip("*`_\"'").strip()
    if len(core) > MAX_SHORT_CHARS:
        return core
    letter = _LETTER.match(core)
    if letter and (marked or len(core) <= len(letter.group(0))):
        return letter.group(1)
    bare = core.rstrip(".!;,").strip()
    return _number(bare) or " ".join(bare.casefold().split())


def _number(text: str) -> str | None:
    if not _NUMBER.match(text):
        return None
    percent = "%" if text.endswith("%") else ""
    try:
        value = Decimal(text.rstrip("%").replace(",", "").translate({ord(c): None for c in "$€£"}))
    except InvalidOperation:
        return None
    # "f" of a normalised value: 1E+3 and 1000.0 are the same text; the exponent is bounded first.
    if not -50 < value.adjusted() < 50:
        return text + percent
    return format(value.normalize() + 0, "f") + percent


def majority(replies: Sequence[Reply], p_correct: Mapping[str, float]) -> Answer:
    """The answer most replies agree on, in the words of its most trusted supporter.

    Args:
        replies: at least one.
        p_correct: expert -> predicted correctness; breaks ties, missing counts as 0.
    """
    camps: dict[str, list[Reply]] = {}
    for reply in replies:
        camps.setdefault(extract(reply.text), []).append(reply)

    def strength(camp: Sequence[Reply]) -> tuple[int, float]:
        return len(camp), sum(p_correct.get(r.expert, 0.0) for r in camp)

    ranked = sorted(camps.items(), key=lambda item: strength(item[1]), reverse=True)
    winner = max(ranked[0][1], key=lambda r: p_correct.get(r.expert, 0.0))
    ballot = Ballot(
        answers=tuple((text[:MAX_SHORT_CHARS], tuple(r.expert for r in camp)) for text, camp in ranked),
        share=len(ranked[0][1]) / len(replies),
    )
    return Answer(expert=winner.expert, choices=winner.choices, ballot=ballot, extra=winner.extra)
