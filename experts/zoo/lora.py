"""Low-rank adapters (Hu et al. 2021, "LoRA", section 4.1) on a frozen model, saved in PEFT's format.

Owns: injection, merging, the adapter files. Must not know: tasks, training. vLLM loads these folders as they
are.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from experts.zoo.model import read_tensors

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PREFIX = "base_model.model."


class LoraLinear(nn.Module):
    """`frozen(x) + scale * B(A(x))`: x [..., in], A [rank, in], B [out, rank] (zero at first)."""

    def __init__(self, frozen: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.frozen = frozen
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(torch.empty(rank, frozen.in_features))
        self.lora_B = nn.Parameter(torch.zeros(frozen.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The frozen layer's result plus the adapter's."""
        low: torch.Tensor = nn.functional.linear(nn.functional.linear(x, self.lora_A), self.lora_B)
        out: torch.Tensor = self.frozen(x)
        return out + self.scale * low

    def delta(self) -> torch.Tensor:
        """What the adapter adds to the frozen weight: [out, in]."""
        return self.scale * self.lora_B.detach() @ self.lora_A.detach()


def adapters_of(model: nn.Module) -> dict[str, LoraLinear]:
    """The injected layers by module name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


def inject(model: nn.Module, rank: int, alpha: float) -> list[nn.Parameter]:
    """Freezes `model`, wraps every target layer in place, and returns the adapter's parameters."""
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if leaf in TARGETS and isinstance(module, nn.Linear):
            setattr(model.get_submodule(parent), leaf, LoraLinear(module, rank, alpha))
    return [p for layer in adapters_of(model).values() for p in (layer.lora_A, layer.lora_B)]


def merge(model: nn.Module) -> None:
    """Folds every adapter into its frozen weight and unwraps the layers, in place."""
    for name, layer in adapters_of(model).items():
        parent, _, leaf = name.rpartition(".")
        with torch.no_grad():
            layer.frozen.weight += layer.delta()
        setattr(model.get_submodule(parent), leaf, layer.frozen)


def save_adapter(model: nn.Module, folder: Path, base_name: str) -> Path:
    """Writes `adapter_config.json` and `adapter_model.safetensors` (float16); returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    layers = adapters_of(model)
    first = next(iter(layers.values()))
    rank = first.lora_A.shape[0]
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": rank,
        "lora_alpha": first.scale * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(TARGETS),
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = {
        f"{PREFIX}{name}.{part}.weight": getattr(layer, part).detach().half().contiguous()
        for name, layer in layers.items()
        for part in ("lora_A", "lora_B")
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder / "adapter_model.safetensors"


def load_adapter(model: nn.Module, folder: Path) -> None:
    """Injects a folder's adapter into `model`, in place. Raises KeyError when it lacks a target layer."""
    config = json.loads((folder / "adapter_config.json").read_text())
    inject(model, config["r"], config["lora_alpha"])
    tensors = read_tensors(folder / "adapter_model.safetensors")
    with torch.no_grad():
        for name, layer in adapters_of(model).items():
            layer.lora_A.copy_(tensors[f"{PREFIX}{name}.lora_A.weight"])
            layer.lora_B.copy_(tensors[f"{PREFIX}{name}.lora_B.weight"])
