"""Wrong fields, contradictions and references are said together, and nothing is said that only follows from another."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from router import config_problems
from router.config import Config
from router.config_file import inspect_config
from router.config_problems import checked
from tests.unit.make import YAML, yaml_file

ADA = "    base_url: http://ada.test/v1\n"


def said(folder: Path, text: str) -> list[str]:
    """All that is wrong, without the folder."""
    return [str(p).removeprefix(f"{folder}/symposium.yaml:") for p in inspect_config(yaml_file(folder, text)).problems]


def test_everything_is_said_at_once(tmp_path: Path) -> None:
    """YAML's own problems, wrong fields, contradictions of one record, references between records, files."""
    text = """\
version: 1
version: 1
engines:
  idle: {model: ./nothing, accelerator: gpu}
experts:
  ada:
    base_url: http://ada.test/v1
    engine: idel
    context_tokens: many
    price: {input_usd_per_mtok: 1}
  bob:
    model: bob
    tmperature: 1
    context_tokens: 5
    limits: {first_byte_s: 9, total_s: 1}
routing:
  fitted: fitted.npz
  profiles: profiles.json
  general_expert: adda
  keywords: {expert: bob, samples: 1}
policies:
  fast: {experts: [ada, zoe], max_experts: 99, skills: !x keywords}
"""
    unpriced = "missing: an owned GPU is not free; give input_usd_per_mtok and output_usd_per_mtok"
    expected = [
        "2:1: version: 'version' is written twice",
        "4:3: engines.idle: accelerator: gpu needs gpus > 0",
        "4:3: engines.idle: no expert uses it",
        "4:10: engines.idle.model: no such file",
        "6:3: experts.ada: give exactly one of engine",
        "6:3: experts.ada: an expert with base_url needs model",
        "8:5: experts.ada.engine: unknown 'idel'; did you mean 'idle'?",
        "9:5: experts.ada.context_tokens: Input should be a valid integer",
        f"10:5: experts.ada.price.output_usd_per_mtok: {unpriced}",
        f"11:3: experts.bob.price: {unpriced}",
        "11:3: experts.bob: give exactly one of engine",
        "13:5: experts.bob.tmperature: unknown key; did you mean 'temperature', which belongs elsewhere?",
        "15:5: experts.bob.limits: first_byte_s must not exceed total_s",
        "19:3: routing.general_expert: unknown 'adda'; did you mean 'ada'?",
        "20:3: routing.keywords: min_repeats must not exceed samples",
        "20:14: routing.keywords.expert: 'bob' is of part 'answers', not 'keywords'",
        "21:1: policies: 'auto' is missing",
        "22:25: policies.fast.experts.1: unknown 'zoe'",
        "22:31: policies.fast.max_experts: Input should be less than or equal to 16",
        "22:56: the tag !x is refused",
    ]
    found = said(tmp_path, text)
    for begin in expected:
        assert [line for line in found if line.startswith(begin)], (begin, found)
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("old", "new", "only"),
    [
        ("  general_expert: ada\n", "", ["routing.general_expert: missing"]),
        ("experts:\n", "experts: 5\nx:\n", ["experts: Input should be a valid dictionary", "x: unknown key"]),
        (ADA, "    engine: [1]\n", ["experts.ada.engine: Input should be a valid string"]),
        (ADA, ADA + "    limits: {first_byte_s: x}\n", ["experts.ada.limits.first_byte_s: Input should"]),
        (ADA, ADA + "    part: answer\n", ["experts.ada.part: Input should", "routing.general_expert: 'ada' is"]),
        ("  bob:\n", "  'b b':\n", ["experts.b b: a name begins with a letter or digit"]),
        ("routing:\n", "routing:\n  keywords: 3\n", ["routing.keywords: Input should be"]),
    ],
)  # fmt: skip
def test_what_follows_from_a_wrong_field_is_not_said(tmp_path: Path, old: str, new: str, only: list[str]) -> None:
    """A reference to what cannot be read is no unknown name; a record without its field contradicts nothing."""
    found = [line.split(": ", 1)[1] for line in said(tmp_path, YAML.replace(old, new, 1))]
    assert len(found) == len(only), found
    assert all(line.startswith(begin) for line, begin in zip(found, only, strict=True)), found


def test_a_missing_field_is_explained(tmp_path: Path) -> None:
    """By what its record says of it: the operator need not look it up."""
    (line,) = said(tmp_path, YAML.replace("    context_tokens: 1000\n", "", 1))
    assert line == "3:3: experts.ada.context_tokens: missing: the bound on prompt plus answer"


def test_thousands_of_problems_are_cut_short(tmp_path: Path) -> None:
    """A terminal holds some; how many more there are is said."""
    found = said(tmp_path, YAML + "".join(f"x{i}: 1\n" for i in range(1000)))
    assert len(found) == 201
    assert found[-1].endswith("and 800 problems more")


def test_a_number_without_end_is_said(tmp_path: Path) -> None:
    """What a record says of itself is not asked of numbers that it could not reckon with."""
    text = YAML + "engines: {box: {model: x/y, accelerator: gpu, gpus: .inf}}\n"
    assert any("engines.box.gpus: Input should be a finite number" in line for line in said(tmp_path, text))


def test_what_cannot_be_placed_shows_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contradiction that is found again nowhere is told by its text alone: values may be secrets."""
    monkeypatch.setattr(config_problems, "_Rough", lambda _: SimpleNamespace(made=lambda *_: None, contradictions=[]))
    raw = yaml.safe_load(YAML.replace("model: ada-1", "engine: s3cr3t"))
    config, wrong = checked(Config, raw)
    ((at, why),) = wrong
    assert (config, at) == (None, ())
    assert "give exactly one of engine" in why
    assert "s3cr3t" not in why


BITS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10) | st.sampled_from(["ada", "gpu", "keywords", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["ada", "auto", "engine", "lora", "price", "expert", "samples"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(st.sampled_from(["experts", "engines", "routing", "policies", "convening", "server", "data"]), BITS, st.data())
def test_whatever_is_written_gives_a_configuration_or_problems(
    section: str, value: object, data: st.DataObject
) -> None:
    """No shape of values is a traceback; what is right alone stays right."""
    raw = yaml.safe_load(YAML)
    if isinstance(raw.get(section), dict) and data.draw(st.booleans()):
        raw[section][data.draw(st.sampled_from(["ada", "auto", "keywords", "assignment"]))] = value
    else:
        raw[section] = value
    config, wrong = checked(Config, raw)
    assert (config is None) == bool(wrong)
    if config is not None:
        assert Config.model_validate(raw) == config
