"""Answers against the format that was asked for: what is accepted, what is refused, and that neither takes long."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import BadRequest
from router.structured import MAX_REASON_CHARS, MAX_SCHEMA_BYTES, AnswerFormat, compile_format

Json = Any
PERSON = {
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "additionalProperties": False, "required": ["name"], "type": "object",
}  # fmt: skip
PEOPLE = {"items": {"$ref": "#/$defs/person"}, "$defs": {"person": PERSON}}


def compiled(**body: Json) -> AnswerFormat:
    """The format of a request, which has one."""
    found = compile_format(body)
    assert found is not None
    return found


def asking_for(schema: Json) -> Json:
    """A response_format."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def problem(schema: Json, value: Json) -> str | None:
    """What is wrong with a value as an answer."""
    return compiled(response_format=asking_for(schema)).problem(json.dumps(value))


def refused_for(schema: Json) -> str:
    """The message with which a schema is refused."""
    return refused(response_format=asking_for(schema)).message


def refused(**body: Json) -> BadRequest:
    """The refusal of a request's format."""
    with pytest.raises(BadRequest) as caught:
        compile_format(body)
    assert caught.value.code == "invalid_value"
    assert caught.value.message.startswith(f"Invalid '{caught.value.param}': ")
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        {}, {"response_format": None}, {"response_format": {"type": "text"}},
        {"response_format": {"type": "structural_tag", "format": {}}}, {"response_format": {"type": "grammar"}},
        {"structured_outputs": {"regex": "a+"}}, {"structured_outputs": {"grammar": "root ::= 'a'"}},
        {"structured_outputs": {"structural_tag": "{}"}}, {"structured_outputs": {"json_object": False}},
    ],
)  # fmt: skip
def test_what_is_not_checked_here_has_no_format(body: dict[str, Json]) -> None:
    """Free text, and what only the engine can hold an answer to, is no business of ours."""
    assert compile_format(body) is None


def test_any_json_object_will_do_where_no_schema_is_given() -> None:
    """json_object: an object, whatever is in it; no array, no text around it."""
    asked = compiled(response_format={"type": "json_object"})
    assert asked == compiled(structured_outputs={"json_object": True})
    assert asked.problem(' {"a": [1]}\n') is None
    assert all(map(asked.problem, ("[]", "1", '"{}"', "{", "Sure: {}", "```json\n{}\n```", "", None, '{"a": NaN}')))


@pytest.mark.parametrize(
    "body",
    [
        {"response_format": asking_for(dict(reversed(PERSON.items())))}, {"structured_outputs": {"json": PERSON}},
        {"response_format": {"type": "text"}, "structured_outputs": {"json": json.dumps(PERSON), "any": True}},
    ],
)  # fmt: skip
def test_a_schema_is_read_wherever_clients_put_it(body: dict[str, Json]) -> None:
    """OpenAI's field and vLLM's, an object or its text, in any order, ask for the same; a format is a value."""
    asked = compiled(**body)
    assert {asked} == {compiled(response_format=asking_for(PERSON))}
    assert [asked.problem(text) is None for text in ('{"name": "Ann", "age": 3}', '{"age": 3}')] == [True, False]


def test_a_choice_is_met_to_the_letter() -> None:
    """One of the texts as it stands: nothing around it, no other case."""
    asked = compiled(structured_outputs={"choice": ["yes", "no"]})
    assert asked.problem("no") is None
    for text in ("No", "no.", " no", "", None):
        assert asked.problem(text), text


def test_a_reason_stays_short() -> None:
    """However long the answer is, little of it is repeated."""
    schema: Json = {"type": ["object", "array"], "additionalProperties": {"maximum": 0}, "items": {"$ref": "#"}}
    asked = compiled(response_format=asking_for(schema)), compiled(structured_outputs={"choice": ["yes"]})
    for value in ("x" * 100_000, {"x" * 100_000: 1}, ["x" * 100_000]):
        assert all(0 < len(each.problem(json.dumps(value)) or "") <= MAX_REASON_CHARS for each in asked)


@pytest.mark.parametrize(
    ("value", "reason"),
    [({"name": "A", "age": -1}, "at age: -1 is less"), ({}, '"name" is a required'), ({"name": "A", "b": 1}, "'b'")],
)
def test_a_reason_says_what_is_wrong_and_where(value: Json, reason: str) -> None:
    """The first mistake, with its place in the answer; through references too."""
    referred = problem(PEOPLE, [value]) or ""
    assert "at 0: it does not match #/$defs/person" in referred
    assert reason in referred
    assert reason in (problem(PERSON, value) or "")


@pytest.mark.parametrize(
    ("param", "bodies"),
    [
        ("response_format", [{"response_format": "json"}]), ("structured_outputs", [{"structured_outputs": [1]}]),
        ("response_format.json_schema", [{"response_format": {"type": "json_schema"}}]),
        ("response_format.json_schema.schema", [{"response_format": asking_for(schema)} for schema in (None, "{}")]),
        ("structured_outputs", [{"structured_outputs": {"choice": ["yes"], "json": {}}},
                                {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}}]),
        ("structured_outputs.json", [{"structured_outputs": {"json": '{"a":' * 900 + "1" + "}" * 900}},
                                     {"structured_outputs": {"json": {"type": "text"}}}]),
        ("structured_outputs.choice", [{"structured_outputs": {"choice": choice}} for choice in ([], ["yes", 1],
                                       ["y" * MAX_SCHEMA_BYTES])]),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field(param: str, bodies: list[dict[str, Json]]) -> None:
    """A format that is missing, malformed, too large or given twice is the client's to mend, and says where."""
    assert {refused(**body).param for body in bodies} == {param}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "text"}, "#/type"), ({"properties": {"a": {"minLength": -1}}}, "#/properties/a/minLength"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"required": "b"}}}, "#/$defs/a/required"),
        ({"$ref": "#/$defs/nobody"}, "#/$defs/nobody"), ({"$ref": "#/enum/0", "enum": [1]}, "#/enum/0"),
        ({"$ref": "#anchor", "$anchor": "anchor"}, "#anchor"), ({"$dynamicRef": "#"}, "$dynamicRef"),
        ({"unevaluatedItems": False}, "unevaluatedItems"), ({"items": {"$id": "http://127.0.0.1/a"}}, "$id"),
        ({"description": "x" * MAX_SCHEMA_BYTES}, str(MAX_SCHEMA_BYTES)), ({"anyOf": [{}] * 10_000}, "2000 subschemas"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_held_to_is_refused(schema: Json, says: str) -> None:
    """No schema, one that leads nowhere, or one that is not supported: with what is at fault."""
    assert says in refused_for(schema)


def test_nothing_is_fetched() -> None:
    """References to files and servers are refused, by us and by the validator itself; nobody is called."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        for uri in (f"http://127.0.0.1:{server.getsockname()[1]}/x", Path(__file__).as_uri(), "x.json"):
            for schema in ({"$ref": uri}, {"$id": "http://127.0.0.1/", "items": {"$ref": uri}}, {"$schema": uri}):
                assert uri[:30] in refused_for(schema)
                with pytest.raises(jsonschema_rs.ValidationError):
                    jsonschema_rs.validator_for(schema, offline=True)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(?!a)b", r"(a)\1", "a{1000000}", r"\p{L}{500}", "(a{100}){100}", "["])
def test_a_pattern_beyond_the_linear_engine_is_refused(pattern: str) -> None:
    """Look-around, back-references and large repeats: said with the place of the pattern and what to leave out."""
    assert "#/items/pattern cannot be used" in refused_for({"items": {"pattern": pattern}})
    assert "leave out look-around" in refused_for({"patternProperties": {pattern: {}}})
    assert problem({"pattern": "^(a+)+$"}, "a" * 50_000 + "!")  # to other engines, a matter of ages


def test_branching_references_take_no_longer_than_straight_ones() -> None:
    """2^60 ways lead from the first reference to the last; a value meets each target once, a key too."""
    steps: Json = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(60)}
    first = {"$ref": "#/$defs/d0"}
    schema = {"additionalProperties": first, "propertyNames": first, "$defs": {**steps, "d60": {"maxLength": 3}}}
    values = ({"abc": "abc", "b": 1}, {"abc": "abcd"}, {"abcd": "abc"})
    assert [problem(schema, value) is None for value in values] == [True, False, False]


def test_a_tree_of_variants_takes_no_longer_for_being_deep() -> None:
    """Ten kinds of node that all hold nodes: each is tried on each node, not on each way to it."""
    nodes = {"items": {"$ref": "#/$defs/node"}}
    kinds = [{"properties": {"nodes": nodes, "kind": {"const": f"k{i}"}}, "required": ["kind"]} for i in range(10)]
    trees: list[Json] = [{"kind": "k9"}, {"kind": "k"}]
    for _ in range(20):
        trees = [{"nodes": [tree, {"kind": "k1"}], "kind": "k8"} for tree in trees]
    reasons = [problem({"$ref": "#/$defs/node", "$defs": {"node": {"anyOf": kinds}}}, tree) for tree in trees]
    assert [reason is None for reason in reasons] == [True, False]


@pytest.mark.parametrize("wrap", [lambda s: {"not": s}, lambda s: {"anyOf": [s]}, lambda s: {"if": s, "else": False}])
def test_depth_in_schema_and_answer_together_spares_the_stack(wrap: Callable[[Json], Json]) -> None:
    """The deepest schema on the deepest answer ends with a verdict, not with the process: too deep counts as wrong."""
    deep: Json = {"properties": {"a": {"$ref": "#/$defs/d"}}}
    for _ in range(60):
        deep = wrap(deep)
    asked = compiled(response_format=asking_for({"$ref": "#/$defs/d", "$defs": {"d": deep}}))
    for depth in (1, 100, 117, 121, 250, 300, 1000, 5000):
        reason = asked.problem('{"a":' * depth + "{}" + "}" * depth)
        assert (reason is None) == (depth < 120), reason
    assert "inside each other" in refused_for(wrap(wrap(wrap(wrap(wrap(deep))))))


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"items": {"enum": [[i] for i in range(6000)]}}, [[5999]] * 10_000),
        ({"items": {"allOf": [{"multipleOf": 0.01}] * 1500}}, [5.55] * 10_000),
        ({"items": {"anyOf": [{"$ref": "#/$defs/a"}] * 1000}, "$defs": {"a": False}}, [1] * 10_000),
        ({"allOf": [{"uniqueItems": True}] * 1500}, [1] * 10_000), ({"items": {"enum": [1, "a"] * 999}}, [1] * 10_000),
        ({"patternProperties": {f"^{i}": True for i in range(3000)}}, {"1": [1] * 9999}),
    ],
)  # fmt: skip
def test_an_answer_that_would_take_seconds_counts_as_wrong(schema: Json, answer: Json) -> None:
    """The work is bounded before it begins, with room for the longest answers to plain schemas."""
    rows: Json = [{"name": "x" * 10, "age": 7}] * 8000
    assert "too large" in (problem(schema, answer) or "")
    assert problem(schema, []) is None
    assert problem(PEOPLE, rows) is None
    assert problem(PEOPLE, [*rows, {"age": 7}]) == "the answer does not match the schema"


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"$ref": "#", "type": "integer"}, 1, ""), ({"symposium:target": 5, "type": "integer"}, 1, "a"),
        ({"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}}, {"$ref": "#"}, {"pattern": 1}),
        ({"$ref": "#/anyOf/1", "anyOf": [True, {"minimum": 2}]}, 2, 1), ({"type": "string", "format": "uuid"}, "no", 1),
        ({"properties": {"a": {"$ref": "#/$defs/a~1b%20c"}}, "$defs": {"a/b c": False}}, {}, {"a": 1}),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a", "type": "null",
          "definitions": {"a": {"type": "integer"}}}, 1, "a"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}, 2, 1),
        ({"$ref": "#/$defs/a", "minimum": 2, "$defs": {"a": {"type": "integer"}}}, 2, 1),
        ({"items": {"propertyNames": {"$ref": "#/$defs/short"}}, "$defs": {"short": {"maxLength": 2}}},
         [{"ab": 1}, {"cd": 1}], [{"ab": 1}, {"abc": 1}, {"cd": 1}]),
    ],
)  # fmt: skip
def test_corners_of_json_schema(schema: Json, right: Json, wrong: Json) -> None:
    """Keywords as names, pointers of all sorts, older drafts, our own keyword in a client's hands; no formats."""
    assert [problem(schema, value) is None for value in (right, wrong)] == [True, False]


SCALARS = st.sampled_from([None, True, False, 0, 1, 2, 1.5, -1, "", "a", "ab", "aaa"])
PLAIN = st.sampled_from(
    [
        {"type": "string"}, {"type": "integer"}, {"type": ["null", "array"]}, {"enum": [1, "a", None]}, {"const": 1.5},
        {"maxLength": 1}, {"minimum": 1}, {"type": "object"}, {"minItems": 1}, {"maxProperties": 1}, {}, True, False,
        {"uniqueItems": True}, {"multipleOf": 0.5}, {"pattern": "^a+$"}, {"dependentRequired": {"b": ["a"]}},
        {"$ref": "#/$defs/leaf"}, {"properties": {"a": {"$ref": "#"}}}, {"items": {"$ref": "#/$defs/list"}},
    ]
)  # fmt: skip


def containers(inner: st.SearchStrategy[Json], keys: str = "a b c") -> st.SearchStrategy[Json]:
    """Arrays and objects of what there is so far."""
    return st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(keys.split()), inner, max_size=4)


def composed(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Schemas out of schemas, with any of the keywords that apply them."""
    named, some = st.fixed_dictionaries({"a": inner, "b": inner}), st.lists(inner, min_size=1, max_size=3)
    kinds = {
        "properties patternProperties dependentSchemas": named,
        "allOf anyOf oneOf prefixItems": some,
        "additionalProperties items contains propertyNames not if then else": inner,
    }
    return st.fixed_dictionaries({}, optional={name: kind for names, kind in kinds.items() for name in names.split()})


@given(schema=st.recursive(PLAIN, composed, max_leaves=10), value=st.recursive(SCALARS, containers, max_leaves=8))
def test_the_verdict_is_that_of_json_schema(schema: Json, value: Json) -> None:
    """Any schema and value: what python-jsonschema, an implementation of its own, says too."""
    defs = {"leaf": {"type": ["integer", "string"]}, "list": {"items": {"$ref": "#/$defs/list"}, "maxItems": 1}}
    whole = {"allOf": [schema], "$defs": defs}
    assert (problem(whole, value) is None) == jsonschema.Draft202012Validator(whole).is_valid(value)


KEYWORDS = """type enum $ref $id $schema $defs pattern properties items prefixItems allOf not if then required format
    minLength multipleOf additionalProperties patternProperties dependencies contains uniqueItems $dynamicRef a"""
WORDS = st.sampled_from(["", "#", "#/", "#/$defs/a", "#/allOf/0", "object", "(", "^a", "é", "\x00", 1e300, 2**64 - 1])
ANYTHING = st.recursive(SCALARS | WORDS, lambda inner: containers(inner, KEYWORDS))


@given(schema=ANYTHING, text=st.text())
def test_no_schema_and_no_answer_is_a_crash(schema: Json, text: str) -> None:
    """Whatever a client sends for a schema is a format or a refusal, and whatever comes back has a verdict."""
    try:
        asked = compiled(response_format=asking_for(schema))
    except BadRequest:
        return
    assert all(len(asked.problem(each) or "") <= MAX_REASON_CHARS for each in (text, orjson.dumps(schema).decode()))
