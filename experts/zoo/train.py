"""The one command that makes the zoo: `python -m experts.zoo.train --out experts/zoo/weights`.

Owns: the order of work and the folders. Must not know: how a loss is computed, what a card looks like.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from experts.zoo import lora, model
from experts.zoo.card import Card, accuracy_rows, digest, write_card
from experts.zoo.chat import chat_texts, conversations
from experts.zoo.evaluate import evaluate
from experts.zoo.fit import Batch, OnStep, batches, fit
from experts.zoo.recipe import LORA_ALPHA, LORA_RANK, RECIPES, Recipe
from experts.zoo.tasks import SKILLS
from experts.zoo.tokenizer import build_tokenizer, load_tokenizer, training_texts


def folder_of(recipe: Recipe, out: Path) -> Path:
    """Where an expert's files go: `base/`, `general/`, `lora/<name>/`."""
    return out / "lora" / recipe.name if recipe.kind == "lora" else out / recipe.name


def zoo_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of this version of the tasks."""
    return build_tokenizer(training_texts(tuple(SKILLS.values()), chat_texts()))


def stream_of(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[Batch]:
    """The recipe's endless training batches, the same for the same seed."""
    rng = Random(recipe.seed)
    talks = conversations(recipe.shares, recipe.small_talk, tokenizer, rng)
    return batches(talks, recipe.schedule.batch, tokenizer.pad_token_id, rng)


def start(recipe: Recipe, out: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, list[nn.Parameter]]:
    """What a recipe begins from: the model, its tokenizer, and the parameters to train."""
    if recipe.kind == "lora":
        network, tokenizer = model.load_model(out / "base"), load_tokenizer(out / "base")
        torch.manual_seed(recipe.seed)
        return network, tokenizer, lora.inject(network, LORA_RANK, LORA_ALPHA)
    tokenizer = zoo_tokenizer()
    config = (model.base_config if recipe.kind == "base" else model.general_config)(tokenizer)
    network = model.build(config, recipe.seed)
    return network, tokenizer, list(network.parameters())


def save(recipe: Recipe, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> Path:
    """Writes the expert's weights, rounds the network in memory to them, and returns the weights file."""
    folder = folder_of(recipe, out)
    if recipe.kind == "lora":
        lora.save_adapter(network, folder, base_name="base")
    else:
        model.save_model(network, tokenizer, folder)
    model.round_to_disk(network)
    return folder / ("adapter_model.safetensors" if recipe.kind == "lora" else "model.safetensors")


def make(recipe: Recipe, out: Path, questions: int, on_step: OnStep) -> Card:
    """Trains, saves, measures (`questions` held-out ones a skill) and documents one expert."""
    network, tokenizer, parameters = start(recipe, out)
    fit(network, parameters, stream_of(recipe, tokenizer), recipe.schedule, on_step)
    weights = save(recipe, network, tokenizer, out)
    card = Card(
        name=recipe.name,
        kind=recipe.kind,
        architecture=type(network).__name__ + (f" + LoRA rank {LORA_RANK}" if recipe.kind == "lora" else ""),
        parameters=sum(p.numel() for p in parameters),
        training_steps=recipe.schedule.steps,
        training_batch=recipe.schedule.batch,
        training_shares=recipe.shares,
        seed=recipe.seed,
        weights_file=weights.name,
        weights_sha256=digest(weights),
        accuracy=accuracy_rows(evaluate(network, tokenizer, SKILLS, questions) if questions else {}),
    )
    write_card(card, weights.parent)
    return card


def make_all(recipes: Sequence[Recipe], out: Path, questions: int, console: Console) -> list[Card]:
    """Makes the experts in turn under one progress display."""
    columns = (
        TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
    )  # fmt: skip
    cards: list[Card] = []
    with Progress(*columns, console=console) as progress:
        bars = [progress.add_task(r.name, total=r.schedule.steps, loss=float("nan"), start=False) for r in recipes]
        for recipe, bar in zip(recipes, bars, strict=True):
            progress.start_task(bar)
            cards.append(make(recipe, out, questions, lambda _, loss: progress.update(bar, advance=1, loss=loss)))  # noqa: B023  # runs before bar changes
            console.print(f"{recipe.name}: " + ", ".join(f"{s} {r['accuracy']:.0%}" for s, r in cards[-1].accuracy.items()))
    return cards


def scaled(recipe: Recipe, factor: float) -> Recipe:
    """The recipe with `factor` times its steps, at least two."""
    return replace(recipe, schedule=replace(recipe.schedule, steps=max(2, round(recipe.schedule.steps * factor))))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experts.zoo.train", description="Train the zoo of small experts.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    names = [r.name for r in RECIPES]
    parser.add_argument("--only", choices=names, action="append", help="train only this expert (may be repeated)")
    parser.add_argument("--steps-scale", type=float, default=1.0, help="multiply all training steps, for smoke tests")
    parser.add_argument("--questions", type=int, default=200, help="held-out questions a skill for the cards")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (results depend on it in the last digits)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    chosen = [scaled(r, options.steps_scale) for r in RECIPES if r.name in (options.only or names)]
    make_all(chosen, options.out, options.questions, Console())


if __name__ == "__main__":
    main()
