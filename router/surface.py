"""What the form of a question says before its meaning is read: sums, code, choices, blanks, negations. Pure.

An embedding of the meaning mixes these up, and experts differ on them: some calculate, some know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = (
    "length", "digits", "dollars", "backslashes", "operators", "lines", "blank", "negation", "which", "statement",
    "commas", "capitals", "choices", "choice_length", "choices_with_digits", "first_line",
)  # fmt: skip
MAX_CHARS = 20_000  # enough to tell a form by, and a bound on the time it takes

_CHOICE = re.compile(r"^\s{0,8}\(?[A-Za-z0-9]{1,2}[.):]\s", re.MULTILINE)
_NEGATION = re.compile(r"\b(?:not|except|never|neither)\b", re.IGNORECASE)
_WHICH = re.compile(r"\bwhich\b", re.IGNORECASE)
_STATEMENT = re.compile(r"\bstatements?\b", re.IGNORECASE)
_OPERATORS = frozenset("+-*/=^<>")


def surface(texts: Sequence[str]) -> NDArray[np.float64]:
    """[N, len(FEATURES)], unscaled: shares of characters, counts of lines and choices, logarithms of lengths."""
    return np.array([_features(text[:MAX_CHARS]) for text in texts], dtype=np.float64).reshape(-1, len(FEATURES))


def _features(text: str) -> list[float]:
    size = len(text) + 1
    lines = text.split("\n")
    choices = [line for line in lines if _CHOICE.match(line)]
    digits = sum(map(str.isdigit, text))
    return [
        math.log(size),
        digits / size,
        text.count("$") / size,
        text.count("\\") / size,
        sum(map(_OPERATORS.__contains__, text)) / size,
        float(len(lines)),
        float("__" in text),
        float(_NEGATION.search(text) is not None),
        float(_WHICH.search(text) is not None),
        float(_STATEMENT.search(text) is not None),
        text.count(",") / size,
        sum(map(str.isupper, text)) / size,
        float(len(choices)),
        math.log1p(sum(map(len, choices)) / len(choices)) if choices else 0.0,
        sum(any(map(str.isdigit, line[4:])) for line in choices) / len(choices) if choices else 0.0,
        math.log(len(lines[0]) + 1),
    ]
