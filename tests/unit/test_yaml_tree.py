"""Reading YAML as plain data with places: what it says, what is refused, and that all of it is said at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.yaml_tree import MAX_DEPTH, MAX_VALUES, Document, Source, place_of, plain, read_document

FILE = Source("some.yaml", Path("/folder"))


def document(text: str, **environ: str) -> Document:
    return read_document(text, FILE, environ)


def values(text: str, **environ: str) -> Any:
    """What a text without problems says."""
    found = document(text, **environ)
    assert found.problems == []
    assert found.root is not None
    return plain(found.root)


def said(text: str, **environ: str) -> list[str]:
    return [str(problem) for problem in document(text, **environ).problems]


def test_values_have_yaml_s_types_but_dates_are_text() -> None:
    """Numbers, words and nothing as ever; what looks like a date is what is written."""
    text = "{a: 1, b: 1.5, c: true, d: null, e: , f: '1', g: 2020-99-99, h: [x, {y: z}]}"
    assert values(text) == {
        "a": 1, "b": 1.5, "c": True, "d": None, "e": None, "f": "1", "g": "2020-99-99", "h": ["x", {"y": "z"}],
    }  # fmt: skip


def test_every_value_has_its_place() -> None:
    """Its key's, or its own in a list; what is not there has the place of what it would be in."""
    root = document("a:\n  b:\n    - c\n    - d: 1\n").root
    assert root is not None
    places = {
        ("a",): (1, 1), ("a", "b"): (2, 3), ("a", "b", 0): (3, 7), ("a", "b", 1, "d"): (4, 7), ("a", "x"): (1, 1),
        ("a", "b", 7): (2, 3), ("x", "y"): (1, 1),
    }  # fmt: skip
    assert {path: (place_of(root, path).line, place_of(root, path).column) for path in places} == places


def test_everything_wrong_is_said_at_once_with_its_place() -> None:
    """Keys written twice, tags, keys that are no text: reading goes on behind each of them."""
    text = "a: 1\na: 2\nb: !env X\n3: c\nd: {e: 1, e: 2}\n? [f]\n: g\n"
    assert said(text) == [
        "some.yaml:3:4: the tag !env is refused: only plain data is read here; remove it",
        "some.yaml:2:1: a: 'a' is written twice, first in line 1; keep one",
        "some.yaml:4:1: keys must be text, and '3' is none; write it in quotes",
        "some.yaml:5:11: d.e: 'e' is written twice, first in line 5; keep one",
        "some.yaml:6:3: keys must be text, and a collection is none; write it in quotes",
    ]


@pytest.mark.parametrize("tag", ["!x", "!!python/object/apply:os.system", "!!int", "!!str", "!", "!!binary", "!!set"])
def test_no_tag_is_taken(tag: str) -> None:
    """Not even YAML's own: the configuration is data, and its types are the schema's business."""
    assert "is refused" in said(f"a: {tag} '1'\n")[0]
    assert "is refused" in said(f"a: {tag} {{b: c}}\n")[0]


def test_aliases_and_merges_are_taken() -> None:
    """An alias is the value it names; `<<` gives what the mapping itself does not say, the first of several first."""
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {y: 3, <<: [*b, {x: 9, z: 9}]}\nd: *a\n"
    assert values(text) == {
        "a": {"x": 1, "y": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3, "z": 9}, "d": {"x": 1, "y": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [*a]\n", "an alias inside what it names"),
        ("a: &a {b: {<<: *a}}\n", "an alias inside what it names"),
        ("a: *b\n", "undefined alias"),
        ("a: {<<: 1}\n", "'<<' takes a mapping"),
        ("a: {<<: [b]}\n", "'<<' takes a mapping"),
        ("a: " + "[" * 3000 + "]" * 3000, f"nested more than {MAX_DEPTH} deep"),
        ("a: " + "{b: " * 3000, f"nested more than {MAX_DEPTH} deep"),
        ("a: " + "9" * 5000, "a number that cannot be read"),
        ("a: 1\n---\nb: 2\n", "another document"),
        ("a: [\n", "expected the node content"),
        ("a: {b: ${N}}\n", "inside braces and brackets write '${NAME}' in quotes"),
        ("a:\n\tb: 1\n", "cannot start any token"),
        ("a: \x00\n", "special characters are not allowed"),
        ('a: "\\UFFFFFFFF"\n', "an escape names no character"),
        ('a: "\\ud800"\n', "half of a character"),
        ('"\\udfff": a\n', "half of a character"),
        ("a: 0x" + "f" * 17, "a number that is too large"),
        ("a: 1" + ":59" * 500 + ".5", "a number that cannot be read"),
        ("a: &a 1\nb: &a 2\n", "found duplicate anchor 'a'"),
        ("[" * 500_000, f"nested more than {MAX_DEPTH} deep"),
    ],
)
def test_what_would_be_misread_or_endless_is_refused(text: str, words: str) -> None:
    """With the place, and without an exception."""
    found = said(text)
    assert any(words in problem for problem in found), found
    assert all(problem.startswith("some.yaml:") for problem in found)


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
        "a0: &a0 {k0: x}\n"
        + "".join(f"a{i}: &a{i} {{k{i}: x, <<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)),
    ],
)
def test_an_anchor_bomb_is_refused_before_it_grows(text: str) -> None:
    """A thousand bytes that stand for 9^11 values, by aliases or by merges: what they expand to is counted."""
    assert len(text) < 1500
    assert any(f"more than {MAX_VALUES} values" in problem for problem in said(text))


def test_as_many_values_as_are_allowed_are_read() -> None:
    """The bound is far above any configuration."""
    text = "x: &x [" + ", ".join("a" * 90) + "]\ny: [" + ", ".join(["*x"] * 400) + "]\n"
    assert len(values(text)["y"]) == 400


@given(st.text(alphabet="ab:{}[]&*!<-|>'\"%@#?,$ \n\t01.", max_size=60))
def test_no_text_raises(text: str) -> None:
    """Whatever is written: values, or problems with places."""
    found = document(text)
    assert all(problem.place.line > 0 and problem.message for problem in found.problems)


def test_variables_are_replaced_in_values_and_not_in_keys() -> None:
    """`${NAME}`, `${NAME:-default}`; `$${` is a literal; a default also stands for what is set and empty."""
    text = "{a: 'x-${N}-${N}', b: '${M:-d}', c: '$${N}', '${N}': k, e: '${E:-d}', f: '${E}', g: $N}"
    assert values(text, N="v", E="") == {
        "a": "x-v-v", "b": "d", "c": "${N}", "${N}": "k", "e": "d", "f": "", "g": "$N",
    }  # fmt: skip


def test_what_comes_from_outside_is_text() -> None:
    """A key of digits keeps its zeros; true, false and null are words where they are not quoted."""
    found = values("a: ${N}\nb: ${T}\nc: '${T}'\nd: ${Z:-null}\ne: ${F:-false}\n", N="007", T="true")
    assert found == {"a": "007", "b": True, "c": "true", "d": None, "e": False}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${N}", "the environment variable N is not set; set it, or write ${N:-default}"),
        ("${N", "'${N' is no reference; write ${NAME} or ${NAME:-default}"),
        ("${}", "'${}' is no reference"),
        ("${a b}", "'${a b}' is no reference"),
        ("${1x}", "'${1x}' is no reference"),
        ("${N:-${M}}", "'${N:-${M}' is no reference"),
    ],
)
def test_a_variable_that_is_not_there_is_said(value: str, words: str) -> None:
    """With the line, the path, and what to do."""
    (problem,) = said(f"a:\n  b: '{value}'\n")
    assert problem.startswith(f"some.yaml:2:6: a.b: {words}")


def test_values_of_variables_are_noted_where_they_were_used() -> None:
    """So that messages can be kept clear of them: defaults and those that nobody asked for are none."""
    found = document("{a: '${N}', b: '${M:-d}'}", N="v", X="w")
    assert found.variables == {"N": "v"}
