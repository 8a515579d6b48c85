"""Values as read from YAML -> a record such as `Config`, or everything that is wrong with them at once. Pure.

Pydantic stops at a record with a wrong field: what that record, and those around it, contradict themselves in would
only be said once the field is mended. So whatever is right is put together once more, and asked for that as well.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from experts.spec import UNPRICED, Contradiction, Spec, Wrong
from router.config_docs import descriptions, is_mapping_of_records, record_in

Path = tuple[str | int, ...]
S = TypeVar("S", bound=Spec)
BAD_NAME = "a name begins with a letter or digit, and has at most 64 letters, digits, '.', '_' and '-'"
NAMING = ("experts", "engines", "policies")  # where these are no mappings, nothing can be said of references to them
ABSENT = object()


def checked(root: type[S], raw: dict[str, Any]) -> tuple[S | None, list[Wrong]]:
    """The record, or the paths of all that is wrong, and what."""
    try:
        return root.model_validate(raw), []
    except ValidationError as error:
        fields = list(_of_fields(error, root, raw))
        rough = _Rough({at for at, _ in fields})
        rough.made(root, raw, ())
        said = "; ".join(item["msg"] for item in error.errors(include_url=False, include_input=False))  # no values
        return None, list(dict.fromkeys([*fields, *rough.contradictions])) or [((), said)]


def _of_fields(error: ValidationError, root: type[Spec], raw: dict[str, Any]) -> Iterator[Wrong]:
    said: dict[Path, list[str]] = {}
    items = error.errors(include_url=False, include_input=False)
    for item in items:
        if not isinstance(item.get("ctx", {}).get("error"), Contradiction) and not _emptied(item, items):
            at, message = _told(item, root, raw)
            said.setdefault(at, []).append(message)
    for at, messages in said.items():  # several where a value may be of several kinds, and is of none
        yield at, "; or ".join(dict.fromkeys(messages))


def _emptied(item: ErrorDetails, items: list[ErrorDetails]) -> bool:
    """Too short only because pydantic does not count the entries that are wrong."""
    at = item["loc"]
    return item["type"] == "too_short" and any(o["loc"][: len(at)] == at and len(o["loc"]) > len(at) for o in items)


def _told(item: ErrorDetails, root: type[Spec], raw: dict[str, Any]) -> Wrong:
    location = item["loc"]
    if item["type"] == "missing":
        at = (*_there(raw, location[:-1]), location[-1])
        return at, _missing(root, at)
    at = _there(raw, location)
    if item["type"] == "extra_forbidden":
        return at, _unknown_key(root, at)
    if location[-1] == "[key]":
        return at, BAD_NAME
    return at, item["msg"].removeprefix("Value error, ")


def _there(raw: Any, location: tuple[str | int, ...]) -> Path:
    """The steps that the values have; pydantic adds others for the kinds that a value may be of."""
    at: list[str | int] = []
    for step in location:
        inner = raw.get(step, ABSENT) if isinstance(raw, dict) else ABSENT
        if isinstance(raw, list) and isinstance(step, int):
            inner = raw[step]
        if inner is not ABSENT:
            at.append(step)
            raw = inner
    return tuple(at)


def _missing(root: type[Spec], at: Path) -> str:
    if at[-1] == "price":
        return UNPRICED
    record = _record_at(root, at[:-1])
    meaning = descriptions(record).get(str(at[-1])) if record else None
    return f"missing: {meaning}" if meaning else "missing"


def _unknown_key(root: type[Spec], at: Path) -> str:
    """A key of this record that is written nearly so, else one of another record, else all of this one's."""
    record = _record_at(root, at[:-1])
    here = sorted(record.model_fields) if record else []
    for known in (here, sorted(_all_keys(root))):
        if close := difflib.get_close_matches(str(at[-1]), known, n=1):
            elsewhere = "" if close[0] in here else ", which belongs elsewhere"
            return f"unknown key; did you mean '{close[0]}'{elsewhere}?"
    return f"unknown key; known here: {', '.join(here)}"


def _record_at(root: type[Spec], at: Path) -> type[Spec] | None:
    record: type[Spec] | None = root
    names = iter(at)
    for step in names:
        field = record.model_fields.get(str(step)) if record else None
        if field is None:
            return None
        record = record_in(field.annotation)
        if record is not None and not _is_record(field.annotation):
            next(names, None)  # the name, or the place in a list
    return record


def _is_record(annotation: Any) -> bool:
    return get_origin(annotation) not in (dict, tuple)


def _all_keys(record: type[Spec]) -> Iterator[str]:
    for name, field in record.model_fields.items():
        yield name
        if inner := record_in(field.annotation):
            yield from _all_keys(inner)


class _Rough:
    """Records made of what is right; of what is wrong, the default, or nothing. Notes what they contradict.

    `failed`: the paths of wrong fields.
    """

    def __init__(self, failed: set[Path]) -> None:
        self._failed = failed
        self.contradictions: list[Wrong] = []

    def made(self, record: type[Spec], raw: Any, at: Path) -> Spec:
        given = raw if isinstance(raw, dict) else {}
        values = {n: self._value(f, given.get(n, ABSENT), (*at, n)) for n, f in record.model_fields.items()}
        rough = record.model_construct(**values)
        try:
            found = [((*at, *inner), why) for inner, why in rough.contradictions()]
        except (TypeError, AttributeError, ValueError, ArithmeticError):  # of a field that is not there, or wrong
            found = []
        self.contradictions += [wrong for wrong in found if not self._follows(record, at, *wrong)]
        return rough

    def _follows(self, record: type[Spec], at: Path, where: Path, why: str) -> bool:
        """Whether it may only be so because of a wrong field, of which enough is said."""
        if not at and any((name,) in self._failed for name in NAMING):
            return True
        wrong = [name for name in record.model_fields if (*at, name) in self._failed]
        return any(name in why for name in wrong) or any(where[: len(p)] == p for p in self._failed)

    def _value(self, field: FieldInfo, raw: Any, at: Path) -> Any:
        record = record_in(field.annotation)
        if record and isinstance(raw, list) and not _is_record(field.annotation):
            return tuple(self.made(record, value, (*at, index)) for index, value in enumerate(raw))
        if record and isinstance(raw, dict):
            if is_mapping_of_records(field.annotation):
                return {name: self.made(record, value, (*at, name)) for name, value in raw.items()}
            return self.made(record, raw, at)
        try:
            kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            return TypeAdapter(kind).validate_python(raw)
        except ValidationError:
            if isinstance(raw, str) and Literal in (get_origin(k) for k in (kind, *get_args(kind))):
                return raw  # what it says of itself is used as it stands
            return self._instead(field, record, at)

    def _instead(self, field: FieldInfo, record: type[Spec] | None, at: Path) -> Any:
        if not field.is_required():
            return field.get_default(call_default_factory=True)
        if is_mapping_of_records(field.annotation):
            return {}
        return self.made(record, {}, at) if record else ""
