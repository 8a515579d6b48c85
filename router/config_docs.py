"""What the configuration's fields mean, out of their records' docstrings: "`field`: text" up to the next one. Pure.

So an editor and an error message say what the code says, and nobody writes it twice.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, get_args, get_origin

from experts.spec import Spec

ENTRY = re.compile(r"((?:`\w+`(?:,\s+|\s+and\s+)?)+):\s")


@cache
def descriptions(record: type[Spec]) -> dict[str, str]:
    """Field -> its text: the entry of the docstring, which a blank line ends, too; else the sentence that names it.

    A field that a record has from another one is explained there.
    """
    inherited = [base for base in record.__bases__ if issubclass(base, Spec) and base is not Spec]
    found: dict[str, str] = {}
    for base in inherited:
        found |= descriptions(base)
    found |= {name: text for name in record.model_fields if (text := _sentence(record.__doc__ or "", name))}
    for paragraph in re.split(r"\n\s*\n", record.__doc__ or ""):
        matches = [m for m in ENTRY.finditer(paragraph) if set(_names(m)) <= record.model_fields.keys()]
        ends = [match.start() for match in matches[1:]] + [len(paragraph)] * bool(matches)
        for match, end in zip(matches, ends, strict=True):
            text = paragraph[match.end() : end]
            found |= dict.fromkeys(_names(match), _tidy(text))
    return found


def summary(record: type[Spec]) -> str:
    """The docstring's first paragraph, without the fields' entries."""
    first = re.split(r"\n\s*\n", record.__doc__ or "")[0]
    match = next((m for m in ENTRY.finditer(first) if set(_names(m)) <= record.model_fields.keys()), None)
    return " ".join(first[: match.start() if match else None].split())


def record_in(annotation: Any) -> type[Spec] | None:
    """The record that a field holds: itself, in a mapping or list of them, or None beside it."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    return next((found for inner in get_args(annotation) if (found := record_in(inner))), None)


def is_mapping_of_records(annotation: Any) -> bool:
    return get_origin(annotation) is dict and record_in(annotation) is not None


def _names(match: re.Match[str]) -> list[str]:
    return re.findall(r"`(\w+)`", match[1])


def _sentence(text: str, name: str) -> str | None:
    return next((_tidy(s) for s in re.split(r"(?<=\.)\s+", text) if f"`{name}`" in s), None)


def _tidy(text: str) -> str:
    return " ".join(text.split()).rstrip(".;,")
