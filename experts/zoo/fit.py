"""The training loop: examples in, trained parameters out.

Owns: batching, loss, optimiser, schedule. Must not know: tasks, files, what the model is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from torch import nn
from transformers import PreTrainedModel

from experts.zoo.chat import Example

POOL_BATCHES = 16
OnStep = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast: steps of `batch` conversations, after a warm-up of `warmup_share`."""

    steps: int
    peak_rate: float
    batch: int = 32
    warmup_share: float = 0.05
    weight_decay: float = 0.05

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine to a fiftieth of the peak."""
        warmup = max(1, round(self.steps * self.warmup_share))
        if step < warmup:
            return self.peak_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, self.steps - warmup)
        return self.peak_rate * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids` [rows, tokens] padded on the right; `learned` [rows, tokens - 1] marks targets that count."""

    ids: torch.Tensor
    learned: torch.Tensor


def collate(examples: Sequence[Example], pad: int) -> Batch:
    """Pads the examples on the right, where causal attention never looks: no attention mask is needed."""
    width = max(len(e.ids) for e in examples)
    ids = torch.full((len(examples), width), pad)
    learned = torch.zeros((len(examples), width), dtype=torch.bool)
    for row, e in enumerate(examples):
        ids[row, : len(e.ids)] = torch.tensor(e.ids)
        learned[row, : len(e.ids)] = torch.tensor(e.learned)
    return Batch(ids, learned[:, 1:])


def batches(examples: Iterator[Example], size: int, pad: int, rng: Random) -> Iterator[Batch]:
    """Endless batches of examples of similar length, in random order."""
    while True:
        pool = sorted(islice(examples, size * POOL_BATCHES), key=lambda e: len(e.ids))
        chunks = [pool[i : i + size] for i in range(0, len(pool), size)]
        rng.shuffle(chunks)
        yield from (collate(chunk, pad) for chunk in chunks)


def loss_of(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the learned tokens, in nats; logits are computed for those alone."""
    hidden = model.base_model(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
    logits = model.get_output_embeddings()(hidden[batch.learned])
    return nn.functional.cross_entropy(logits, batch.ids[:, 1:][batch.learned])


def optimisers_for(
    model: PreTrainedModel, parameters: Sequence[nn.Parameter], weight_decay: float
) -> tuple[torch.optim.Optimizer, ...]:
    """Muon (Jordan et al. 2024) for matrices, AdamW for the embedding and vectors; their rates share one scale.

    Against AdamW alone, four skills' loss after 400 steps fell from 0.66 to 0.47 nats for 6 % more time.
    """
    embedding = model.get_input_embeddings().weight
    matrices = [p for p in parameters if p.ndim == 2 and p is not embedding]
    others = [p for p in parameters if p.ndim != 2 or p is embedding]
    muon = torch.optim.Muon(matrices, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    if not others:
        return (muon,)
    return muon, torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=weight_decay)


def fit(
    model: PreTrainedModel,
    parameters: Sequence[nn.Parameter],
    stream: Iterator[Batch],
    schedule: Schedule,
    on_step: OnStep,
) -> None:
    """Trains `parameters` of `model` in place; `on_step` hears each step's number and loss."""
    optimisers = optimisers_for(model, parameters, schedule.weight_decay)
    model.train()
    for step, batch in enumerate(islice(stream, schedule.steps)):
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate(step)
        loss = loss_of(model, batch)
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser in optimisers:
            optimiser.step()
        on_step(step, loss.item())
    model.eval()
