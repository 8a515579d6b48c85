"""What the configuration's fields mean, out of their records' docstrings: "`field`: text" up to the next one. Pure.

So an editor and an error message say what the code says, and nobody writes it twice.
"""

from __future__ import annotations

import re
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin

from experts.spec import Spec

ENTRY = re.compile(r"((?:`\w+`(?:, | and |,\s+|\s+and\s+)?)+): ")


@cache
def descriptions(record: type[Spec]) -> dict[str, str]:
    """Field -> its text, for each that the docstring has an entry of. A blank line ends an entry, too."""
    found: dict[str, str] = {}
    for paragraph in re.split(r"\n\s*\n", record.__doc__ or ""):
        matches = [m for m in ENTRY.finditer(paragraph) if set(_names(m)) <= record.model_fields.keys()]
        for match, following in zip(matches, [*matches[1:], None], strict=True):
            text = paragraph[match.end() : following.start() if following else None]
            found |= dict.fromkeys(_names(match), " ".join(text.split()))
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


def may_be_none(annotation: Any) -> bool:
    return NoneType in get_args(annotation)


def _names(match: re.Match[str]) -> list[str]:
    return re.findall(r"`(\w+)`", match[1])
