"""What lies in configs/ beside the quickstart: what of it can be held here without a GPU and without a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from experts.host import _parse, engine_arguments
from experts.spec import Engine
from router.config_file import load

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ON_GPUS = ("one-gpu", "several-gpus", "lora-fleet")


def engines(name: str) -> dict[str, Engine]:
    return load(CONFIGS / f"{name}.yaml").engines


@pytest.mark.parametrize("name", ON_GPUS)
def test_models_from_a_hub_are_pinned(name: str) -> None:
    """To a commit: a branch can be another model tomorrow, and profiles are of what was measured."""
    for engine in engines(name).values():
        revision = str(engine.args["revision"])
        assert len(revision) == 40
        assert int(revision, 16) > 0
        assert engine.start_timeout_s >= 7200, "with the download"


@pytest.mark.parametrize("name", [*ON_GPUS, "quickstart", "remote"])
@pytest.mark.engine
def test_vllm_takes_the_arguments(name: str) -> None:
    """Its own parser, of the version that is installed: no name of an argument is wrong, no adapter is left out."""
    config = load(CONFIGS / f"{name}.yaml")
    for engine_name, engine in config.engines.items():
        loras = config.loras(engine_name)
        parsed = _parse(engine_arguments(engine_name, engine, loras))
        assert parsed.model == engine.model
        assert parsed.revision == engine.args.get("revision")
        assert parsed.tensor_parallel_size == max(1, int(engine.gpus))
        assert [lora.name for lora in parsed.lora_modules or ()] == list(loras)


def test_hosted_needs_nothing_of_this_machine() -> None:
    """No engine, and no key in the file: the environment has them."""
    config = load(CONFIGS / "hosted.yaml")
    assert config.engines == {}
    assert all(expert.api_key_env for expert in config.experts.values())


def test_a_fleet_shares_one_base() -> None:
    """Eight adapters and the base itself, on one engine."""
    config = load(CONFIGS / "lora-fleet.yaml")
    assert (len(config.engines), len(config.loras("mistral")), len(config.experts)) == (1, 8, 9)


def test_the_tenants_example_shows_what_docs_speak_of() -> None:
    """Two tenants over the quickstart, keys by digest, budgets at several levels; nobody has its keys."""
    config = load(CONFIGS / "tenants.yaml")
    assert set(config.tenants) == {"acme", "school"}
    assert {key.tenant for key in config.server.api_keys} == {"acme", "school"}
    assert config.tenants["school"].usd_per_day is not None
    assert config.server.budget.ceiling.deadline_ms is not None
    assert set(config.experts) == set(load(CONFIGS / "quickstart.yaml").experts)
