"""The zoo's two architectures: the shared Llama-shaped base, and the generalist of EXAONE 4's shape.

Owns: shapes, saving and loading as Hugging Face folders. Must not know: tasks, training. Weights are kept as
float16 on disk (three more bits of precision than bfloat16 at the same size) and are meant to run in float32.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Exaone4Config,
    Exaone4ForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

CONTEXT_TOKENS = 1024
INITIAL_SPREAD = 0.06
"""About 1/sqrt(hidden). The usual 0.02 is for wide models: attention stays flat here, and copying is learned late."""


def _common(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    return {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": INITIAL_SPREAD,
        "dtype": "float32",
    }


def base_config(tokenizer: PreTrainedTokenizerFast, hidden: int = 192, layers: int = 4) -> PretrainedConfig:
    """Llama shape with heads of 32 (a size vLLM's CPU attention takes), one key head for two query heads."""
    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 64,
        head_dim=32,
        **_common(tokenizer),
    )


def general_config(tokenizer: PreTrainedTokenizerFast, hidden: int = 256, layers: int = 5) -> PretrainedConfig:
    """EXAONE 4 shape (norms after each part, and on queries and keys) with heads of 64, all attention full."""
    return Exaone4Config(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128,
        head_dim=64,
        sliding_window=None,
        layer_types=["full_attention"] * layers,
        **_common(tokenizer),
    )


def build(config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """A freshly initialised model; the same for the same seed."""
    torch.manual_seed(seed)
    kind = LlamaForCausalLM if isinstance(config, LlamaConfig) else Exaone4ForCausalLM
    model = kind(config)
    model.config.architectures = [kind.__name__]  # engines choose their implementation by it
    return model


def parameters_of(model: torch.nn.Module) -> int:
    """Number of distinct parameters (tied ones once)."""
    return sum(p.numel() for p in model.parameters())


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """Writes config, float16 weights, generation config (greedy) and tokenizer; returns the weights' path."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    generation = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    generation.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tensors = {name: p.detach().half().contiguous() for name, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder / "model.safetensors"


def load_model(folder: Path) -> PreTrainedModel:
    """The model of a folder, in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def round_to_disk(model: torch.nn.Module) -> None:
    """Rounds every parameter in place to what is kept on disk, so that what is measured is what is served."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half().float())


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, in float32."""
    return {name: tensor.float() for name, tensor in load_file(path).items()}
