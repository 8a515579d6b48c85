"""What `symposium serve` says of a download: the bytes that are there, wherever the engine's cache is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.apps import engine_app_name
from deploy.cluster import AppState
from deploy.downloads import download
from deploy.foreground import _state
from experts.spec import Engine
from router.config_file import load
from tests.unit.make import YAML, yaml_file

HOSTED = YAML.replace(
    "experts:\n",
    """\
engines:
  e: {model: org/name, accelerator: cpu}
experts:
  own: {engine: e, context_tokens: 10, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
""",
)


def engine(**fields: Any) -> Engine:
    return Engine.model_validate({"model": "org/name", "accelerator": "cpu"} | fields)


def blobs(cache: Path) -> Path:
    folder = cache / "models--org--name" / "blobs"
    folder.mkdir(parents=True)
    return folder


def test_bytes_are_counted_while_a_file_is_incomplete(tmp_path: Path) -> None:
    """Those that have come, of whole files and of those under way; nothing is said before and after."""
    environ = {"HF_HOME": str(tmp_path)}
    assert download(engine(), environ) == ""
    folder = blobs(tmp_path / "hub")
    (folder / "aaa").write_bytes(b"x" * 60_000_000)
    assert download(engine(), environ) == ""
    part = folder / "bbb.incomplete"
    part.write_bytes(b"x" * 50_000_000)
    assert download(engine(), environ) == "0.1 GB downloaded"
    assert download(engine(model="org/other"), environ) == ""
    part.rename(folder / "bbb")
    assert download(engine(), environ) == ""


def test_a_file_that_was_only_given_its_size_has_not_come(tmp_path: Path) -> None:
    """Some downloads reserve the whole file first: what lies on the disk is what counts."""
    with (blobs(tmp_path) / "aaa.incomplete").open("wb") as file:
        file.truncate(5_000_000_000)
    assert download(engine(), {"HF_HUB_CACHE": str(tmp_path)}) == "0.0 GB downloaded"


@pytest.mark.parametrize(
    ("fields", "environ", "cache"),
    [
        ({}, {"HF_HUB_CACHE": "a", "HF_HOME": "x"}, "a"),
        ({}, {"HF_HOME": "b", "XDG_CACHE_HOME": "x"}, "b/hub"),
        ({}, {"XDG_CACHE_HOME": "c"}, "c/huggingface/hub"),
        ({"env": {"HF_HOME": "d"}}, {"HF_HOME": "x"}, "d/hub"),
        ({"args": {"download-dir": "e"}}, {"HF_HOME": "x"}, "e"),
    ],
)
def test_the_cache_is_where_the_engine_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], environ: dict[str, str], cache: str
) -> None:
    """By its arguments, its own environment, ours, in Hugging Face's order."""
    monkeypatch.chdir(tmp_path)
    (blobs(tmp_path / cache) / "aaa.incomplete").touch()
    assert download(engine(**fields), environ) == "0.0 GB downloaded"


def test_serve_shows_it_on_the_engine_s_own_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is being deployed; other applications, and engines that run, have their state alone."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (blobs(tmp_path) / "aaa.incomplete").touch()
    config = load(yaml_file(tmp_path, HOSTED))
    name = engine_app_name("e")
    assert _state(AppState(name, "DEPLOYING", ""), config) == "deploying, 0.0 GB downloaded"
    assert _state(AppState(name, "RUNNING", ""), config) == "running"
    assert _state(AppState("symposium", "DEPLOYING", ""), config) == "deploying"
