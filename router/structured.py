"""Whether an answer keeps to the format the client asked for. Pure; knows nothing of how answers are had.

Schemas and answers are both strangers' words, so the work they can cause is bounded:

* nothing is fetched: references stay inside the schema;
* patterns run on an engine that is linear in the text, and all patterns of a schema share one allowance of memory;
* before an answer is validated, the evaluations this takes are counted (`_Checker.units`): branching references can
  take exponentially many, nested ones the whole stack. An answer that would take too many counts as wrong.

`format` is a remark on a string and not checked, as JSON Schema 2020-12 has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import jsonschema_rs
import orjson

from router.errors import BadRequest
from router.records import JsonObject

MAX_SCHEMA_BYTES: Final = 65_536
MAX_SUBSCHEMAS: Final = 5_000
MAX_CHAIN: Final = 64  # subschemas that lead to each other on one and the same value
MAX_STACKED: Final = 1_000  # evaluations inside each other; the validator takes about 250 bytes of stack for each
MAX_UNITS: Final = 250_000  # of at most about a microsecond each
EXPLAINED_UNITS: Final = 2_000  # telling what is wrong takes far longer than seeing that something is
MAX_REASON_CHARS: Final = 200
REGEX_BYTES: Final = 262_144  # compiled, all patterns of one schema together
REGEX_BYTES_PER_UNIT: Final = 131_072  # a compiled pattern of this size can take a microsecond for each character

CONSTRAINTS: Final = ("json", "json_object", "choice", "regex", "grammar", "structural_tag")  # vLLM: one of these
UNSUPPORTED: Final = frozenset("$dynamicRef $recursiveRef unevaluatedProperties unevaluatedItems".split())
BAD_PATTERN: Final = (
    "is a pattern that cannot be used. Look-around and back-references are not supported, and repeats must be small: "
    "say lengths with 'minLength' and 'maxLength', or leave the pattern out"
)
# Where subschemas stand in a schema, in all drafts together: what is counted too much does no harm.
HERE: Final = "not if then else allOf anyOf oneOf dependentSchemas dependencies".split()  # for the same value
MAPS: Final = "properties patternProperties dependentSchemas dependencies".split()
BELOW: Final = [*MAPS[:2], *"additionalProperties propertyNames items prefixItems additionalItems contains".split()]
COMPARED: Final = "const enum required dependentRequired dependencies".split()  # work as large as what they hold


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
            orjson.dumps(value)  # what is deeper than can be written is deeper than the validator goes
        except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
            return _short(f"the answer is not valid JSON: {error}")
        return _checker(self.schema).problem(value)


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
    """A compiled schema, and which parts of it apply which others: enough to count the work of a validation first."""

    def __init__(self, schema: JsonObject, *, may_be_draft_4: bool) -> None:
        ids = ("$id", "id") if may_be_draft_4 else ("$id",)
        if any(isinstance(part.get(name), str) for part in _objects(schema) if part is not schema for name in ids):
            raise _RefusedError("only the schema itself can have an '$id', not its parts")
        self._root = schema
        self._here: dict[int, list[JsonObject]] = {}  # by a subschema's id(): the root keeps them all alive
        self._fixed_units: dict[int, float] = {}
        pending = [schema]
        while pending and len(self._here) <= MAX_SUBSCHEMAS:
            part = pending.pop()
            if id(part) not in self._here:
                self._here[id(part)] = [*_parts(part, HERE), *_referred(part, schema)]
                self._fixed_units[id(part)] = 1 + len(orjson.dumps([part.get(keyword) for keyword in COMPARED])) / 64
                pending += [*self._here[id(part)], *_parts(part, BELOW)]
        if pending:
            raise _RefusedError(f"it has more than {MAX_SUBSCHEMAS} subschemas")
        heights: dict[int, int] = {}
        for part_id in self._here:
            self._height(part_id, heights, 1)
        self._validator, self._units_per_char = _compiled(schema)

    def _height(self, part_id: int, heights: dict[int, int], above: int) -> int:
        """How many subschemas lead from here to others for the same value."""
        if above <= MAX_CHAIN and part_id not in heights:
            below = [self._height(id(part), heights, above + 1) for part in self._here[part_id]]
            heights[part_id] = 1 + max(below, default=0)
        if above > MAX_CHAIN or heights[part_id] > MAX_CHAIN:
            raise _RefusedError(f"it refers to itself for one and the same value, or combines over {MAX_CHAIN} levels")
        return heights[part_id]

    def problem(self, value: object) -> str | None:
        units = self.units(value)
        if units > MAX_UNITS:
            return "the answer is too large or too deeply nested to be checked against the schema"
        if self._validator.is_valid(value):
            return None
        if units > EXPLAINED_UNITS:
            return "the answer does not match the schema"
        error = next(self._validator.iter_errors(value))
        return _short(f"the answer does not match the schema, at {_path(error)}: {error.message}")

    def units(self, value: object) -> float:
        """An upper bound on the work of validating; infinite where it exceeds MAX_UNITS or MAX_STACKED."""
        units = 0.0
        pending: list[tuple[JsonObject, Any, int]] = [(self._root, value, 1)]
        while pending:
            schema, part, stacked = pending.pop()
            units += self._fixed_units[id(schema)] + _units_by_size(schema, part, self._units_per_char)
            if units + len(pending) > MAX_UNITS or stacked > MAX_STACKED:
                return float("inf")
            pending += [(applied, part, stacked + 1) for applied in self._here[id(schema)]]
            pending += [(applied, p, stacked + 1) for applied, p in _applied(schema, part) if isinstance(applied, dict)]
        return units


@lru_cache(maxsize=32)  # a hostile schema's entry can hold some MB
def _checker(text: str) -> _Checker:
    return _Checker(orjson.loads(text), may_be_draft_4="draft-04" in text)


def _compiled(schema: JsonObject) -> tuple[jsonschema_rs.Validator, float]:
    """The validator, and the units that one pattern of it takes for one character."""
    patterns = {part["pattern"] for part in _objects(schema) if isinstance(part.get("pattern"), str)}
    patterns.update(*(_mapping(part, "patternProperties") for part in _objects(schema)))
    share = REGEX_BYTES // max(1, len(patterns))
    options = jsonschema_rs.RegexOptions(size_limit=share, dfa_size_limit=share)
    try:
        validator = jsonschema_rs.validator_for(schema, offline=True, validate_formats=False, pattern_options=options)
    except jsonschema_rs.ValidationError as error:
        if (error.kind.name, error.kind.value) == ("format", "regex"):
            raise _RefusedError(f"{_short(_path(error))} {BAD_PATTERN}") from error
        raise _RefusedError(_short(f"it is not a JSON Schema, at {_path(error)}: {error.message}")) from error
    except (ValueError, OverflowError, jsonschema_rs.ReferencingError) as error:
        raise _RefusedError(_short(str(error))) from error
    return validator, share / REGEX_BYTES_PER_UNIT


def _path(error: jsonschema_rs.ValidationError) -> str:
    return ".".join(map(str, error.instance_path)) or "its root"


def _objects(root: JsonObject) -> Iterator[JsonObject]:
    """Every object in a JSON value, whether a subschema or not."""
    pending: list[Any] = [root]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _mapping(schema: JsonObject, keyword: str) -> JsonObject:
    return found if isinstance(found := schema.get(keyword), dict) else {}


def _parts(schema: JsonObject, keywords: list[str]) -> Iterator[JsonObject]:
    """The subschemas under these keywords; `true` and `false` take no work worth counting."""
    for keyword in keywords:
        found = schema.get(keyword)
        parts = _mapping(schema, keyword).values() if keyword in MAPS else found if isinstance(found, list) else [found]
        yield from (part for part in parts if isinstance(part, dict))


def _referred(schema: JsonObject, root: Any) -> list[JsonObject]:
    """The target of its reference, found as the validator finds it: a JSON pointer (RFC 6901) into the schema."""
    for keyword in UNSUPPORTED & schema.keys():
        raise _RefusedError(f"'{keyword}' is not supported: refer with '$ref', close with 'additionalProperties'")
    reference, found = schema.get("$ref"), root
    if not isinstance(reference, str):
        return []
    start, *steps = unquote(reference).split("/")
    if start != "#" or any(code in reference.lower() for code in ("%2f", "%7e")):  # how these are read differs
        raise _RefusedError(_short(f"'$ref' must be '#' or start with '#/', nothing else is fetched: {reference}"))
    for step in steps:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(name)] if name.isdecimal() and len(name) < 6 and int(name) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict | bool):
        raise _RefusedError(_short(f"'$ref' points to no subschema: {reference}"))
    return [found] if isinstance(found, dict) else []


def _applied(schema: JsonObject, value: object) -> Iterator[tuple[object, object]]:
    """Which subschemas are applied to which parts of a value."""
    if isinstance(value, dict):
        keys, others = _mapping(schema, "properties"), schema.get("additionalProperties")
        patterns, names = _mapping(schema, "patternProperties").values(), schema.get("propertyNames")
        for key, part in value.items():
            yield from ((names, key), (keys.get(key, others), part), *((pattern, part) for pattern in patterns))
    elif isinstance(value, list):
        firsts = [found for keyword in ("items", "prefixItems") if isinstance(found := schema.get(keyword), list)]
        everywhere = [schema.get(keyword) for keyword in ("items", "additionalItems", "contains")]
        for index, part in enumerate(value):
            yield from ((applied, part) for applied in everywhere)
            yield from ((first[index], part) for first in firsts if index < len(first))


def _units_by_size(schema: JsonObject, value: object, units_per_char: float) -> float:
    """What one evaluation takes that grows with the value, without the subschemas it applies."""
    if isinstance(value, str):
        return len(value) * (1 / 512 + ("pattern" in schema) * units_per_char)
    if isinstance(value, dict):
        patterns = len(_mapping(schema, "patternProperties"))
        return (patterns + 1) * len(value) / 4 + patterns * sum(map(len, value)) * units_per_char
    if isinstance(value, list):
        return len(value) / 4 + bool(schema.get("uniqueItems")) * len(orjson.dumps(value)) / 64
    return 0
