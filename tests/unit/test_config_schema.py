"""The published JSON Schema: equal to the code, explains every field, and takes what the configuration takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from typer.testing import CliRunner

from deploy.cli import app
from experts.spec import Spec
from router.config import Config
from router.config_docs import descriptions, record_in, summary
from router.config_schema import schema, schema_text
from tests.unit.make import YAML

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
VALIDATOR = jsonschema_rs.validator_for(schema())
PLAIN = {"enabled"}  # fields that say all by their name


def records(record: type[Spec] = Config) -> Iterator[type[Spec]]:
    yield record
    for field in record.model_fields.values():
        if inner := record_in(field.annotation):
            yield from records(inner)


def errors(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))]


def test_the_committed_schema_is_the_codes() -> None:
    """An editor checks by what is served. When it differs: `symposium schema > configs/schema.json`."""
    assert (CONFIGS / "schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_command_prints_it() -> None:
    """`symposium schema` is how the file is made."""
    assert CliRunner().invoke(app, ["schema"]).stdout == schema_text()


def test_every_configuration_names_the_schema_and_keeps_to_it() -> None:
    """The first line tells an editor where it is, relative to the file; and there is nothing to mark in them."""
    found = sorted(path for path in CONFIGS.glob("*.yaml") if path.name != "probes.yaml")
    assert len(found) > 2
    for path in found:
        first, rest = path.read_text(encoding="utf-8").split("\n", 1)
        assert first == "# yaml-language-server: $schema=schema.json", path
        assert errors(rest) == [], path


@pytest.mark.parametrize("record", sorted(set(records()), key=str))
def test_every_field_is_explained(record: type[Spec]) -> None:
    """A record's docstring has an entry, or a sentence, for each of its fields; that is what editors show."""
    assert record.model_fields.keys() - descriptions(record).keys() - PLAIN == set()
    assert summary(record)


def test_descriptions_are_the_docstrings() -> None:
    """Entries of several fields, over line ends, up to the next entry."""

    class Example(Spec):
        """What it is, in `a` word.

        `a` and `b`: said of
        both. `c`: said of
        one; and `a` is no entry here. More of c.

        Something else. It has `d` pages.
        """

        a: int
        b: int
        c: int
        d: int

    assert descriptions(Example) == {
        "a": "said of both", "b": "said of both", "c": "said of one; and `a` is no entry here. More of c",
        "d": "It has `d` pages",
    }  # fmt: skip
    assert summary(Example) == "What it is, in `a` word."


@pytest.mark.parametrize(
    "change",
    [
        ("general_expert: ada", "general_expert: ${WHO}"),
        ("context_tokens: 1000", "context_tokens: ${N:-7}"),
        ("version: 1", "version: 1\nserver: {public_metrics: '${P}', limits: {max_n: '${P}'}}"),
        ("version: 1", "version: 1\nengines: {e: {model: m, accelerator: '${A}', args: {x: '${B}'}, gpus: '${G}'}}"),
        ("version: 1", "version: 1\npolicies: {auto: {categories: {math: '${HOW}'}, waves: ['${W}'], enough: '${E}'}}"),
        ("version: 1", "version: 1\nserver: {api_keys: [{name: '${N}', sha256: '${H}'}]}"),
        ("version: 1", "version: 1\nledger: ${LEDGER}"),
        ("version: 1", "version: 1\nledger: {url: '${LEDGER}', lease_s: '${S}'}"),
    ],
)
def test_a_variable_may_stand_for_every_value(change: tuple[str, str]) -> None:
    """An editor marks no `${NAME}`, whatever the field is."""
    assert errors(YAML.replace(*change, 1)) == []


@pytest.mark.parametrize(
    "change",
    [
        ("context_tokens: 1000", "context_tokens: many"),
        ("general_expert: ada", "general_expret: ada"),
        ("  general_expert: ada\n", ""),
        ("    context_tokens: 1000\n", ""),
        ("input_usd_per_mtok: 1.0, ", ""),
        ("input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0", "usd_per_hour: 1.0, input_s_per_mtok: 2.0"),
        ("version: 1", "version: 1\npolicies: {auto: {recruit: lottery}}"),
        ("version: 1", "version: 1\npolicies: {'a b': {}}"),
        ("version: 1", "version: 1\nserver: {api_keys: [{name: ada}]}"),
        ("version: 1", "version: 1\nledger: mysql://host"),
        ("version: 1", "version: 1\nledger: {uri: sqlite}"),
        ("version: 1", "version: 1\ninclude: other.yaml"),
        ("version: 1\n", ""),
    ],
)
def test_what_is_wrong_by_itself_is_marked(change: tuple[str, str]) -> None:
    """Types, unknown keys, what is missing, at every depth."""
    assert errors(YAML) == []
    assert errors(YAML.replace(*change, 1))


@pytest.mark.parametrize("ledger", ["sqlite", "redis://host:6379/0", "{url: sqlite, on_failure: open}", "{}"])
def test_a_value_may_stand_for_a_record(ledger: str) -> None:
    """Where the configuration takes it: `ledger: redis://…` is short for its url."""
    assert errors(f"{YAML}ledger: {ledger}\n") == []


def test_a_file_that_includes_others_need_not_be_complete() -> None:
    """What is missing may be in them; what is there must still be right."""
    assert errors("include: [a.yaml]\nexperts: {ada: {context_tokens: 5}}\n") == []
    assert errors("include: [a.yaml]\nexperts: {ada: {context_tokns: 5}}\n")


def test_the_schema_says_no_more_than_drafts_that_editors_know() -> None:
    """Draft 7: no keyword of a later one but `$defs`, which is only a place."""

    def keywords(shape: Any) -> Iterator[str]:
        if isinstance(shape, dict):
            yield from shape
            for inner in shape.values():
                yield from keywords(inner)
        elif isinstance(shape, list):
            for inner in shape:
                yield from keywords(inner)

    assert schema()["$schema"].startswith("http://json-schema.org/draft-07/")
    assert not {"prefixItems", "unevaluatedProperties", "dependentRequired", "$dynamicRef"} & set(keywords(schema()))
    assert json.loads(schema_text()) == schema()
