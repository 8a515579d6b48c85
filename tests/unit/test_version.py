"""An expert's version: changes with what answers, and with nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from experts import version
from experts.spec import Engine, EngineValue, Expert
from experts.version import expert_versions
from tests.unit.make import PRICE, expert


def hosted(lora: Path | str | None = None) -> Expert:
    known = {"engine": "gpu0", "context_tokens": 1000, "price": PRICE}
    return Expert.model_validate(known | {"lora": lora and str(lora)})


def of(model: Path | str, lora: Path | str | None = None, **args: EngineValue) -> str:
    """The version of one hosted expert; arguments with underscores for dashes."""
    named = {key.replace("_", "-"): value for key, value in args.items()}
    engine = Engine(model=str(model), accelerator="cpu", args=named)
    return expert_versions({"ada": hosted(lora)}, {"gpu0": engine})["ada"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with what every model's has."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(1000))
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "card.json", "README.md"):
        (folder / name).write_text("{}")
    return folder


def test_one_byte_of_the_weights_is_another_expert(model: Path) -> None:
    """Of the base's and of the adapter's; twelve hex digits."""
    adapter = shutil.copytree(model, model.with_name("adapter"))
    seen = {of(model), of(model, adapter)}
    for folder in (adapter, model):
        (folder / "model.safetensors").write_bytes(bytes(999) + b"\x01")
        seen |= {of(model), of(model, adapter)}
    assert len(seen) == 5  # the changed adapter is not in the base's own version
    assert all(len(found) == 12 and int(found, 16) >= 0 for found in seen)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
def test_what_turns_a_chat_into_tokens_counts(model: Path, name: str) -> None:
    """Not only the weights answer; a file that is gone counts as well."""
    before = of(model)
    (model / name).write_text("{ }")
    changed = of(model)
    (model / name).unlink()
    assert len({before, changed, of(model)}) == 3


def test_time_place_and_papers_do_not_count(model: Path) -> None:
    """A copy elsewhere, touched, with another card and read-me, is the same expert."""
    before = of(model)
    copy = shutil.copytree(model, model.with_name("copy"))
    os.utime(copy / "model.safetensors", (1, 1))
    (copy / "card.json").write_text('{"accuracy": 1}')
    (copy / "README.md").write_text("better than ever")
    assert of(copy) == before


def test_arguments_count_unless_they_only_say_where_and_how_fast(model: Path) -> None:
    """One that nobody has heard of counts: rather a profile that looks old than one that hides it."""
    before = of(model)
    for args in ({"dtype": "float32"}, {"max_model_len": 512}, {"quantization": "fp8"}, {"new_in_vllm": True}):
        assert of(model, **args) != before, args
    assert of(model, max_num_seqs=64, gpu_memory_utilization=0.5, enforce_eager=True) == before
    assert of(model, dtype="float32", max_model_len=512) == of(model, max_model_len=512, dtype="float32")


def test_files_that_arguments_name_count_by_their_content(model: Path, tmp_path: Path) -> None:
    """A chat template and another model's tokenizer; that model's weights are not read."""
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages }}")
    first = of("org/base", chat_template=str(template)), of("org/base", tokenizer=str(model))
    template.write_text("{{ messages[-1] }}")
    (model / "tokenizer.json").write_text("[]")
    borrowed = of("org/base", tokenizer=str(model))
    second = of("org/base", chat_template=str(template)), of("org/base", tokenizer=str(model))
    assert not set(first) & set(second)
    (model / "model.safetensors").write_bytes(b"others")
    assert of("org/base", tokenizer=str(model)) == borrowed


def test_a_hub_model_counts_by_its_name_and_revision() -> None:
    """Its files are not here."""
    assert of("org/a") == of("org/a") != of("org/b")
    assert of("org/a", revision="abc") != of("org/a")
    assert of("org/a", "org/lora") != of("org/a")


def test_a_large_file_counts_by_its_size_and_both_ends(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tens of gigabytes are not read at every start."""
    monkeypatch.setattr(version, "WHOLE_BYTES", 100)
    monkeypatch.setattr(version, "END_BYTES", 10)
    weights = model / "model.safetensors"
    seen = []
    for content in (bytes(1000), bytes(1001), b"\x01" + bytes(999), bytes(999) + b"\x01", bytes(500) + b"\x01" * 500):
        weights.write_bytes(content)
        seen.append(of(model))
    assert len(set(seen)) == 5
    weights.write_bytes(bytes(500) + b"\x01" + bytes(499))
    assert of(model) == seen[0]


def test_an_expert_elsewhere_is_its_address_and_name() -> None:
    """A slash at the end is none; what else the operator writes about it does not change who answers."""
    experts = {
        "a": expert(),
        "slash": expert(base_url="http://x.test/v1/"),
        "dearer": expert(context_tokens=5, description="dear"),
        "other": expert(model="n"),
        "moved": expert(base_url="http://y.test/v1"),
    }
    found = expert_versions(experts, {})
    assert found["a"] == found["slash"] == found["dearer"]
    assert len({found["a"], found["other"], found["moved"]}) == 3
