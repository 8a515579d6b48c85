"""What differs between two configurations, and what of it needs a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config import Config
from router.config_change import changes, needs_restart
from router.config_file import load
from tests.unit.make import HOSTED, yaml_file

PRICE = "context_tokens: 10, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}"


def config(folder: Path, text: str = HOSTED) -> Config:
    return load(yaml_file(folder, text))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("general_expert: ada", "general_expert: bob", "routing.general_expert"),
        ("context_tokens: 10, price: {input_usd_per_mtok: 1,", "context_tokens: 9, price: {input_usd_per_mtok: 1,", ""),
        ("version: 1", "version: 1\nserver: {limits: {max_tokens: 5}}", "server.limits.max_tokens"),
        ("version: 1", "version: 1\npolicies: {auto: {max_experts: 1}}", "policies.auto.max_experts"),
        ("  poet:", f"  new: {{base_url: 'http://new.test/v1', model: m, {PRICE}}}\n  poet:", "experts.new"),
        ("version: 1", "version: 1\nconvening: {hedge_share: 0}", "convening.hedge_share"),
    ],
)
def test_most_things_change_between_two_requests(tmp_path: Path, old: str, new: str, path: str) -> None:
    """Policies, prices, routing, limits on a request, experts elsewhere: no restart."""
    before, after = config(tmp_path), config(tmp_path, HOSTED.replace(old, new))
    assert needs_restart(before, after) == []
    assert path in changes(before, after) or not path
    assert changes(before, after)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("accelerator: cpu", "accelerator: cpu, cpus: 2", "engines.gpu0.cpus"),
        ("  poet:", f"  more: {{engine: gpu0, lora: org/more, {PRICE}}}\n  poet:", "experts.more"),
        ("lora: org/poet", "lora: org/other", "experts.poet.lora"),
        ("version: 1", "version: 1\nserver: {router_replicas: 2}", "server.router_replicas"),
        ("version: 1", "version: 1\nserver: {limits: {max_in_flight: 5}}", "server.limits.max_in_flight"),
        ("version: 1", "version: 1\ndata: elsewhere", "data"),
        ("version: 1", "version: 1\nledger: 'redis://host:6379/0'", "ledger.url"),
        ("fitted: fitted.npz", "fitted: fitted.npz\n  embedder: {model: static}", "routing.embedder.model"),
    ],
)
def test_what_is_read_at_a_start_needs_one(tmp_path: Path, old: str, new: str, path: str) -> None:
    """Engines, their adapters, listeners, what Serve was sized by, the embedder: each by its path."""
    before, after = config(tmp_path), config(tmp_path, HOSTED.replace(old, new))
    assert needs_restart(before, after) == [path]
    assert path in changes(before, after)


def test_an_adapter_that_goes_needs_a_restart_and_an_expert_elsewhere_does_not(tmp_path: Path) -> None:
    """Engines know their adapters from their start."""
    without = "\n".join(line for line in HOSTED.splitlines() if "poet" not in line) + "\n"
    assert needs_restart(config(tmp_path), config(tmp_path, without)) == ["experts.poet"]
    before = config(
        tmp_path, HOSTED.replace("  poet:", f"  far: {{base_url: 'http://x.test', model: m, {PRICE}}}\n  poet:")
    )
    assert needs_restart(before, config(tmp_path)) == []


def test_nothing_differs_from_itself(tmp_path: Path) -> None:
    """However often it is read."""
    assert changes(config(tmp_path), config(tmp_path)) == []
