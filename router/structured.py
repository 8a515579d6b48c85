"""Whether an answer keeps to the format the client asked for. Pure; knows nothing of how answers are had.

Schemas and answers are both strangers' words, so the work they can cause is bounded:

* references are followed here, not by the validator (`_Checker`): nothing is fetched, and a value meets each target
  once, where references that branch would otherwise be tried exponentially often;
* patterns run on an engine that is linear in the text, and all patterns of a schema share one allowance of memory;
* an answer for which the rest could take seconds, or that is nested very deeply, counts as wrong.

`format` is a remark on a string and not checked, as JSON Schema 2020-12 has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, Final
from urllib.parse import unquote

import jsonschema_rs
import orjson

from router.errors import BadRequest
from router.records import JsonObject

MAX_SCHEMA_BYTES: Final = 65_536
MAX_SUBSCHEMAS: Final = 2_000  # a target counts each time it is referred to from within another
MAX_NESTED: Final = 64  # subschemas in each other, without references
MAX_MEETINGS: Final = 120  # of a value and the target of a reference, in each other; all these bound the stack
MAX_UNITS: Final = 1_000_000  # of at most a microsecond; few answers come near what their schema could take
MAX_EXPLAINED: Final = 20_000  # values times subschemas: telling what is wrong takes far longer than seeing it
MAX_REASON_CHARS: Final = 200
REGEX_BYTES: Final = 262_144  # compiled; at this size, a character can take two microseconds

CONSTRAINTS: Final = ("json", "json_object", "choice", "regex", "grammar", "structural_tag")  # vLLM: one of these
UNSUPPORTED: Final = frozenset("$dynamicRef $recursiveRef unevaluatedProperties unevaluatedItems".split())
# Where subschemas stand in a schema, in all drafts together.
MAPS: Final = frozenset("properties patternProperties dependentSchemas dependencies".split())
APPLICATORS: Final = MAPS | frozenset(
    """not if then else allOf anyOf oneOf additionalProperties propertyNames
    items prefixItems additionalItems contains""".split()
)
BAD_PATTERN: Final = "cannot be used as a pattern; leave out look-around, back-references and long repeats"
TARGET: Final = "symposium:target"  # our own keyword in place of $ref
DROPPED: Final = frozenset(f"{TARGET} $ref $schema $id $anchor $dynamicAnchor $defs definitions".split())


@dataclass(frozen=True)
class AnswerFormat:
    """JSON that follows `schema` (canonical JSON text), or else one of `choices`."""

    schema: str = ""
    choices: tuple[str, ...] = ()

    def problem(self, text: str | None) -> str | None:
        """Why this is not such an answer, in at most MAX_REASON_CHARS characters; None if it is one."""
        if self.choices:
            return None if text in self.choices else _short(f"the answer is none of the choices: {text}")
        if not text:
            return "the answer is empty"
        try:
            value = orjson.loads(text)
            orjson.dumps(value)  # what can be written is not nested too deeply for the validator
        except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
            return _short(f"the answer is not valid JSON: {error}")
        return _checker(self.schema).problem(value, values=1 + sum(map(text.count, ",[{")))


def compile_format(body: Mapping[str, Any]) -> AnswerFormat | None:
    """What a request asks of its answers' form; None if nothing, or nothing that is checked here (regex, grammar).

    Raises:
        BadRequest: with `param` naming the field.
    """
    response_format = _object(body.get("response_format") or {}, "response_format")
    outputs = _object(body.get("structured_outputs") or {}, "structured_outputs")
    kind = response_format.get("type", "text")
    constraints = [name for name in CONSTRAINTS if outputs.get(name) is not None]
    if len(constraints) + (kind != "text") > 1:
        raise _invalid("structured_outputs", "an answer can have one format only, here or in 'response_format'")
    if kind == "json_object":
        return _by_schema({"type": "object"}, "response_format")
    if kind == "json_schema":
        param = "response_format.json_schema"
        schema = _object(response_format.get("json_schema"), param).get("schema")
        return _by_schema(schema, f"{param}.schema")
    return _by_constraint(constraints[0], outputs) if constraints else None


def _by_constraint(name: str, outputs: JsonObject) -> AnswerFormat | None:
    value, param = outputs[name], f"structured_outputs.{name}"
    if name == "json_object" and value:
        return _by_schema({"type": "object"}, param)
    if name == "json":
        try:
            return _by_schema(orjson.loads(value) if isinstance(value, str) else value, param)
        except orjson.JSONDecodeError as error:
            raise _invalid(param, f"it is not valid JSON: {error}") from error
    if name == "choice":
        if not isinstance(value, list) or not value or not all(isinstance(choice, str) for choice in value):
            raise _invalid(param, "it must be a list of texts")
        _canonical(value, param)
        return AnswerFormat(choices=tuple(value))
    return None


def _by_schema(schema: object, param: str) -> AnswerFormat:
    text = _canonical(_object(schema, param), param)
    try:
        _checker(text)
    except _RefusedError as error:
        raise _invalid(param, str(error)) from error
    return AnswerFormat(schema=text)


def _canonical(value: object, param: str) -> str:
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise _invalid(param, f"it cannot be written as JSON: {error}") from error
    if len(text) > MAX_SCHEMA_BYTES:
        raise _invalid(param, f"it takes {len(text)} bytes, and {MAX_SCHEMA_BYTES} are allowed")
    return text.decode()


def _object(value: object, param: str) -> JsonObject:
    if not isinstance(value, dict):
        raise _invalid(param, "it must be a JSON object")
    return value


def _invalid(param: str, reason: str) -> BadRequest:
    return BadRequest(f"Invalid '{param}': {reason}.", code="invalid_value", param=param)


def _short(text: str) -> str:
    return text if len(text) <= MAX_REASON_CHARS else f"{text[: MAX_REASON_CHARS - 1]}…"


class _RefusedError(ValueError):
    """The schema cannot be promised to hold; says why."""


class _Checker:
    """A schema in pieces, the whole and each target of its references, that are compiled one by one."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._old = "/draft-0" in str(root.get("$schema"))  # before 2019, what stands beside a $ref is ignored
        self._subschemas, self._patterns, self._units_per_value = 0, 0, 0.0
        self._names = {id(root): "#"}  # of the targets, by id(): the root keeps them alive
        self._pending: list[object] = [root]
        pieces = {id(target): self._piece(target, 0) for target in self._pending}  # which grows meanwhile
        self._keywords = {TARGET: _target_keyword(self)}
        self._validators = {key: self._compiled(piece, self._names[key]) for key, piece in pieces.items()}
        self._lock = Lock()
        self._start(explains=False)

    def _piece(self, part: object, nested: int) -> object:
        """A subschema with our own keyword in place of its references; counts what it can take."""
        if not isinstance(part, dict):
            return part
        self._subschemas += 1
        if self._subschemas > MAX_SUBSCHEMAS or nested > MAX_NESTED:
            raise _RefusedError(f"it has over {MAX_SUBSCHEMAS} subschemas, or over {MAX_NESTED} inside each other")
        for keyword in (UNSUPPORTED if part is self._root else UNSUPPORTED | {"$id"}) & part.keys():
            raise _RefusedError(f"'{keyword}' is not supported here; there are '$ref' and 'additionalProperties'")
        copy = {keyword: value for keyword, value in part.items() if keyword not in DROPPED}
        if isinstance(reference := part.get("$ref"), str):
            target = _resolved(self._root, reference)
            if id(target) not in self._names:
                self._names[id(target)] = reference
                self._pending.append(target)
            copy = {TARGET: id(target)} if self._old else copy | {TARGET: id(target)}
        for keyword in APPLICATORS & copy.keys():
            found = copy[keyword]
            if isinstance(found, dict) and keyword in MAPS:
                copy[keyword] = {name: self._piece(below, nested + 1) for name, below in found.items()}
            elif isinstance(found, list):
                copy[keyword] = [self._piece(below, nested + 1) for below in found]
            else:
                copy[keyword] = self._piece(found, nested + 1)
        patterns = len(found) if isinstance(found := copy.get("patternProperties"), dict) else 0
        self._patterns += patterns + ("pattern" in copy)
        self._units_per_value += patterns + _units(copy)
        return copy

    def _compiled(self, piece: Any, name: str) -> jsonschema_rs.Validator:
        size = REGEX_BYTES // max(1, self._patterns)
        if isinstance(piece, dict) and "$schema" in self._root:
            piece = {"$schema": self._root["$schema"], **piece}
        try:
            return jsonschema_rs.validator_for(
                piece,
                offline=True,
                validate_formats=False,
                pattern_options=jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=size),
                keywords=self._keywords,
            )
        except jsonschema_rs.ValidationError as error:
            where = _short("/".join([name, *map(str, error.instance_path)]))
            if (error.kind.name, error.kind.value) == ("format", "regex"):
                raise _RefusedError(f"{where} {BAD_PATTERN}") from error
            raise _RefusedError(_short(f"it is not a JSON Schema, at {where}: {error.message}")) from error
        except (ValueError, OverflowError, jsonschema_rs.ReferencingError) as error:
            raise _RefusedError(_short(str(error))) from error

    def problem(self, value: object, values: int) -> str | None:
        """Why a value with so many values in it does not match; None if it does."""
        units = values * self._units_per_value
        if units > MAX_UNITS:
            return "the answer is too large to be checked against the schema"
        with self._lock:
            self._start(explains=values * self._subschemas <= MAX_EXPLAINED)
            reason = self._reason(id(self._root), value)
            self._met.clear()
            if self._too_deep:
                return "the answer is too deeply nested to be checked against the schema"
        return None if reason is None else _short(f"the answer does not match the schema{reason}")

    def _start(self, *, explains: bool) -> None:
        # A text is known by itself and all else by its id(), with the value kept so that no other gets the same id().
        self._met: dict[tuple[int, int | str], tuple[str | None, object]] = {}
        self._inside, self._too_deep, self._explains = 0, False, explains

    def _reason(self, key: int, value: object) -> str | None:
        if self._validators[key].is_valid(value):
            return None
        error = next(self._validators[key].iter_errors(value), None) if self._explains and not self._too_deep else None
        if error is None:
            return ""
        where = ".".join(map(str, error.instance_path))
        return f", at {where}: {error.message}" if where else f": {error.message}"

    def meet(self, key: int, value: object) -> None:
        """Raises ValueError where the value does not match the target."""
        meeting = key, value if isinstance(value, str) else id(value)
        if meeting not in self._met:
            self._met[meeting] = None, value  # a reference that comes back to itself on the way adds nothing
            self._inside += 1
            self._too_deep |= self._inside > MAX_MEETINGS
            self._met[meeting] = "" if self._too_deep else self._reason(key, value), value
            self._inside -= 1
        reason, _ = self._met[meeting]
        if reason is not None:
            raise ValueError(f"it does not match {self._names[key]}{reason}")


def _target_keyword(checker: _Checker) -> type[jsonschema_rs.KeywordValidator]:
    """Our own keyword, in the form that the validator wants: a value must match the target with this key."""

    class Target:
        def __init__(self, parent_schema: JsonObject, value: int, schema_path: list[str | int]) -> None:
            self._key = value

        def validate(self, instance: object) -> None:
            checker.meet(self._key, instance)

    return Target


@lru_cache(maxsize=32)  # a hostile schema's entry can hold some MB
def _checker(text: str) -> _Checker:
    return _Checker(orjson.loads(text))


def _units(schema: JsonObject) -> float:
    """How long one evaluation can take, in microseconds, without what it applies and without long texts."""
    members = schema["enum"] if isinstance(schema.get("enum"), list) else []
    scanned = len(members) / 8 if len(set(map(type, members))) > 1 else 0  # of one type, they are looked up
    compared = sum(isinstance(member, float | list | dict) for member in [*members, schema.get("const")])
    slow = sum(keyword in schema for keyword in ("pattern", "multipleOf", "uniqueItems"))
    return 1 / 32 + scanned + compared + slow + 2 * (TARGET in schema)


def _resolved(root: object, reference: str) -> object:
    """The target of a reference, a JSON pointer (RFC 6901) into the schema."""
    start, *steps = reference.split("/")
    if start != "#":
        raise _RefusedError(_short(f"'$ref' must be '#' or start with '#/', nothing else is fetched: {reference}"))
    found: Any = root
    for step in steps:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(name)] if name.isdecimal() and len(name) < 6 and int(name) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict | bool):
        raise _RefusedError(_short(f"'$ref' points to no subschema: {reference}"))
    return found
