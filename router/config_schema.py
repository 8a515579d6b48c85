"""The JSON Schema of a configuration file, for editors: out of `Config`, with what only files have. Pure.

`symposium schema` prints it; `configs/schema.json` is it. It says less than `symposium validate` does: that names are
known and files are there cannot be said in it, and a file that includes others need not be complete.
"""

from __future__ import annotations

import json
from typing import Any

from experts.spec import Spec
from router.config import Config
from router.config_docs import descriptions, record_in, summary

Json = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"  # what editors know best; nothing here needs a later one
VARIABLE = "Variable"
VARIABLE_SCHEMA: Json = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "The value of an environment variable: ${NAME} or ${NAME:-default}",
}
INCLUDE: Json = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Files that this one builds on, relative to it. What is written here wins, and a later one "
    "over an earlier one; mappings are merged key by key, everything else is replaced",
}
NEEDED = ("required", "oneOf")  # of a record: what must be there; of forms that it may have, which
NUMBERS = ("integer", "number", "boolean")


def schema() -> Json:
    """Of one file."""
    whole = Config.model_json_schema()
    definitions: Json = whole.pop("$defs")
    _annotate(Config, whole, definitions, set())
    required = _required(whole, definitions)
    for record in (whole, *definitions.values()):
        for key in NEEDED:  # a file that includes others may complete what they have
            record.pop(key, None)
        for name, value in record.get("properties", {}).items():
            record["properties"][name] = _open(value)
    definitions[VARIABLE] = VARIABLE_SCHEMA
    whole["properties"] = {"include": INCLUDE, **whole["properties"]}
    whole |= {"if": {"not": {"required": ["include"]}}, "then": required}
    return {"$schema": DRAFT, **whole, "title": "Symposium configuration", "$defs": dict(sorted(definitions.items()))}


def schema_text() -> str:
    """As it is printed, and committed."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _annotate(record: type[Spec], shape: Json, definitions: Json, seen: set[type[Spec]]) -> None:
    """Puts the docstrings' texts where an editor looks for them."""
    seen.add(record)
    shape["description"] = summary(record)
    said = descriptions(record)
    for name, field in record.model_fields.items():
        value = shape["properties"][name] = _named(shape["properties"][name])
        value.pop("title", None)
        if name in said:
            value["description"] = said[name]
        inner = record_in(field.annotation)
        if inner is not None and inner not in seen:
            _annotate(inner, definitions[inner.__name__], definitions, seen)
        if inner is not None or value.get("default", ...) is None:
            value.pop("default", None)  # said by the record's own fields, or nothing at all
        if inner is not None and inner.SHORT is not None:
            short = definitions[inner.__name__]["properties"][inner.SHORT]
            plain = {key: said for key, said in short.items() if key not in ("title", "description", "default")}
            value["anyOf"] = [{"$ref": value.pop("$ref")}, plain]


def _named(value: Json) -> Json:
    """A mapping whose keys are names: a key that is none is wrong, where pydantic's form would let it pass."""
    value = dict(value)
    if "patternProperties" in value:
        ((pattern, inner),) = value.pop("patternProperties").items()
        value |= {"propertyNames": {"pattern": pattern}, "additionalProperties": inner}
    return value


def _required(shape: Json, definitions: Json) -> Json:
    """What must be there in a file that includes none: nothing but that, at every depth."""
    shape = definitions[shape["$ref"].rsplit("/", 1)[1]] if "$ref" in shape else shape
    found: Json = {key: shape[key] for key in NEEDED if key in shape}
    inner = {
        name: need for name, value in shape.get("properties", {}).items() if (need := _required(value, definitions))
    }
    if inner:
        found["properties"] = inner
    for key in ("additionalProperties", "items"):
        if isinstance(shape.get(key), dict) and (need := _required(shape[key], definitions)):
            found[key] = need
    for choice in shape.get("anyOf", ()):  # a record, or null: what is required of mappings binds nothing else
        found |= _required(choice, definitions)
    return found


def _open(value: Json) -> Json:
    """The same, or a text with a variable in it."""
    value = dict(value)
    for key in ("additionalProperties", "items"):
        if isinstance(value.get(key), dict):
            value[key] = _open(value[key])
    if "anyOf" in value:
        closed = any(map(_closed, value["anyOf"]))
        value["anyOf"] = [_open_inside(choice) for choice in value["anyOf"]]
        if closed:
            value["anyOf"].append(_variable())
        return value
    if not _closed(value):
        return value
    about: Json = {key: value.pop(key) for key in ("description", "default") if key in value}
    return {"anyOf": [value, _variable()], **about}


def _open_inside(choice: Json) -> Json:
    return choice if _closed(choice) else _open(choice)


def _closed(value: Json) -> bool:
    """Whether a text with a variable in it would be refused."""
    scalar = value.get("type") in NUMBERS or "const" in value or "enum" in value
    return scalar or (value.get("type") == "string" and "pattern" in value)


def _variable() -> Json:
    return {"$ref": f"#/$defs/{VARIABLE}"}
